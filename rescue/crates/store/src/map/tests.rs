//! Maps of the same bytes cut in many ways, in a table instead of a store; and one of a terabyte.

use super::slices::SliceWalk;
use super::walk::{Nodes, Walk};
use super::{Slice, SliceContent, next_leaf};
use crate::error::StoreError;
use crate::layout::{CELL, LEAF, MAX_DATA, MAX_VOLUME, small};
use crate::leaf::LeafBuilder;
use crate::node::{Leaf, Node};
use crate::writer::tree::Tree;
use model::id::{ChunkId, Digest, NodeId};
use model::snapshot::MapRoot;
use model::units::{ByteLen, Extent};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Nodes and chunks by name.
#[derive(Default)]
struct Table {
    nodes: HashMap<NodeId, Arc<Node>>,
    chunks: HashMap<ChunkId, Vec<u8>>,
    reads: Cell<usize>,
}

impl Nodes for &Table {
    fn node(&self, id: &NodeId, height: u8) -> Result<Arc<Node>, StoreError> {
        self.reads.set(self.reads.get() + 1);
        let node = self.nodes.get(id).filter(|n| n.height() == height).cloned();
        node.ok_or_else(|| StoreError::damaged(format!("no node {id:?} of height {height}")))
    }

    fn believe(&self, _: &NodeId, _: &Leaf) -> Result<(), StoreError> {
        Ok(())
    }
}

impl Table {
    fn put(&mut self, node: &Node) -> Result<NodeId, StoreError> {
        let plain = node.encode();
        assert_eq!(Node::decode(&plain).unwrap(), *node, "one encoding");
        let id = NodeId(Digest::of(&plain));
        self.nodes.insert(id, Arc::new(node.clone()));
        Ok(id)
    }

    fn bytes(&self, slice: &Slice) -> Vec<u8> {
        let len = usize::try_from(slice.extent.len().0).unwrap();
        match slice.content {
            SliceContent::Zero => vec![0; len],
            SliceContent::Chunk { id, at } => {
                let at = usize::try_from(at).unwrap();
                self.chunks[&id][at..at + len].to_vec()
            }
        }
    }

    fn slices(&self, present: Option<MapRoot>, wanted: MapRoot) -> Vec<Slice> {
        let all = Extent::whole(ByteLen(MAX_VOLUME));
        let mut walk = SliceWalk::new(Walk::new(self, present, wanted, all), all);
        let slices: Vec<Slice> = std::iter::from_fn(|| walk.next()).map(Result::unwrap).collect();
        assert!(slices.windows(2).all(|w| w[0].extent.end() <= w[1].extent.start()));
        assert!(slices.iter().all(|s| !s.extent.is_empty() && s.extent.len().0 <= u64::from(MAX_DATA)));
        slices
    }
}

/// The used bytes of a volume: address and value. Small enough to be looked at byte by byte.
type Bytes = BTreeMap<u64, u8>;

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % most
    }
}

/// How a map is made of bytes.
#[derive(Debug, Clone, Copy)]
struct Cutting {
    /// What decides where it is cut; 0 is the grid.
    seed: u64,
    /// Goes into the names of chunks and nodes, as a store's key does.
    key: u8,
}

/// Bytes that follow each other, and go to one chunk.
struct Piece {
    start: u64,
    bytes: Vec<u8>,
    chunk: usize,
}

/// Cuts bytes at cells, and by the dice anywhere, into pieces of chunks that lie between each other.
fn pieces(bytes: &Bytes, cutting: Cutting) -> Vec<Piece> {
    let cell = u64::from(CELL);
    let mut dice = Dice(cutting.seed | 1 << 32);
    let mut out: Vec<Piece> = Vec::new();
    let (mut open, mut chunks) = ([0, 1], 2);
    for (at, byte) in bytes {
        let last = out.last().map(|p| (p.start, p.start + p.bytes.len() as u64, p.chunk));
        let cut = match (last, cutting.seed) {
            (None, _) => true,
            (Some((_, end, _)), 0) => end != *at || at.is_multiple_of(cell),
            (Some((_, end, _)), _) => end != *at || at.is_multiple_of(LEAF) || dice.below(60) == 0,
        };
        if !cut {
            if let Some(piece) = out.last_mut() {
                piece.bytes.push(*byte);
            }
            continue;
        }
        let chunk = match (last, cutting.seed) {
            (Some((start, _, chunk)), 0) if start / cell == at / cell => chunk,
            (_, 0) => {
                chunks += 1;
                chunks
            }
            _ => {
                let which = usize::try_from(dice.below(2)).unwrap();
                if dice.below(4) == 0 {
                    open[which] = chunks;
                    chunks += 1;
                }
                open[which]
            }
        };
        out.push(Piece { start: *at, bytes: vec![*byte], chunk });
    }
    out
}

