//! Whether keeping an answer pays: what its use has saved, against what checking it in vain has cost.
//!
//! An answer that each check finds void costs the check and saves nothing. After [`IN_A_ROW`] such checks
//! it is let go, and for a while its query is answered as if nothing were kept. It is the number that
//! counts: how long one check takes depends on what else the machine does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache as Memory;

use super::key::Key;

/// What keeping an answer, and those that took its place, has saved.
#[derive(Debug, Default)]
pub struct Gain {
    /// Microseconds.
    saved: AtomicI64,
    /// Checks that found it void, since it was last of use.
    voids: AtomicU32,
}

/// Checks in vain, one after the other, until an answer is let go.
const IN_A_ROW: u32 = 32;
/// After so long what did not pay is tried again.
const TRIED_AGAIN: Duration = Duration::from_mins(1);
/// More are not remembered.
const MOST: u64 = 10_000;

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

impl Gain {
    /// It was of use: it was given in so long, and reading it anew would have taken so long.
    pub fn won(&self, anew: Duration, took: Duration) {
        let won = micros(anew.saturating_sub(took));
        self.saved.fetch_add(won, Ordering::Relaxed);
        self.voids.store(0, Ordering::Relaxed);
    }

    /// It was void: reading it anew took so long, and all in all so long.
    pub fn lost(&self, anew: Duration, took: Duration) {
        let lost = micros(took.saturating_sub(anew));
        self.saved.fetch_sub(lost, Ordering::Relaxed);
        self.voids.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it has cost more than it has saved.
    pub fn is_negative(&self) -> bool {
        self.saved.load(Ordering::Relaxed) < 0
    }

    /// Whether it is let go.
    pub fn is_loss(&self) -> bool {
        self.is_negative() && self.voids.load(Ordering::Relaxed) >= IN_A_ROW
    }
}

/// The keys whose answers did not pay.
pub struct Losers(Memory<Arc<Key>, ()>);

impl Losers {
    /// None yet.
    pub fn new() -> Self {
        let kept = Memory::builder()
            .max_capacity(MOST)
            .time_to_live(TRIED_AGAIN);
        Self(kept.build())
    }

    /// Its answers did not pay.
    pub fn add(&self, key: &Arc<Key>) {
        self.0.insert(Arc::clone(key), ());
        // So that it counts from now on.
        self.0.run_pending_tasks();
    }

    /// Whether its answers are not kept.
    pub fn has(&self, key: &Arc<Key>) -> bool {
        // Most clients have none.
        self.0.entry_count() > 0 && self.0.contains_key(key)
    }

    /// All are tried again.
    pub fn clear(&self) {
        self.0.invalidate_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_what_was_in_vain_again_and_again() {
        let (check, read) = (Duration::from_millis(1), Duration::from_millis(3));
        let gain = Gain::default();
        for _ in 1..IN_A_ROW {
            gain.lost(read, read + check);
        }
        assert!(gain.is_negative() && !gain.is_loss());
        gain.won(read, check);
        gain.lost(read, read + check);
        assert!(!gain.is_loss(), "it was of use in between");
        for _ in 1..IN_A_ROW {
            gain.lost(read, read + check);
        }
        assert!(gain.is_loss());
        for _ in 0..IN_A_ROW {
            gain.won(read, check);
        }
        assert!(!gain.is_negative());
    }
}
