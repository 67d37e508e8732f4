//! An index object: a run of entries by rising key, with everything that is needed to look only where an entry can be.

use super::filter::{BLOCK, Filter, MAX_BLOCKS};
use super::lru::Lru;
use super::pages::{Bounds, ENTRY, PER_PAGE, Page, SUM, encode_entry, entries_of, pages_of, plain_len};
use super::{Key, PackNo, Source, prefix};
use crate::error::StoreError;
use crate::layout::{big, index_name, small};
use crate::seal::Kind;
use model::id::Digest;
use model::ports::ObjectName;
use model::units::ByteOffset;
use std::sync::Arc;

/// What an index object begins with; the format follows.
const MAGIC: [u8; 15] = *b"holdfast index\0";
/// The format of index objects that this program reads and writes.
const FORMAT: u8 = 1;
/// Bytes before the head.
const HEADER: usize = 32;
/// Most packs of a run.
pub(super) const MAX_PACKS: usize = 65_536;
/// Most entries of a run.
pub(super) const MAX_ENTRIES: usize = 1_048_576;
/// Pages that one lookup reads of a run at most: two, where a page begins with the key. More pages that begin alike have no
/// honest cause.
const MOST_PAGES: usize = 4;

/// Pages read lately, by run and number.
pub(super) type PageCache = Lru<(u32, u32), Page>;

/// A run being written. Packs are given first, entries by rising key.
pub(super) struct Builder<'a> {
    source: &'a dyn Source,
    packs: Vec<Digest>,
    filter: Filter,
    first: Vec<u64>,
    page: Vec<u8>,
    last: Option<(Key, u32)>,
    entries: usize,
    /// Room for the header and the largest head, then the pages as stored.
    out: Vec<u8>,
    room: usize,
}

impl<'a> Builder<'a> {
    /// For at most `most` entries.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where a run cannot be so large.
    pub(super) fn new(source: &'a dyn Source, packs: Vec<Digest>, most: usize) -> Result<Self, StoreError> {
        if packs.len() > MAX_PACKS || most > MAX_ENTRIES {
            let text = format!("an index object of {} packs and {most} entries", packs.len());
            return Err(StoreError::misuse(text));
        }
        let filter = Filter::for_keys(most);
        let pages = pages_of(small(most));
        let room = HEADER + head_len(packs.len(), big(pages), big(filter.blocks())) + source.seal().overhead() + SUM;
        let mut out = Vec::with_capacity(room + most * ENTRY + big(pages) * (source.seal().overhead() + SUM));
        out.resize(room, 0);
        let page = Vec::with_capacity(plain_len(0, PER_PAGE));
        Ok(Self { source, packs, filter, first: Vec::new(), page, last: None, entries: 0, out, room })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`StoreError::Misuse`] where it does not rise, has no pack or is one too many; [`StoreError::Io`] where there are no
    /// random bytes.
    pub(super) fn push(&mut self, key: &Key, pack: u32) -> Result<(), StoreError> {
        let entry = (*key, pack);
        if self.last.is_some_and(|last| last >= entry) || big(pack) >= self.packs.len() || self.entries == MAX_ENTRIES {
            return Err(StoreError::misuse("an entry that cannot follow in an index object"));
        }
        if self.page.is_empty() {
            self.first.push(prefix(key));
        }
        encode_entry(key, pack, &mut self.page);
        self.filter.insert(key);
        self.last = Some(entry);
        self.entries += 1;
        if self.page.len() == big(PER_PAGE) * ENTRY {
            self.end_page()?;
        }
        Ok(())
    }

    /// The object, or `None` where it would have no entry.
    ///
    /// # Errors
    /// [`StoreError::Io`] where there are no random bytes.
    pub(super) fn finish(mut self) -> Result<Option<Vec<u8>>, StoreError> {
        if self.entries == 0 {
            return Ok(None);
        }
        if !self.page.is_empty() {
            self.end_page()?;
        }
        let blocks = self.filter.blocks();
        let mut plain = Vec::with_capacity(head_len(self.packs.len(), self.first.len(), big(blocks)));
        self.packs.iter().for_each(|pack| plain.extend(pack.0));
        self.first.iter().for_each(|first| plain.extend(first.to_be_bytes()));
        self.filter.encode(&mut plain);
        let stored = self.seal(0, &plain)?;
        drop(plain);
        let mut front = Vec::with_capacity(HEADER + stored.len() + SUM);
        front.extend(MAGIC);
        front.push(FORMAT);
        for number in [small(self.packs.len()), small(self.entries), blocks, small(stored.len())] {
            front.extend(number.to_le_bytes());
        }
        front.extend(&stored);
        front.extend(sum(&stored));
        // The head may have become shorter than the room left for it, by pages that did not come.
        let unused = self.room - front.len();
        self.out[unused..self.room].copy_from_slice(&front);
        self.out.drain(..unused);
        Ok(Some(self.out))
    }

