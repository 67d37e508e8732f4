//! Map nodes: the Merkle tree from volume addresses to content (docs/store-format.md, "Maps").
//!
//! A node has one encoding: equal content, cut the same way, gives equal bytes, whatever order or pieces it was written in.
//! That is what makes equal subtrees shared and lets a difference skip them.

#[cfg(test)]
mod tests;

use crate::content::{Cell, CellRuns, cells, leaf_content};
use crate::decode::DecodeError;
use crate::layout::{CELL, FAN_BITS, LEAF, LEAF_BITS, LEAF_CELLS, MAX_DATA, MAX_HEIGHT, MAX_NODE, MAX_SLICES, big};
use model::id::{ChunkId, Digest, NodeId};
use sha2::{Digest as _, Sha256};
use std::collections::HashSet;

/// A node of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// 4 MiB of addresses.
    Leaf(Leaf),
    /// Up to 256 nodes below.
    Inner(Inner),
}

/// 4 MiB of addresses: which bytes are used and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Digest of the plain bytes and the holes, however they are cut and stored.
    pub content: Digest,
    /// The chunks that slices use, in the order in which they first do.
    pub chunks: Vec<ChunkId>,
    /// The used bytes, rising. The rest are holes.
    pub slices: Vec<LeafSlice>,
    /// The BLAKE3 hash of the used bytes of each 64 KiB cell that has any, in order; `None` where they are all zero.
    pub cells: Vec<Option<Digest>>,
}

/// Used bytes within a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafSlice {
    /// First byte, from the start of the leaf.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
    /// What they are.
    pub content: LeafContent,
}

/// What the bytes of a slice of a leaf are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafContent {
    /// Part of a chunk.
    Chunk {
        /// Which of the leaf's chunks.
        number: u16,
        /// First byte, from the start of the chunk's plain bytes.
        at: u32,
    },
    /// Zeros.
    Zero,
}

/// An inner node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// Levels below it, 1 to 5.
    pub height: u8,
    /// Used bytes of all leaves below.
    pub used: u64,
    /// The nodes below that have any used byte, by rising index.
    pub children: Vec<Child>,
}

/// A node below an inner node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// Which part of the parent's addresses it covers.
    pub index: u8,
    /// Its name.
    pub id: NodeId,
    /// Its content digest.
    pub content: Digest,
}

/// Number in place of a chunk's: zeros.
const ZEROS: u16 = u16::MAX;
/// In place of a cell's hash: all its used bytes are zero. No bytes have this hash.
const ALL_ZERO: [u8; 32] = [0; 32];
const HEAD: usize = 48;
const SLICE: usize = 14;

impl LeafSlice {
    /// One past its last byte.
    pub(crate) fn end(&self) -> u32 {
        self.start.saturating_add(self.len)
    }

    /// The numbers of the cells that it touches.
    fn cells(&self) -> std::ops::RangeInclusive<u8> {
        let cell = |at: u32| u8::try_from(at / CELL).unwrap_or(u8::MAX);
        cell(self.start)..=cell(self.end().saturating_sub(1))
    }

    /// True where `next` begins where this ends and goes on with the same content: then both are one slice.
    pub(crate) fn continues_in(&self, next: &Self) -> bool {
        let goes_on = match (self.content, next.content) {
            (LeafContent::Zero, LeafContent::Zero) => true,
            (LeafContent::Chunk { number: a, at }, LeafContent::Chunk { number: b, at: then }) => {
                a == b && at.saturating_add(self.len) == then
            }
            _ => false,
        };
        goes_on && self.end() == next.start
    }
}

impl Default for Leaf {
    /// The leaf of a map without any used byte.
    fn default() -> Self {
        Self { content: Self::empty_content(), chunks: Vec::new(), slices: Vec::new(), cells: Vec::new() }
    }
}

impl Leaf {
    /// Content digest of a leaf without any used byte.
    pub(crate) fn empty_content() -> Digest {
        Digest::of(&[0])
    }

