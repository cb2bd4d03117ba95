//! Statistics of a fingerprint, of a bounded number of fingerprints.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::histogram::Histogram;
use crate::exec::{Ended, Shape};

/// How many are kept: 4 KB each for the histogram, at most as much for the text.
pub const KEPT: usize = 1000;
/// How many go when room is made.
const AT_ONCE: usize = 50;
/// What a fingerprint took counts half as much after this long without a call.
const HALF_LIFE: Duration = Duration::from_mins(30);

/// All runs of one fingerprint.
pub struct Fingerprint {
    /// What it is.
    pub shape: Arc<Shape>,
    /// Runs that failed or took too long.
    pub errors: u64,
    /// Rows made.
    pub rows: u64,
    /// How long the runs took.
    pub times: Histogram,
    /// Runs that the cache had a part in, and those of them that were not read anew.
    pub cached: (u64, u64),
    last: Instant,
}

/// The fingerprints that are kept.
#[derive(Default)]
pub struct Fingerprints {
    known: HashMap<u64, Fingerprint>,
    /// How many had to go.
    pub evicted: u64,
}

impl Fingerprint {
    /// The share of the runs that the cache had a part in, and that were not read anew.
    #[allow(clippy::cast_precision_loss)] // A share, for people.
    pub fn hit_rate(&self) -> f64 {
        let (runs, hits) = self.cached;
        if runs == 0 {
            0.0
        } else {
            hits as f64 / runs as f64
        }
    }
}

impl Fingerprints {
    /// Counts a run.
    pub fn record(&mut self, run: &Ended) {
        if self.known.len() >= KEPT && !self.known.contains_key(&run.shape.fingerprint) {
            self.evict(run.started);
        }
        let fingerprint = (self.known)
            .entry(run.shape.fingerprint)
            .or_insert_with(|| Fingerprint {
                shape: Arc::clone(&run.shape),
                errors: 0,
                rows: 0,
                times: Histogram::default(),
                cached: (0, 0),
                last: run.started,
            });
        fingerprint.errors += u64::from(run.status.is_error());
        fingerprint.rows += run.rows;
        fingerprint.times.record(run.elapsed);
        if run.cache != "off" {
            fingerprint.cached.0 += 1;
            fingerprint.cached.1 += u64::from(run.cache != "miss");
        }
        fingerprint.last = fingerprint.last.max(run.started);
    }

    /// Makes room: what took the least time lately goes first, so that a flood of statements that
    /// are run once does not wash away those that matter. Several go at once: weighing all of them
    /// for each would cost a flood more than its statements do.
    fn evict(&mut self, now: Instant) {
        let weight = |one: &Fingerprint| {
            let idle = now.saturating_duration_since(one.last);
            one.times.total() * (-idle.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
        };
        let mut weighed: Vec<_> = (self.known.iter())
            .map(|(key, one)| (weight(one), *key))
            .collect();
        if weighed.len() > AT_ONCE {
            weighed.select_nth_unstable_by(AT_ONCE, |(a, _), (b, _)| a.total_cmp(b));
        }
        for (_, key) in weighed.iter().take(AT_ONCE) {
            self.known.remove(key);
            self.evicted += 1;
        }
    }

    /// All that are kept, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Fingerprint> {
        self.known.values()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprints, KEPT};
    use crate::monitor::tests::run;

    #[test]
    fn a_flood_of_fingerprints_takes_bounded_memory_and_spares_the_heavy_ones() {
        let mut fingerprints = Fingerprints::default();
        for i in 0..20 {
            fingerprints.record(&run(&format!("SELECT heavy{i}"), 5000));
        }
        for i in 0..20_000 {
            fingerprints.record(&run(&format!("SELECT once{i}"), 2));
        }
        assert!((KEPT - 50..=KEPT).contains(&fingerprints.len()));
        assert_eq!(fingerprints.evicted + fingerprints.len() as u64, 20_020);
        let heavy = (fingerprints.iter()).filter(|f| f.shape.text.contains("heavy"));
        assert_eq!(heavy.count(), 20);
    }
}
