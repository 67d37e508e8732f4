//! How much is certain to be stored of what is under way, and how much room there is for it: so that whoever saves can stop while
//! what was saved can still be put aside.

use crate::error::StoreError;
use crate::layout::PACK_RESERVE;
use model::text::DisplayText;
use model::units::ByteLen;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Footers, nodes above the leaves, and what a caller hands over before it looks again.
const BESIDES: u64 = 2 << 20;

/// Counts bytes from when they are found to be new until they are put.
pub(super) struct Stock {
    /// Plain bytes of new chunks in frames that are in no pack yet: data, nodes.
    data: AtomicU64,
    nodes: AtomicU64,
    packs: Mutex<Packs>,
}

/// Both change at once when a pack was put: whoever looks in between would count its room twice, or not at all.
struct Packs {
    /// Frames as stored, in packs that are not put yet.
    waiting: u64,
    /// Free after the last pack was put; the greatest number where that is not known.
    free: u64,
}

impl Stock {
    pub(super) fn new(free: Option<ByteLen>) -> Self {
        let packs = Packs { waiting: 0, free: free.map_or(u64::MAX, |f| f.0) };
        Self { data: AtomicU64::new(0), nodes: AtomicU64::new(0), packs: Mutex::new(packs) }
    }

    fn packs(&self) -> MutexGuard<'_, Packs> {
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plain(&self, data: bool) -> &AtomicU64 {
        if data { &self.data } else { &self.nodes }
    }

    /// A new chunk was taken into a frame.
    pub(super) fn gathered(&self, len: usize, data: bool) {
        self.plain(data).fetch_add(len as u64, Ordering::Relaxed);
    }

    /// A frame is in a pack, or given up.
    pub(super) fn framed(&self, plain: usize, data: bool) {
        self.plain(data).fetch_sub(plain as u64, Ordering::Relaxed);
    }

    /// A frame of that length as stored goes into a pack.
    pub(super) fn packed(&self, stored: usize) {
        self.packs().waiting += stored as u64;
    }

    /// A pack with so many bytes of frames was put, and so much is free now.
    pub(super) fn put(&self, frames: u64, free: Option<ByteLen>) {
        let mut packs = self.packs();
        packs.waiting = packs.waiting.saturating_sub(frames);
        packs.free = free.map_or(u64::MAX, |f| f.0);
    }

    /// Fails where what is certain to be stored, and what may be, takes the room that is left. `under_way` is what is between the
    /// caller and the packs. While nothing new was found nothing is refused: it needs no room.
    pub(super) fn check(&self, under_way: u64) -> Result<(), StoreError> {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let data = of(&self.data);
        let Packs { waiting, free } = *self.packs();
        let certain = data.saturating_add(of(&self.nodes)).saturating_add(waiting);
        // What is not looked up yet may be new.
        let unknown = under_way.saturating_sub(data);
        let needed = [unknown, BESIDES, PACK_RESERVE].into_iter().fold(certain, u64::saturating_add);
        match certain > 0 && free < needed {
            true => Err(full(ByteLen(free), ByteLen(PACK_RESERVE))),
            false => Ok(()),
        }
    }
}

/// There is no room for another pack.
pub(super) fn full(free: ByteLen, reserve: ByteLen) -> StoreError {
    let says = format!("{free} are free, and {reserve} are kept for records");
    StoreError::Full { says: DisplayText::new(&says) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn room_is_left_for_what_is_under_way() {
        let stock = Stock::new(Some(ByteLen(41 * MIB)));
        assert!(stock.check(0).is_ok());
        stock.gathered(10 << 20, true);
        assert!(stock.check(10 * MIB).is_ok());
        stock.gathered(21 << 20, true);
        assert!(stock.check(31 * MIB).is_ok(), "31 MiB, and 10 besides");
        assert!(stock.check(32 * MIB).is_err(), "one more that may be new");
        // Compressed it is less.
        stock.framed(31 << 20, true);
        stock.packed(10 << 20);
        assert!(stock.check(12 * MIB).is_ok());
        stock.put(10 * MIB, Some(ByteLen(5 * MIB)));
        assert!(stock.check(12 * MIB).is_ok(), "nothing new is under way");
        stock.gathered(1, false);
        assert!(matches!(stock.check(0), Err(StoreError::Full { .. })));
        assert!(Stock::new(None).check(u64::MAX).is_ok(), "nobody knows");
    }
}