/// Makes a map. The dice shuffle the order in which leaves are told of slices and cells.
fn build(table: &mut Table, bytes: &Bytes, cutting: Cutting, shuffle: u64) -> MapRoot {
    let mut dice = Dice(shuffle | 1 << 33);
    let mut chunks: HashMap<usize, Vec<u8>> = HashMap::new();
    let mut leaves: BTreeMap<u64, Vec<(u32, u32, usize, u32)>> = BTreeMap::new();
    for piece in pieces(bytes, cutting) {
        let chunk = chunks.entry(piece.chunk).or_default();
        let (at, start) = (small(chunk.len()), u32::try_from(piece.start % LEAF).unwrap());
        leaves.entry(piece.start / LEAF).or_default().push((start, small(piece.bytes.len()), piece.chunk, at));
        chunk.extend(&piece.bytes);
    }
    let named: HashMap<usize, Option<ChunkId>> = chunks
        .into_iter()
        .map(|(number, bytes)| {
            let id = ChunkId(Digest::of(&[[cutting.key].as_slice(), &bytes].concat()));
            let zero = bytes.iter().all(|b| *b == 0);
            if !zero {
                table.chunks.insert(id, bytes);
            }
            (number, (!zero).then_some(id))
        })
        .collect();
    let mut tree = Tree::default();
    for (number, mut slices) in leaves {
        let mut leaf = LeafBuilder::default();
        for n in (1..slices.len()).rev() {
            slices.swap(n, usize::try_from(dice.below(n as u64 + 1)).unwrap());
        }
        for (start, len, chunk, at) in slices {
            let content = named[&chunk].map_or(SliceContent::Zero, |id| SliceContent::Chunk { id, at });
            // What goes on may come in two calls.
            let first = 1 + u32::try_from(dice.below(u64::from(len))).unwrap();
            leaf.slice(start, first, content);
            if first < len {
                leaf.slice(start + first, len - first, content.further(first));
            }
        }
        let mut cells: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for (at, byte) in bytes.range(number * LEAF..(number + 1) * LEAF) {
            cells.entry(u8::try_from(at % LEAF / u64::from(CELL)).unwrap()).or_default().push(*byte);
        }
        for (index, bytes) in cells.into_iter().rev() {
            leaf.cell(index, bytes.iter().any(|b| *b != 0).then(|| Digest::of(&bytes)));
        }
        let node = Node::Leaf(leaf.finish().unwrap());
        let id = table.put(&node).unwrap();
        tree.add(number, id, node.used(), node.content(), &mut |n| table.put(n)).unwrap();
    }
    tree.root(&mut |n| table.put(n)).unwrap()
}

/// Runs near the edges of cells, leaves and higher nodes, of few values, so that volumes have much in common.
fn volumes() -> impl Strategy<Value = Bytes> {
    let near = prop_oneof![
        4 => Just(0),
        2 => Just(u64::from(CELL) - 30),
        2 => Just(LEAF - 40),
        1 => Just(LEAF * 3 + u64::from(CELL) * 9),
        1 => Just(LEAF * 256 - 20),
        1 => Just(LEAF << 17),
    ];
    let run = (near, 0u64..120, 1u64..200, 0u8..3, any::<bool>());
    prop::collection::vec(run, 0..9).prop_map(|runs| {
        let mut bytes = Bytes::new();
        for (near, offset, len, value, rising) in runs {
            for n in 0..len {
                let more = if rising { u8::try_from(n % 5).unwrap() } else { 0 };
                bytes.insert(near + offset + n, value + more);
            }
        }
        bytes
    })
}

fn cuttings() -> impl Strategy<Value = Cutting> {
    (prop_oneof![1 => Just(0), 3 => 1u64..50], 0u8..2).prop_map(|(seed, key)| Cutting { seed, key })
}

/// Content digests of all nodes of a map by height and place.
fn contents(table: &Table, root: MapRoot) -> BTreeMap<(u8, u64), Digest> {
    let mut out = BTreeMap::new();
    let mut todo = vec![(root.height, 0, root.node)];
    while let Some((height, place, id)) = todo.pop() {
        let node = &table.nodes[&id];
        out.insert((height, place), node.content());
        if let Node::Inner(inner) = &**node {
            todo.extend(inner.children.iter().map(|c| (height - 1, place << 8 | u64::from(c.index), c.id)));
        }
    }
    out
}

/// What each used byte is by the slices: the same for two maps only where they provably have the same there.
fn sources(table: &Table, root: MapRoot) -> BTreeMap<u64, SliceContent> {
    let mut out = BTreeMap::new();
    for slice in table.slices(None, root) {
        let start = slice.extent.start().0;
        let each = (0..u32::try_from(slice.extent.len().0).unwrap()).map(|n| (u64::from(n), n));
        out.extend(each.map(|(n, by)| (start + n, slice.content.further(by))));
    }
    out
}

