//! What runs, what ran and how well.
//!
//! Every run is counted where it ends, under one short lock; nothing of it ever waits for the
//! database. Everything that is kept is bounded. No text holds a value of the caller's: what is
//! kept of a statement is its [`Shape`](crate::exec::Shape).

mod bridge;
mod buffer;
mod fingerprints;
mod health;
mod histogram;
mod history;
mod log;
mod metrics;
mod options;
mod plans;
mod recent;
mod store;
mod views;

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub use bridge::{Listening, listen};
pub use options::Options;
pub use views::Order;

use crate::exec::{Ended, Observer, Sample, Status};
use buffer::Buffer;
use fingerprints::Fingerprints;
use histogram::Bounded;
use history::History;
use log::LogState;
use plans::Plans;
use recent::Recent;

/// The monitor of one client.
pub struct Monitor {
    options: Options,
    state: Mutex<State>,
    log: Mutex<LogState>,
    writing: tokio::sync::Mutex<()>,
    plans: Plans,
}

#[derive(Default)]
struct State {
    fingerprints: Fingerprints,
    recent: Recent,
    history: History,
    times: Bounded,
    waits: Bounded,
    totals: Totals,
    buffer: Buffer,
    /// Whether the last run found the server gone.
    server_lost: bool,
}

/// Counts since the beginning.
#[derive(Clone, Copy, Default)]
struct Totals {
    done: u64,
    cancelled: u64,
    timed_out: u64,
    failed: u64,
    slow: u64,
    rows: u64,
    bytes: u64,
}

impl Monitor {
    /// A monitor that has seen nothing.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            state: Mutex::default(),
            log: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            plans: Plans::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what was counted. What waits to be logged still is.
    pub fn reset(&self) {
        let mut state = self.state();
        let kept = State {
            buffer: mem::take(&mut state.buffer),
            server_lost: state.server_lost,
            ..State::default()
        };
        *state = kept;
        drop(state);
        self.plans.reset();
    }
}

impl Observer for Monitor {
    fn wants(&self, fingerprint: u64) -> bool {
        self.options.sample_rate > 0.0 && self.plans.wants(fingerprint)
    }

    fn sample(&self, sample: Sample) {
        self.plans.keep(sample);
    }

    fn ended(&self, run: Ended) {
        let slow = run.elapsed > self.options.slow;
        if slow {
            tracing::warn!(
                target: "tamma_events::monitor",
                client = run.client,
                query_id = &*run.id,
                fingerprint = run.shape.hex(),
                milliseconds = histogram::millis(histogram::micros(run.elapsed)),
                "a slow query"
            );
        }
        self.plans.ended(&run);
        let mut state = self.state();
        let totals = &mut state.totals;
        *match run.status {
            Status::Done => &mut totals.done,
            Status::Cancelled => &mut totals.cancelled,
            Status::TimedOut => &mut totals.timed_out,
            Status::Failed => &mut totals.failed,
        } += 1;
        totals.slow += u64::from(slow);
        totals.rows += run.rows;
        totals.bytes += run.bytes;
        state.times.record(run.elapsed);
        if let Some(waited) = run.waited {
            state.waits.record(waited);
        }
        state.fingerprints.record(&run);
        state.history.record(&run);
        state.buffer.offer(&run, &self.options);
        state.server_lost = matches!(run.failure, Some(("CONNECTION_FAILED", _)));
        state.recent.keep(run, self.options.slow);
    }
}

impl Totals {
    const fn runs(&self) -> u64 {
        self.done + self.cancelled + self.timed_out + self.failed
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        time::{Duration, Instant, SystemTime},
    };

    use super::{Monitor, Options};
    use crate::exec::{Ended, Observer, Shape, Status};

    /// A run of a statement that took so many milliseconds; its text is its id.
    pub fn run(sql: &str, took: u64) -> Ended {
        Ended {
            client: 1,
            id: sql.into(),
            shape: Arc::new(Shape::of_compiled(sql)),
            status: Status::Done,
            started: Instant::now(),
            started_at: SystemTime::now(),
            elapsed: Duration::from_millis(took),
            waited: Some(Duration::from_micros(5)),
            cache: "off",
            rows: 3,
            bytes: 100,
            indexes: None,
            failure: None,
        }
    }

    #[test]
    fn a_run_is_counted_where_it_belongs() {
        let monitor = Monitor::new(Options::default());
        monitor.ended(run("SELECT 1", 20));
        monitor.ended(run("SELECT 1", 2000));
        monitor.ended(Ended {
            status: Status::Failed,
            failure: Some(("DATABASE_ERROR", Some("42P01".to_owned()))),
            ..run("SELECT 2", 1)
        });
        let state = monitor.state();
        assert_eq!(
            (state.totals.done, state.totals.failed, state.totals.slow),
            (2, 1, 1)
        );
        assert_eq!((state.totals.rows, state.totals.runs()), (9, 3));
        assert_eq!(state.fingerprints.len(), 2);
        drop(state);
        monitor.reset();
        assert_eq!(monitor.state().totals.runs(), 0);
    }
}
