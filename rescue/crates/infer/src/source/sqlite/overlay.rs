//! What lies over a database's file: committed pages of its write-ahead log, or pages as they were before a change that was cut off.

use super::super::bytes::{NoBytes, Pages};
use model::ports::ReadAt;
use std::collections::BTreeMap;

/// Most pages that are kept account of.
const MOST_PAGES: usize = 1 << 20;

/// Pages in another file.
pub(super) struct Overlay<'a> {
    file: Pages<'a>,
    page_len: usize,
    /// Where each page lies.
    pages: BTreeMap<u32, u64>,
}

impl Overlay<'_> {
    pub(super) fn page_len(&self) -> usize {
        self.page_len
    }

    /// A page, where it is one of these.
    pub(super) fn page(&mut self, number: u32) -> Option<Result<Vec<u8>, NoBytes>> {
        let at = *self.pages.get(&number)?;
        Some(self.file.exact(at, self.page_len))
    }
}

fn be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// The sums of a write-ahead log ("Checksum Algorithm"): over pairs of words, in the order of bytes that its magic tells.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sums {
    big: bool,
    of: (u32, u32),
}

impl Sums {
    fn add(mut self, bytes: &[u8]) -> Self {
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            let word = |w: [u8; 4]| if self.big { u32::from_be_bytes(w) } else { u32::from_le_bytes(w) };
            let first = self.of.0.wrapping_add(word([a, b, c, d])).wrapping_add(self.of.1);
            self.of = (first, self.of.1.wrapping_add(word([e, f, g, h])).wrapping_add(first));
        }
        self
    }
}

/// The pages of a write-ahead log up to its last commit; `None` where there is none. What follows the first frame that does not fit is
/// of an older log, or was cut off.
pub(super) fn wal(file: &dyn ReadAt, budget: u64) -> Option<Overlay<'_>> {
    let mut file = Pages::new(file, budget);
    let header = file.exact(0, WAL_HEADER).ok()?;
    let magic = be(&header, 0)?;
    let page_len = usize::try_from(be(&header, 8)?).ok()?;
    if magic & !1 != 0x377f_0682 || !page_len.is_power_of_two() || !(512..=1 << 16).contains(&page_len) {
        return None;
    }
    let mut sums = Sums { big: magic & 1 == 1, of: (0, 0) }.add(header.get(..24)?);
    if sums.of != (be(&header, 24)?, be(&header, 28)?) {
        return None;
    }
    let (mut pages, mut pending) = (BTreeMap::new(), Vec::new());
    let mut at = WAL_HEADER as u64;
    while pages.len() + pending.len() < MOST_PAGES {
        let Ok(frame) = file.exact(at, FRAME_HEADER + page_len) else { break };
        let (head, page) = frame.split_at_checked(FRAME_HEADER)?;
        sums = sums.add(head.get(..8)?).add(page);
        if head.get(8..16) != header.get(16..24) || sums.of != (be(head, 16)?, be(head, 20)?) {
            break;
        }
        pending.push((be(head, 0)?, at + FRAME_HEADER as u64));
        // The last frame of a transaction tells how long the database is after it.
        if be(head, 4)? != 0 {
            pages.extend(pending.drain(..));
        }
        at += (FRAME_HEADER + page_len) as u64;
    }
    (!pages.is_empty()).then_some(Overlay { file, page_len, pages })
}

const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// A page's sum takes every 200th byte, from the end ("The Rollback Journal").
const SUM_STEP: usize = 200;

/// The pages that a rollback journal holds; `None` where it has none (one that was ended has its header zeroed, or is empty).
pub(super) fn journal(file: &dyn ReadAt, budget: u64) -> Option<Overlay<'_>> {
    let size = file.size().0;
    let mut file = Pages::new(file, budget);
    let (mut pages, mut at) = (BTreeMap::new(), 0u64);
    let mut page_len = 0;
    // Each segment begins with a header, on a sector of its own.
    while let Ok(header) = file.exact(at, 28) {
        if header.get(..8) != Some(&JOURNAL_MAGIC) {
            break;
        }
        let (count, nonce) = (be(&header, 8)?, be(&header, 12)?);
        let (sector, len) = (u64::from(be(&header, 20)?), usize::try_from(be(&header, 24)?).ok()?);
        let fits = |n: usize| n.is_power_of_two() && (512..=1 << 16).contains(&n);
        if page_len == 0 {
            page_len = len;
        }
        if !fits(page_len) || !fits(usize::try_from(sector).ok()?) {
            return None;
        }
        at += sector;
        let record = page_len as u64 + 8;
        let count = if count == u32::MAX { size.saturating_sub(at) / record } else { count.into() };
        for _ in 0..count {
            let Ok(bytes) = file.exact(at, page_len + 8) else { return over(file, page_len, pages) };
            let page = bytes.get(4..4 + page_len)?;
            let places = (1..).map_while(|n| page_len.checked_sub(n * SUM_STEP)).take_while(|place| *place > 0);
            let sum = places.fold(nonce, |sum, place| sum.wrapping_add(page.get(place).copied().unwrap_or(0).into()));
            if be(&bytes, 4 + page_len)? != sum || pages.len() >= MOST_PAGES {
                return over(file, page_len, pages);
            }
            // The first copy of a page is the oldest.
            pages.entry(be(&bytes, 0)?).or_insert(at + 4);
            at += record;
        }
        at = at.next_multiple_of(sector);
    }
    over(file, page_len, pages)
}

fn over(file: Pages<'_>, page_len: usize, pages: BTreeMap<u32, u64>) -> Option<Overlay<'_>> {
    (!pages.is_empty()).then_some(Overlay { file, page_len, pages })
}
