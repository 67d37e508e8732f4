//! The pages of a database, with what lies over them.

use super::super::bytes::{NoBytes, Pages};
use super::Files;
use super::overlay::{self, Overlay};

/// Bytes of the database's header, on its first page.
pub(super) const HEADER: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The files of a database, page by page.
pub(super) struct Pager<'a> {
    file: Pages<'a>,
    overlay: Option<Overlay<'a>>,
    page_len: usize,
    /// Bytes of a page that are used: some may be left to extensions.
    usable: usize,
}

impl<'a> Pager<'a> {
    pub(super) fn open(files: Files<'a>, budget: u64) -> Result<Self, String> {
        let mut file = Pages::new(files.database, budget);
        let mut head = file.up_to(0, HEADER).map_err(|e| said(&e))?;
        let overlay = match (files.wal, files.journal) {
            (Some(wal), _) if wal.size().0 > 0 => overlay::wal(wal, budget).map_err(|e| said(&e))?,
            (_, Some(journal)) if journal.size().0 > 0 => overlay::journal(journal, budget).map_err(|e| said(&e))?,
            _ => None,
        };
        let mut pager = Self { file, overlay, page_len: 512, usable: 512 };
        // The page's length is told by the file; where that is empty, all is in the log still.
        let len = match head.get(16..18) {
            Some([0, 1]) => 1 << 16,
            Some([a, b]) => usize::from(u16::from_be_bytes([*a, *b])),
            _ => pager.overlay.as_ref().map_or(0, Overlay::page_len),
        };
        if !len.is_power_of_two() || !(512..=1 << 16).contains(&len) {
            return Err(format!("it is no SQLite database: pages of {len} bytes"));
        }
        if pager.overlay.as_ref().is_some_and(|o| o.page_len() != len) {
            return Err("its log has pages of another length".to_owned());
        }
        (pager.page_len, pager.usable) = (len, len);
        head = pager.page(1)?;
        if head.get(..16) != Some(MAGIC) {
            return Err("it is no SQLite database".to_owned());
        }
        let (reserved, encoding) = (head.get(20).copied(), head.get(59).copied());
        let usable = reserved.and_then(|r| len.checked_sub(r.into())).filter(|n| *n >= 480);
        pager.usable = usable.ok_or("a SQLite database whose pages have no room")?;
        // Text of the tables that are read here is ASCII mostly: UTF-16 is nobody's choice for it.
        if !matches!(encoding, Some(0 | 1)) {
            return Err(format!("a SQLite database in text encoding {encoding:?}; only UTF-8 is read"));
        }
        Ok(pager)
    }

    /// A page, by its number from 1.
    pub(super) fn page(&mut self, number: u32) -> Result<Vec<u8>, String> {
        let at = number.checked_sub(1).ok_or("the database leads to page 0")?;
        if let Some(page) = self.overlay.as_mut().and_then(|o| o.page(number)) {
            return page.map_err(|e| said(&e));
        }
        self.file.exact(u64::from(at) * self.page_len as u64, self.page_len).map_err(|e| said(&e))
    }

    /// How many bytes of a row of `len` lie in its leaf, and whether there are more ("Cell Payload Overflow Pages").
    pub(super) fn local(&self, len: usize) -> (usize, bool) {
        let most = self.usable - 35;
        if len <= most {
            return (len, false);
        }
        let least = (self.usable - 12) * 32 / 255 - 23;
        let own = least + (len - least) % (self.usable - 4);
        (if own <= most { own } else { least }, true)
    }

    /// Adds what lies on overflow pages, until there are `len` bytes.
    pub(super) fn follow(&mut self, first: u32, len: usize, payload: &mut Vec<u8>) -> Result<(), String> {
        let mut next = first;
        // Each page adds bytes: it ends.
        while payload.len() < len {
            let page = self.page(next)?;
            let part = page.get(4..4 + (len - payload.len()).min(self.usable - 4));
            payload.extend_from_slice(part.ok_or("a page of the database is too short")?);
            next = page.first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
        }
        Ok(())
    }
}

/// Why there are no bytes.
pub(super) fn said(e: &NoBytes) -> String {
    match e {
        NoBytes::Read(e) => e.to_string(),
        NoBytes::Budget => "it is larger than what is read of one".to_owned(),
    }
}
