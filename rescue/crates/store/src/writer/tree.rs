//! The levels of a map above its leaves.
//!
//! The shape follows from the addresses alone: node `n` of a level is part `n % 256` of node `n / 256` of the next, and the
//! root is the lowest node that covers every used byte.

use crate::error::StoreError;
use crate::layout::FAN_BITS;
use crate::node::{Child, Inner, Leaf, Node};
use model::id::NodeId;
use model::snapshot::MapRoot;

/// Nodes of one level that still lack a parent: all parts of the same one.
type Level = Vec<Part>;

#[derive(Clone, Copy)]
struct Part {
    number: u64,
    id: NodeId,
    used: u64,
}

/// The open nodes of a map being built from left to right.
#[derive(Default)]
pub(super) struct Tree {
    levels: Vec<Level>,
}

/// Stores a node and names it.
type Keep<'a> = &'a mut dyn FnMut(&Node) -> Result<NodeId, StoreError>;

impl Tree {
    /// Adds leaf `number`; numbers rise.
    pub(super) fn add(&mut self, number: u64, id: NodeId, used: u64, keep: Keep<'_>) -> Result<(), StoreError> {
        self.add_at(0, Part { number, id, used }, keep)
    }

    fn add_at(&mut self, mut level: usize, mut part: Part, keep: Keep<'_>) -> Result<(), StoreError> {
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let parts = &mut self.levels[level];
            let closed = match parts.first() {
                Some(first) if first.number >> FAN_BITS != part.number >> FAN_BITS => Some(std::mem::take(parts)),
                _ => None,
            };
            parts.push(part);
            match closed {
                Some(closed) => part = parent(level, &closed, keep)?,
                None => return Ok(()),
            }
            level += 1;
        }
    }

    /// The root over everything added. Without any leaf it is an empty leaf.
    pub(super) fn root(mut self, keep: Keep<'_>) -> Result<MapRoot, StoreError> {
        if self.levels.is_empty() {
            return Ok(MapRoot { node: keep(&Node::Leaf(Leaf::default()))?, height: 0 });
        }
        let mut level = 0;
        loop {
            let parts = std::mem::take(&mut self.levels[level]);
            let top = level + 1 == self.levels.len();
            match parts.as_slice() {
                [only] if top && only.number == 0 => {
                    return Ok(MapRoot { node: only.id, height: height(level) });
                }
                // A level whose nodes all went up already.
                [] => {}
                parts => {
                    let above = parent(level, parts, keep)?;
                    self.add_at(level + 1, above, keep)?;
                }
            }
            level += 1;
        }
    }
}

/// Levels are counted in `u8` on disk; addresses of 64 bits need six.
fn height(level: usize) -> u8 {
    u8::try_from(level).expect("at most six levels cover 64 bits")
}

fn parent(level: usize, parts: &[Part], keep: Keep<'_>) -> Result<Part, StoreError> {
    let part_of = |n: u64| u8::try_from(n % 256).expect("below 256");
    let children = parts.iter().map(|p| Child { index: part_of(p.number), id: p.id }).collect();
    // Runs do not overlap, so that their sum is at most the volume's length.
    let used = parts.iter().fold(0u64, |n, p| n.saturating_add(p.used));
    let id = keep(&Node::Inner(Inner { height: height(level + 1), used, children }))?;
    Ok(Part { number: parts.first().map_or(0, |p| p.number >> FAN_BITS), id, used })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::Digest;
    use std::collections::HashMap;

    fn build(leaves: &[u64]) -> (MapRoot, HashMap<NodeId, Node>) {
        let mut kept = HashMap::new();
        let mut keep = |n: &Node| {
            let id = NodeId(Digest::of(&n.encode()));
            n.validate().unwrap();
            assert_eq!(Node::decode(&n.encode()).unwrap(), *n);
            kept.insert(id, n.clone());
            Ok(id)
        };
        let mut tree = Tree::default();
        for n in leaves {
            tree.add(*n, NodeId(Digest::of(&n.to_le_bytes())), 1, &mut keep).unwrap();
        }
        let root = tree.root(&mut keep).unwrap();
        (root, kept)
    }

    fn leaves_below(root: MapRoot, nodes: &HashMap<NodeId, Node>) -> Vec<(u64, NodeId)> {
        let mut level = vec![(0u64, root.node)];
        for _ in 0..root.height {
            let mut next = Vec::new();
            for (number, id) in level {
                let Node::Inner(inner) = &nodes[&id] else { panic!("a leaf above the leaves") };
                next.extend(inner.children.iter().map(|c| (number << 8 | u64::from(c.index), c.id)));
            }
            level = next;
        }
        level
    }

    #[test]
    fn every_leaf_is_found_where_it_was_put() {
        let cases: &[(&[u64], u8)] = &[
            (&[0], 0),
            (&[1], 1),
            (&[0, 255], 1),
            (&[256], 2),
            (&[0, 1, 255, 256, 257, 65_535], 2),
            (&[65_536], 3),
            (&[0, 300, 70_000, 1 << 24, (1 << 40) - 1], 5),
        ];
        for (leaves, height) in cases {
            let (root, nodes) = build(leaves);
            assert_eq!(root.height, *height, "{leaves:?}");
            let want: Vec<(u64, NodeId)> = leaves.iter().map(|n| (*n, NodeId(Digest::of(&n.to_le_bytes())))).collect();
            assert_eq!(leaves_below(root, &nodes), want);
        }
        let (empty, nodes) = build(&[]);
        assert_eq!(empty.height, 0);
        assert_eq!(nodes[&empty.node].used(), 0);
    }
}
