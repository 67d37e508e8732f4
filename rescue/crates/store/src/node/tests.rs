//! Nodes that say a thing twice, another way, or that cannot be.

use super::{Child, Inner, Leaf, LeafContent, LeafSlice, Node};
use crate::content::{cells, leaf_content};
use crate::error::StoreError;
use crate::layout::{LEAF, MAX_DATA, small};
use crate::leaf::LeafBuilder;
use crate::map::SliceContent;
use model::id::{ChunkId, Digest, NodeId};

fn chunk(name: u8) -> ChunkId {
    ChunkId(Digest::of(&[name]))
}

fn of_chunk(start: u32, len: u32, number: u16, at: u32) -> LeafSlice {
    LeafSlice { start, len, content: LeafContent::Chunk { number, at } }
}

#[test]
fn a_leaf_that_says_it_another_way_is_refused() {
    let hash = Digest::of(b"what was hashed");
    let zeros = |start, len| LeafSlice { start, len, content: LeafContent::Zero };
    let cells_of = |slices: &[LeafSlice]| {
        let within = slices.iter().all(|s| u64::from(s.start) + u64::from(s.len) <= LEAF);
        if within { cells(slices) } else { Vec::new() }
    };
    let sealed = |chunks: &[u8], slices: &[LeafSlice], hashes: &[Option<Digest>]| {
        let cells = cells_of(slices);
        let content = leaf_content(cells.iter().zip(hashes.iter().copied()));
        let chunks = chunks.iter().map(|c| chunk(*c)).collect();
        Leaf { content, chunks, slices: slices.to_vec(), cells: hashes.to_vec() }
    };
    let leaf = |chunks: &[u8], slices: &[LeafSlice]| {
        let hashes = vec![Some(hash); cells_of(slices).len()];
        Node::Leaf(sealed(chunks, slices, &hashes))
    };
    let top = small(usize::try_from(LEAF).unwrap());
    let good = [
        leaf(&[1, 2], &[of_chunk(0, 5, 0, 0), of_chunk(5, 5, 1, 5), of_chunk(10, 5, 0, 0), of_chunk(16, 5, 0, 5)]),
        Node::Leaf(sealed(&[1], &[zeros(0, 9), of_chunk(top - 5, 5, 0, MAX_DATA - 5)], &[None, Some(hash)])),
        Node::Leaf(sealed(&[1], &[zeros(0, 9), of_chunk(9, 5, 0, 0)], &[None])),
        leaf(&[1], &[of_chunk(0, MAX_DATA, 0, 0)]),
        Node::Leaf(Leaf::default()),
    ];
    for node in &good {
        assert_eq!(Node::decode(&node.encode()).unwrap(), *node);
    }
    let bad = [
        ("content of no bytes", Node::Leaf(Leaf { content: hash, ..Leaf::default() })),
        (
            "content of other cells",
            Node::Leaf(Leaf { content: hash, ..sealed(&[1], &[of_chunk(0, 5, 0, 0)], &[None]) }),
        ),
        ("a hash of zeros", leaf(&[], &[zeros(0, 9)])),
        ("a cell without a hash", Node::Leaf(sealed(&[1], &[of_chunk(0, 5, 0, 0)], &[]))),
        ("a hash without a cell", Node::Leaf(sealed(&[1], &[of_chunk(0, 5, 0, 0)], &[Some(hash); 2]))),
        ("empty slice", leaf(&[1], &[of_chunk(0, 0, 0, 0)])),
        ("overlap", leaf(&[1], &[of_chunk(0, 5, 0, 0), of_chunk(4, 5, 0, 9)])),
        ("falling", leaf(&[1], &[of_chunk(9, 5, 0, 0), of_chunk(0, 5, 0, 9)])),
        ("past the leaf", leaf(&[1], &[of_chunk(top - 4, 5, 0, 0)])),
        ("end past 32 bits", leaf(&[1], &[of_chunk(u32::MAX, 5, 0, 0)])),
        ("past the chunk", leaf(&[1], &[of_chunk(0, 5, 0, MAX_DATA - 4)])),
        ("chunk past 32 bits", leaf(&[1], &[of_chunk(0, 5, 0, u32::MAX)])),
        ("two zeros that touch", leaf(&[1], &[of_chunk(0, 5, 0, 0), zeros(5, 5), zeros(10, 5)])),
        ("a chunk that goes on", leaf(&[1], &[of_chunk(0, 5, 0, 3), of_chunk(5, 5, 0, 8)])),
        ("unused chunk", leaf(&[1, 2], &[of_chunk(0, 5, 0, 0), of_chunk(9, 5, 0, 0)])),
        ("more chunks than slices", leaf(&[1, 2], &[of_chunk(0, 5, 0, 0)])),
        ("chunk twice", leaf(&[1, 1], &[of_chunk(0, 5, 0, 0), of_chunk(9, 5, 1, 0)])),
        ("not in order of use", leaf(&[1, 2], &[of_chunk(0, 5, 1, 0), of_chunk(9, 5, 0, 0)])),
        ("no such chunk", leaf(&[1], &[of_chunk(0, 5, 0, 0), of_chunk(9, 5, 1, 0)])),
        ("too many", leaf(&[1], &(0..8193).map(|n| of_chunk(n * 2, 1, 0, 0)).collect::<Vec<_>>())),
    ];
    for (what, node) in bad {
        assert!(node.validate().is_err(), "{what}");
        assert!(Node::decode(&node.encode()).is_err(), "{what}");
    }
}

