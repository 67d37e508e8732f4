//! Content digests: what the plain bytes and the holes of a leaf are, whatever the cutting, the encryption and the store
//! (docs/store-format.md, "Maps").

use crate::error::StoreError;
use crate::layout::{CELL, LEAF, big, small};
use crate::node::LeafSlice;
use crate::pieces::Pieces;
use model::id::Digest;
use sha2::{Digest as _, Sha256};

/// The used bytes of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CellRuns {
    /// Which cell of the leaf.
    pub(crate) index: u8,
    /// Start within the cell and length of each run: rising, not touching.
    pub(crate) runs: Vec<(u32, u32)>,
}

/// A cell of a leaf, 64 KiB of addresses, that has used bytes: equal ones have the same bytes and holes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Which one of the leaf, 0 to 63.
    pub index: u8,
    /// Where used bytes lie, in bytes from its start, and how many: rising, not touching.
    pub runs: Vec<(u32, u32)>,
    /// BLAKE3 of these bytes, one after the other; `None` where all are zero.
    pub hash: Option<Digest>,
}

/// Adds used bytes of a leaf behind those there are.
fn add(cells: &mut Vec<CellRuns>, mut start: u32, mut len: u32) {
    while len > 0 {
        let (index, at) = (u8::try_from(start / CELL).unwrap_or(u8::MAX), start % CELL);
        let part = len.min(CELL - at);
        match cells.last_mut().filter(|c| c.index == index) {
            Some(cell) => match cell.runs.last_mut() {
                Some((from, run)) if *from + *run == at => *run += part,
                _ => cell.runs.push((at, part)),
            },
            None => cells.push(CellRuns { index, runs: vec![(at, part)] }),
        }
        (start, len) = (start + part, len - part);
    }
}

/// The cells in which a leaf's slices lie, however these are cut. The slices are valid: rising, within the leaf.
pub(crate) fn cells(slices: &[LeafSlice]) -> Vec<CellRuns> {
    let mut cells = Vec::new();
    slices.iter().for_each(|s| add(&mut cells, s.start, s.len));
    cells
}

/// The content digest of a leaf, from its cells and the hash of each one's used bytes (`None` where they are all zero).
pub(crate) fn leaf_content<'a>(cells: impl Iterator<Item = (&'a CellRuns, Option<Digest>)>) -> Digest {
    let mut hash = Sha256::new();
    hash.update([0]);
    for (cell, of_bytes) in cells {
        hash.update([cell.index]);
        hash.update(u16::try_from(cell.runs.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (start, len) in &cell.runs {
            hash.update(start.to_le_bytes());
            hash.update(len.to_le_bytes());
        }
        hash.update(of_bytes.map_or([0; 32], |d| d.0));
    }
    Digest(hash.finalize().into())
}

/// The hash of a cell's used bytes; `None` where all of them are zero.
pub(crate) fn cell_hash(bytes: &Pieces) -> Option<Digest> {
    let hash = || {
        let mut hash = blake3::Hasher::new();
        for piece in bytes.iter() {
            hash.update(piece);
        }
        Digest(*hash.finalize().as_bytes())
    };
    (!bytes.iter().all(is_zero)).then(hash)
}

/// True where all bytes are zero; in steps of a size the compiler turns into wide loads.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|b| b.iter().fold(0, |a, b| a | b) == 0) && rest.iter().all(|b| *b == 0)
}

/// Computes the content digest of a leaf from its bytes: to compare what a disk holds with what a map says, and to prove
/// what a leaf says of itself.
#[derive(Debug, Default)]
pub struct LeafHasher {
    cells: Vec<CellRuns>,
    hashes: Vec<Option<Digest>>,
    /// Of the last cell.
    hash: blake3::Hasher,
    zero: bool,
    end: u32,
}

impl LeafHasher {
    /// Adds used bytes that start `start` bytes into the leaf. Calls rise in address and do not overlap; bytes that touch
    /// may come in any pieces.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where the rules are broken.
    pub fn add(&mut self, start: u32, bytes: &[u8]) -> Result<(), StoreError> {
        let end = u64::from(start).saturating_add(bytes.len() as u64);
        if start < self.end || end > LEAF {
            let text = format!("{} bytes at {start} of a leaf, after bytes up to {}", bytes.len(), self.end);
            return Err(StoreError::misuse(text));
        }
        let (mut at, mut rest) = (start, bytes);
        while !rest.is_empty() {
            let room = big(CELL - at % CELL);
            let (part, after) = rest.split_at(room.min(rest.len()));
            if self.cells.last().is_none_or(|c| u32::from(c.index) != at / CELL) {
                self.close();
                self.zero = true;
            }
            add(&mut self.cells, at, small(part.len()));
            self.zero = self.zero && is_zero(part);
            self.hash.update(part);
            at += small(part.len());
            rest = after;
        }
        self.end = at.max(self.end);
        Ok(())
    }

    /// The cells of what was added.
    pub fn cells(mut self) -> Vec<Cell> {
        self.close();
        let cells = self.cells.into_iter().zip(self.hashes);
        cells.map(|(CellRuns { index, runs }, hash)| Cell { index, runs, hash }).collect()
    }

    /// The content digest of what was added.
    pub fn finish(mut self) -> Digest {
        self.close();
        leaf_content(self.cells.iter().zip(self.hashes))
    }

    /// Ends the last cell, where there is one.
    fn close(&mut self) {
        if self.hashes.len() < self.cells.len() {
            self.hashes.push((!self.zero).then(|| Digest(*self.hash.finalize().as_bytes())));
            self.hash.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_zero() {
        for len in [0, 1, 63, 64, 65, 4096] {
            let mut bytes = vec![0; len];
            assert!(is_zero(&bytes));
            if let Some(last) = bytes.last_mut() {
                *last = 1;
                assert!(!is_zero(&bytes));
            }
        }
    }
}
