//! Who asks the database when several want the same answer.
//!
//! One at a time, by a lock for each key. Whoever gets it looks first whether another's statement,
//! sent after its own call, has already said what it needs. So of all that wait while a check is on
//! its way the first sends the next one and the others take its answer; nobody joins a check that was
//! sent before it came, whose snapshot may be older than a write that it knows of. The lock goes on
//! when its holder is dropped.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::answer::Answer;
use super::key::Key;

/// The wanted answers.
#[derive(Default)]
pub struct Slots(Mutex<HashMap<Arc<Key>, Arc<Slot>>>);

/// One wanted answer.
#[derive(Default)]
pub struct Slot {
    /// Held by the one who asks.
    pub gate: tokio::sync::Mutex<()>,
    /// The newest answer, kept here for those who wait, whether memory keeps it or not.
    newest: Mutex<Option<Arc<Answer>>>,
}

/// A slot in use. The last one to give it back takes it out.
pub struct Wanted<'s> {
    slots: &'s Slots,
    key: &'s Arc<Key>,
    slot: Arc<Slot>,
}

impl Deref for Wanted<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        let mut slots = self.slots.lock();
        // The table's, and this one.
        if Arc::strong_count(&self.slot) <= 2 {
            slots.remove(self.key);
        }
    }
}

impl Slots {
    /// The slot of a key, shared by all who want it now.
    pub fn of<'s>(&'s self, key: &'s Arc<Key>) -> Wanted<'s> {
        let mut slots = self.lock();
        let slot = slots.get(key).cloned().unwrap_or_default();
        slots
            .entry(Arc::clone(key))
            .or_insert_with(|| Arc::clone(&slot));
        Wanted {
            slots: self,
            key,
            slot,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Key>, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The newest answer that those who hold the slot have seen.
    pub fn newest(&self) -> Option<Arc<Answer>> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.clone()
    }

    /// Shows an answer to those who wait.
    pub fn show(&self, answer: &Arc<Answer>) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some(Arc::clone(answer));
    }
}