#[test]
fn an_inner_node_that_cannot_be_is_refused() {
    let child = |index, content: &[u8]| {
        let id = NodeId(Digest::of(&[index]));
        Child { index, id, content: Digest::of(content) }
    };
    let inner = |height, used, children| Node::Inner(Inner { height, used, children });
    let good = inner(1, 2 * LEAF, vec![child(3, b"x"), child(255, b"y")]);
    assert_eq!(Node::decode(&good.encode()).unwrap(), good);
    let bad = [
        ("height 0", inner(0, 2, vec![child(3, b"x")])),
        ("height 6", inner(6, 2, vec![child(3, b"x")])),
        ("no children", inner(1, 0, vec![])),
        ("falling", inner(1, 9, vec![child(3, b"x"), child(2, b"x")])),
        ("twice", inner(1, 9, vec![child(3, b"x"), child(3, b"x")])),
        ("a part without a used byte", inner(1, 1, vec![child(3, b"x"), child(4, b"y")])),
        ("more than fits", inner(1, LEAF + 1, vec![child(3, b"x")])),
        ("an empty leaf", inner(1, 9, vec![child(3, &[0])])),
    ];
    for (what, node) in bad {
        assert!(node.validate().is_err(), "{what}");
        assert!(Node::decode(&node.encode()).is_err(), "{what}");
    }
    // A content digest that is not that of the children.
    let mut bytes = good.encode();
    bytes[16] ^= 1;
    assert!(Node::decode(&bytes).is_err());
}

#[test]
fn a_builder_makes_no_leaf_that_is_none() {
    let refused = |slices: &[(u32, u32, SliceContent)], cells: &[u8]| {
        let mut leaf = LeafBuilder::default();
        slices.iter().for_each(|(start, len, content)| leaf.slice(*start, *len, *content));
        cells.iter().for_each(|index| leaf.cell(*index, Some(Digest::of(b"x"))));
        let result = leaf.finish();
        assert!(matches!(result, Err(StoreError::Misuse { .. })), "{result:?}");
    };
    let part = |at| SliceContent::Chunk { id: chunk(1), at };
    let many: Vec<_> = (0..8193).map(|n| (n * 2, 1, part(n))).collect();
    refused(&[(0, 5, part(0))], &[]);
    refused(&[], &[0]);
    refused(&[(0, 5, part(0))], &[1]);
    refused(&[(0, 5, part(0))], &[0, 1]);
    refused(&[(0, 5, part(0)), (4, 5, part(7))], &[0]);
    refused(&[(4 << 20, 5, part(0))], &[64]);
    refused(&[(0, 5, part(MAX_DATA))], &[0]);
    refused(&many, &[0]);
    assert_eq!(LeafBuilder::default().finish().unwrap(), Leaf::default());
}
