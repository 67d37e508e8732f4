//! The slices of leaves, and the parts of them in which two leaves differ.

use super::walk::{Nodes, Pair, Walk};
use super::{Slice, SliceContent};
use crate::error::StoreError;
use crate::layout::MAX_DATA;
use crate::node::{Leaf, LeafContent, LeafSlice, Node};
use model::units::{ByteLen, ByteOffset, Extent};
use std::collections::VecDeque;

/// The slices of the leaves that a walk finds.
#[derive(Debug)]
pub(super) struct SliceWalk<N> {
    pub(super) walk: Walk<N>,
    within: Extent,
    /// Of the leaf at hand.
    pub(super) ready: VecDeque<Slice>,
}

impl<N: Nodes> SliceWalk<N> {
    pub(super) fn new(walk: Walk<N>, within: Extent) -> Self {
        Self { walk, within, ready: VecDeque::new() }
    }

    pub(super) fn next(&mut self) -> Option<Result<Slice, StoreError>> {
        loop {
            if let Some(slice) = self.ready.pop_front() {
                return Some(Ok(slice));
            }
            let opened = self.walk.next()?.and_then(|pair| self.open(&pair));
            if let Err(e) = opened {
                return Some(Err(e));
            }
        }
    }

    fn open(&mut self, pair: &Pair) -> Result<(), StoreError> {
        let wanted = pair.wanted.open(&self.walk.nodes)?;
        let present = pair.present.and_then(|p| p.open(&self.walk.nodes).ok());
        let (Node::Leaf(wanted), present) = (&*wanted, present.as_deref()) else { return Ok(()) };
        let present = match present {
            Some(Node::Leaf(leaf)) => Some(leaf),
            _ => None,
        };
        self.walk.nodes.believe(&pair.wanted.id, wanted)?;
        let (within, ready) = (self.within, &mut self.ready);
        changes(present, wanted, &mut |start, len, content| {
            let at = pair.base.saturating_add(u64::from(start));
            push(ready, within, at, len, content);
        });
        Ok(())
    }
}

/// The slices of a leaf that begins at `first`, as far as they lie `within`.
pub(crate) fn slices_of(leaf: &Leaf, first: ByteOffset, within: Extent) -> Vec<Slice> {
    let mut slices = VecDeque::new();
    changes(None, leaf, &mut |start, len, content| {
        push(&mut slices, within, first.0.saturating_add(u64::from(start)), len, content);
    });
    slices.into()
}

/// Clips what lies at `at` to the range asked for. Zeros can go on for a whole leaf: they are cut, so that no slice is
/// longer than a chunk.
fn push(ready: &mut VecDeque<Slice>, within: Extent, at: u64, len: u32, content: SliceContent) {
    let mut done = 0;
    while done < len {
        let part = (len - done).min(MAX_DATA);
        let from = at.saturating_add(u64::from(done));
        let piece = Extent::new(ByteOffset(from), ByteLen(u64::from(part))).and_then(|e| e.intersect(within));
        if let Some(extent) = piece {
            let cut = u32::try_from(extent.start().0 - from).unwrap_or(part);
            ready.push_back(Slice { extent, content: content.further(done + cut) });
        }
        done += part;
    }
}

impl SliceContent {
    /// What begins `by` bytes further on.
    pub(super) fn further(self, by: u32) -> Self {
        match self {
            Self::Chunk { id, at } => Self::Chunk { id, at: at.saturating_add(by) },
            Self::Zero => Self::Zero,
        }
    }
}

/// What a slice of a leaf is, its chunk named.
fn named(leaf: &Leaf, slice: &LeafSlice) -> Option<SliceContent> {
    match slice.content {
        LeafContent::Zero => Some(SliceContent::Zero),
        LeafContent::Chunk { number, at } => {
            leaf.chunks.get(usize::from(number)).map(|id| SliceContent::Chunk { id: *id, at })
        }
    }
}

/// Gives the parts of `wanted` that are not, by what the slices say, the same bytes in `present`: start, length and content
/// of each. Every slice of both is looked at once.
fn changes(present: Option<&Leaf>, wanted: &Leaf, give: &mut dyn FnMut(u32, u32, SliceContent)) {
    let mut there = present.map(|l| l.slices.as_slice()).unwrap_or_default();
    for slice in &wanted.slices {
        let Some(content) = named(wanted, slice) else { continue };
        while there.first().is_some_and(|p| p.end() <= slice.start) {
            there = &there[1..];
        }
        // Everything of this slice before it is given or known to be the same.
        let mut open = slice.start;
        for other in there.iter().take_while(|p| p.start < slice.end()) {
            let (from, to) = (slice.start.max(other.start), slice.end().min(other.end()));
            let has = present.and_then(|leaf| named(leaf, other)).map(|c| c.further(from - other.start));
            if has == Some(content.further(from - slice.start)) {
                if from > open {
                    give(open, from - open, content.further(open - slice.start));
                }
                open = to;
            }
        }
        if open < slice.end() {
            give(open, slice.end() - open, content.further(open - slice.start));
        }
    }
}
