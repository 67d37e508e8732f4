//! The levels of a map above its leaves.
//!
//! The shape follows from the addresses alone: node `n` of a level is part `n % 256` of node `n / 256` of the next, and the
//! root is the lowest node that covers every used byte.

use crate::error::StoreError;
use crate::layout::{FAN_BITS, LEAF, MAX_VOLUME};
use crate::node::{Child, Inner, Leaf, Node};
use model::id::{Digest, NodeId};
use model::snapshot::MapRoot;

/// Nodes of one level that still lack a parent: all parts of the same one.
type Level = Vec<Part>;

#[derive(Clone, Copy)]
struct Part {
    number: u64,
    id: NodeId,
    used: u64,
    content: Digest,
}

/// The open nodes of a map being built from left to right.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    levels: Vec<Level>,
}

/// Stores a node and names it.
type Keep<'a> = &'a mut dyn FnMut(&Node) -> Result<NodeId, StoreError>;

impl Tree {
    /// Used bytes of all leaves.
    pub(crate) fn used(&self) -> u64 {
        // What has a parent went up into it.
        self.levels.iter().flatten().fold(0, |n, part| n.saturating_add(part.used))
    }

    /// Adds leaf `number`, with its used bytes and its content digest: one that was just stored, or one that another map in
    /// this store has, taken over by its name.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where numbers do not rise, pass the longest volume, or nothing is used; those of `keep`.
    pub(crate) fn add(
        &mut self,
        number: u64,
        id: NodeId,
        used: u64,
        content: Digest,
        keep: Keep<'_>,
    ) -> Result<(), StoreError> {
        let last = self.levels.first().and_then(|l| l.last()).map(|p| p.number);
        if last.is_some_and(|last| number <= last) || number >= MAX_VOLUME / LEAF || used == 0 || used > LEAF {
            return Err(StoreError::misuse(format!("leaf {number} of {used} used bytes after leaf {last:?}")));
        }
        self.add_at(0, Part { number, id, used, content }, keep)
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
    pub(crate) fn root(mut self, keep: Keep<'_>) -> Result<MapRoot, StoreError> {
        if self.levels.is_empty() {
            let empty = Leaf::default();
            let content = empty.content;
            return Ok(MapRoot { node: keep(&Node::Leaf(empty))?, height: 0, content });
        }
        let mut level = 0;
        loop {
            let parts = std::mem::take(&mut self.levels[level]);
            let top = level + 1 == self.levels.len();
            match parts.as_slice() {
                [only] if top && only.number == 0 => {
                    return Ok(MapRoot { node: only.id, height: height(level), content: only.content });
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

/// Levels are counted in `u8` on disk; addresses of 62 bits need six.
fn height(level: usize) -> u8 {
    u8::try_from(level).expect("at most six levels cover 62 bits")
}

fn parent(level: usize, parts: &[Part], keep: Keep<'_>) -> Result<Part, StoreError> {
    let part_of = |n: u64| u8::try_from(n % 256).expect("below 256");
    let children = parts.iter().map(|p| Child { index: part_of(p.number), id: p.id, content: p.content }).collect();
    // Runs do not overlap, so that their sum is at most the volume's length.
    let used = parts.iter().fold(0u64, |n, p| n.saturating_add(p.used));
    let inner = Inner { height: height(level + 1), used, children };
    let content = inner.content();
    let id = keep(&Node::Inner(inner))?;
    Ok(Part { number: parts.first().map_or(0, |p| p.number >> FAN_BITS), id, used, content })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::LeafBuilder;
    use crate::map::SliceContent;
    use model::id::ChunkId;
    use std::collections::HashMap;

    type Nodes = HashMap<NodeId, Node>;

    /// Stores a node in a table.
    fn put(kept: &mut Nodes, node: &Node) -> Result<NodeId, StoreError> {
        let id = NodeId(Digest::of(&node.encode()));
        assert_eq!(Node::decode(&node.encode()).unwrap(), *node);
        kept.insert(id, node.clone());
        Ok(id)
    }

    fn build(leaves: &[u64]) -> (MapRoot, Nodes) {
        let mut kept = HashMap::new();
        let mut keep = |n: &Node| put(&mut kept, n);
        let mut tree = Tree::default();
        for n in leaves {
            let of = Digest::of(&n.to_le_bytes());
            tree.add(*n, NodeId(of), 1, of, &mut keep).unwrap();
        }
        let root = tree.root(&mut keep).unwrap();
        (root, kept)
    }

    /// Number and entry of every leaf.
    fn leaves_below(root: MapRoot, nodes: &Nodes) -> Vec<(u64, NodeId, Digest)> {
        let mut level = vec![(0u64, root.node, root.content)];
        for _ in 0..root.height {
            let mut next = Vec::new();
            for (number, id, content) in level {
                let Node::Inner(inner) = &nodes[&id] else { panic!("a leaf above the leaves") };
                assert_eq!(inner.content(), content);
                next.extend(inner.children.iter().map(|c| (number << 8 | u64::from(c.index), c.id, c.content)));
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
            let of = |n: &u64| Digest::of(&n.to_le_bytes());
            let want: Vec<_> = leaves.iter().map(|n| (*n, NodeId(of(n)), of(n))).collect();
            assert_eq!(leaves_below(root, &nodes), want);
        }
        let (empty, nodes) = build(&[]);
        assert_eq!((empty.height, empty.content), (0, Digest::of(&[0])));
        assert_eq!(nodes[&empty.node].used(), 0);
    }

    #[test]
    fn what_is_no_leaf_is_refused() {
        let of = Digest::of(b"a leaf");
        let mut kept = HashMap::new();
        let mut tree = Tree::default();
        let mut add = |number, used| tree.add(number, NodeId(of), used, of, &mut |n: &Node| put(&mut kept, n));
        add(5, 1).unwrap();
        for (number, used) in [(5, 1), (4, 1), (6, 0), (6, LEAF + 1), (1 << 40, 1)] {
            assert!(matches!(add(number, used), Err(StoreError::Misuse { .. })), "{number} {used}");
        }
        add(255, 1).unwrap();
        add(256, LEAF).unwrap();
        assert!(add(255, 1).is_err(), "also where the level above was begun");
    }

    #[test]
    fn kept_leaves_make_the_map_that_their_bytes_make() {
        // Leaves as a writer makes them: a chunk each, some zeros.
        let leaf = |n: u64| {
            let mut leaf = LeafBuilder::default();
            let hash = Digest::of(&(n % 7).to_le_bytes());
            leaf.slice(512, 4096, SliceContent::Chunk { id: ChunkId(hash), at: 0 });
            leaf.cell(0, Some(hash));
            leaf.slice(70_000, 100, SliceContent::Zero);
            leaf.cell(1, None);
            Node::Leaf(leaf.finish().unwrap())
        };
        let numbers: Vec<u64> = (0..600).chain([70_000, 70_001]).collect();
        let mut kept = HashMap::new();
        let mut tree = Tree::default();
        for n in &numbers {
            let node = leaf(*n);
            let id = put(&mut kept, &node).unwrap();
            tree.add(*n, id, node.used(), node.content(), &mut |n| put(&mut kept, n)).unwrap();
        }
        let written = tree.root(&mut |n| put(&mut kept, n)).unwrap();
        // Again, the leaves taken from the map that is there; every third is written anew.
        let mut again = HashMap::new();
        let mut tree = Tree::default();
        for (n, id, content) in leaves_below(written, &kept) {
            let used = kept[&id].used();
            let id = if n % 3 == 0 { put(&mut again, &leaf(n)).unwrap() } else { id };
            tree.add(n, id, used, content, &mut |n| put(&mut again, n)).unwrap();
        }
        let root = tree.root(&mut |n| put(&mut again, n)).unwrap();
        assert_eq!(root, written);
        assert_eq!(again[&root.node].used(), numbers.len() as u64 * 4196);
    }
}
