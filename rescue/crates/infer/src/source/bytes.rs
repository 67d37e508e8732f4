//! Bounded reading: little-endian numbers, ends of files, and a small page cache with a budget.

use model::ports::{ReadAt, ReadError};
use model::units::ByteOffset;

/// The little-endian number at `at`, or `None` past the end.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The little-endian number at `at`, or `None` past the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The little-endian number at `at`, or `None` past the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// The first `most` bytes, or all where there are fewer.
///
/// # Errors
/// As [`ReadAt::read_exact_at`].
pub(super) fn head(file: &dyn ReadAt, most: u64) -> Result<Vec<u8>, ReadError> {
    file.read_vec(ByteOffset(0), small(file.size().0.min(most)))
}

/// The last `most` bytes, or all where there are fewer, and where they begin.
///
/// # Errors
/// As [`ReadAt::read_exact_at`].
pub(super) fn tail(file: &dyn ReadAt, most: u64) -> Result<(u64, Vec<u8>), ReadError> {
    let size = file.size().0;
    let len = size.min(most);
    Ok((size - len, file.read_vec(ByteOffset(size - len), small(len))?))
}

/// A length already bounded to some megabytes.
fn small(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}

/// Bytes of one page of the cache.
const PAGE: u64 = 16 << 10;
/// Pages kept: 4 MiB.
const SLOTS: usize = 256;

/// Why a read did not give bytes.
#[derive(Debug)]
pub(super) enum NoBytes {
    /// Past the end, or the medium failed.
    Read(ReadError),
    /// As much was read as may be.
    Budget,
}

/// A file read by position in small pieces, through a few pages kept in memory, up to a budget.
pub(super) struct Pages<'a> {
    file: &'a dyn ReadAt,
    size: u64,
    slots: Vec<Option<(u64, Vec<u8>)>>,
    left: u64,
}

impl<'a> Pages<'a> {
    /// `budget`: most bytes to read from the file in all.
    pub(super) fn new(file: &'a dyn ReadAt, budget: u64) -> Self {
        Self { file, size: file.size().0, slots: vec![None; SLOTS], left: budget }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// `len` bytes at `at`, or as many as there are up to the end of the file.
    pub(super) fn up_to(&mut self, at: u64, len: usize) -> Result<Vec<u8>, NoBytes> {
        let end = at.saturating_add(len as u64).min(self.size);
        let mut out = Vec::with_capacity(small(end.saturating_sub(at)));
        let mut at = at;
        while at < end {
            let page = self.page(at / PAGE)?;
            let from = small(at % PAGE);
            let to = page.len().min(from + small(end - at));
            let piece = page.get(from..to).unwrap_or_default();
            out.extend_from_slice(piece);
            if piece.is_empty() {
                break;
            }
            at += piece.len() as u64;
        }
        Ok(out)
    }

    /// Exactly `len` bytes at `at`.
    pub(super) fn exact(&mut self, at: u64, len: usize) -> Result<Vec<u8>, NoBytes> {
        model::ports::check_range(ByteOffset(at), len, model::units::ByteLen(self.size)).map_err(NoBytes::Read)?;
        self.up_to(at, len)
    }

    fn page(&mut self, no: u64) -> Result<&[u8], NoBytes> {
        let slot = small(no) % SLOTS;
        if !matches!(&self.slots[slot], Some((n, _)) if *n == no) {
            let at = no * PAGE;
            let len = PAGE.min(self.size.saturating_sub(at));
            self.left = self.left.checked_sub(len).ok_or(NoBytes::Budget)?;
            let bytes = self.file.read_vec(ByteOffset(at), small(len)).map_err(NoBytes::Read)?;
            self.slots[slot] = Some((no, bytes));
        }
        Ok(self.slots[slot].as_ref().map_or(&[], |(_, b)| b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_give_the_bytes_of_the_file() {
        let file: Vec<u8> = (0..100_000u32).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut pages = Pages::new(&file, 1 << 20);
        for (at, len) in [(0usize, 10usize), (16_380, 10), (16_384, 40_000), (99_990, 10), (16_380, 10)] {
            assert_eq!(pages.exact(at as u64, len).unwrap(), file[at..at + len]);
        }
        assert_eq!(pages.up_to(99_995, 100).unwrap().len(), 5);
        assert!(matches!(pages.exact(99_995, 6), Err(NoBytes::Read(_))));
        assert!(pages.exact(u64::MAX, 1).is_err());
    }

    #[test]
    fn the_budget_ends() {
        let file = vec![0u8; 1 << 20];
        let mut pages = Pages::new(&file, 3 * PAGE);
        assert!(pages.exact(0, 3 * small(PAGE)).is_ok());
        assert!(matches!(pages.exact(5 * PAGE, 1), Err(NoBytes::Budget)));
    }

    #[test]
    fn ends_of_short_files() {
        let file = b"abcdef".to_vec();
        assert_eq!(head(&file, 4).unwrap(), b"abcd");
        assert_eq!(tail(&file, 4).unwrap(), (2, b"cdef".to_vec()));
        assert_eq!(tail(&file, 99).unwrap(), (0, b"abcdef".to_vec()));
    }
}
