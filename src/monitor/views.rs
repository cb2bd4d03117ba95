//! What the monitor has seen, in the words of the public API.

use std::time::{Duration, SystemTime};

use serde_json::{Value as Wire, json};

use super::Monitor;
use super::fingerprints::Fingerprint;
use super::histogram::{micros, millis};
use super::history::SLOT;
use super::plans::Plans;
use crate::exec::{Ended, Engine, Running};
use crate::model::{Error, Result, time::Timestamp};

/// What fingerprints are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All their runs together.
    TotalTime,
    /// The mean of their runs.
    MeanTime,
    /// How often they ran.
    Calls,
    /// The 95th percentile of their runs.
    P95,
}

impl Order {
    /// The order of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "totalTime" => Self::TotalTime,
            "meanTime" => Self::MeanTime,
            "calls" => Self::Calls,
            "p95" => Self::P95,
            _ => return None,
        })
    }

    #[allow(clippy::cast_precision_loss)] // A count.
    fn of(self, one: &Fingerprint) -> f64 {
        match self {
            Self::TotalTime => one.times.total(),
            Self::MeanTime => one.times.mean(),
            Self::Calls => one.times.count() as f64,
            Self::P95 => one.times.quantile(0.95),
        }
    }
}

pub fn iso(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let whole = i64::try_from(since.as_millis()).unwrap_or(i64::MAX / 1000);
    Timestamp::from_micros(whole.saturating_mul(1000)).to_string()
}

/// Adds what is known of the plan of a run: what the run itself knows, else the fingerprint's.
fn with_plan(mut told: Wire, plans: &Plans, fingerprint: u64, own: Option<&[String]>) -> Wire {
    if let Some(indexes) = own {
        told["indexesUsed"] = json!(indexes);
    } else if let Some((plan, _)) = plans.of(fingerprint) {
        told["indexesUsed"] = json!(plan.indexes);
        told["planHash"] = plan.hash.into();
    }
    told
}

fn ended(run: &Ended, plans: &Plans) -> Wire {
    let mut told = json!({
        "queryId": run.id,
        "fingerprint": run.shape.hex(),
        "queryText": run.shape.text,
        "status": run.status.word(),
        "startedAt": iso(run.started_at),
        "executionTime": millis(micros(run.elapsed)),
        "rowsReturned": run.rows,
        "bytesReturned": run.bytes,
        "cache": run.cache,
        "indexesUsed": [],
    });
    if let Some((code, sql_state)) = &run.failure {
        told["error"] = match sql_state {
            Some(state) => format!("{code} ({state})").into(),
            None => (*code).into(),
        };
    }
    with_plan(told, plans, run.shape.fingerprint, run.indexes.as_deref())
}

fn running(run: &Running, plans: &Plans) -> Wire {
    let told = json!({
        "queryId": run.id,
        "fingerprint": run.shape.hex(),
        "queryText": run.shape.text,
        "status": "running",
        "startedAt": iso(run.started_at),
        "executionTime": millis(micros(run.started.elapsed())),
        "rowsReturned": run.rows,
        "bytesReturned": run.bytes,
        "cache": "off",
        "indexesUsed": [],
    });
    with_plan(told, plans, run.shape.fingerprint, None)
}

impl Monitor {
    /// Statistics by fingerprint, the largest by `order` first.
    pub fn fingerprints(&self, order: Order, limit: Option<usize>) -> Wire {
        let state = self.state();
        let mut sorted: Vec<_> = state
            .fingerprints
            .iter()
            .map(|f| (order.of(f), f))
            .collect();
        sorted.sort_by(|(a, f), (b, g)| {
            b.total_cmp(a)
                .then(f.shape.fingerprint.cmp(&g.shape.fingerprint))
        });
        let told = sorted
            .iter()
            .take(limit.unwrap_or(usize::MAX))
            .map(|(_, one)| {
                let plans = self.plans.of(one.shape.fingerprint);
                let (indexes, hashes) =
                    plans.map_or_else(Default::default, |(now, all)| (now.indexes, all));
                json!({
                    "fingerprint": one.shape.hex(),
                    "queryText": one.shape.text,
                    "calls": one.times.count(),
                    "errors": one.errors,
                    "totalTime": one.times.total(),
                    "meanTime": one.times.mean(),
                    "p50": one.times.quantile(0.5),
                    "p95": one.times.quantile(0.95),
                    "p99": one.times.quantile(0.99),
                    "maxTime": one.times.longest(),
                    "rows": one.rows,
                    "cacheHitRate": one.hit_rate(),
                    "indexesUsed": indexes,
                    "planHashes": hashes,
                })
            });
        told.collect()
    }

