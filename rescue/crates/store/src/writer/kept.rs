//! A leaf of an earlier map, of which a new one takes all or a part over.

use super::cutter::Cut;
use crate::error::StoreError;
use crate::layout::{CELL, LEAF};
use crate::map::{LeafRef, Slice, Sub, slices_of};
use crate::node::{Leaf, LeafContent, Node};
use crate::store::Store;
use model::id::Digest;
use model::units::Extent;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) struct Kept {
    at: LeafRef,
    node: Arc<Node>,
}

impl Kept {
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`] where it cannot be read.
    pub(super) fn of(store: &Store, at: LeafRef) -> Result<Self, StoreError> {
        let node = Sub { id: at.id, height: 0, content: at.content }.open(store)?;
        match &*node {
            Node::Leaf(_) => Ok(Self { at, node }),
            Node::Inner(_) => Err(StoreError::damaged(format!("map node {} is no leaf", at.id.0.short(12)))),
        }
    }

    fn leaf(&self) -> &Leaf {
        match &*self.node {
            Node::Leaf(leaf) => leaf,
            Node::Inner(_) => unreachable!("not made of one"),
        }
    }

    /// Its slices within `extent`, of a leaf whose bytes nobody proved.
    pub(super) fn slices(&self, extent: Extent) -> Vec<Slice> {
        slices_of(self.leaf(), self.at.extent.start(), extent)
    }

    /// Sees that its bytes are what was signed, where that is required.
    pub(super) fn believe(&self, store: &Store) -> Result<(), StoreError> {
        if store.requires_signers() { store.prove_leaf(&self.at.id, self.leaf()) } else { Ok(()) }
    }

    /// Sees that the chunks that it uses there lie in packs that may be relied on.
    pub(super) fn is_there(&self, store: &Store, extent: Extent) -> Result<(), StoreError> {
        let leaf = self.leaf();
        let all = extent == self.at.extent;
        let first = self.at.extent.start().0;
        let used = leaf.slices.iter().filter(|s| {
            let (start, end) = (first + u64::from(s.start), first + u64::from(s.end()));
            all || start < extent.end().0 && end > extent.start().0
        });
        let numbers: BTreeSet<u16> = used
            .filter_map(|s| match s.content {
                LeafContent::Chunk { number, .. } => Some(number),
                LeafContent::Zero => None,
            })
            .collect();
        let chunks = numbers.iter().filter_map(|n| leaf.chunks.get(usize::from(*n))).map(|chunk| chunk.0);
        let own: Option<Digest> = all.then_some(self.at.id.0);
        for id in chunks.chain(own) {
            if !store.has(&id)? {
                let text = format!("chunk {} is in no pack that is known to be good", id.short(12));
                return Err(StoreError::damaged(text));
            }
        }
        Ok(())
    }

    /// All of it, by its name.
    pub(super) fn whole(&self) -> Cut {
        let number = self.at.extent.start().0 / LEAF;
        Cut::Leaf { number, id: self.at.id, used: self.node.used(), content: self.at.content }
    }

    /// The addresses of the cells of which `part` has all that is in use, from the first to the last.
    pub(super) fn cells_within(&self, part: Extent) -> Option<Extent> {
        let first = self.at.extent.start().0;
        let mut within = self.leaf().cells().filter_map(|cell| {
            let start = first + u64::from(cell.index) * u64::from(CELL);
            let end = start + u64::from(CELL);
            let (from, to) = (cell.runs.first()?, cell.runs.last()?);
            let used = start + u64::from(from.0) >= part.start().0 && start + u64::from(to.0 + to.1) <= part.end().0;
            used.then_some((start, end))
        });
        let (start, end) = within.next()?;
        let end = within.last().map_or(end, |(_, end)| end);
        Extent::between(start.max(part.start().0), end.min(part.end().0))
    }

    /// Whole cells.
    pub(super) fn cells(&self, cells: Extent) -> Cut {
        let first = self.at.extent.start().0;
        let len = |s: &Slice| u32::try_from(s.extent.len().0).expect("no slice is longer than a chunk");
        let run = |s: Slice| ((s.extent.start().0, len(&s)), s.content);
        let hashes = self.leaf().cells().filter_map(|cell| {
            let start = first + u64::from(cell.index) * u64::from(CELL);
            let used = start + u64::from(cell.runs.first()?.0);
            (used >= cells.start().0 && used < cells.end().0).then_some((start / u64::from(CELL), cell.hash))
        });
        Cut::Cells { slices: self.slices(cells).into_iter().map(run).collect(), hashes: hashes.collect() }
    }
}
