//! Memory to read into: on page boundaries, so that a disk can be read past the page cache without a copy; used again, so that it
//! is not made and cleared for every read; and so much of it and no more: what was read goes on into the store's frames in it.

use model::units::Extent;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use store::Bytes;

/// What the system reads into directly is aligned to pages.
const PAGE: usize = 4096;

/// Memory of one size, to be had and given back.
pub(crate) struct Pool {
    len: usize,
    state: Mutex<State>,
    given_back: Condvar,
}

struct State {
    free: Vec<Vec<u8>>,
    /// How many more may be made.
    left: usize,
}

impl Pool {
    /// At most `most` pieces at a time, each of `len` bytes.
    pub(crate) fn new(len: usize, most: usize) -> Arc<Self> {
        let state = Mutex::new(State { free: Vec::new(), left: most });
        Arc::new(Self { len, state, given_back: Condvar::new() })
    }

    /// Memory whose bytes are anything: they must be read before they are given to somebody. Waits where all of it is in use.
    pub(crate) fn take(self: &Arc<Self>) -> Memory {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let none = |state: &mut State| state.free.is_empty() && state.left == 0;
        let mut state = self.given_back.wait_while(state, none).unwrap_or_else(PoisonError::into_inner);
        let bytes = state.free.pop().unwrap_or_else(|| {
            state.left = state.left.saturating_sub(1);
            vec![0; self.len + PAGE]
        });
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
    /// A part of it, to be written to; `None` where it is not that long.
    pub(crate) fn part(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        self.bytes[self.skew..self.skew + self.pool.len].get_mut(range)
    }

    /// The parts of it that hold these addresses, where its first byte is that of `first`.
    pub(crate) fn share(self, first: u64, extents: impl Iterator<Item = Extent>) -> Vec<(Extent, Bytes)> {
        let memory = Arc::new(self);
        let part = |e: Extent| {
            let from = usize::try_from(e.start().0.checked_sub(first)?).ok()?;
            Some((e, Bytes::of(memory.clone(), from..from.checked_add(e.len().to_usize()?)?)?))
        };
        extents.filter_map(part).collect()
    }
}

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.skew..self.skew + self.pool.len).unwrap_or(&[])
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.pool.state.lock().unwrap_or_else(PoisonError::into_inner).free.push(std::mem::take(&mut self.bytes));
        self.pool.given_back.notify_one();
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
        let pool = Pool::new(10_000, 2);
        let mut memory = pool.take();
        assert_eq!(memory.part(0..10_000).unwrap().as_ptr().align_offset(PAGE), 0);
        assert!(memory.part(9_999..10_001).is_none());
        memory.part(100..200).unwrap().fill(7);
        let place = memory.bytes.as_ptr();
        let parts =
            memory.share(50_000, [extent(50_100, 50_200), extent(59_000, 60_001), extent(40_000, 50_100)].into_iter());
        let [(e, bytes)] = parts.as_slice() else { panic!("only what lies in it is given") };
        assert_eq!((*e, &**bytes), (extent(50_100, 50_200), &[7; 100][..]));
        let other = pool.take();
        assert_ne!(other.bytes.as_ptr(), place, "it is still in use");
        // There is no third: whoever wants one waits for what is given back.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take().bytes.as_ptr().addr());
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!waiting.is_finished());
            drop(parts);
            assert_eq!(waiting.join().unwrap(), place.addr());
        });
    }
}
