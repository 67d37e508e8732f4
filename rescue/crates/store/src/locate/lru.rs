//! Values used lately, bounded in bytes.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that the bookkeeping of a value takes, about.
const OVERHEAD: usize = 96;

/// At most `most` bytes of values; the one not used for the longest time goes first.
pub(super) struct Lru<K, V> {
    inner: Mutex<Inner<K, V>>,
    most: usize,
}

struct Inner<K, V> {
    values: HashMap<K, Kept<V>>,
    /// Keys by when they were used.
    order: BTreeMap<u64, K>,
    clock: u64,
    size: usize,
}

struct Kept<V> {
    value: Arc<V>,
    used: u64,
    size: usize,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    pub(super) fn new(most: usize) -> Self {
        let inner = Inner { values: HashMap::new(), order: BTreeMap::new(), clock: 0, size: 0 };
        Self { inner: Mutex::new(inner), most }
    }

    // Nothing between two of its changes can panic but for memory: what a panic left is still in order.
    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let inner = &mut *self.inner();
        let kept = inner.values.get_mut(key)?;
        inner.clock += 1;
        inner.order.remove(&kept.used);
        kept.used = inner.clock;
        inner.order.insert(kept.used, *key);
        Some(kept.value.clone())
    }

    /// Remembers a value of `size` bytes; one that is larger than everything together is not kept.
    pub(super) fn put(&self, key: K, value: Arc<V>, size: usize) {
        let size = size.saturating_add(OVERHEAD);
        if size > self.most {
            return;
        }
        let inner = &mut *self.inner();
        inner.remove(&key);
        while inner.size + size > self.most {
            let Some(oldest) = inner.order.first_key_value().map(|(_, k)| *k) else { break };
            inner.remove(&oldest);
        }
        inner.clock += 1;
        inner.order.insert(inner.clock, key);
        inner.values.insert(key, Kept { value, used: inner.clock, size });
        inner.size += size;
    }

    pub(super) fn remove(&self, key: &K) {
        self.inner().remove(key);
    }

    /// Bytes in use, bookkeeping included.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.inner().size
    }
}

impl<K: Copy + Eq + Hash, V> Inner<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(kept) = self.values.remove(key) {
            self.order.remove(&kept.used);
            self.size -= kept.size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_goes_and_the_bound_holds() {
        let lru = Lru::new(3 * (100 + OVERHEAD));
        for n in 0..3u32 {
            lru.put(n, Arc::new(n), 100);
        }
        assert_eq!(lru.get(&0).as_deref(), Some(&0));
        lru.put(3, Arc::new(3), 100);
        assert_eq!((lru.get(&1), lru.get(&0).as_deref()), (None, Some(&0)));
        lru.put(9, Arc::new(9), 3 * (100 + OVERHEAD));
        assert_eq!((lru.get(&9), lru.size()), (None, 3 * (100 + OVERHEAD)));
        lru.put(4, Arc::new(4), 200);
        assert!(lru.size() <= 3 * (100 + OVERHEAD) && lru.get(&4).is_some());
        lru.remove(&4);
        lru.put(0, Arc::new(7), 100);
        assert_eq!((lru.get(&0).as_deref(), lru.size()), (Some(&7), 100 + OVERHEAD));
        for n in 0..1000u32 {
            lru.put(n, Arc::new(n), big(n));
            assert!(lru.size() <= lru.most);
        }
        let inner = lru.inner();
        assert_eq!(inner.order.len(), inner.values.len());
        assert_eq!(inner.values.values().map(|k| k.size).sum::<usize>(), inner.size);
    }

    fn big(n: u32) -> usize {
        crate::layout::big(n)
    }
}
