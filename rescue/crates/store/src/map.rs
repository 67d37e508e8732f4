//! Reading maps: which bytes of a volume come from which chunk, and where two maps differ.

use crate::error::StoreError;
use crate::layout::{CELL, FAN_BITS, LEAF, LEAF_BITS, big};
use crate::node::{Cell, Child, Leaf, Node};
use crate::store::Store;
use model::id::{ChunkId, NodeId};
use model::snapshot::MapRoot;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::VecDeque;

/// Used bytes of a volume and where they come from. Never longer than a cell ([`CELL`]).
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

/// A map that can be read.
#[derive(Debug, Clone)]
pub struct MapReader {
    store: Store,
    root: MapRoot,
}

impl MapReader {
    /// The used bytes within `extent`, in address order, one slice for each run of a cell; holes are absent. Takes
    /// memory for one path through the map. A node that cannot be read gives one error, and the slices after it follow.
    pub fn slices(&self, extent: Extent) -> Slices {
        Slices { walk: Walk::new(self.store.clone(), None, self.root, extent) }
    }

    /// Number of used bytes.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn used(&self) -> Result<ByteLen, StoreError> {
        self.store.node(&self.root.node, self.root.height).map(|n| ByteLen(n.used()))
    }
}

/// The slices of a map; see [`MapReader::slices`].
#[derive(Debug)]
pub struct Slices {
    walk: Walk,
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
    walk: Walk,
}

impl Iterator for Changes {
    type Item = Result<Slice, StoreError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.walk.next()
    }
}

impl Store {
    /// A map, for reading.
    pub fn map(&self, root: MapRoot) -> MapReader {
        MapReader { store: self.clone(), root }
    }

    /// The slices of `wanted` whose bytes may not be what `present` has there, in address order. A hole in `wanted` is
    /// skipped, a hole in `present` differs. Subtrees of equal name are skipped unread; within a cell that differs, all
    /// its runs are given. A node of `present` that cannot be read counts as different.
    pub fn diff(&self, present: MapRoot, wanted: MapRoot) -> Changes {
        let all = Extent::whole(ByteLen(u64::MAX));
        Changes { walk: Walk::new(self.clone(), Some(present.into()), wanted, all) }
    }

    /// The plain bytes of a slice, proven by the chunk's name.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn read(&self, slice: &Slice) -> Result<Vec<u8>, StoreError> {
        let len = slice.extent.len().0;
        let bad = || StoreError::misuse(format!("a slice of {len} bytes at {} is none", slice.extent.start()));
        let len = usize::try_from(len).ok().filter(|l| *l <= big(CELL)).ok_or_else(bad)?;
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

/// A subtree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sub {
    id: NodeId,
    height: u8,
}

impl From<MapRoot> for Sub {
    fn from(root: MapRoot) -> Self {
        Self { id: root.node, height: root.height }
    }
}

/// A part of the addresses still to be looked at.
#[derive(Debug)]
struct Task {
    base: u64,
    present: Option<Sub>,
    wanted: Sub,
}

#[derive(Debug)]
struct Walk {
    store: Store,
    within: Extent,
    /// At most 256 for each of six levels.
    todo: Vec<Task>,
    /// Slices of the leaf at hand.
    ready: VecDeque<Slice>,
}

impl Walk {
    fn new(store: Store, present: Option<Sub>, wanted: MapRoot, within: Extent) -> Self {
        let todo = vec![Task { base: 0, present, wanted: wanted.into() }];
        Self { store, within, todo, ready: VecDeque::new() }
    }

    fn next(&mut self) -> Option<Result<Slice, StoreError>> {
        loop {
            if let Some(slice) = self.ready.pop_front() {
                return Some(Ok(slice));
            }
            let task = self.todo.pop()?;
            if task.present == Some(task.wanted) || !self.touches(task.base, task.wanted.height) {
                continue;
            }
            if let Err(e) = self.open(&task) {
                return Some(Err(e));
            }
        }
    }

    fn touches(&self, base: u64, height: u8) -> bool {
        let last = base | mask(height);
        !self.within.is_empty() && base < self.within.end().0 && last >= self.within.start().0
    }

    fn open(&mut self, task: &Task) -> Result<(), StoreError> {
        let node = self.store.node(&task.wanted.id, task.wanted.height)?;
        match &*node {
            Node::Leaf(leaf) => {
                let present = task.present.and_then(|p| self.lowered(p, 0)).and_then(|p| self.leaf(p));
                self.leaf_slices(task.base, present.as_ref(), leaf);
            }
            Node::Inner(inner) => {
                let below = inner.height - 1;
                let there = task.present.map(|p| self.children(p, inner.height)).unwrap_or_default();
                for child in inner.children.iter().rev() {
                    let base = task.base | u64::from(child.index) << shift(inner.height);
                    let present = there.iter().find(|(i, _)| *i == child.index).map(|(_, s)| *s);
                    self.todo.push(Task { base, present, wanted: Sub { id: child.id, height: below } });
                }
            }
        }
        Ok(())
    }

