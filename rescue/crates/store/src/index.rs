//! Which chunk lies where: in memory a sorted array of 36 bytes a chunk, in the store objects that can be thrown away.

use crate::footer::{ChunkEntry, Footer};
use crate::layout::{big, small};
use model::id::Digest;
use std::collections::{BTreeMap, HashMap};

/// What an index object begins with; the last byte is the format.
const MAGIC: [u8; 16] = *b"holdfast index\0\0";
/// Entries kept apart before they are merged into the array.
const RECENT: usize = 16 * 1024;

/// Whether a pack's bytes are known to be good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Read back after it was put: an index object or this run says so.
    Verified,
    /// Put by the run at hand, which saves against it, and reads it back at its end.
    Put,
    /// Found in the store, by whom and how completely written nobody says. Read before anything is saved against it.
    Unknown,
    /// Its bytes are not what its name says. Nothing new may count on it.
    Bad,
}

/// A pack of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pack {
    pub(crate) id: Digest,
    pub(crate) trust: Trust,
}

#[derive(Clone, Copy)]
struct Slot {
    id: [u8; 32],
    pack: u32,
}

const _: () = assert!(size_of::<Slot>() == 36);

/// Every chunk of the store.
#[derive(Default)]
pub(crate) struct Index {
    packs: Vec<Pack>,
    by_id: HashMap<Digest, u32>,
    sorted: Vec<Slot>,
    recent: BTreeMap<[u8; 32], Slot>,
    /// Packs that no index object names and that were read since and found good.
    proven: Vec<Digest>,
}

impl Index {
    /// Adds a pack's chunks. A chunk already known stays where it is, unless its pack is bad.
    pub(crate) fn add(&mut self, id: Digest, trust: Trust, chunks: &[ChunkEntry]) {
        let pack = match self.by_id.get(&id) {
            Some(pack) => *pack,
            None => {
                let pack = small(self.packs.len());
                self.packs.push(Pack { id, trust });
                self.by_id.insert(id, pack);
                pack
            }
        };
        if let Some(p) = self.packs.get_mut(big(pack)) {
            p.trust = trust;
        }
        for entry in chunks {
            let slot = Slot { id: entry.id.0, pack };
            let bad = |s: &Slot, packs: &[Pack]| packs[big(s.pack)].trust == Trust::Bad;
            if let Ok(at) = self.sorted.binary_search_by(|s| s.id.cmp(&entry.id.0)) {
                if bad(&self.sorted[at], &self.packs) {
                    self.sorted[at] = slot;
                }
            } else {
                let there = self.recent.entry(entry.id.0).or_insert(slot);
                if bad(there, &self.packs) {
                    *there = slot;
                }
            }
        }
        if self.recent.len() >= RECENT {
            self.merge();
        }
    }

    /// Merges what is recent into the array from the back, in place.
    pub(crate) fn merge(&mut self) {
        let (mut from, added) = (self.sorted.len(), self.recent.len());
        let Some(filler) = self.recent.values().next().copied() else { return };
        // An eighth of slack keeps the number of moves of a growing array small without doubling its memory.
        if self.sorted.capacity() < from + added {
            self.sorted.reserve_exact(added + from / 8);
        }
        self.sorted.resize(from + added, filler);
        let mut to = self.sorted.len();
        let mut recent = std::mem::take(&mut self.recent).into_values().rev().peekable();
        while let Some(next) = recent.peek() {
            to -= 1;
            if from > 0 && self.sorted[from - 1].id > next.id {
                from -= 1;
                self.sorted[to] = self.sorted[from];
            } else if let Some(next) = recent.next() {
                self.sorted[to] = next;
            }
        }
    }

    /// The number of the pack in which a chunk lies.
    pub(crate) fn find(&self, id: &Digest) -> Option<u32> {
        if let Ok(at) = self.sorted.binary_search_by(|s| s.id.cmp(&id.0)) {
            return Some(self.sorted[at].pack);
        }
        self.recent.get(&id.0).map(|s| s.pack)
    }

