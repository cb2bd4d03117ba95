//! What hints came to before, so that a repeated query climbs no ladder.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Statements that are remembered.
const KEPT: usize = 1024;
/// How long a preference that could not be followed is not tried again.
const GIVEN_UP: Duration = Duration::from_mins(1);

/// What the hints of a statement came to.
#[derive(Clone, Debug)]
pub enum Remembered {
    /// A rung that followed them. Whether it still does is looked at each time.
    Rung(usize),
    /// A rung that followed some preferences, and why not the others, in their order.
    Settled {
        /// The rung.
        rung: usize,
        /// `None` where the index was used.
        reasons: Vec<Option<String>>,
        /// When.
        at: Instant,
    },
}

/// The memory of a client.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<u64, Remembered>>);

impl Memory {
    /// What is remembered, where it still counts.
    pub fn recall(&self, key: u64) -> Option<Remembered> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).cloned().filter(|found| match found {
            Remembered::Rung(_) => true,
            Remembered::Settled { at, .. } => at.elapsed() < GIVEN_UP,
        })
    }

    /// Remembers.
    pub fn keep(&self, key: u64, what: Remembered) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KEPT {
            // The others are found again by one more climb.
            known.clear();
        }
        known.insert(key, what);
    }
}
