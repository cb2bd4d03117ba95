//! What earlier runs of a client tell of those to come: where the table has its events, and which queries
//! take long enough to be cut. Nothing is asked of the server to decide.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::model::time::Timestamp;

/// A query that takes less is never cut: connections, transactions and the merge take milliseconds.
const WORTH_CUTTING: Duration = Duration::from_millis(200);
/// Slices have to save a fifth of the time at least: they take other queries' connections.
const WORTH_IT: f64 = 0.8;
/// The way that lost is tried again, after so many runs: data and load change.
const AGAIN: u32 = 50;
/// Shapes of queries that are known at most.
const KEPT: usize = 4096;
/// The histogram is read again after this.
const BOUNDS_AGE: Duration = Duration::from_mins(1);

/// How a query was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By one statement.
    Single,
    /// By slices.
    Slices,
}

/// What a client has learned.
#[derive(Default)]
pub struct Knowledge {
    runs: Mutex<HashMap<u64, Runs>>,
    bounds: Mutex<Option<(Instant, Arc<[Timestamp]>)>>,
}

/// How long the runs of a query took.
#[derive(Default)]
struct Runs {
    single: Option<f64>,
    slices: Option<f64>,
    since_other: u32,
}

impl Knowledge {
    /// How to answer the next run of a query that names no way.
    pub fn choose(&self, fingerprint: u64) -> Way {
        let better = self.prefers(fingerprint);
        let mut runs = self.runs();
        let Some(run) = runs.get_mut(&fingerprint) else {
            return Way::Single;
        };
        // Never cut, or not yet.
        if run.slices.is_none() {
            return better;
        }
        run.since_other += 1;
        if run.since_other < AGAIN {
            return better;
        }
        run.since_other = 0;
        match better {
            Way::Single => Way::Slices,
            Way::Slices => Way::Single,
        }
    }

    /// How it is answered as things are.
    pub fn prefers(&self, fingerprint: u64) -> Way {
        let runs = self.runs();
        let Some(run) = runs.get(&fingerprint) else {
            return Way::Single;
        };
        match (run.single, run.slices) {
            (Some(single), None) if single >= WORTH_CUTTING.as_secs_f64() => Way::Slices,
            (Some(single), Some(slices))
                if single >= WORTH_CUTTING.as_secs_f64() && slices < single * WORTH_IT =>
            {
                Way::Slices
            }
            _ => Way::Single,
        }
    }

    /// Keeps how long a run took, waiting not counted.
    pub fn note(&self, fingerprint: u64, way: Way, took: Duration) {
        let mut runs = self.runs();
        if runs.len() >= KEPT && !runs.contains_key(&fingerprint) {
            // Those that matter are measured again soon.
            runs.clear();
        }
        let run = runs.entry(fingerprint).or_default();
        let mean = match way {
            Way::Single => &mut run.single,
            Way::Slices => &mut run.slices,
        };
        let took = took.as_secs_f64();
        *mean = Some(mean.map_or(took, |before| before.mul_add(0.7, took * 0.3)));
    }

    /// The histogram, where it is young.
    pub fn bounds(&self) -> Option<Arc<[Timestamp]>> {
        let bounds = self.bounds.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, bounds) = bounds.as_ref()?;
        (read.elapsed() < BOUNDS_AGE).then(|| Arc::clone(bounds))
    }

    /// Keeps a histogram that was just read.
    pub fn keep_bounds(&self, read: Vec<Timestamp>) -> Arc<[Timestamp]> {
        let read: Arc<[Timestamp]> = read.into();
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), Arc::clone(&read)));
        read
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<u64, Runs>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn only_what_takes_long_is_cut_and_only_while_that_pays() {
        let known = Knowledge::default();
        assert_eq!(known.choose(1), Way::Single);
        known.note(1, Way::Single, MS(20));
        assert_eq!(known.choose(1), Way::Single);
        known.note(2, Way::Single, MS(900));
        assert_eq!(known.choose(2), Way::Slices);
        known.note(2, Way::Slices, MS(500));
        assert_eq!(known.choose(2), Way::Slices);
        known.note(3, Way::Single, MS(900));
        known.note(3, Way::Slices, MS(850));
        assert_eq!(known.choose(3), Way::Single);
    }

    #[test]
    fn the_other_way_is_tried_again_now_and_then() {
        let known = Knowledge::default();
        known.note(1, Way::Single, MS(900));
        known.note(1, Way::Slices, MS(500));
        let other = (0..10 * AGAIN)
            .filter(|_| known.choose(1) == Way::Single)
            .count();
        assert_eq!(other, 10);
    }

    #[test]
    fn a_flood_of_shapes_is_forgotten() {
        let known = Knowledge::default();
        for shape in 0..3 * KEPT as u64 {
            known.note(shape, Way::Single, MS(900));
        }
        assert!(known.runs().len() <= KEPT);
    }
}