    fn seal(&self, section: u32, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.source.seal().seal(Kind::Index, &bound(section), plain, self.source.entropy())
    }

    fn end_page(&mut self) -> Result<(), StoreError> {
        let stored = self.seal(small(self.first.len()), &self.page)?;
        self.out.extend(&stored);
        self.out.extend(sum(&stored));
        self.page.clear();
        Ok(())
    }
}

fn bound(section: u32) -> [u8; 4] {
    section.to_le_bytes()
}

fn sum(stored: &[u8]) -> [u8; SUM] {
    *Digest::of(stored).0.first_chunk().expect("a hash is longer")
}

fn head_len(packs: usize, pages: usize, blocks: usize) -> usize {
    packs * 32 + pages * 8 + blocks * BLOCK
}

/// The head of an index object.
pub(crate) struct Head {
    /// The packs it names.
    pub(crate) packs: Vec<Digest>,
    /// Entries it has.
    pub(crate) entries: u32,
    first: Vec<u64>,
    filter: Filter,
    pages_at: u64,
}

/// The numbers of a header, which fit each other and the object's length.
struct Header {
    packs: u32,
    entries: u32,
    blocks: u32,
    stored: u32,
}

fn header(bytes: &[u8; HEADER], len: u64, overhead: usize) -> Result<Option<Header>, StoreError> {
    if bytes[..MAGIC.len()] != MAGIC {
        return Ok(None);
    }
    let found = bytes[MAGIC.len()];
    if found > FORMAT {
        return Err(StoreError::Newer { found: found.into() });
    }
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let h = Header { packs: word(16), entries: word(20), blocks: word(24), stored: word(28) };
    let limits = (1..=MAX_PACKS).contains(&big(h.packs))
        && (1..=MAX_ENTRIES).contains(&big(h.entries))
        && (1..=MAX_BLOCKS).contains(&h.blocks);
    if found != FORMAT || !limits {
        return Ok(None);
    }
    let pages = big(pages_of(h.entries));
    let head = head_len(big(h.packs), pages, big(h.blocks)) + overhead;
    let whole = HEADER + head + SUM + big(h.entries) * ENTRY + pages * (overhead + SUM);
    Ok((big(h.stored) == head && len == whole as u64).then_some(h))
}

/// Reads the head of an index object. Its counts are proven by the object's length before memory is taken.
///
/// # Errors
/// [`StoreError::Newer`]; [`StoreError::Damaged`] where it is anything but a head that keeps every rule; [`StoreError::Io`].
pub(crate) fn read_head(source: &dyn Source, id: &Digest) -> Result<Head, StoreError> {
    let name = index_name(id);
    let bad = |what: &str| StoreError::damaged(format!("{}: {what}", name.as_str()));
    let len = source.objects().len(&name)?.0;
    let mut fixed = [0; HEADER];
    source.objects().get(&name, ByteOffset(0), &mut fixed)?;
    let h = header(&fixed, len, source.seal().overhead())?
        .ok_or_else(|| bad("it does not begin as an index object does"))?;
    let mut stored = vec![0; big(h.stored) + SUM];
    source.objects().get(&name, ByteOffset(HEADER as u64), &mut stored)?;
    let plain = open(source, 0, stored)?.ok_or_else(|| bad("its head does not match its sum"))?;
    let pages = big(pages_of(h.entries));
    if plain.len() != head_len(big(h.packs), pages, big(h.blocks)) {
        return Err(bad("its head has another length"));
    }
    let (packs, rest) = plain.split_at(big(h.packs) * 32);
    let (first, filter) = rest.split_at(pages * 8);
    let packs = packs.as_chunks::<32>().0.iter().copied().map(Digest).collect();
    let first: Vec<u64> = first.as_chunks::<8>().0.iter().copied().map(u64::from_be_bytes).collect();
    if !first.is_sorted() {
        return Err(bad("its pages are out of order"));
    }
    let pages_at = (HEADER + big(h.stored) + SUM) as u64;
    Ok(Head { packs, entries: h.entries, first, filter: Filter::decode(filter), pages_at })
}

