//! A few recently used values.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// At most `most` values, the oldest forgotten first.
pub(crate) struct Cache<K, V> {
    entries: Mutex<VecDeque<(K, Arc<V>)>>,
    most: usize,
}

impl<K: PartialEq, V> Cache<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: Mutex::new(VecDeque::with_capacity(most)), most }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        // A thread that panicked here left at worst a missing entry: the cache stays usable.
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone())
    }

    pub(crate) fn put(&self, key: K, value: Arc<V>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == self.most {
            entries.pop_front();
        }
        entries.push_back((key, value));
    }
}
