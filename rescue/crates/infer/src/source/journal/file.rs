//! The journal file format: header, entry arrays, entries, data.
//!
//! After systemd's documentation "Journal File Format" (`docs/JOURNAL_FILE_FORMAT.md`, with the names of
//! `src/libsystemd/sd-journal/journal-def.h`). Offsets are in bytes from the start of the file or of the object.
//! Objects are found only through the entry array chain, which is random access: no hash is ever computed.

use crate::source::bytes::{NoBytes, Pages, u32_at, u64_at};
use model::ports::ReadAt;
use std::ops::Range;

const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
/// `Header` up to and including `tail_entry_monotonic`: what every version has.
const HEADER_MIN: u64 = 208;

/// `HEADER_INCOMPATIBLE_*`.
mod incompatible {
    pub(super) const COMPRESSED_XZ: u32 = 1;
    pub(super) const COMPRESSED_LZ4: u32 = 2;
    pub(super) const KEYED_HASH: u32 = 4;
    pub(super) const COMPRESSED_ZSTD: u32 = 8;
    pub(super) const COMPACT: u32 = 16;
    pub(super) const KNOWN: u32 = COMPRESSED_XZ | COMPRESSED_LZ4 | KEYED_HASH | COMPRESSED_ZSTD | COMPACT;
}

const OBJECT_DATA: u8 = 1;
const OBJECT_ENTRY: u8 = 3;
const OBJECT_ENTRY_ARRAY: u8 = 6;
/// `OBJECT_COMPRESSED_XZ | OBJECT_COMPRESSED_LZ4 | OBJECT_COMPRESSED_ZSTD`.
const COMPRESSED: u8 = 1 | 2 | 4;
const COMPRESSED_ZSTD: u8 = 4;

/// Bytes of an object header, an entry up to its items, and an entry array up to its items.
const ARRAY_ITEMS: u64 = 24;
const ENTRY_ITEMS: u64 = 64;
const DATA_PAYLOAD: u64 = 64;
const DATA_PAYLOAD_COMPACT: u64 = 72;

/// Most entry arrays of a chain. Each is twice as long as the one before.
const MOST_ARRAYS: usize = 4096;
/// Most fields of an entry that are looked at. journald takes up to 1024; what is of interest here has some 30.
const MOST_FIELDS: usize = 256;
/// Most stored and most plain bytes of a compressed field that is looked at.
const MOST_COMPRESSED: u64 = 64 << 10;
/// Most bytes of a field that are looked at.
const MOST_FIELD: usize = 512;

/// Why a file cannot be read as a journal.
#[derive(Debug)]
pub(super) struct NotAJournal(pub(super) String);

/// The parts of the header that are used.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) incompatible: u32,
    /// 0 offline, 1 online, 2 archived.
    pub(super) state: u8,
    pub(super) seqnum_id: [u8; 16],
    pub(super) n_entries: u64,
    entry_array_offset: u64,
    /// Microseconds since 1970.
    pub(super) tail_entry_realtime: u64,
}

/// An entry, without its fields' contents.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) seqnum: u64,
    /// Microseconds since 1970.
    pub(super) realtime: u64,
    pub(super) boot_id: [u8; 16],
    /// Length of the object.
    size: u64,
    at: u64,
}

/// One array of the chain: the entries `index ..` lie in it.
#[derive(Debug, Clone)]
struct ArraySpan {
    at: u64,
    items: Range<u64>,
}

/// A journal file open for reading.
pub(super) struct Journal<'a> {
    pages: Pages<'a>,
    pub(super) header: Header,
    arrays: Vec<ArraySpan>,
    /// Why reading stopped before its end, where it did.
    pub(super) damage: Option<String>,
}

impl<'a> Journal<'a> {
    /// Reads the header and the chain of entry arrays.
    pub(super) fn open(file: &'a dyn ReadAt, budget: u64) -> Result<Self, NotAJournal> {
        let mut pages = Pages::new(file, budget);
        let header = read_header(&mut pages)?;
        let mut journal = Self { pages, header, arrays: Vec::new(), damage: None };
        journal.find_arrays();
        Ok(journal)
    }

    fn compact(&self) -> bool {
        self.header.incompatible & incompatible::COMPACT != 0
    }

    fn array_item(&self) -> u64 {
        if self.compact() { 4 } else { 8 }
    }

