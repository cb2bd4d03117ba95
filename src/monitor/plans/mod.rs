//! Plan stability: which plan each fingerprint has, why it changed, whether runs became slower, and
//! pins.
//!
//! A sample of each fingerprint, its statement with the values of one run, is explained again and
//! again, on a connection of the monitor's own; no query waits for it. Since the values are the
//! same each time, another plan means that the database has changed its mind. What plans depend on
//! is noted beside each plan, and compared where the plan is another. A change is called a regression
//! only where the runs themselves say so.
//!
//! Samples hold callers' values: they stay in memory, bounded, and are neither shown nor stored.

mod facts;
mod known;
mod measure;
mod pin;
mod round;
mod store;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value as Wire, json};

use self::facts::Facts;
use self::known::Known;
pub use self::known::Seen;
use super::views::iso;
use crate::exec::{Ended, Sample};
use crate::sql::Bind;

/// Fingerprints that are followed.
const KEPT: usize = 1000;
/// How many go at once to make room.
const AT_ONCE: usize = 50;
/// A sample with more than this in it is not kept: 16 MB at most for all.
const LARGEST: usize = 16 << 10;
/// A sample stands for its fingerprint for so long.
const STALE: Duration = Duration::from_hours(1);
/// Changes that are told of.
const CHANGES: usize = 500;

/// What the monitor knows of plans.
#[derive(Default)]
pub struct Plans {
    inner: Mutex<Inner>,
    /// One looks at a time.
    looking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Inner {
    known: HashMap<u64, Known>,
    changes: VecDeque<Change>,
    next_change: u64,
    facts: Option<Arc<Facts>>,
    /// Pins that had to go, and why, until the fingerprint is pinned or let go by hand.
    released: Vec<(u64, String)>,
    /// Why plans cannot be looked at, where that is so.
    problem: Option<String>,
}

/// A plan that became another.
struct Change {
    number: u64,
    fingerprint: u64,
    from: String,
    to: String,
    at: SystemTime,
    cause: facts::Cause,
    before: Vec<u32>,
    after: Vec<u32>,
    regression: bool,
    /// Said once to the log.
    told: bool,
}

impl super::Monitor {
    /// The plan changes that are known of, the newest first.
    pub fn plan_changes(&self) -> Wire {
        self.plans.changes()
    }
}

impl Plans {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a sample of a fingerprint is wanted.
    pub fn wants(&self, fingerprint: u64) -> bool {
        let inner = self.inner();
        (inner.known.get(&fingerprint)).is_none_or(|known| known.taken.elapsed() > STALE)
    }

    /// Keeps a sample.
    pub fn keep(&self, sample: Sample) {
        let size =
            sample.statement.sql.len() + sample.statement.binds.iter().map(size).sum::<usize>();
        if size > LARGEST {
            return;
        }
        let fingerprint = sample.shape.fingerprint;
        let mut inner = self.inner();
        if let Some(known) = inner.known.get_mut(&fingerprint) {
            known.renew(sample);
            return;
        }
        if inner.known.len() >= KEPT {
            inner.make_room();
        }
        inner.known.insert(fingerprint, Known::new(sample));
    }

    /// Counts a run that ended.
    pub fn ended(&self, run: &Ended) {
        // A hinted run has a plan of its own.
        if run.indexes.is_some() || run.status != crate::exec::Status::Done {
            return;
        }
        let mut inner = self.inner();
        let inner = &mut *inner;
        let Some(known) = inner.known.get_mut(&run.shape.fingerprint) else {
            return;
        };
        let took = run.elapsed.saturating_sub(run.waited.unwrap_or_default());
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        known.ran(run.started, micros);
        if let Some(number) = known.measured
            && let Some(change) = inner.changes.iter_mut().rev().find(|c| c.number == number)
        {
            if change.after.len() < measure::MOST {
                change.after.push(micros);
            } else {
                known.measured = None;
            }
        }
    }

