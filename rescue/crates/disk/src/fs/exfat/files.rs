//! Files of an exFAT: paths, and where content lies.

use super::boot::Boot;
use super::chain::{self, Allocation};
use super::dir::{self, ENTRY, Entry, Stream, kind};
use super::names::UpCase;
use crate::fs::pieces::{File, Pieces};
use crate::fs::{FsError, way};
use crate::io::ReadAhead;
use crate::numbers::le32;
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent};
use std::ops::ControlFlow;
use std::sync::Arc;

/// How deep a path may go.
const MOST_DEPTH: usize = 256;
/// Links are read one by one, and lie together.
const TABLE_WINDOW: usize = 4096;
const TABLE_WINDOWS: usize = 32;

/// What the root directory says of the volume itself.
#[derive(Default)]
pub(super) struct Volume {
    /// The allocation bitmaps: the first, and the second one of TexFAT.
    pub(super) bitmaps: [Option<Allocation>; 2],
    /// The up-case table and its checksum.
    pub(super) up_case: Option<(Allocation, u32)>,
    /// The volume's label.
    pub(super) label: DisplayText,
}

/// Reads what the root directory, whose clusters these are, says of the volume.
///
/// # Errors
/// [`FsError`] where it cannot be read.
pub(super) fn volume(bytes: &dyn ReadAt, boot: &Boot, root: Allocation) -> Result<Volume, FsError> {
    let mut found = Volume::default();
    // What comes after a set that is cut off may still tell; what cannot be read does not.
    let mut damaged = |e: FsError| if let FsError::Io(_) = e { Err(e) } else { Ok(()) };
    dir::sets(bytes, boot, root, &mut damaged, &mut |set| {
        let raw = &set.entries[0];
        // The table and the bitmaps have chains, and lengths where a stream extension has them.
        let allocation = Allocation { contiguous: false, ..Stream::parse(raw).allocation };
        match raw[0] {
            kind::BITMAP => found.bitmaps[usize::from(raw[1] & 1)] = Some(allocation),
            kind::UP_CASE => found.up_case = Some((allocation, le32(raw, 4))),
            kind::LABEL => {
                let units = raw[2..24].as_chunks::<2>().0.iter().take(usize::from(raw[1]));
                let units = units.map(|unit| u16::from_le_bytes(*unit));
                let text: String =
                    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
                found.label = DisplayText::new(&text);
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// An exFAT tree.
pub(super) struct Files {
    bytes: Arc<dyn ReadAt>,
    pub(super) boot: Boot,
    pub(super) root: Allocation,
    pub(super) volume: Volume,
    up_case: UpCase,
}

/// What is at a path.
pub(super) enum At {
    Root,
    Entry(Entry),
}

impl Files {
    /// Reads what the root directory says of the volume.
    ///
    /// # Errors
    /// [`FsError`] where the root directory or the up-case table does not hold together.
    pub(super) fn new(bytes: Arc<dyn ReadAt>, boot: Boot) -> Result<Self, FsError> {
        let bytes: Arc<dyn ReadAt> = Arc::new(ReadAhead::new(bytes, TABLE_WINDOW, TABLE_WINDOWS));
        let root = chain::to_end(&*bytes, &boot, boot.root, dir::MOST_BYTES)?;
        let volume = volume(&*bytes, &boot, root)?;
        // Without one that holds together, names are still found as they are written.
        let read = |(at, sum)| UpCase::read(&*bytes, &boot, at, sum).ok();
        let up_case = volume.up_case.and_then(read).unwrap_or_else(UpCase::ascii);
        Ok(Self { bytes, boot, root, volume, up_case })
    }

    pub(super) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    /// Shows the entries of a directory; see [`dir::each`].
    pub(super) fn each(
        &self,
        at: Allocation,
        damaged: &mut dir::Damaged<'_>,
        visit: &mut dir::Visit<'_>,
    ) -> Result<(), FsError> {
        dir::each(&*self.bytes, &self.boot, at, damaged, visit)
    }

    /// Where the bytes of a directory lie; `None` for a file.
    pub(super) fn directory(&self, at: &At) -> Option<Allocation> {
        match at {
            At::Root => Some(self.root),
            At::Entry(entry) => (entry.directory && !entry.damaged).then_some(entry.stream.allocation),
        }
    }

    /// Goes down a path; `None` where it leads nowhere.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<At>, FsError> {
        let Some(names) = way::plain(path, MOST_DEPTH) else { return Ok(None) };
        let mut at = At::Root;
        for name in names {
            let Some(here) = self.directory(&at) else { return Ok(None) };
            let wanted = self.up_case.fold(name);
            let mut next = None;
            self.each(here, &mut Err, &mut |entry| {
                if self.up_case.fold(&entry.name) != wanted {
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

    /// What the stream extension at a place on the volume says.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is none.
    pub(super) fn stream(&self, at: u64) -> Result<Stream, FsError> {
        let none = || FsError::Corrupt(format!("there is no directory entry at {at}"));
        let place = Extent::new(ByteOffset(at), ByteLen(ENTRY as u64)).ok_or_else(none)?;
        if !at.is_multiple_of(ENTRY as u64) || !self.boot.heap.contains(place) {
            return Err(none());
        }
        let raw = self.bytes.read_vec(ByteOffset(at), ENTRY)?;
        if raw.first() != Some(&kind::STREAM) {
            return Err(none());
        }
        Ok(Stream::parse(&raw))
    }

    /// Where the written bytes of a file lie, in order: what comes after them reads as zeros.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where its clusters end before it does, or lead to nowhere.
    pub(super) fn pieces(&self, stream: &Stream) -> Result<Pieces, FsError> {
        let allocation = stream.allocation;
        if allocation.len > self.boot.heap.len().0 {
            let (says, most) = (allocation.len, self.boot.heap.len().0);
            return Err(FsError::Corrupt(format!("a file says it has {says} bytes, more than the {most} there are")));
        }
        let mut left = stream.valid;
        let mut pieces = Pieces::default();
        for place in (Allocation { len: left, ..allocation }).places(&*self.bytes, &self.boot) {
            let place = place?;
            let len = place.len().0.min(left);
            left -= len;
            let corrupt = |why: &str| FsError::Corrupt(format!("a file {why}"));
            let piece = Extent::new(place.start(), ByteLen(len)).ok_or_else(|| corrupt("lies nowhere"))?;
            pieces.add(piece).map_err(|_| corrupt("has more pieces than are followed"))?;
        }
        Ok(pieces)
    }

    /// A file's content.
    pub(super) fn open(&self, stream: &Stream) -> Result<File, FsError> {
        Ok(self.pieces(stream)?.open(self.bytes.clone(), ByteLen(stream.allocation.len)))
    }
}
