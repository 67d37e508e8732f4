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

/// The pages of a write-ahead log up to its last commit; `None` where there are none. What follows the first frame that does not fit is
/// of an older log, or was cut off.
///
/// # Errors
/// Where it cannot be read, or is longer than what is read of one: it may have more, and what lies under it is not the state then.
pub(super) fn wal(file: &dyn ReadAt, budget: u64) -> Result<Option<Overlay<'_>>, NoBytes> {
    let size = file.size().0;
    let mut file = Pages::new(file, budget);
    let header = file.up_to(0, WAL_HEADER)?;
    let Some((big, page_len)) = wal_header(&header) else { return Ok(None) };
    let (mut pages, mut pending) = (BTreeMap::new(), Vec::new());
    let mut sums = Sums { big, of: (0, 0) }.add(header.get(..24).unwrap_or_default());
    let mut at = WAL_HEADER as u64;
    let len = FRAME_HEADER + page_len;
    while at + len as u64 <= size {
        let frame = file.exact(at, len)?;
        let (head, page) = frame.split_at(FRAME_HEADER);
        sums = sums.add(head.get(..8).unwrap_or_default()).add(page);
        let summed = (be(head, 16), be(head, 20)) == (Some(sums.of.0), Some(sums.of.1));
        let (Some(number), Some(commit)) = (be(head, 0), be(head, 4)) else { break };
        if head.get(8..16) != header.get(16..24) || !summed {
            break;
        }
        if pages.len() + pending.len() >= MOST_PAGES {
            return Err(NoBytes::Budget);
        }
        pending.push((number, at + FRAME_HEADER as u64));
        // The last frame of a transaction tells how long the database is after it.
        if commit != 0 {
            pages.extend(pending.drain(..));
        }
        at += len as u64;
    }
    Ok((!pages.is_empty()).then_some(Overlay { file, page_len, pages }))
}

/// Whether a log's sums are of big-endian words, and the length of its pages.
fn wal_header(header: &[u8]) -> Option<(bool, usize)> {
    let magic = be(header, 0)?;
    let page_len = usize::try_from(be(header, 8)?).ok()?;
    if magic & !1 != 0x377f_0682 || !page_len.is_power_of_two() || !(512..=1 << 16).contains(&page_len) {
        return None;
    }
    let sums = Sums { big: magic & 1 == 1, of: (0, 0) }.add(header.get(..24)?);
    (sums.of == (be(header, 24)?, be(header, 28)?)).then_some((sums.big, page_len))
}

const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// A page's sum takes every 200th byte, from the end ("The Rollback Journal").
const SUM_STEP: usize = 200;

/// The pages that a rollback journal holds; `None` where it has none (one that was ended has its header zeroed, or is empty).
///
/// # Errors
/// As [`wal`].
pub(super) fn journal(file: &dyn ReadAt, budget: u64) -> Result<Option<Overlay<'_>>, NoBytes> {
    let size = file.size().0;
    let mut file = Pages::new(file, budget);
    let (mut pages, mut at, mut page_len) = (BTreeMap::new(), 0u64, 0);
    // Each segment begins with a header, on a sector of its own; the first tells the length of pages.
    'segments: while let Some(segment) = segment(&file.up_to(at, SEGMENT_HEADER)?) {
        if page_len == 0 {
            page_len = segment.page_len;
        }
        at += segment.sector;
        let record = page_len as u64 + 8;
        let there = size.saturating_sub(at) / record;
        for _ in 0..segment.count.map_or(there, |count| there.min(count.into())) {
            let bytes = file.exact(at, page_len + 8)?;
            let page = bytes.get(4..4 + page_len).unwrap_or_default();
            let places = (1..).map_while(|n| page_len.checked_sub(n * SUM_STEP)).take_while(|place| *place > 0);
            let sum = places.fold(segment.nonce, |sum, at| sum.wrapping_add(page.get(at).copied().unwrap_or(0).into()));
            let Some(number) = be(&bytes, 0).filter(|_| be(&bytes, 4 + page_len) == Some(sum)) else {
                break 'segments;
            };
            if pages.len() >= MOST_PAGES {
                return Err(NoBytes::Budget);
            }
            // The first copy of a page is the oldest.
            pages.entry(number).or_insert(at + 4);
            at += record;
        }
        at = at.next_multiple_of(segment.sector);
    }
    Ok((!pages.is_empty()).then_some(Overlay { file, page_len, pages }))
}

/// Bytes of a segment's header that say something.
const SEGMENT_HEADER: usize = 28;

/// A part of a rollback journal.
struct Segment {
    /// Pages in it; `None`: as many as there are.
    count: Option<u32>,
    nonce: u32,
    sector: u64,
    page_len: usize,
}

fn segment(header: &[u8]) -> Option<Segment> {
    if header.get(..8) != Some(&JOURNAL_MAGIC) {
        return None;
    }
    let (sector, page_len) = (be(header, 20)?, usize::try_from(be(header, 24)?).ok()?);
    let fits = |n: usize| n.is_power_of_two() && (512..=1 << 16).contains(&n);
    if !fits(page_len) || !fits(usize::try_from(sector).ok()?) {
        return None;
    }
    let count = Some(be(header, 8)?).filter(|count| *count != u32::MAX);
    Some(Segment { count, nonce: be(header, 12)?, sector: sector.into(), page_len })
}
