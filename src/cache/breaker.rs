//! Leaving a tier alone that fails again and again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Failures in a row before it is left alone, and for how long.
const FAILURES: u32 = 3;
const REST: Duration = Duration::from_secs(1);

/// Whether a tier may be asked.
#[derive(Default)]
pub struct Breaker {
    failures: AtomicU32,
    resting: Mutex<Option<Instant>>,
}

impl Breaker {
    /// Whether it is left alone for now.
    pub fn is_resting(&self) -> bool {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.is_some_and(|until| until > Instant::now())
    }

    /// It answered.
    pub fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// It did not answer, or too late.
    pub fn failed(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES {
            self.rest(REST);
        }
    }

    /// It need not be asked for so long.
    pub fn rest(&self, pause: Duration) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        *resting = Some(Instant::now() + pause);
        self.succeeded();
    }
}
