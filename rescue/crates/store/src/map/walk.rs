//! From the root of a map to its leaves, past what another map has as well.

use crate::error::StoreError;
use crate::layout::{FAN_BITS, LEAF, LEAF_BITS};
use crate::node::{Child, Inner, Leaf, Node};
use crate::store::Store;
use model::id::{Digest, NodeId};
use model::snapshot::MapRoot;
use model::units::Extent;
use std::sync::Arc;

/// Where nodes come from.
pub(crate) trait Nodes {
    /// A valid node of that name and height.
    fn node(&self, id: &NodeId, height: u8) -> Result<Arc<Node>, StoreError>;

    /// Whether a leaf whose bytes are about to be used may be believed.
    fn believe(&self, id: &NodeId, leaf: &Leaf) -> Result<(), StoreError>;
}

impl Nodes for Store {
    fn node(&self, id: &NodeId, height: u8) -> Result<Arc<Node>, StoreError> {
        Self::node(self, id, height)
    }

    fn believe(&self, id: &NodeId, leaf: &Leaf) -> Result<(), StoreError> {
        if self.requires_signers() { self.prove_leaf(id, leaf) } else { Ok(()) }
    }
}

/// A subtree, as its parent or a manifest names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Sub {
    pub(crate) id: NodeId,
    pub(crate) height: u8,
    pub(crate) content: Digest,
}

impl From<MapRoot> for Sub {
    fn from(root: MapRoot) -> Self {
        Self { id: root.node, height: root.height, content: root.content }
    }
}

impl Sub {
    /// The subtree of a child.
    pub(crate) fn child(parent: &Inner, child: &Child) -> Self {
        // A valid inner node is at least one level above the leaves.
        Self { id: child.id, height: parent.height.saturating_sub(1), content: child.content }
    }

    /// Its top node. What was said of its content must be what it says itself.
    pub(crate) fn open(&self, nodes: &impl Nodes) -> Result<Arc<Node>, StoreError> {
        let node = nodes.node(&self.id, self.height)?;
        if node.content() != self.content {
            let text = format!("map node {} is not of the content that was named", self.id.0.short(12));
            return Err(StoreError::damaged(text));
        }
        Ok(node)
    }

    /// True where both hold the same bytes and holes, as far as their names tell.
    fn same(&self, other: &Self) -> bool {
        self.height == other.height && (self.id == other.id || self.content == other.content)
    }
}

/// A subtree and what the other map has at its addresses.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    /// First address.
    pub(super) base: u64,
    pub(super) present: Option<Sub>,
    pub(super) wanted: Sub,
}

/// The leaves of a map within a range that another map does not have at the same place.
#[derive(Debug)]
pub(super) struct Walk<N> {
    pub(super) nodes: N,
    within: Extent,
    /// At most 256 for each of five levels.
    pub(super) todo: Vec<Pair>,
}

impl<N: Nodes> Walk<N> {
    pub(super) fn new(nodes: N, present: Option<MapRoot>, wanted: MapRoot, within: Extent) -> Self {
        let todo = vec![Pair { base: 0, present: present.map(Sub::from), wanted: wanted.into() }];
        Self { nodes, within, todo }
    }

    /// The next leaf, in address order. Leaves are not read. A node that cannot be read gives one error.
    pub(super) fn next(&mut self) -> Option<Result<Pair, StoreError>> {
        loop {
            let mut pair = self.todo.pop()?;
            if !touches(self.within, pair.base, pair.wanted.height) {
                continue;
            }
            pair.present = pair.present.and_then(|p| self.lowered(p, pair.wanted.height));
            if pair.present.is_some_and(|p| p.same(&pair.wanted)) {
                continue;
            }
            if pair.wanted.height == 0 {
                return Some(Ok(pair));
            }
            if let Err(e) = self.descend(&pair) {
                return Some(Err(e));
            }
        }
    }

    fn descend(&mut self, pair: &Pair) -> Result<(), StoreError> {
        let node = pair.wanted.open(&self.nodes)?;
        let Node::Inner(inner) = &*node else { return Ok(()) };
        let there = pair.present.map(|p| self.children(p, inner.height)).unwrap_or_default();
        let tasks = inner.children.iter().rev().map(|child| {
            let present = there.binary_search_by_key(&child.index, |(index, _)| *index).ok().map(|i| there[i].1);
            let base = pair.base | u64::from(child.index) << shift(inner.height);
            Pair { base, present, wanted: Sub::child(inner, child) }
        });
        self.todo.extend(tasks);
        Ok(())
    }

    /// The subtree that covers the same first addresses at no more than `height`: its child 0, and so on.
    fn lowered(&self, mut sub: Sub, height: u8) -> Option<Sub> {
        while sub.height > height {
            let node = sub.open(&self.nodes).ok()?;
            let Node::Inner(inner) = &*node else { return None };
            sub = Sub::child(inner, inner.children.first().filter(|c| c.index == 0)?);
        }
        Some(sub)
    }

    /// What `present` has below a node of `height`, by rising index: a map that is lower is the first part of it. What
    /// cannot be read counts as not there, so that all of `wanted` is given.
    fn children(&self, present: Sub, height: u8) -> Vec<(u8, Sub)> {
        if present.height < height {
            return vec![(0, present)];
        }
        match present.open(&self.nodes).as_deref() {
            Ok(Node::Inner(inner)) => inner.children.iter().map(|c| (c.index, Sub::child(inner, c))).collect(),
            _ => Vec::new(),
        }
    }
}

fn touches(within: Extent, base: u64, height: u8) -> bool {
    !within.is_empty() && base < within.end().0 && base | mask(height) >= within.start().0
}

/// Bits of an address below a child of a node of `height`.
fn shift(height: u8) -> u32 {
    LEAF_BITS + FAN_BITS * u32::from(height.saturating_sub(1))
}

/// The addresses within a node of `height`, as a mask.
pub(crate) fn mask(height: u8) -> u64 {
    let bits = LEAF_BITS + FAN_BITS * u32::from(height);
    1u64.checked_shl(bits).map_or(u64::MAX, |n| n - 1)
}

const _: () = assert!(LEAF == 1 << LEAF_BITS);
