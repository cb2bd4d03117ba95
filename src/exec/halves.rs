//! A bounded map that forgets what was not asked for: the newer half becomes the older when it is full,
//! and what is still asked for moves over.

use std::{collections::HashMap, hash::Hash, mem, sync::Arc};

/// The map.
pub struct Halves<K, V> {
    newer: HashMap<K, Arc<V>>,
    older: HashMap<K, Arc<V>>,
    /// Entries of one half.
    kept: usize,
}

impl<K: Hash + Eq + Copy, V> Halves<K, V> {
    /// An empty map of at most twice as many entries.
    pub fn new(kept: usize) -> Self {
        Self {
            newer: HashMap::new(),
            older: HashMap::new(),
            kept,
        }
    }

    /// What is kept under a key.
    pub fn get(&mut self, key: K) -> Option<Arc<V>> {
        if let Some(found) = self.newer.get(&key) {
            return Some(Arc::clone(found));
        }
        let found = self.older.remove(&key)?;
        self.keep(key, Arc::clone(&found));
        Some(found)
    }

    /// Keeps something.
    pub fn keep(&mut self, key: K, value: Arc<V>) {
        if self.newer.len() >= self.kept {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(key, value);
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.newer.len() + self.older.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.newer.clear();
        self.older.clear();
    }
}