/// Compares a difference with the bytes: it misses none that differs, and gives none that is provably the same.
fn difference_is_right(table: &Table, a: (&Bytes, MapRoot), b: (&Bytes, MapRoot)) -> Result<(), TestCaseError> {
    let (there, wanted) = (sources(table, a.1), sources(table, b.1));
    let mut given = Bytes::new();
    for slice in table.slices(Some(a.1), b.1) {
        given.extend((slice.extent.start().0..).zip(table.bytes(&slice)));
    }
    for (at, byte) in b.0 {
        match given.get(at) {
            Some(value) => {
                prop_assert_eq!(value, byte);
                prop_assert_ne!(there.get(at), Some(&wanted[at]), "given though provably the same, at {}", at);
            }
            None => prop_assert_eq!(a.0.get(at), Some(byte), "missed at {}", at),
        }
    }
    prop_assert!(given.keys().all(|at| b.0.contains_key(at)));
    Ok(())
}

/// A leaf of parts of two chunks and of zeros, as a list of gap before, length, which, and how far it is moved.
fn leaf_of_parts(table: &mut Table, parts: &[(u32, u32, u8, u32)]) -> (Bytes, MapRoot) {
    let (mut leaf, mut bytes, mut start) = (LeafBuilder::default(), Bytes::new(), 0);
    for (gap, len, which, moved) in parts {
        start += gap;
        let chunk: Vec<u8> = (1..=100).map(|n| n + which).collect();
        let at = (start + moved) % 80;
        let content = match which {
            0 => SliceContent::Zero,
            _ => SliceContent::Chunk { id: ChunkId(Digest::of(&chunk)), at },
        };
        leaf.slice(start, *len, content);
        for n in 0..*len {
            let byte = if *which == 0 { 0 } else { chunk[usize::try_from(at + n).unwrap()] };
            bytes.insert(u64::from(start + n), byte);
        }
        if *which > 0 {
            table.chunks.insert(ChunkId(Digest::of(&chunk)), chunk);
        }
        start += len;
    }
    let plain: Vec<u8> = bytes.values().copied().collect();
    leaf.cell(0, plain.iter().any(|b| *b != 0).then(|| Digest::of(&plain)));
    let node = Node::Leaf(leaf.finish().unwrap());
    let root = MapRoot { node: table.put(&node).unwrap(), height: 0, content: node.content() };
    (bytes, root)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn content_does_not_depend_on_cutting(bytes in volumes(), a in cuttings(), b in cuttings(), shuffle in any::<u64>()) {
        let mut table = Table::default();
        let one = build(&mut table, &bytes, a, 0);
        prop_assert_eq!(build(&mut table, &bytes, a, shuffle), one, "the order in which a leaf is told does not matter");
        let two = build(&mut table, &bytes, b, shuffle);
        prop_assert_eq!(one.content, two.content);
        prop_assert_eq!(contents(&table, one), contents(&table, two));
        if a.key != b.key && bytes.values().any(|v| *v != 0) {
            prop_assert_ne!(one.node, two.node, "chunks of other names");
        }
        prop_assert_eq!(table.slices(Some(one), two), vec![], "equal content does not differ");
        for root in [one, two] {
            let mut read = Bytes::new();
            for slice in table.slices(None, root) {
                read.extend((slice.extent.start().0..).zip(table.bytes(&slice)));
            }
            prop_assert_eq!(&read, &bytes);
            prop_assert_eq!(table.nodes[&root.node].used(), bytes.len() as u64);
        }
    }

    #[test]
    fn other_content_has_another_digest(a in volumes(), b in volumes(), cutting in cuttings()) {
        let mut table = Table::default();
        let (one, two) = (build(&mut table, &a, cutting, 0), build(&mut table, &b, cutting, 0));
        prop_assert_eq!(one.content == two.content, a == b);
    }

    #[test]
    fn a_difference_misses_nothing(
        a in volumes(), b in volumes(), common in volumes(), cut_a in cuttings(), cut_b in cuttings()
    ) {
        let with = |own: &Bytes| own.iter().chain(&common).map(|(at, b)| (*at, *b)).collect::<Bytes>();
        let (a, b) = (with(&a), with(&b));
        let mut table = Table::default();
        let (ra, rb) = (build(&mut table, &a, cut_a, 0), build(&mut table, &b, cut_b, 0));
        difference_is_right(&table, (&a, ra), (&b, rb))?;
        prop_assert_eq!(table.slices(Some(rb), rb), vec![]);
        // A present map that cannot be read is all different.
        let lost = MapRoot { node: NodeId(Digest::of(b"lost")), content: Digest::of(b"lost"), ..ra };
        prop_assert_eq!(table.slices(Some(lost), rb), table.slices(None, rb));
    }

    #[test]
    fn a_difference_of_parts_of_chunks_is_exact(
        a in prop::collection::vec((0u32..4, 1u32..20, 0u8..3, 0u32..2), 1..10),
        b in prop::collection::vec((0u32..4, 1u32..20, 0u8..3, 0u32..2), 1..10),
    ) {
        let mut table = Table::default();
        let (a, b) = (leaf_of_parts(&mut table, &a), leaf_of_parts(&mut table, &b));
        difference_is_right(&table, (&a.0, a.1), (&b.0, b.1))?;
        difference_is_right(&table, (&b.0, b.1), (&a.0, a.1))?;
    }

    #[test]
    fn a_changed_encoding_is_another_node(bytes in volumes(), cutting in cuttings(), flips in any::<u64>()) {
        let mut table = Table::default();
        build(&mut table, &bytes, cutting, 0);
        let mut dice = Dice(flips | 1);
        for node in table.nodes.values() {
            let good = node.encode();
            prop_assert!(Node::decode(&good[..good.len() - 1]).is_err());
            prop_assert!(Node::decode(&[good.as_slice(), &[0]].concat()).is_err());
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 1 << dice.below(8);
                if let Ok(other) = Node::decode(&bad) {
                    prop_assert_ne!(&other, &**node);
                    prop_assert_eq!(other.encode(), bad);
                }
            }
        }
    }
}

