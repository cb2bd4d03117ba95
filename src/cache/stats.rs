//! What a cache has done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value as Wire, json};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a cache has done.
#[derive(Debug, Default)]
pub struct Stats {
    /// Answers from memory, those that a check found current included.
    pub hits: Counter,
    /// Answers that were read anew.
    pub misses: Counter,
    /// Answers brought up to date by reading only newer events.
    pub deltas: Counter,
    /// Of these, those of which only the groups that were touched were made anew.
    pub spliced: Counter,
    /// Entries that made room.
    pub evictions: Counter,
    /// Answers that were not kept: too large, or not exact.
    pub rejected: Counter,
    /// Entries forgotten by hand.
    pub invalidations: Counter,
    /// Answers that waited for another's execution or check.
    pub coalesced: Counter,
    /// Microseconds of database time that the answers would have taken.
    pub asked: Counter,
    /// Microseconds that they took.
    pub spent: Counter,
    /// Statements that asked what is new.
    pub checks: Counter,
    /// New events read.
    pub new_events: Counter,
}

impl Stats {
    /// An answer that read anew would have taken so long, and took so long.
    pub fn price(&self, anew: Duration, took: Duration) {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        self.asked.add(micros(anew));
        self.spent.add(micros(took));
    }

    /// As `CacheStats`, but for what is told of entries and tiers.
    #[allow(clippy::cast_precision_loss)] // Counts and shares, for people.
    pub fn to_json(&self) -> Wire {
        let (hits, deltas, misses) = (self.hits.get(), self.deltas.get(), self.misses.get());
        let share = |part: u64, whole: u64| {
            if whole == 0 {
                0.0
            } else {
                part as f64 / whole as f64
            }
        };
        let (asked, spent) = (self.asked.get(), self.spent.get());
        let saved = asked.saturating_sub(spent);
        json!({
            "hits": hits,
            "misses": misses,
            "deltas": deltas,
            "spliced": self.spliced.get(),
            "hitRate": share(hits + deltas, hits + deltas + misses),
            "evictions": self.evictions.get(),
            "rejected": self.rejected.get(),
            "invalidations": self.invalidations.get(),
            "coalesced": self.coalesced.get(),
            "savedTime": saved as f64 / 1000.0,
            "costSavingsRatio": share(saved, asked),
        })
    }

    /// The share of answers that were not read anew.
    pub fn hit_rate(&self) -> f64 {
        self.to_json()["hitRate"].as_f64().unwrap_or(0.0)
    }
}
