//! Files of a FAT file system: paths, and where content lies.

use super::boot::Geometry;
use super::chain::Chain;
use super::dir::{self, Entry};
use crate::fs::FsError;
use crate::io::ReadAhead;
use model::ports::{ReadAt, ReadError, check_range};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::ops::ControlFlow;
use std::sync::Arc;

/// How deep a path may go.
const MOST_DEPTH: usize = 64;
/// Most pieces of one file.
const MOST_PIECES: usize = 1 << 20;
/// Links are read one by one, and lie together.
const TABLE_WINDOW: usize = 4096;
const TABLE_WINDOWS: usize = 32;

/// A FAT tree.
pub(super) struct Files {
    bytes: Arc<dyn ReadAt>,
    geometry: Geometry,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    Root,
    Entry(Entry),
}

impl At {
    /// The first cluster of a directory (0: the root); `None` for a file.
    pub(super) fn directory(&self) -> Option<u32> {
        match self {
            Self::Root => Some(0),
            // An entry that leads to cluster 0 means the root, for `..` alone.
            Self::Entry(e) => (e.directory && e.cluster != 0).then_some(e.cluster),
        }
    }
}

impl Files {
    pub(super) fn new(bytes: Arc<dyn ReadAt>, geometry: &Geometry) -> Self {
        let bytes = Arc::new(ReadAhead::new(bytes, TABLE_WINDOW, TABLE_WINDOWS));
        Self { bytes, geometry: geometry.clone() }
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(super) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    /// Shows the entries of a directory; see [`dir::each`].
    pub(super) fn each(
        &self,
        first: u32,
        damaged: &mut dir::Damaged<'_>,
        visit: &mut dir::Visit<'_>,
    ) -> Result<(), FsError> {
        dir::each(&*self.bytes, &self.geometry, first, damaged, visit)
    }

    /// Goes down a path; `None` where it leads nowhere.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<At>, FsError> {
        let Some(parts) = parts(path) else { return Ok(None) };
        let mut at = At::Root;
        for part in parts {
            let Some(first) = at.directory() else { return Ok(None) };
            let wanted = part.to_lowercase();
            let mut next = None;
            self.each(first, &mut Err, &mut |entry| {
                if !entry.is_called(&wanted) {
                    return ControlFlow::Continue(());
                }
                next = Some(entry);
                ControlFlow::Break(())
            })?;
            match next {
                Some(entry) => at = At::Entry(entry),
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The entry at a place on the volume.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is none.
    pub(super) fn entry(&self, at: u64) -> Result<Entry, FsError> {
        let none = || FsError::Corrupt(format!("there is no directory entry at {at}"));
        let g = &self.geometry;
        let place = Extent::new(ByteOffset(at), ByteLen(32)).ok_or_else(none)?;
        let inside = at.is_multiple_of(32) && (g.root.contains(place) || g.data.contains(place));
        let entry = if inside { dir::at(&*self.bytes, g, ByteOffset(at))? } else { None };
        entry.ok_or_else(none)
    }

    /// Where a file's bytes lie, in order; as long together as the file.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where its clusters end before it does, or lead to nowhere.
    pub(super) fn pieces(&self, entry: &Entry) -> Result<Vec<Extent>, FsError> {
        let corrupt = |why: &str| {
            let name = RawName(entry.name.clone().into_bytes()).display();
            FsError::Corrupt(format!("{name} says it has {} bytes, {why}", entry.size))
        };
        let mut left = u64::from(entry.size);
        if left > self.geometry.data.len().0 {
            return Err(corrupt(&format!("more than the {} there are", self.geometry.data.len().0)));
        }
        let mut chain = Chain::new(&*self.bytes, &self.geometry, entry.cluster);
        let mut pieces: Vec<Extent> = Vec::new();
        while left > 0 {
            let place = chain.next().ok_or_else(|| corrupt("its clusters end before that"))??;
            let len = place.len().0.min(left);
            left -= len;
            let start = match pieces.last() {
                Some(last) if last.end() == place.start() => pieces.pop().map_or(place.start(), Extent::start),
                _ => place.start(),
            };
            pieces.extend(Extent::between(start.0, place.start().0 + len));
            if pieces.len() > MOST_PIECES {
                return Err(corrupt("in more pieces than are followed"));
            }
        }
        Ok(pieces)
    }

    /// A file's content.
    pub(super) fn open(&self, entry: &Entry) -> Result<File, FsError> {
        let mut at = 0;
        let pieces = self.pieces(entry)?.into_iter().map(|piece| {
            let from = at;
            at += piece.len().0;
            (from, piece)
        });
        Ok(File { bytes: self.bytes.clone(), pieces: pieces.collect(), size: ByteLen(u64::from(entry.size)) })
    }
}

/// The components of a path; `None` for one that leads nowhere in a FAT tree.
fn parts(path: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(path).ok()?;
    let parts: Vec<&str> = text.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    (parts.len() <= MOST_DEPTH && parts.iter().all(|p| *p != "..")).then_some(parts)
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
        Ok(())
    }
}
