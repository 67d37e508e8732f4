//! Memory to read into: on page boundaries, so that a disk can be read past the page cache without a copy, and used again, so that it
//! is not made and cleared for every read.

use model::units::{ByteOffset, Extent};
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, PoisonError};

/// What the system reads into directly is aligned to pages.
const PAGE: usize = 4096;
/// Most pieces of memory kept for later.
const MOST_FREE: usize = 16;

/// Memory of one size, to be had and given back.
pub(crate) struct Pool {
    len: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// Each of `len` bytes.
    pub(crate) fn new(len: usize) -> Arc<Self> {
        Arc::new(Self { len, free: Mutex::default() })
    }

    /// Memory whose bytes are anything: they must be read before they are given to somebody.
    pub(crate) fn take(self: &Arc<Self>) -> Memory {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = free.unwrap_or_else(|| vec![0; self.len + PAGE]);
        let skew = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Memory { pool: self.clone(), bytes, skew }
    }
}

/// A piece of memory of a pool, which gets it back.
pub(crate) struct Memory {
    pool: Arc<Pool>,
    bytes: Vec<u8>,
    skew: usize,
}

impl Memory {
    fn at(&self, range: &Range<usize>) -> Range<usize> {
        self.skew + range.start..self.skew + range.end
    }

    /// A part of it, to be written to; `None` where it is not that long.
    pub(crate) fn part(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        let at = self.at(&range);
        self.bytes[..self.skew + self.pool.len].get_mut(at)
    }

    /// The parts of it that hold these addresses, where its first byte is that of `first`.
    pub(crate) fn share(self, first: u64, extents: impl Iterator<Item = Extent>) -> Vec<(Extent, Bytes)> {
        let memory = Arc::new(self);
        let part = |e: Extent| {
            let from = usize::try_from(e.start().0.checked_sub(first)?).ok()?;
            let range = from..from.checked_add(e.len().to_usize()?)?;
            (range.end <= memory.pool.len).then(|| (e, Bytes { memory: memory.clone(), range }))
        };
        extents.filter_map(part).collect()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < MOST_FREE {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Bytes that were read, in memory that others have parts of too.
pub(crate) struct Bytes {
    memory: Arc<Memory>,
    range: Range<usize>,
}

impl Bytes {
    /// Those that lie in `extent`, where the first of all lies at `at`.
    pub(crate) fn part(&self, at: ByteOffset, extent: Extent) -> Option<Self> {
        let from = self.range.start.checked_add(usize::try_from(extent.start().0.checked_sub(at.0)?).ok()?)?;
        let range = from..from.checked_add(extent.len().to_usize()?)?;
        (range.end <= self.range.end).then(|| Self { memory: self.memory.clone(), range })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes[self.memory.at(&self.range)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, end: u64) -> Extent {
        Extent::between(start, end).unwrap()
    }

    #[test]
    fn memory_is_aligned_shared_and_used_again() {
        let pool = Pool::new(10_000);
        let mut memory = pool.take();
        assert_eq!(memory.part(0..10_000).unwrap().as_ptr().align_offset(PAGE), 0);
        assert!(memory.part(9_999..10_001).is_none());
        memory.part(100..200).unwrap().fill(7);
        let place = memory.bytes.as_ptr();
        let parts =
            memory.share(50_000, [extent(50_100, 50_200), extent(59_000, 60_001), extent(40_000, 50_100)].into_iter());
        let [(e, bytes)] = parts.as_slice() else { panic!("only what lies in it is given") };
        assert_eq!((*e, &**bytes), (extent(50_100, 50_200), &[7; 100][..]));
        assert_ne!(pool.take().bytes.as_ptr(), place, "it is still in use");
        drop(parts);
        let (one, other) = (pool.take(), pool.take());
        assert!([one.bytes.as_ptr(), other.bytes.as_ptr()].contains(&place));
    }
}