    fn encode(&self, used: u64) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(HEAD + (self.chunks.len() + self.cells.len()) * 32 + self.slices.len() * SLICE);
        out.extend([0, 0]);
        out.extend(count(self.slices.len()));
        out.extend(count(self.chunks.len()));
        out.extend([0; 2]);
        out.extend(used.to_le_bytes());
        out.extend(self.content.0);
        self.chunks.iter().for_each(|id| out.extend(id.0.0));
        for slice in &self.slices {
            let (number, at) = match slice.content {
                LeafContent::Chunk { number, at } => (number, at),
                LeafContent::Zero => (ZEROS, 0),
            };
            out.extend(slice.start.to_le_bytes());
            out.extend(slice.len.to_le_bytes());
            out.extend(number.to_le_bytes());
            out.extend(at.to_le_bytes());
        }
        self.cells.iter().for_each(|hash| out.extend(hash.map_or(ALL_ZERO, |d| d.0)));
        out
    }

    /// Its cells with used bytes.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> {
        let cells = cells(&self.slices).into_iter().zip(&self.cells);
        cells.map(|(CellRuns { index, runs }, hash)| Cell { index, runs, hash: *hash })
    }

    pub(crate) fn validate(&self) -> Result<(), DecodeError> {
        let (slices, chunks) = (self.slices.len(), self.chunks.len());
        if slices > MAX_SLICES || chunks > slices {
            return Err(DecodeError::bad(format!("a map leaf of {slices} slices and {chunks} chunks")));
        }
        let (mut free_from, mut numbered) = (0, 0);
        for slice in &self.slices {
            let LeafSlice { start, len, content } = *slice;
            let inside = start.checked_add(len).is_some_and(|end| u64::from(end) <= LEAF);
            let within = match content {
                LeafContent::Zero => true,
                LeafContent::Chunk { number, at } => {
                    let number = usize::from(number);
                    // Numbers are given in the order of first use.
                    let in_order = number <= numbered && number < chunks;
                    numbered = numbered.max(number + 1);
                    in_order && at.checked_add(len).is_some_and(|end| end <= MAX_DATA)
                }
            };
            if len == 0 || start < free_from || !inside || !within {
                return Err(DecodeError::bad(format!("bad slice of {len} bytes at {start} of a map leaf")));
            }
            free_from = slice.end();
        }
        if numbered != chunks || self.chunks.iter().collect::<HashSet<_>>().len() != chunks {
            return Err(DecodeError::bad("a map leaf names a chunk twice or for nothing"));
        }
        if self.slices.windows(2).any(|w| w[0].continues_in(&w[1])) {
            return Err(DecodeError::bad("a map leaf has two slices that are one"));
        }
        let cells = cells(&self.slices);
        if cells.len() != self.cells.len() {
            let text = format!("a map leaf with {} hashes of {} cells", self.cells.len(), cells.len());
            return Err(DecodeError::bad(text));
        }
        if leaf_content(cells.iter().zip(self.cells.iter().copied())) != self.content {
            return Err(DecodeError::bad("a map leaf whose content digest is not that of its cells"));
        }
        // Without a chunk there is nothing to hash.
        let of_chunks = self.slices.iter().filter(|s| s.content != LeafContent::Zero).flat_map(LeafSlice::cells);
        let mut of_chunks = of_chunks.peekable();
        for (cell, hash) in cells.iter().zip(&self.cells) {
            let mut has_chunk = false;
            while of_chunks.next_if(|index| *index == cell.index).is_some() {
                has_chunk = true;
            }
            if hash.is_some() && !has_chunk {
                return Err(DecodeError::bad("a map leaf with a hash of zeros"));
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Content digest.
    pub fn content(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update([self.height]);
        for child in &self.children {
            hash.update([child.index]);
            hash.update(child.content.0);
        }
        Digest(hash.finalize().into())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.children.len() * 65);
        out.extend([self.height, 0]);
        out.extend(count(self.children.len()));
        out.extend([0; 4]);
        out.extend(self.used.to_le_bytes());
        out.extend(self.content().0);
        for child in &self.children {
            out.push(child.index);
            out.extend(child.id.0.0);
            out.extend(child.content.0);
        }
        out
    }

    fn validate(&self) -> Result<(), DecodeError> {
        let rising = self.children.windows(2).all(|w| w[0].index < w[1].index);
        if !rising || self.children.is_empty() || !(1..=MAX_HEIGHT).contains(&self.height) {
            return Err(DecodeError::bad(format!("bad inner map node of height {}", self.height)));
        }
        // Every part has a used byte, and none has more than it covers.
        let parts = self.children.len() as u64;
        let most = parts << (LEAF_BITS + FAN_BITS * u32::from(self.height - 1));
        if !(parts..=most).contains(&self.used) {
            return Err(DecodeError::bad(format!("{} used bytes below a map node of {parts} parts", self.used)));
        }
        if self.children.iter().any(|c| c.content == Leaf::empty_content()) {
            return Err(DecodeError::bad("an empty leaf below a map node"));
        }
        Ok(())
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
            Self::Leaf(leaf) => leaf.slices.iter().fold(0, |n, s| n.saturating_add(u64::from(s.len))),
            Self::Inner(inner) => inner.used,
        }
    }

    /// Digest of the plain bytes and the holes below, which does not depend on how they are cut or stored. Of a leaf it is
    /// what the leaf says: only its bytes can prove it ([`crate::LeafHasher`]).
    pub fn content(&self) -> Digest {
        match self {
            Self::Leaf(leaf) => leaf.content,
            Self::Inner(inner) => inner.content(),
        }
    }

    /// The one encoding of this node.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Leaf(leaf) => leaf.encode(self.used()),
            Self::Inner(inner) => inner.encode(),
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
        let node = parse(bytes).ok_or_else(|| DecodeError::bad("a map node ends too early"))?;
        node.validate()?;
        // One comparison stands for every rule of the encoding: counts, sums, reserved bytes, trailing bytes.
        if node.encode() != bytes {
            return Err(DecodeError::bad("a map node is not in its one encoding"));
        }
        Ok(node)
    }

    /// Checks what every reader relies on: order, bounds, no empty parts, nothing said twice.
    ///
    /// # Errors
    /// [`DecodeError::Bad`] with the first rule broken.
    pub fn validate(&self) -> Result<(), DecodeError> {
        match self {
            Self::Leaf(leaf) => leaf.validate(),
            Self::Inner(inner) => inner.validate(),
        }
    }
}

