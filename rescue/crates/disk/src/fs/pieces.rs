//! Files whose content lies in runs of clusters, one after the other, as FAT and exFAT have them.

use model::files::Layout;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;

/// Most pieces of one file.
const MOST: usize = 1 << 20;

/// There are more pieces than are followed.
pub(super) struct TooMany;

/// Where the bytes of a file lie, in order. What lies side by side is one piece.
#[derive(Default)]
pub(super) struct Pieces(Vec<Extent>);

impl Pieces {
    /// Adds what comes next.
    pub(super) fn add(&mut self, piece: Extent) -> Result<(), TooMany> {
        let start = match self.0.last() {
            Some(last) if last.end() == piece.start() => self.0.pop().map_or(piece.start(), Extent::start),
            _ => piece.start(),
        };
        self.0.extend(Extent::between(start.0, piece.end().0));
        if self.0.len() > MOST { Err(TooMany) } else { Ok(()) }
    }

    /// The pieces.
    pub(super) fn iter(&self) -> impl Iterator<Item = Extent> {
        self.0.iter().copied()
    }

    /// Those of a file of `len` bytes from byte `from` on, at most `most` of them.
    pub(super) fn layout(&self, len: ByteLen, from: ByteOffset, most: usize) -> Layout {
        let (mut end, mut pieces) = (0, Vec::new());
        for piece in self.iter() {
            let start = end;
            if pieces.len() >= most {
                return Layout::Pieces { pieces, end: ByteOffset(end) };
            }
            end += piece.len().0;
            if end > from.0 {
                pieces.push((ByteOffset(start), piece));
            }
        }
        Layout::Pieces { pieces, end: ByteOffset(len.0) }
    }

    /// The content of a file of `len` bytes: what comes after the pieces reads as zeros.
    pub(super) fn open(self, bytes: Arc<dyn ReadAt>, len: ByteLen) -> File {
        let mut at = 0;
        let pieces = self.0.into_iter().map(|piece| {
            let from = at;
            at += piece.len().0;
            (from, piece)
        });
        File { pieces: pieces.collect(), bytes, size: len }
    }
}

/// A file, readable by position.
pub(super) struct File {
    bytes: Arc<dyn ReadAt>,
    /// Each with the byte of the file that it begins with, in order and without gaps.
    pieces: Vec<(u64, Extent)>,
    size: ByteLen,
}

impl ReadAt for File {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        let mut done = 0;
        let first = self.pieces.partition_point(|(from, piece)| from + piece.len().0 <= at.0);
        for (from, piece) in &self.pieces[first..] {
            if done == buf.len() {
                break;
            }
            let within = at.0 + done as u64 - from;
            let n = ByteLen(piece.len().0 - within).to_usize().unwrap_or(usize::MAX).min(buf.len() - done);
            self.bytes.read_exact_at(ByteOffset(piece.start().0 + within), &mut buf[done..done + n])?;
            done += n;
        }
        buf[done..].fill(0);
        Ok(())
    }
}
