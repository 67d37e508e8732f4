//! A page of a run: entries by rising key, each the first half of a chunk's id and a pack of the run.

use super::{Key, MOST_SAME};
use crate::layout::{big, small};

/// Entries of a page; the last page of a run has the rest.
pub(super) const PER_PAGE: u32 = 200;
/// Bytes of an entry: the first 16 of the id, the number of the pack.
pub(super) const ENTRY: usize = 20;
/// Bytes of the sum behind a section: the first ones of the hash of it as stored.
pub(super) const SUM: usize = 8;

/// Pages of a run with `entries`.
pub(super) fn pages_of(entries: u32) -> u32 {
    entries.div_ceil(PER_PAGE)
}

/// Entries of page `no` of a run with `entries`.
pub(super) fn entries_of(no: u32, entries: u32) -> u32 {
    PER_PAGE.min(entries.saturating_sub(no * PER_PAGE))
}

pub(super) fn encode_entry(key: &Key, pack: u32, out: &mut Vec<u8>) {
    out.extend(key);
    out.extend(pack.to_le_bytes());
}

pub(super) fn decode_entry(entry: &[u8; ENTRY]) -> (Key, u32) {
    let (mut key, mut pack) = ([0; 16], [0; 4]);
    key.copy_from_slice(&entry[..16]);
    pack.copy_from_slice(&entry[16..]);
    (key, u32::from_le_bytes(pack))
}

/// What a directory says of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Entries it must have.
    pub(super) entries: u32,
    /// First bytes of its first key.
    pub(super) first: u64,
    /// First bytes of the next page's first key.
    pub(super) past: Option<u64>,
    /// Packs of its run.
    pub(super) packs: u32,
}

/// A page whose every rule was checked.
pub(super) struct Page {
    entries: Box<[[u8; ENTRY]]>,
}

impl Page {
    /// `None` where the bytes break a rule: entries rise, as the directory says, and their packs are there.
    pub(super) fn decode(plain: &[u8], bounds: &Bounds) -> Option<Self> {
        let (entries, rest) = plain.as_chunks::<ENTRY>();
        let (first, last) = (decode_entry(entries.first()?), decode_entry(entries.last()?));
        let fits = rest.is_empty() && small(entries.len()) == bounds.entries && super::prefix(&first.0) == bounds.first;
        let ends = bounds.past.is_none_or(|past| super::prefix(&last.0) <= past);
        let rises = entries.windows(2).all(|w| decode_entry(&w[0]) < decode_entry(&w[1]));
        let packs = entries.iter().all(|e| decode_entry(e).1 < bounds.packs);
        (fits && ends && rises && packs).then(|| Self { entries: entries.into() })
    }

    /// The packs of a key, at most [`MOST_SAME`].
    pub(super) fn find(&self, key: &Key) -> impl Iterator<Item = u32> {
        let at = self.entries.partition_point(|e| e[..16] < key[..]);
        let same = self.entries[at..].iter().take_while(move |e| e[..16] == key[..]);
        same.take(MOST_SAME).map(|e| decode_entry(e).1)
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        self.entries.len() * ENTRY
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<(Key, u32)> {
        self.entries.get(at).map(decode_entry)
    }
}

/// Plain bytes of page `no`.
pub(super) fn plain_len(no: u32, entries: u32) -> usize {
    big(entries_of(no, entries)) * ENTRY
}