    /// How often each fingerprint was run.
    pub fn calls(&self) -> Vec<(u64, u64)> {
        let state = self.state();
        (state.fingerprints.iter())
            .map(|one| (one.shape.fingerprint, one.times.count()))
            .collect()
    }

    /// The queries that run.
    pub fn running(&self, engine: &Engine) -> Wire {
        let queries = engine.registry.running();
        queries
            .iter()
            .map(|run| running(run, &self.plans))
            .collect()
    }

    /// One run.
    ///
    /// # Errors
    /// UNKNOWN_QUERY for an id that was never seen, or too long ago.
    pub fn query(&self, engine: &Engine, id: &str) -> Result<Wire> {
        let runs = engine.registry.running_query(id);
        let state = self.state();
        let kept = state.recent.find(id);
        match (runs, kept) {
            // It has ended for its caller, and is being stopped on the server.
            (Some(now), Some(kept)) if kept.started == now.started => Ok(ended(kept, &self.plans)),
            (Some(now), _) => Ok(running(&now, &self.plans)),
            (None, Some(kept)) => Ok(ended(kept, &self.plans)),
            (None, None) => Err(Error::UnknownQuery(id.to_owned())),
        }
    }

    /// Runs that took longer than `threshold` milliseconds, or than the option says.
    pub fn slow(&self, threshold: Option<f64>) -> Wire {
        let threshold = threshold.map_or(self.options.slow, |ms| {
            Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX)
        });
        let state = self.state();
        let slow = state.recent.slower_than(threshold);
        slow.into_iter()
            .map(|run| ended(run, &self.plans))
            .collect()
    }

    /// The pool, as it stands.
    pub fn pool(&self, engine: &Engine) -> Wire {
        let (size, idle, max) = engine.pool.counts();
        json!({
            "size": size,
            "idle": idle,
            "inUse": size.saturating_sub(idle),
            "waiting": engine.governor.waiting(),
            "maxSize": max,
            "acquireP95": self.state().waits.all.quantile(0.95),
        })
    }

    /// The share of runs that were slow, and how many runs there were.
    #[allow(clippy::cast_precision_loss)] // Counts.
    pub fn slow_ratio(&self) -> (f64, u64) {
        let totals = self.state().totals;
        let runs = totals.runs();
        (totals.slow as f64 / runs.max(1) as f64, runs)
    }

    /// What the report is drawn from, beside what the other views say.
    pub fn history(&self) -> Wire {
        let state = self.state();
        let slots: Vec<_> = (state.history.iter())
            .map(|(at, slot)| {
                json!({
                    "at": iso(at),
                    "runs": slot.times.count(),
                    "errors": slot.errors,
                    "p50": slot.times.quantile(0.5),
                    "p95": slot.times.quantile(0.95),
                    "max": slot.times.longest(),
                })
            })
            .collect();
        let totals = state.totals;
        json!({
            "slotSeconds": SLOT.as_secs(),
            "slots": slots,
            "slowQueryThreshold": millis(micros(self.options.slow)),
            "totals": {
                "done": totals.done, "cancelled": totals.cancelled, "timeout": totals.timed_out,
                "failed": totals.failed, "slow": totals.slow, "rows": totals.rows, "bytes": totals.bytes,
            },
            "latency": {
                "p50": state.times.all.quantile(0.5),
                "p95": state.times.all.quantile(0.95),
                "p99": state.times.all.quantile(0.99),
                "max": state.times.all.longest(),
            },
            "fingerprints": { "kept": state.fingerprints.len(), "evicted": state.fingerprints.evicted },
        })
    }
}
