//! Map nodes: the Merkle tree from volume addresses to content (docs/store-format.md, "Maps").
//!
//! A node has one encoding: equal content gives equal bytes, whatever order or pieces it was written in. That is what
//! makes equal subtrees shared and lets a difference skip them.

use crate::decode::DecodeError;
use crate::layout::{CELL, LEAF_CELLS, MAX_HEIGHT, MAX_NODE, MAX_RUNS, big, small};
use model::id::{ChunkId, Digest, NodeId};
use serde::{Deserialize, Serialize};

/// A node of a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Node {
    /// 16 MiB of addresses.
    Leaf(Leaf),
    /// Up to 256 nodes below.
    Inner(Inner),
}

/// 16 MiB of addresses: the cells in which anything is used, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leaf {
    /// The cells with used bytes, by rising index.
    pub cells: Vec<Cell>,
}

/// A cell of 128 KiB: which of its bytes are used and what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its place in the leaf, 0 to 127.
    pub index: u8,
    /// The used bytes: rising, not touching, none empty. The rest are holes.
    pub runs: Vec<Run>,
    /// The chunk of all runs' bytes, one after the other; `None` where they are all zero.
    pub content: Option<ChunkId>,
}

/// Used bytes within a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// First byte, from the start of the cell.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

/// An inner node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inner {
    /// Levels below it, 1 to 5.
    pub height: u8,
    /// Used bytes of all leaves below.
    pub used: u64,
    /// The nodes below that have any used byte, by rising index.
    pub children: Vec<Child>,
}

/// A node below an inner node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Which part of the parent's addresses it covers.
    pub index: u8,
    /// Its name.
    pub id: NodeId,
}

const HEAD: usize = 48;
const INNER_HEAD: usize = 16;
const ZERO: u8 = 0;
const CHUNK: u8 = 1;

impl Cell {
    /// Used bytes.
    pub fn used(&self) -> u32 {
        self.runs.iter().fold(0, |n, r| n.saturating_add(r.len))
    }
}

impl Leaf {
    /// Digest of the plain bytes and the holes, which does not depend on how chunks are cut or stored: SHA-256 over, for each
    /// cell with used bytes, its index, its runs, and the SHA-256 of its used bytes (32 zero bytes where they are all zero).
    pub fn digest(&self) -> Digest {
        let mut text = Vec::with_capacity(self.cells.len() * 48);
        for cell in &self.cells {
            text.push(cell.index);
            put_runs(&mut text, &cell.runs);
            // In this format a chunk is exactly the used bytes of a cell, so that its name is the sum wanted here.
            text.extend_from_slice(&cell.content.map_or([0; 32], |c| c.0.0));
        }
        Digest::of(&text)
    }
}

impl Node {
    /// Levels below: 0 for a leaf.
    pub fn height(&self) -> u8 {
        match self {
            Self::Leaf(_) => 0,
            Self::Inner(inner) => inner.height,
        }
    }

    /// Used bytes of everything below.
    pub fn used(&self) -> u64 {
        match self {
            Self::Leaf(leaf) => leaf.cells.iter().map(|c| u64::from(c.used())).sum(),
            Self::Inner(inner) => inner.used,
        }
    }

