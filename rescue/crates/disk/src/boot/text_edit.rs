//! A text on an ext file system in which one UUID takes the place of another of the same length: only bytes of the file's own data
//! change, and no metadata. Nothing is written: it is an overlay in memory.

use crate::fs::ext4::Ext4;
use crate::fs::{FileSystem, FsError};
use crate::io::Overlay;
use model::files::{Layout, Named};
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;

/// Most that may change.
const MOST_CHANGED: ByteLen = ByteLen(8 << 20);
/// The longest text.
const MOST_TEXT: u64 = 4 << 20;
/// Most pieces that a text lies in.
const MOST_PIECES: usize = 4096;

pub(super) struct TextEdit {
    now: Overlay,
}

impl TextEdit {
    /// `bytes` is the window of a volume that was unmounted: nothing in its journal is to be replayed over what is written.
    pub(super) fn new(bytes: Arc<dyn ReadAt>) -> Self {
        Self { now: Overlay::new(bytes, 512, MOST_CHANGED) }
    }

    pub(super) fn end(self) -> Overlay {
        self.now
    }

    pub(super) fn replace(&mut self, path: &str, old: &str, new: &str) -> Result<(), String> {
        if old.len() != new.len() || old.is_empty() {
            return Err(format!("{new} is not as long as {old}"));
        }
        let fs = Ext4::load(Arc::new(self.now.clone())).map_err(|e| e.to_string())?;
        let (text, pieces) = plain(&fs, path).map_err(|e| e.to_string())??;
        let mut wanted = text.clone();
        let mut next = self.now.clone();
        let places = places(&text, old.as_bytes());
        if places.is_empty() {
            return Err(format!("{old} does not stand in it"));
        }
        for place in places {
            wanted[place..place + new.len()].copy_from_slice(new.as_bytes());
            for (at, part) in on_volume(&pieces, place, new.as_bytes())? {
                next.write(at, part).map_err(|e| e.to_string())?;
            }
        }
        // Read back as the file system reads it.
        let fs = Ext4::load(Arc::new(next.clone())).map_err(|e| e.to_string())?;
        match plain(&fs, path) {
            Ok(Ok((text, _))) if text == wanted => {
                self.now = next;
                Ok(())
            }
            _ => Err("it does not read back".to_owned()),
        }
    }
}

/// The text of a file, and where on the volume it lies; the inner error says why it is not edited.
type Plain = Result<(Vec<u8>, Vec<(ByteOffset, Extent)>), String>;

fn plain(fs: &Ext4, path: &str) -> Result<Plain, FsError> {
    let Some(Named { file, attributes: Some(attributes), .. }) = fs.find(path.as_bytes())? else {
        return Ok(Err("the file cannot be read".to_owned()));
    };
    if attributes.kind != FileKind::File || attributes.size.0 > MOST_TEXT {
        return Ok(Err("it is a link, or too long".to_owned()));
    }
    let Some(content) = fs.open(path.as_bytes())? else { return Ok(Err("it is missing".to_owned())) };
    let text = content.read_vec(ByteOffset(0), content.size().to_usize().unwrap_or(0))?;
    Ok(match fs.layout(file, ByteOffset(0), MOST_PIECES)? {
        Layout::Pieces { pieces, end } if end.0 >= text.len() as u64 => Ok((text, pieces)),
        Layout::Pieces { .. } => Err("it lies in more pieces than are followed".to_owned()),
        Layout::Unpacked { .. } => Err("it is compressed".to_owned()),
        Layout::Within(_) => Err("it lies within its inode, whose checksum would change".to_owned()),
    })
}

/// Where a word stands in a text, and not as a part of a longer one.
fn places(text: &[u8], word: &[u8]) -> Vec<usize> {
    let part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_hexdigit() || *b == b'-');
    let is = |at: &usize| {
        text[*at..].starts_with(word) && !part(text.get(at.wrapping_sub(1))) && !part(text.get(at + word.len()))
    };
    (0..text.len().saturating_sub(word.len() - 1)).filter(is).collect()
}

/// The places on the volume of bytes of a file.
fn on_volume<'b>(
    pieces: &[(ByteOffset, Extent)],
    at: usize,
    bytes: &'b [u8],
) -> Result<Vec<(ByteOffset, &'b [u8])>, String> {
    let mut out = Vec::new();
    let (mut at, mut rest) = (at as u64, bytes);
    while !rest.is_empty() {
        let holds = |(start, piece): &&(ByteOffset, Extent)| start.0 <= at && at - start.0 < piece.len().0;
        let (start, piece) = pieces.iter().find(holds).ok_or("part of it is not on the volume")?;
        let within = at - start.0;
        let n = ByteLen(piece.len().0 - within).to_usize().unwrap_or(usize::MAX).min(rest.len());
        let (now, later) = rest.split_at(n);
        out.push((ByteOffset(piece.start().0 + within), now));
        at += n as u64;
        rest = later;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_alone() {
        assert_eq!(places(b"ab-1 UUID=ab-1, xab-1 fab-1 ab-12 ab-1", b"ab-1"), [0, 10, 17, 34]);
        assert_eq!(places(b"x", b"ab-1"), Vec::<usize>::new());
    }

    #[test]
    fn bytes_lie_in_more_than_one_piece() {
        let piece = |from, at, len| (ByteOffset(from), Extent::new(ByteOffset(at), ByteLen(len)).unwrap());
        let pieces = [piece(0, 1000, 4), piece(4, 500, 4)];
        let parts = on_volume(&pieces, 2, b"abcd").unwrap();
        assert_eq!(parts, [(ByteOffset(1002), &b"ab"[..]), (ByteOffset(500), &b"cd"[..])]);
        assert!(on_volume(&pieces, 6, b"abcd").is_err());
    }
}