/// Opens a section followed by its sum; `None` where that is wrong.
fn open(source: &dyn Source, section: u32, mut stored: Vec<u8>) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(at) = stored.len().checked_sub(SUM) else { return Ok(None) };
    let expected = stored.split_off(at);
    if sum(&stored)[..] != expected[..] {
        return Ok(None);
    }
    source.seal().open(Kind::Index, &bound(section), stored).map(Some)
}

/// A run that is loaded: its head in memory, its pages in the store.
pub(super) struct Run {
    pub(super) id: Digest,
    pub(super) entries: u32,
    /// The packs it names by the numbers of this process.
    pub(super) packs: Box<[PackNo]>,
    /// A number of its own, for the cache.
    serial: u32,
    name: ObjectName,
    first: Box<[u64]>,
    filter: Filter,
    pages_at: u64,
}

impl Head {
    /// Bytes of memory it takes as a run.
    pub(super) fn size(&self) -> usize {
        big(self.filter.blocks()) * BLOCK + self.first.len() * 8 + self.packs.len() * 4
    }
}

impl Run {
    pub(super) fn new(id: Digest, head: Head, packs: Box<[PackNo]>, serial: u32) -> Self {
        let Head { entries, first, filter, pages_at, .. } = head;
        Self { id, entries, packs, serial, name: index_name(&id), first: first.into(), filter, pages_at }
    }

    /// Bytes of memory.
    pub(super) fn size(&self) -> usize {
        big(self.filter.blocks()) * BLOCK + self.first.len() * 8 + self.packs.len() * 4 + size_of::<Self>() + 128
    }

    pub(super) fn pages(&self) -> u32 {
        small(self.first.len())
    }

    /// Adds the packs that may hold a chunk.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where a page breaks a rule, is not what its sum says, or is gone; [`StoreError::Io`].
    pub(super) fn find(
        &self,
        source: &dyn Source,
        cache: &PageCache,
        key: &Key,
        found: &mut Vec<PackNo>,
    ) -> Result<(), StoreError> {
        if !self.filter.may_have(key) {
            return Ok(());
        }
        let wanted = prefix(key);
        let end = self.first.partition_point(|first| *first <= wanted);
        let begin = self.first[..end].partition_point(|first| *first < wanted).saturating_sub(1);
        for no in (begin..end).take(MOST_PAGES) {
            let no = small(no);
            let page = match cache.get(&(self.serial, no)) {
                Some(page) => page,
                None => {
                    let page = self.read(source, no, 1)?.pop().ok_or_else(|| self.bad(no))?;
                    let page = Arc::new(page);
                    cache.put((self.serial, no), page.clone(), page.size());
                    page
                }
            };
            let packs = page.find(key).filter_map(|pack| self.packs.get(big(pack)));
            found.extend(packs);
        }
        Ok(())
    }

    /// Reads up to `most` pages from `no` on at once.
    ///
    /// # Errors
    /// As [`Run::find`].
    pub(super) fn read(&self, source: &dyn Source, no: u32, most: u32) -> Result<Vec<Page>, StoreError> {
        if no >= self.pages() {
            return Ok(Vec::new());
        }
        let around = source.seal().overhead() + SUM;
        let end = no.saturating_add(most).min(self.pages());
        let at = self.pages_at + u64::from(no) * (plain_len(0, PER_PAGE) + around) as u64;
        let len = (no..end).map(|no| plain_len(no, self.entries) + around).sum();
        let mut stored = vec![0; len];
        source.objects().get(&self.name, ByteOffset(at), &mut stored)?;
        let mut rest = stored.as_slice();
        let mut pages = Vec::with_capacity(big(end - no));
        for no in no..end {
            let (section, after) = rest.split_at(plain_len(no, self.entries) + around);
            let plain = open(source, no + 1, section.to_vec())?;
            let page = plain.and_then(|plain| Page::decode(&plain, &self.bounds(no)));
            pages.push(page.ok_or_else(|| self.bad(no))?);
            rest = after;
        }
        Ok(pages)
    }

    fn bounds(&self, no: u32) -> Bounds {
        let at = big(no);
        Bounds {
            entries: entries_of(no, self.entries),
            first: self.first.get(at).copied().unwrap_or(u64::MAX),
            past: self.first.get(at + 1).copied(),
            packs: small(self.packs.len()),
        }
    }

    fn bad(&self, page: u32) -> StoreError {
        StoreError::damaged(format!("{}: page {page} is damaged", self.name.as_str()))
    }
}