    /// The one encoding of this node.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Leaf(leaf) => {
                let mut out = Vec::with_capacity(HEAD + leaf.cells.len() * 48);
                out.extend([0, 0]);
                out.extend(u16::try_from(leaf.cells.len()).unwrap_or(u16::MAX).to_le_bytes());
                out.extend([0; 4]);
                out.extend(self.used().to_le_bytes());
                out.extend(leaf.digest().0);
                for cell in &leaf.cells {
                    out.push(cell.index);
                    out.push(if cell.content.is_some() { CHUNK } else { ZERO });
                    put_runs(&mut out, &cell.runs);
                    if let Some(id) = cell.content {
                        out.extend(id.0.0);
                    }
                }
                out
            }
            Self::Inner(inner) => {
                let mut out = Vec::with_capacity(INNER_HEAD + inner.children.len() * 33);
                out.extend([inner.height, 0]);
                out.extend(u16::try_from(inner.children.len()).unwrap_or(u16::MAX).to_le_bytes());
                out.extend([0; 4]);
                out.extend(inner.used.to_le_bytes());
                for child in &inner.children {
                    out.push(child.index);
                    out.extend(child.id.0.0);
                }
                out
            }
        }
    }

    /// The node whose one encoding these bytes are.
    ///
    /// # Errors
    /// [`DecodeError::Bad`] where there is no such node.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > big(MAX_NODE) {
            return Err(DecodeError::bad(format!("a map node of {} bytes; the most is {MAX_NODE}", bytes.len())));
        }
        let node = parse(bytes).ok_or_else(|| DecodeError::bad("a map node ends too early or has an unknown cell"))?;
        node.validate()?;
        // One comparison stands for every rule of the encoding: counts, sums, reserved bytes, trailing bytes.
        if node.encode() != bytes {
            return Err(DecodeError::bad("a map node is not in its one encoding"));
        }
        Ok(node)
    }

    /// Checks what every reader relies on: order, bounds, no empty parts.
    ///
    /// # Errors
    /// [`DecodeError::Bad`] with the first rule broken.
    pub fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Self::Leaf(leaf) => {
                let rising = leaf.cells.windows(2).all(|w| w[0].index < w[1].index);
                if !rising || leaf.cells.last().is_some_and(|c| u64::from(c.index) >= LEAF_CELLS) {
                    return Err(DecodeError::bad("cells out of order in a map leaf"));
                }
                leaf.cells.iter().try_for_each(|c| check_runs(&c.runs))
            }
            Self::Inner(inner) => {
                let rising = inner.children.windows(2).all(|w| w[0].index < w[1].index);
                if !rising || inner.children.is_empty() || !(1..=MAX_HEIGHT).contains(&inner.height) {
                    return Err(DecodeError::bad(format!("bad inner map node of height {}", inner.height)));
                }
                Ok(())
            }
        }
    }
}

fn check_runs(runs: &[Run]) -> Result<(), DecodeError> {
    if runs.is_empty() || runs.len() > MAX_RUNS {
        return Err(DecodeError::bad(format!("a cell with {} runs; 1 to {MAX_RUNS} can be", runs.len())));
    }
    let mut free_from = 0;
    for (i, run) in runs.iter().enumerate() {
        let end = run.start.checked_add(run.len).filter(|e| *e <= CELL);
        let apart = run.start > free_from || i == 0;
        match end {
            Some(end) if apart && run.len > 0 => free_from = end,
            _ => return Err(DecodeError::bad(format!("bad run of {} bytes at {} of a cell", run.len, run.start))),
        }
    }
    Ok(())
}

fn put_runs(out: &mut Vec<u8>, runs: &[Run]) {
    out.extend(u16::try_from(runs.len()).unwrap_or(u16::MAX).to_le_bytes());
    for run in runs {
        out.extend(run.start.to_le_bytes());
        out.extend(run.len.to_le_bytes());
    }
}

/// Takes the front of `bytes`.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*front)
}

fn parse(mut bytes: &[u8]) -> Option<Node> {
    let b = &mut bytes;
    let [height, _reserved] = take(b)?;
    let count = u16::from_le_bytes(take(b)?);
    let _reserved: [u8; 4] = take(b)?;
    let used = u64::from_le_bytes(take(b)?);
    if height == 0 {
        let _digest: [u8; 32] = take(b)?;
        let mut cells = Vec::new();
        for _ in 0..count {
            let [index, content] = take(b)?;
            let runs = u16::from_le_bytes(take(b)?);
            let mut list = Vec::with_capacity(usize::from(runs).min(MAX_RUNS));
            for _ in 0..runs {
                list.push(Run { start: u32::from_le_bytes(take(b)?), len: u32::from_le_bytes(take(b)?) });
            }
            let content = match content {
                ZERO => None,
                CHUNK => Some(ChunkId(Digest(take(b)?))),
                _ => return None,
            };
            cells.push(Cell { index, runs: list, content });
        }
        Some(Node::Leaf(Leaf { cells }))
    } else {
        let mut children = Vec::new();
        for _ in 0..count {
            let [index] = take(b)?;
            children.push(Child { index, id: NodeId(Digest(take(b)?)) });
        }
        Some(Node::Inner(Inner { height, used, children }))
    }
}

/// The length of a node's encoding never passes the limit: 48 + 128 * (4 + 256 * 8 + 32).
const _: () = assert!(HEAD + 128 * (4 + MAX_RUNS * 8 + 32) <= 512 * 1024);

/// Used by tests and by the writer to fill a cell.
pub(crate) fn run(start: usize, len: usize) -> Run {
    Run { start: small(start), len: small(len) }
}
