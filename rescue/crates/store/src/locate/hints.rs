//! Chunks of packs that no run names, in eight bytes each: 32 bits of the id, and the pack. One lookup in a few hundred finds a
//! pack for nothing, which its footer tells; the whole id of each would be three times the memory.

use super::{Key, MOST_SAME, PackNo};
use std::collections::BTreeSet;

/// Most hints: 128 MiB of them.
pub(super) const MOST: usize = 16 * 1024 * 1024;
/// Hints kept apart before they are merged, at least; more where many are sorted, so that merging costs little for each.
const TAIL: usize = 16 * 1024;

/// Part of an id in the high half, the pack in the low one.
#[derive(Default)]
pub(super) struct Hints {
    sorted: Vec<u64>,
    tail: BTreeSet<u64>,
}

fn high(key: &Key) -> u64 {
    // Not the bits by which the keys of a run begin: those of hostile ids that begin alike may differ here.
    let [.., a, b, c, d] = *key;
    u64::from(u32::from_le_bytes([a, b, c, d])) << 32
}

fn pack(hint: u64) -> PackNo {
    PackNo(u32::try_from(hint & u64::from(u32::MAX)).expect("32 bits"))
}

impl Hints {
    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.tail.len()
    }

    pub(super) fn has_room(&self, more: usize) -> bool {
        self.len() + more <= MOST
    }

    /// Adds the chunks of one pack.
    pub(super) fn add(&mut self, pack: PackNo, keys: impl Iterator<Item = Key>) {
        self.tail.extend(keys.map(|key| high(&key) | u64::from(pack.0)));
        if self.tail.len() >= TAIL.max(self.sorted.len() / 16) {
            let tail = std::mem::take(&mut self.tail);
            self.merge(tail.into_iter());
        }
    }

    /// Merges rising hints in from the back, in place.
    fn merge(&mut self, new: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator) {
        let (mut from, added) = (self.sorted.len(), new.len());
        if self.sorted.capacity() < from + added {
            // An eighth of slack keeps the number of moves of a growing list small without doubling its memory.
            self.sorted.reserve_exact(added + from / 8);
        }
        self.sorted.resize(from + added, 0);
        let mut to = self.sorted.len();
        for hint in new.rev() {
            while from > 0 && self.sorted[from - 1] > hint {
                (from, to) = (from - 1, to - 1);
                self.sorted[to] = self.sorted[from];
            }
            to -= 1;
            self.sorted[to] = hint;
        }
    }

    /// The packs that may hold a chunk, at most [`MOST_SAME`].
    pub(super) fn find(&self, key: &Key, found: &mut Vec<PackNo>) {
        let low = high(key);
        let past = low | u64::from(u32::MAX);
        let at = self.sorted.partition_point(|h| *h < low);
        let sorted = self.sorted[at..].iter().copied().take_while(|h| *h <= past);
        found.extend(sorted.chain(self.tail.range(low..=past).copied()).take(MOST_SAME).map(pack));
    }

    /// Keeps the hints of some packs only.
    pub(super) fn retain(&mut self, keep: impl Fn(PackNo) -> bool) {
        self.sorted.retain(|h| keep(pack(*h)));
        self.tail.retain(|h| keep(pack(*h)));
        self.sorted.shrink_to(self.sorted.len() + self.sorted.len() / 8);
    }

    /// Bytes of memory, about.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.sorted.capacity() * 8 + self.tail.len() * 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locate::key_of;
    use model::id::Digest;

    #[test]
    fn finds_what_was_added_across_merges_and_loses_what_goes() {
        let key = |pack: u32, n: u32| key_of(&Digest::of(&(pack * 1000 + n).to_le_bytes()));
        let mut hints = Hints::default();
        for pack in 0..100 {
            hints.add(PackNo(pack), (0..1000).map(|n| key(pack, n)));
        }
        assert!(hints.sorted.is_sorted() && !hints.tail.is_empty() && hints.len() == 100_000);
        let find = |hints: &Hints, key: &Key| {
            let mut found = Vec::new();
            hints.find(key, &mut found);
            found
        };
        for pack in 0..100 {
            assert!((0..1000).all(|n| find(&hints, &key(pack, n)).contains(&PackNo(pack))), "{pack}");
        }
        let wrong: usize = (0..100_000).map(|n| find(&hints, &key(1000, n)).len()).sum();
        assert!(wrong < 20, "{wrong} of 100,000");
        hints.retain(|pack| pack.0 % 2 == 0);
        assert_eq!(hints.len(), 50_000);
        assert!((0..100).all(|pack| find(&hints, &key(pack, 7)).contains(&PackNo(pack)) == (pack % 2 == 0)));
        for pack in 0..1000 {
            hints.add(PackNo(pack), [key(7, 7)].into_iter());
        }
        assert_eq!(find(&hints, &key(7, 7)).len(), MOST_SAME);
    }
}
