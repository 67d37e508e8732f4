//! Making leaves: slices and cells in any order become the one leaf that says it.

use crate::content::{cells, leaf_content};
use crate::error::StoreError;
use crate::layout::LEAF;
use crate::map::SliceContent;
use crate::node::{Leaf, LeafContent, LeafSlice};
use model::id::{ChunkId, Digest};
use std::collections::{BTreeMap, HashMap};

/// A leaf being made. The order of calls is of no matter, and bytes that go on may come in any pieces.
#[derive(Debug, Default)]
pub(crate) struct LeafBuilder {
    slices: Vec<(u32, u32, SliceContent)>,
    cells: BTreeMap<u8, Option<Digest>>,
}

impl LeafBuilder {
    /// Says that `len` bytes at `start` of the leaf are used, and where they are stored.
    pub(crate) fn slice(&mut self, start: u32, len: u32, content: SliceContent) {
        self.slices.push((start, len, content));
    }

    /// Gives the plain hash of the used bytes of a cell, in the order of their addresses; `None` where all are zero. It is
    /// what the content digest is made of. A chunk's id is no such hash: it covers what the cutting chose, is of another
    /// function, and is keyed in an encrypted store.
    pub(crate) fn cell(&mut self, index: u8, hash: Option<Digest>) {
        self.cells.insert(index, hash);
    }

    /// The leaf.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where slices overlap, are too many or leave the leaf, or where the cells that were given are
    /// not the ones that have used bytes.
    pub(crate) fn finish(mut self) -> Result<Leaf, StoreError> {
        self.slices.sort_by_key(|(start, ..)| *start);
        let mut numbers: HashMap<ChunkId, u16> = HashMap::new();
        let (mut chunks, mut slices): (Vec<ChunkId>, Vec<LeafSlice>) = (Vec::new(), Vec::new());
        for (start, len, content) in self.slices {
            if u64::from(start) + u64::from(len) > LEAF {
                return Err(StoreError::misuse(format!("{len} bytes at {start} are not within a leaf")));
            }
            let content = match content {
                SliceContent::Zero => LeafContent::Zero,
                SliceContent::Chunk { id, at } => {
                    // More than fit are refused below, with everything else a leaf must not be.
                    let next = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
                    let number = *numbers.entry(id).or_insert_with(|| {
                        chunks.push(id);
                        next
                    });
                    LeafContent::Chunk { number, at }
                }
            };
            let slice = LeafSlice { start, len, content };
            match slices.last_mut() {
                Some(last) if last.continues_in(&slice) => last.len += len,
                _ => slices.push(slice),
            }
        }
        let used = cells(&slices);
        if !used.iter().map(|c| c.index).eq(self.cells.keys().copied()) {
            let text = format!("{} cells were hashed where {} are used", self.cells.len(), used.len());
            return Err(StoreError::misuse(text));
        }
        let cells: Vec<Option<Digest>> = self.cells.into_values().collect();
        let content = leaf_content(used.iter().zip(cells.iter().copied()));
        let leaf = Leaf { content, chunks, slices, cells };
        leaf.validate().map_err(|e| StoreError::misuse(format!("no leaf can be made of this: {e}")))?;
        Ok(leaf)
    }
}