    pub(crate) fn pack(&self, no: u32) -> Option<Pack> {
        self.packs.get(big(no)).copied()
    }

    pub(crate) fn knows(&self, pack: &Digest) -> bool {
        self.by_id.contains_key(pack)
    }

    pub(crate) fn packs(&self) -> &[Pack] {
        &self.packs
    }

    pub(crate) fn number(&self, pack: &Digest) -> Option<u32> {
        self.by_id.get(pack).copied()
    }

    pub(crate) fn set_trust(&mut self, no: u32, trust: Trust) {
        if let Some(p) = self.packs.get_mut(big(no)) {
            if p.trust == Trust::Unknown && trust == Trust::Verified {
                self.proven.push(p.id);
            }
            p.trust = trust;
        }
    }

    pub(crate) fn take_proven(&mut self) -> Vec<Digest> {
        std::mem::take(&mut self.proven)
    }
}

/// An index object being filled.
pub(crate) struct IndexBuilder {
    bytes: Vec<u8>,
}

impl IndexBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: MAGIC.to_vec() }
    }

    pub(crate) fn push(&mut self, pack: &Digest, footer: &Footer) {
        let footer = footer.encode();
        self.bytes.extend(pack.0);
        self.bytes.extend(small(footer.len()).to_le_bytes());
        self.bytes.extend(footer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == MAGIC.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::replace(&mut self.bytes, MAGIC.to_vec())
    }
}

/// The parts of an index object: each a pack's id and its footer, still to be decoded. `None` where the object is torn.
pub(crate) fn sections(bytes: &[u8]) -> Option<Vec<(Digest, &[u8])>> {
    let mut rest = bytes.strip_prefix(&MAGIC)?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (id, after) = rest.split_first_chunk::<32>()?;
        let (len, after) = after.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (footer, after) = after.split_at_checked(len)?;
        out.push((Digest(*id), footer));
        rest = after;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Kind;

    fn entry(n: u32) -> ChunkEntry {
        ChunkEntry { id: Digest::of(&n.to_le_bytes()), plain: 5, frame: 0, kind: Kind::Data }
    }

    #[test]
    fn finds_what_was_added_across_merges() {
        let mut index = Index::default();
        for round in 0..40u32 {
            let entries: Vec<ChunkEntry> = (round * 1000..(round + 1) * 1000).map(entry).collect();
            index.add(Digest::of(&round.to_be_bytes()), Trust::Verified, &entries);
        }
        assert!(!index.sorted.is_empty() && !index.recent.is_empty(), "both places are in use");
        index.merge();
        assert_eq!(index.sorted.len(), 40_000);
        assert!(index.sorted.windows(2).all(|w| w[0].id < w[1].id));
        for n in 0..40_000 {
            assert_eq!(index.find(&entry(n).id), Some(n / 1000));
        }
        assert_eq!(index.find(&entry(40_000).id), None);
    }

    #[test]
    fn a_chunk_of_a_bad_pack_finds_a_new_place() {
        let mut index = Index::default();
        index.add(Digest::of(b"a"), Trust::Verified, &[entry(1)]);
        index.add(Digest::of(b"b"), Trust::Verified, &[entry(1)]);
        assert_eq!(index.find(&entry(1).id), Some(0), "the first stays");
        index.set_trust(0, Trust::Bad);
        index.merge();
        index.add(Digest::of(b"c"), Trust::Verified, &[entry(1)]);
        assert_eq!(index.find(&entry(1).id), Some(2));
    }

    #[test]
    fn a_torn_index_object_is_refused() {
        let mut builder = IndexBuilder::new();
        builder.push(&Digest::of(b"a"), &Footer { frames: Vec::new(), chunks: vec![entry(1), entry(2)] });
        let bytes = builder.take();
        assert_eq!(sections(&bytes).unwrap().len(), 1);
        for len in 0..bytes.len() {
            assert!(sections(&bytes[..len]).is_none_or(|s| s.is_empty()), "{len}");
        }
    }
}