    pub(super) fn damaged(&mut self, why: String) {
        self.damage.get_or_insert(why);
    }

    /// Follows the chain. It only ever leads forward (objects are appended), which is checked, so it ends.
    fn find_arrays(&mut self) {
        let mut at = self.header.entry_array_offset;
        let mut index = 0u64;
        while at != 0 {
            if self.arrays.len() >= MOST_ARRAYS {
                return self.damaged(format!("more than {MOST_ARRAYS} entry arrays"));
            }
            if self.arrays.last().is_some_and(|last| at <= last.at) {
                return self.damaged(format!("the entry arrays lead back to {at}"));
            }
            let (kind, size, bytes) = match self.object(at, ARRAY_ITEMS) {
                Ok(object) => object,
                Err(why) => return self.damaged(format!("entry array at {at}: {why}")),
            };
            if kind != OBJECT_ENTRY_ARRAY {
                return self.damaged(format!("object type {kind} at {at}, where an entry array should be"));
            }
            let items = (size - ARRAY_ITEMS) / self.array_item();
            self.arrays.push(ArraySpan { at, items: index..index + items });
            index += items;
            at = u64_at(&bytes, 16).unwrap_or(0);
        }
    }

    /// Type, size and the first `least` bytes of the object at `at`.
    fn object(&mut self, at: u64, least: u64) -> Result<(u8, u64, Vec<u8>), String> {
        if !at.is_multiple_of(8) {
            return Err("not on a multiple of 8".into());
        }
        let len = usize::try_from(least).unwrap_or(usize::MAX).min(4096);
        let bytes = self.pages.exact(at, len).map_err(|e| say(&e))?;
        let size = u64_at(&bytes, 8).unwrap_or(0);
        if size < least || at.saturating_add(size) > self.pages.size() {
            return Err(format!("a size of {size} in a file of {}", self.pages.size()));
        }
        Ok((bytes[0], size, bytes))
    }

    /// Where the entry of that index lies, 0 where none does.
    fn entry_offset(&mut self, index: u64) -> u64 {
        let i = self.arrays.partition_point(|a| a.items.end <= index);
        let Some(span) = self.arrays.get(i) else { return 0 };
        let item = self.array_item();
        let at = span.at + ARRAY_ITEMS + (index - span.items.start) * item;
        let Ok(bytes) = self.pages.exact(at, if item == 4 { 4 } else { 8 }) else { return 0 };
        if item == 4 { u32_at(&bytes, 0).map_or(0, u64::from) } else { u64_at(&bytes, 0).unwrap_or(0) }
    }

    /// The entry of that index; `None` where there is no sound one. One whose first item leads nowhere was not written whole: what comes
    /// before that may be torn too.
    pub(super) fn entry(&mut self, index: u64) -> Option<Entry> {
        let at = self.entry_offset(index);
        if at == 0 {
            return None;
        }
        // An item begins with an offset, of 4 bytes where it is compact.
        let (kind, size, bytes) = self.object(at, ENTRY_ITEMS + self.array_item()).ok()?;
        let seqnum = u64_at(&bytes, 16)?;
        let whole = bytes.get(64..)?.iter().any(|b| *b != 0);
        (kind == OBJECT_ENTRY && seqnum != 0 && whole).then_some(Entry {
            seqnum,
            realtime: u64_at(&bytes, 24)?,
            boot_id: bytes.get(40..56)?.try_into().ok()?,
            size,
            at,
        })
    }

