//! Reading maps: which bytes of a volume come from which chunk, and where two maps differ.

mod belief;
mod slices;
#[cfg(test)]
mod tests;
mod walk;

use crate::content::Cell;
use crate::error::StoreError;
use crate::layout::{LEAF, MAX_DATA, MAX_VOLUME, big};
use crate::node::{Leaf, Node};
use crate::store::Store;
pub(crate) use belief::Believed;
use model::id::{ChunkId, Digest, NodeId};
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent};
use slices::SliceWalk;
pub(crate) use slices::slices_of;
use walk::Walk;
pub(crate) use walk::{Sub, mask};

/// Used bytes of a volume and where they come from. Never longer than 512 KiB, the longest chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice {
    /// Which bytes of the volume.
    pub extent: Extent,
    /// What they are.
    pub content: SliceContent,
}

/// What the bytes of a slice are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SliceContent {
    /// Part of a chunk.
    Chunk {
        /// The chunk.
        id: ChunkId,
        /// First byte, from the start of the chunk's plain bytes.
        at: u32,
    },
    /// Zeros.
    Zero,
}

/// A leaf of a map, as the node above it names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafRef {
    /// The addresses it covers, used or not: 4 MiB.
    pub extent: Extent,
    /// Its name in the store.
    pub id: NodeId,
    /// Its content digest, to be compared with a [`crate::LeafHasher`]'s.
    pub content: Digest,
}

/// A map that can be read.
#[derive(Debug, Clone)]
pub struct MapReader {
    store: Store,
    root: MapRoot,
}

impl MapReader {
    /// The used bytes within `extent`, in address order; holes are absent. Takes memory for one path through the map. A
    /// node that cannot be read gives one error, and the slices after it follow.
    pub fn slices(&self, extent: Extent) -> Slices {
        Slices { walk: SliceWalk::new(Walk::new(self.store.clone(), None, self.root, extent), extent) }
    }

    /// The leaves with used bytes that `extent` touches, in address order, each whole. Only the nodes above them are read.
    /// Errors as of [`MapReader::slices`].
    pub fn leaves(&self, extent: Extent) -> Leaves {
        Leaves { walk: Walk::new(self.store.clone(), None, self.root, extent) }
    }

    /// Number of used bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn used(&self) -> Result<ByteLen, StoreError> {
        Sub::from(self.root).open(&self.store).map(|n| ByteLen(n.used()))
    }
}

/// The slices of a map; see [`MapReader::slices`].
#[derive(Debug)]
pub struct Slices {
    walk: SliceWalk<Store>,
}

impl Iterator for Slices {
    type Item = Result<Slice, StoreError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.next()
    }
}

/// The slices in which a wanted map differs; see [`Store::diff`].
#[derive(Debug)]
pub struct Changes {
    walk: SliceWalk<Store>,
}

impl Iterator for Changes {
    type Item = Result<Slice, StoreError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.next()
    }
}

/// The leaves of a map; see [`MapReader::leaves`].
#[derive(Debug)]
pub struct Leaves {
    walk: Walk<Store>,
}

impl Iterator for Leaves {
    type Item = Result<LeafRef, StoreError>;
    fn next(&mut self) -> Option<Self::Item> {
        next_leaf(&mut self.walk)
    }
}

/// The next leaf that has used bytes.
fn next_leaf<N: walk::Nodes>(walk: &mut Walk<N>) -> Option<Result<LeafRef, StoreError>> {
    loop {
        let pair = match walk.next()? {
            Ok(pair) => pair,
            Err(e) => return Some(Err(e)),
        };
        // Only the root can be an empty leaf.
        if pair.wanted.content == Leaf::empty_content() {
            continue;
        }
        // Leaves lie within the longest volume, whose end fits.
        let extent = Extent::new(ByteOffset(pair.base), ByteLen(LEAF))?;
        return Some(Ok(LeafRef { extent, id: pair.wanted.id, content: pair.wanted.content }));
    }
}

impl Store {
    /// A map, for reading.
    pub fn map(&self, root: MapRoot) -> MapReader {
        MapReader { store: self.clone(), root }
    }

    /// The parts of the slices of `wanted` whose bytes may not be what `present` has there, in address order. A hole in
    /// `wanted` is skipped, a hole in `present` differs. Subtrees of equal name or equal content are skipped unread; in a
    /// leaf that differs, what is the same part of the same chunk, or zeros over zeros, is left out. A node of `present`
    /// that cannot be read counts as different.
    pub fn diff(&self, present: MapRoot, wanted: MapRoot) -> Changes {
        let all = Extent::whole(ByteLen(MAX_VOLUME));
        Changes { walk: SliceWalk::new(Walk::new(self.clone(), Some(present), wanted, all), all) }
    }

    /// The cells of a leaf that have used bytes, in order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where it cannot be read or is not of the content that was named; [`StoreError::Io`].
    pub fn cells(&self, leaf: &LeafRef) -> Result<Vec<Cell>, StoreError> {
        let sub = Sub { id: leaf.id, height: 0, content: leaf.content };
        match &*sub.open(self)? {
            Node::Leaf(leaf) => Ok(leaf.cells().collect()),
            Node::Inner(_) => Err(StoreError::damaged(format!("map node {} is no leaf", leaf.id.0.short(12)))),
        }
    }

    /// The plain bytes of a slice, proven by the chunk's name.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn read(&self, slice: &Slice) -> Result<Vec<u8>, StoreError> {
        let len = slice.extent.len().0;
        let bad = || StoreError::misuse(format!("a slice of {len} bytes at {} is none", slice.extent.start()));
        let len = usize::try_from(len).ok().filter(|l| *l <= big(MAX_DATA)).ok_or_else(bad)?;
        match slice.content {
            SliceContent::Zero => Ok(vec![0; len]),
            SliceContent::Chunk { id, at } => {
                let chunk = self.data(&id)?;
                let part = big(at).checked_add(len).and_then(|end| chunk.get(big(at)..end));
                part.map(<[u8]>::to_vec).ok_or_else(|| {
                    let (id, has) = (id.0.short(12), chunk.len());
                    StoreError::damaged(format!("{len} bytes at {at} of chunk {id}, which has {has}"))
                })
            }
        }
    }
}