#[test]
fn a_terabyte_is_walked_and_compared_with_little() {
    // 262,144 leaves, of which few are different: the nodes above them are what a real map has.
    const LEAVES: u64 = 1 << 18;
    let mut table = Table::default();
    let kinds: Vec<(NodeId, Node)> = (0..100u8)
        .map(|kind| {
            let mut leaf = LeafBuilder::default();
            for cell in 0..64u8 {
                let hash = Digest::of(&[kind, cell]);
                leaf.slice(u32::from(cell) * CELL, CELL, SliceContent::Chunk { id: ChunkId(hash), at: 0 });
                leaf.cell(cell, Some(hash));
            }
            let node = Node::Leaf(leaf.finish().unwrap());
            (table.put(&node).unwrap(), node)
        })
        .collect();
    let mut map = |changed: &[u64]| {
        let mut tree = Tree::default();
        for n in 0..LEAVES {
            let kind = if changed.contains(&n) { 99 } else { n % 99 };
            let (id, node) = &kinds[usize::try_from(kind).unwrap()];
            tree.add(n, *id, node.used(), node.content(), &mut |n| table.put(n)).unwrap();
        }
        tree.root(&mut |n| table.put(n)).unwrap()
    };
    let changed = [0, 77_777, LEAVES - 1];
    let (before, after) = (map(&[]), map(&changed));
    assert_eq!(before.height, 3);
    assert_eq!(table.nodes[&before.node].used(), 1 << 40);

    // Comparing reads the way to what differs, in both maps, and nothing else.
    table.reads.set(0);
    let slices = table.slices(Some(before), after);
    assert_eq!(slices.len(), changed.len() * 64);
    assert!(changed.iter().all(|n| slices.iter().any(|s| s.extent.start().0 == n * LEAF)));
    // The root once, then at most two nodes and the leaf for each change.
    assert!(table.reads.get() <= 2 * (1 + 3 * changed.len()), "{} nodes were read", table.reads.get());

    // Walking to every leaf reads the nodes above them and keeps what is beside one path.
    let all = Extent::whole(ByteLen(MAX_VOLUME));
    table.reads.set(0);
    let mut walk = Walk::new(&table, None, after, all);
    let (mut leaves, mut most) = (0, 0);
    while let Some(leaf) = next_leaf(&mut walk) {
        assert_eq!(leaf.unwrap().extent.start().0, leaves * LEAF);
        leaves += 1;
        most = most.max(walk.todo.len());
    }
    assert_eq!((leaves, table.reads.get()), (LEAVES, 1 + 4 + 1024));
    assert!(most <= 3 * 256, "{most} waiting");

    // Slices of a part in the middle need the way there.
    table.reads.set(0);
    let part = Extent::between(100_000 * LEAF + 5, 100_001 * LEAF + 7).unwrap();
    let mut walk = SliceWalk::new(Walk::new(&table, None, after, part), part);
    let mut used = 0;
    while let Some(slice) = walk.next() {
        used += slice.unwrap().extent.len().0;
        assert!(walk.ready.len() <= 64 && walk.walk.todo.len() <= 3 * 256);
    }
    assert_eq!((used, table.reads.get()), (part.len().0, 3 + 2));
}