    /// The indexes of a run's plan, where they are known.
    pub fn indexes(&self, run: &Ended) -> Option<Vec<String>> {
        let own = run.indexes.as_ref().map(|indexes| indexes.to_vec());
        own.or_else(|| {
            let inner = self.inner();
            let plan = inner.known.get(&run.shape.fingerprint)?.current()?;
            Some(plan.indexes.clone())
        })
    }

    /// Plans of a fingerprint: the one it has now, and the hashes of all that were seen.
    pub fn of(&self, fingerprint: u64) -> Option<(Seen, Vec<String>)> {
        let inner = self.inner();
        let known = inner.known.get(&fingerprint)?;
        Some((known.current()?.clone(), known.hashes()))
    }

    /// The share of runs whose plan reads by an index, of all runs that could: those of plans that
    /// read a whole table and leave nothing out could not. `None` where nothing is known.
    #[allow(clippy::cast_precision_loss)] // Counts.
    pub fn indexed_share(&self) -> Option<f64> {
        let inner = self.inner();
        let (mut indexed, mut all) = (0_u64, 0_u64);
        for known in inner.known.values() {
            let Some(plan) = known.current() else {
                continue;
            };
            if plan.filters_by_scan {
                all += known.runs;
            } else if !plan.indexes.is_empty() {
                all += known.runs;
                indexed += known.runs;
            }
        }
        (all > 0).then(|| indexed as f64 / all as f64)
    }

    /// The changes, the newest first, as `PlanChange`.
    pub fn changes(&self) -> Wire {
        let inner = self.inner();
        let told = inner.changes.iter().rev().map(|change| {
            let known = inner.known.get(&change.fingerprint);
            json!({
                "fingerprint": format!("{:016x}", change.fingerprint),
                "from": change.from,
                "to": change.to,
                "at": iso(change.at),
                "cause": change.cause.word,
                "regression": change.regression,
                "meanBefore": measure::mean(&change.before),
                "meanAfter": measure::mean(&change.after),
                "pinned": known.is_some_and(|known| known.pin.is_some()),
                "detail": change.cause.detail,
            })
        });
        told.collect()
    }

    /// What stands in the health report.
    pub fn problems(&self) -> Vec<String> {
        let inner = self.inner();
        let released = inner.released.iter().map(|(fingerprint, why)| {
            format!("fingerprint {fingerprint:016x} is no longer pinned to its plan: {why}")
        });
        inner.problem.iter().cloned().chain(released).collect()
    }

    /// Forgets what was counted. Pins stay, and so do plans, to be compared with.
    pub fn reset(&self) {
        let mut inner = self.inner();
        inner.changes.clear();
        for known in inner.known.values_mut() {
            known.forget_runs();
        }
    }
}

impl Inner {
    /// Those that ran the longest ago go, unless they are pinned.
    fn make_room(&mut self) {
        let mut ages: Vec<(Instant, u64)> = (self.known.iter())
            .filter(|(_, known)| known.pin.is_none())
            .map(|(key, known)| (known.last_run, *key))
            .collect();
        ages.sort_unstable();
        for (_, key) in ages.iter().take(AT_ONCE) {
            self.known.remove(key);
        }
    }

    fn change(&mut self, mut change: Change) -> u64 {
        self.next_change += 1;
        change.number = self.next_change;
        if self.changes.len() >= CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
        self.next_change
    }
}

/// Bytes of a value, about.
fn size(bind: &Bind) -> usize {
    match bind {
        Bind::Text(text) | Bind::Json(text) | Bind::Numeric(text) => text.len(),
        Bind::Texts(texts) | Bind::Jsons(texts) => texts.iter().map(String::len).sum(),
        Bind::Uuids(ids) => ids.len() * 16,
        Bind::Times(times) => times.len() * 8,
        Bind::List { items, .. } => items.iter().map(size).sum(),
        _ => 16,
    }
}