    /// The subtree that covers the same first addresses at a lower height: its child 0, and so on.
    fn lowered(&self, mut sub: Sub, height: u8) -> Option<Sub> {
        while sub.height > height {
            let node = self.store.node(&sub.id, sub.height).ok()?;
            let Node::Inner(inner) = &*node else { return None };
            let Child { id, .. } = inner.children.first().filter(|c| c.index == 0).copied()?;
            sub = Sub { id, height: sub.height - 1 };
        }
        Some(sub)
    }

    /// What `present` has below a node of `height`: a map that is lower is the first part of it.
    fn children(&self, present: Sub, height: u8) -> Vec<(u8, Sub)> {
        let Some(sub) = self.lowered(present, height) else { return Vec::new() };
        if sub.height < height {
            return vec![(0, sub)];
        }
        match self.store.node(&sub.id, height).as_deref() {
            Ok(Node::Inner(inner)) => {
                inner.children.iter().map(|c| (c.index, Sub { id: c.id, height: height - 1 })).collect()
            }
            _ => Vec::new(),
        }
    }

    fn leaf(&self, sub: Sub) -> Option<Leaf> {
        match self.store.node(&sub.id, 0).as_deref() {
            Ok(Node::Leaf(leaf)) => Some(leaf.clone()),
            _ => None,
        }
    }

    fn leaf_slices(&mut self, base: u64, present: Option<&Leaf>, wanted: &Leaf) {
        let mut there = present.map(|l| l.cells.as_slice()).unwrap_or_default();
        for cell in &wanted.cells {
            while there.first().is_some_and(|c| c.index < cell.index) {
                there = &there[1..];
            }
            let same = there.first().filter(|c| c.index == cell.index);
            if same == Some(cell) {
                continue;
            }
            let start = base + u64::from(cell.index) * u64::from(CELL);
            // Zeros over zeros differ only where there were holes.
            let zeros = same.filter(|c| c.content.is_none() && cell.content.is_none());
            match zeros {
                Some(zeros) => {
                    let there: ExtentSet = runs(start, zeros).map(|(e, _)| e).collect();
                    for (extent, _) in runs(start, cell) {
                        for gap in there.gaps(extent).iter() {
                            self.push(gap, SliceContent::Zero);
                        }
                    }
                }
                None => {
                    for (extent, at) in runs(start, cell) {
                        let content = cell.content.map_or(SliceContent::Zero, |id| SliceContent::Chunk { id, at });
                        self.push(extent, content);
                    }
                }
            }
        }
    }

    /// Clips a slice to the addresses asked for.
    fn push(&mut self, extent: Extent, content: SliceContent) {
        let Some(clipped) = extent.intersect(self.within) else { return };
        let cut = clipped.start().0 - extent.start().0;
        let content = match content {
            SliceContent::Chunk { id, at } => {
                SliceContent::Chunk { id, at: at + u32::try_from(cut).expect("a run lies within a cell") }
            }
            SliceContent::Zero => SliceContent::Zero,
        };
        self.ready.push_back(Slice { extent: clipped, content });
    }
}

/// The runs of a cell that starts at `start`, each with its place in the cell's chunk.
fn runs(start: u64, cell: &Cell) -> impl Iterator<Item = (Extent, u32)> + '_ {
    let mut at = 0;
    cell.runs.iter().filter_map(move |run| {
        let here = at;
        at += run.len;
        // The very last cell of a 64-bit address space has no end that fits: it cannot be a volume's, and is skipped.
        let from = start.checked_add(u64::from(run.start))?;
        Some((Extent::new(ByteOffset(from), ByteLen(u64::from(run.len)))?, here))
    })
}

/// Bits of an address below a child of a node of `height`.
fn shift(height: u8) -> u32 {
    LEAF_BITS + FAN_BITS * (u32::from(height) - 1)
}

/// The addresses within a node of `height`, as a mask.
pub(crate) fn mask(height: u8) -> u64 {
    let bits = LEAF_BITS + FAN_BITS * u32::from(height);
    1u64.checked_shl(bits).map_or(u64::MAX, |n| n - 1)
}

const _: () = assert!(LEAF == 1 << LEAF_BITS);
