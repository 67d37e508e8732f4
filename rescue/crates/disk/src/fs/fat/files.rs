//! Files of a FAT file system: paths, and where content lies.

use super::boot::Geometry;
use super::chain::Chain;
use super::dir::{self, Entry};
use crate::fs::pieces::{File, Pieces};
use crate::fs::{FsError, way};
use crate::io::ReadAhead;
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::ops::ControlFlow;
use std::sync::Arc;

/// How deep a path may go.
const MOST_DEPTH: usize = 64;
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
        let Some(names) = way::plain(path, MOST_DEPTH) else { return Ok(None) };
        let mut at = At::Root;
        for name in names {
            let Some(first) = at.directory() else { return Ok(None) };
            let wanted = name.to_lowercase();
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
    pub(super) fn pieces(&self, entry: &Entry) -> Result<Pieces, FsError> {
        let corrupt = |why: &str| {
            let name = RawName(entry.name.clone().into_bytes()).display();
            FsError::Corrupt(format!("{name} says it has {} bytes, {why}", entry.size))
        };
        let mut left = u64::from(entry.size);
        if left > self.geometry.data.len().0 {
            return Err(corrupt(&format!("more than the {} there are", self.geometry.data.len().0)));
        }
        let mut chain = Chain::new(&*self.bytes, &self.geometry, entry.cluster);
        let mut pieces = Pieces::default();
        while left > 0 {
            let place = chain.next().ok_or_else(|| corrupt("its clusters end before that"))??;
            let len = place.len().0.min(left);
            left -= len;
            let piece = Extent::new(place.start(), ByteLen(len)).ok_or_else(|| corrupt("and lies nowhere"))?;
            pieces.add(piece).map_err(|_| corrupt("in more pieces than are followed"))?;
        }
        Ok(pieces)
    }

    /// A file's content.
    pub(super) fn open(&self, entry: &Entry) -> Result<File, FsError> {
        Ok(self.pieces(entry)?.open(self.bytes.clone(), ByteLen(u64::from(entry.size))))
    }
}