    /// One past the index of the last entry that can be read; 0 where there is none.
    ///
    /// Unused items of the last array are zero; the header's own count may be older or newer than the arrays where the machine
    /// was cut off, so both are believed only as far as there are entries.
    pub(super) fn end(&mut self) -> u64 {
        let capacity = self.arrays.last().map_or(0, |a| a.items.end);
        let (mut low, mut high) = (0, capacity);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry_offset(middle) == 0 { high = middle } else { low = middle + 1 }
        }
        let end = low.max(self.header.n_entries.min(capacity));
        let readable = self.readable_before(end);
        let promised = self.header.n_entries.max(end);
        if readable < promised {
            self.damaged(format!("{readable} of {promised} entries can be read"));
        }
        readable
    }

    /// One past an entry that can be read, at `end` or as little before it as a few looks find; 0 where they find none.
    ///
    /// Looks back in steps that double, then bisects: a lost stretch may be long.
    pub(super) fn readable_before(&mut self, end: u64) -> u64 {
        let (mut at, mut lost, mut step) = (end, end, 1);
        while at > 0 && self.entry(at - 1).is_none() {
            if at == 1 {
                return 0;
            }
            lost = at;
            at = at.saturating_sub(step).max(1);
            step *= 2;
        }
        // The entry before `at` can be read, the one before `lost` cannot (unless nothing was lost).
        while lost.saturating_sub(at) > 1 {
            let middle = at + (lost - at) / 2;
            if self.entry(middle - 1).is_some() { at = middle } else { lost = middle }
        }
        at
    }

    /// Offsets of the data objects of an entry.
    pub(super) fn fields(&mut self, entry: &Entry) -> Vec<u64> {
        let compact = self.compact();
        let item: u64 = if compact { 4 } else { 16 };
        let count = usize::try_from((entry.size - ENTRY_ITEMS) / item).unwrap_or(usize::MAX).min(MOST_FIELDS);
        let width = if compact { 4 } else { 16 };
        let Ok(bytes) = self.pages.up_to(entry.at + ENTRY_ITEMS, count * width) else { return Vec::new() };
        bytes
            .chunks_exact(width)
            .filter_map(|i| if compact { u32_at(i, 0).map(u64::from) } else { u64_at(i, 0) })
            .filter(|at| *at != 0)
            .collect()
    }

    /// The beginning (up to 512 bytes) of the field `NAME=value` stored at `at`. `None` where it is no sound data object or is
    /// compressed in a way that is not read (xz, lz4, or too large).
    pub(super) fn field(&mut self, at: u64) -> Option<Vec<u8>> {
        let payload_at = if self.compact() { DATA_PAYLOAD_COMPACT } else { DATA_PAYLOAD };
        let (kind, size, bytes) = self.object(at, payload_at).ok()?;
        if kind != OBJECT_DATA {
            return None;
        }
        let stored = size - payload_at;
        match bytes[1] & COMPRESSED {
            0 => {
                let len = usize::try_from(stored).unwrap_or(usize::MAX).min(MOST_FIELD);
                self.pages.up_to(at + payload_at, len).ok()
            }
            COMPRESSED_ZSTD if stored <= MOST_COMPRESSED => {
                let frame = self.pages.exact(at + payload_at, usize::try_from(stored).ok()?).ok()?;
                unzstd(&frame)
            }
            _ => None,
        }
    }
}

/// The beginning of a frame that says how long it is, and is not too long.
fn unzstd(frame: &[u8]) -> Option<Vec<u8>> {
    let plain = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
    if plain > MOST_COMPRESSED {
        return None;
    }
    let mut bytes = zstd::bulk::decompress(frame, usize::try_from(plain).ok()?).ok()?;
    bytes.truncate(MOST_FIELD);
    Some(bytes)
}

fn read_header(pages: &mut Pages<'_>) -> Result<Header, NotAJournal> {
    let not = |why: String| NotAJournal(why);
    let least = usize::try_from(HEADER_MIN).unwrap_or(0);
    let bytes = pages.exact(0, least).map_err(|e| not(say(&e)))?;
    if &bytes[..8] != SIGNATURE {
        return Err(not(format!("signature {:02x?} instead of LPKSHHRH", &bytes[..8])));
    }
    let number = |at| u64_at(&bytes, at).unwrap_or(0);
    let incompatible = u32_at(&bytes, 12).unwrap_or(0);
    if incompatible & !incompatible::KNOWN != 0 {
        return Err(not(format!(
            "incompatible features {incompatible:#x}, of which {:#x} are read",
            incompatible::KNOWN
        )));
    }
    let header_size = number(88);
    if header_size < HEADER_MIN || header_size > pages.size() {
        return Err(not(format!("a header of {header_size} bytes in a file of {}", pages.size())));
    }
    let mut seqnum_id = [0; 16];
    seqnum_id.copy_from_slice(&bytes[72..88]);
    Ok(Header {
        incompatible,
        state: bytes[16],
        seqnum_id,
        n_entries: number(152),
        entry_array_offset: number(176),
        tail_entry_realtime: number(192),
    })
}

fn say(error: &NoBytes) -> String {
    match error {
        NoBytes::Read(e) => e.to_string(),
        NoBytes::Budget => "too much of the file would have to be read".into(),
    }
}
