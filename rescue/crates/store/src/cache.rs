//! Recently used values, bounded by their size.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Values of at most `most` in all, whatever each is said to cost; those not used for longest are forgotten first.
pub(crate) struct Cache<K, V> {
    state: Mutex<State<K, V>>,
    most: usize,
}

struct State<K, V> {
    entries: VecDeque<(K, Arc<V>, usize)>,
    cost: usize,
}

impl<K: PartialEq, V> Cache<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { state: Mutex::new(State { entries: VecDeque::new(), cost: 0 }), most }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        // A thread that panicked here left at worst a missing entry: the cache stays usable.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let at = state.entries.iter().position(|(k, ..)| k == key)?;
        let entry = state.entries.remove(at)?;
        let value = entry.1.clone();
        state.entries.push_back(entry);
        Some(value)
    }

    /// The value of a key: `value` from now on, unless another thread was first.
    pub(crate) fn put(&self, key: K, value: Arc<V>, cost: usize) -> Arc<V> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, there, _)) = state.entries.iter().find(|(k, ..)| *k == key) {
            return there.clone();
        }
        state.entries.push_back((key, value.clone(), cost));
        state.cost += cost;
        while state.cost > self.most
            && state.entries.len() > 1
            && let Some((_, _, freed)) = state.entries.pop_front()
        {
            state.cost -= freed;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_goes_first() {
        let cache = Cache::new(10);
        for (key, cost) in [(1, 4), (2, 4)] {
            cache.put(key, Arc::new(key * 10), cost);
        }
        assert_eq!(cache.get(&1).as_deref(), Some(&10));
        cache.put(3, Arc::new(30), 4);
        assert_eq!((cache.get(&2), cache.get(&1).as_deref()), (None, Some(&10)));
        assert_eq!(*cache.put(3, Arc::new(31), 4), 30, "the first stays");
        cache.put(4, Arc::new(40), 100);
        assert_eq!((cache.get(&1), cache.get(&3), cache.get(&4).as_deref()), (None, None, Some(&40)));
    }
}