/// A count as it is encoded. One that does not fit is refused by `validate`.
fn count(n: usize) -> [u8; 2] {
    u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes()
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
    let parts = u16::from_le_bytes(take(b)?);
    let ids = u16::from_le_bytes(take(b)?);
    let _reserved: [u8; 2] = take(b)?;
    let used = u64::from_le_bytes(take(b)?);
    let content = Digest(take(b)?);
    if height == 0 {
        let chunks = (0..ids).map(|_| Some(ChunkId(Digest(take(b)?)))).collect::<Option<_>>()?;
        let slices = (0..parts).map(|_| slice(b)).collect::<Option<_>>()?;
        let cells = (0..b.len() / 32).map(|_| Some(hash(take(b)?))).collect::<Option<_>>()?;
        Some(Node::Leaf(Leaf { content, chunks, slices, cells }))
    } else {
        let child = |_| {
            let [index] = take(b)?;
            Some(Child { index, id: NodeId(Digest(take(b)?)), content: Digest(take(b)?) })
        };
        let children = (0..parts).map(child).collect::<Option<_>>()?;
        Some(Node::Inner(Inner { height, used, children }))
    }
}

fn hash(bytes: [u8; 32]) -> Option<Digest> {
    (bytes != ALL_ZERO).then_some(Digest(bytes))
}

fn slice(b: &mut &[u8]) -> Option<LeafSlice> {
    let (start, len) = (u32::from_le_bytes(take(b)?), u32::from_le_bytes(take(b)?));
    let (number, at) = (u16::from_le_bytes(take(b)?), u32::from_le_bytes(take(b)?));
    let content = if number == ZEROS { LeafContent::Zero } else { LeafContent::Chunk { number, at } };
    Some(LeafSlice { start, len, content })
}

/// The length of a node's encoding never passes the limit.
const _: () = {
    let most = HEAD + MAX_SLICES * (32 + SLICE);
    assert!(most as u64 + LEAF_CELLS * 32 <= MAX_NODE as u64 && MAX_SLICES < ZEROS as usize);
};
