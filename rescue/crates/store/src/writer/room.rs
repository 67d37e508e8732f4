//! How much may be between the caller and the packs.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What a chunk costs besides its bytes. (Not more: all chunks of the frames being gathered must fit, or everybody waits for
/// frames that never fill up.)
const BESIDES: usize = 256;

/// Bytes that are free, and who waits for them.
pub(super) struct Room {
    bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    free: usize,
    closed: bool,
    waits: u64,
}

/// Closes the room when dropped: nobody will give anything back any more.
pub(super) struct Closer<'a>(&'a Room);

impl Drop for Closer<'_> {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }
}

impl Room {
    pub(super) fn new(bytes: usize) -> Self {
        let state = State { free: bytes, closed: false, waits: 0 };
        Self { bytes, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room, waiting for it; false where there will be none any more.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let cost = bytes + BESIDES;
        let mut state = self.state();
        if state.free < cost {
            state.waits += 1;
        }
        while state.free < cost && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let open = !state.closed;
        if open {
            state.free -= cost;
        }
        open
    }

    pub(super) fn release(&self, bytes: usize) {
        self.state().free += bytes + BESIDES;
        self.changed.notify_all();
    }

    /// Bytes taken and not given back, with what their chunks cost besides.
    pub(super) fn taken(&self) -> u64 {
        self.bytes.saturating_sub(self.state().free) as u64
    }

    /// How often somebody had to wait since this was asked last.
    pub(super) fn waits(&self) -> u64 {
        std::mem::take(&mut self.state().waits)
    }

    pub(super) fn closer(&self) -> Closer<'_> {
        Closer(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_gets_room_or_an_end() {
        let room = Room::new(2 * BESIDES + 1001);
        assert!(room.take(1) && room.take(1000));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| room.take(1));
            while room.state().waits == 0 {
                std::thread::yield_now();
            }
            room.release(1);
            assert!(waiting.join().unwrap());
            let waiting = scope.spawn(|| room.take(1));
            while room.state().waits == 1 {
                std::thread::yield_now();
            }
            drop(room.closer());
            assert!(!waiting.join().unwrap());
        });
        assert_eq!((room.waits(), room.waits()), (2, 0));
    }
}
