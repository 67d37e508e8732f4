//! What every part of a run shares: its failure, its counters, how much is under way, how hard to compress.

use super::room::Room;
use super::stock::Stock;
use crate::error::StoreError;
use crate::layout::PACK_RESERVE;
use model::id::Digest;
use model::snapshot::Cost;
use model::units::ByteLen;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Plain bytes between the caller and the packs.
const UNDER_WAY: usize = 24 << 20;
/// The level at which a run begins, and stays where it has no threads.
pub(crate) const LEVEL: i32 = 3;
/// Where the destination is slower than the workers, compressing harder makes the run faster: up to this.
const HARDEST: i32 = 9;
/// Where the workers are slower than all else: down to this. (2 is faster, and 3 % larger for good.)
const LIGHTEST: i32 = 3;

/// A pack of this run.
#[derive(Clone)]
pub(super) struct Put {
    pub(super) id: Digest,
    pub(super) len: u64,
}

pub(crate) struct Common {
    failure: Mutex<Option<StoreError>>,
    pub(super) room: Room,
    pub(super) read: AtomicU64,
    pub(super) shared: AtomicU64,
    pub(super) new: AtomicU64,
    pub(super) stored: AtomicU64,
    /// Bytes on their way to the medium, and the room there.
    pub(super) stock: Stock,
    winding_up: AtomicBool,
    level: AtomicI32,
    /// Jobs that no worker has taken yet.
    queued: AtomicUsize,
    packs: Mutex<Vec<Put>>,
    /// Chunks of this run that are in no pack yet that was put: the index does not know them.
    under_way: Mutex<HashSet<Digest>>,
}

impl Common {
    pub(super) fn new(free: Option<ByteLen>) -> Self {
        Self {
            failure: Mutex::new(None),
            room: Room::new(UNDER_WAY),
            read: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            new: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            stock: Stock::new(free),
            winding_up: AtomicBool::new(false),
            level: AtomicI32::new(LEVEL),
            queued: AtomicUsize::new(0),
            packs: Mutex::new(Vec::new()),
            under_way: Mutex::new(HashSet::new()),
        }
    }

    /// The first failure is the one that is told, at every call from then on.
    pub(super) fn fail(&self, e: StoreError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(e) => Err(e.clone()),
            None => Ok(()),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        let of = |n: &AtomicU64| ByteLen(n.load(Ordering::Relaxed));
        Cost { read: of(&self.read), shared: of(&self.shared), new: of(&self.new), stored: of(&self.stored) }
    }

    /// Fails where there is no room for more than what is under way.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        self.check()?;
        self.stock.check(self.room.taken())
    }

    /// What comes now ends the run: part of what is kept for records may be used for it.
    pub(super) fn wind_up(&self) {
        self.winding_up.store(true, Ordering::Relaxed);
    }

    /// What is to stay free when a pack is put.
    pub(super) fn reserve(&self) -> u64 {
        if self.winding_up.load(Ordering::Relaxed) { PACK_RESERVE / 2 } else { PACK_RESERVE }
    }

    /// The level for the next frame.
    pub(super) fn level(&self) -> i32 {
        self.level.load(Ordering::Relaxed)
    }

    /// A job waits for a worker.
    pub(super) fn job_sent(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// A worker took one.
    pub(super) fn job_taken(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }

    /// A pack was handed over. Where that had to wait for another to be put, and the workers ran out of work over it, the
    /// destination is what everything waits for; where the caller had to wait, it is the workers; else it is the source, and
    /// nothing needs to change.
    pub(super) fn pack_went(&self, waited: bool) {
        let idle = waited && self.queued.load(Ordering::Relaxed) == 0;
        let caller_waited = self.room.waits() > 0;
        let level = self.level();
        let next = match (idle, waited, caller_waited) {
            (true, ..) => (level + 1).min(HARDEST),
            (false, false, true) => (level - 1).max(LIGHTEST),
            // What was waited for the destination says nothing about the workers.
            _ => level,
        };
        self.level.store(next, Ordering::Relaxed);
    }

    pub(super) fn under_way(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn packs(&self) -> MutexGuard<'_, Vec<Put>> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_whoever_is_waited_for() {
        let common = Common::new(None);
        assert_eq!(common.level(), LEVEL);
        common.job_sent();
        (0..20).for_each(|_| common.pack_went(true));
        assert_eq!(common.level(), LEVEL, "the workers have enough to do");
        common.job_taken();
        (0..20).for_each(|_| common.pack_went(true));
        assert_eq!(common.level(), HARDEST);
        common.pack_went(false);
        assert_eq!(common.level(), HARDEST, "nobody waited");
        for _ in 0..20 {
            // As much as there is: the caller waits until it is given back.
            assert!(common.room.take(UNDER_WAY / 2));
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| common.room.take(UNDER_WAY / 2));
                std::thread::sleep(std::time::Duration::from_millis(5));
                common.room.release(UNDER_WAY / 2);
                assert!(waiting.join().unwrap());
            });
            common.room.release(UNDER_WAY / 2);
            common.pack_went(false);
        }
        assert!(common.level() <= LIGHTEST + 1, "{}", common.level());
    }
}
