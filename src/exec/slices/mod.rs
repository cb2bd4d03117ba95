//! A query answered by several connections over one snapshot.
//!
//! One connection, the leader, begins a transaction and exports its snapshot; the others adopt it, so
//! all slices read one state, whatever is written meanwhile. The leader answers a slice too. What the
//! slices give then goes back to it, and the server makes the answer of it (see `sql::partial`).
//!
//! Who holds what: the leader waits for its place and its connection as any query does. The others are
//! only taken where they are free at that moment, each with a place of its own: nobody who holds a
//! connection waits for another, so parallel queries cannot wait for each other, however many there
//! are. With none free the leader answers alone. Where a slice fails, or the run is stopped, the
//! futures of all slices are dropped, and with them their leases: each statement is cancelled on the
//! server and its transaction rolled back before the connection serves again.

mod catalog;
mod cut;
mod explain;
mod gather;
mod knowledge;
mod rows;
mod shares;

use std::time::Instant;

use futures_util::future::BoxFuture;
use serde_json::json;

pub use self::knowledge::Knowledge;
use self::knowledge::Way;
use super::batch::Batch;
use super::engine::Engine;
use super::frame::{Frame, Strategy};
use super::lease::Lease;
use super::request::{Planned, Single, Source};
use super::single;
use crate::model::Result;
use crate::plan::{Slicing, slicing};
use crate::query::EventQuery;
use crate::sql::{Purpose, Statement};

/// A query that several connections may answer.
pub struct Slices {
    query: EventQuery,
    single: Single,
    fingerprint: u64,
    purpose: Purpose,
    /// Its plan is wanted, not its answer; with `true` it runs all the same.
    explain: Option<bool>,
}

/// How a run is to be answered.
enum Plan {
    /// By one statement, for a reason that is told where the caller asked for more.
    Alone(Option<String>),
    Cut(Slicing, usize),
}

impl Slices {
    /// How a query is run: by slices, or by one statement where it will never be cut.
    pub fn source(
        query: EventQuery,
        planned: Planned,
        fingerprint: u64,
        purpose: Purpose,
    ) -> Source {
        let single = Single::Query(Box::new(planned));
        let wanted = match query.hints.parallel {
            Some(asked) => asked,
            None => {
                purpose == Purpose::Buffered && query.grouping.is_some() && slicing(&query).is_ok()
            }
        };
        if !wanted {
            return Source::Single(single);
        }
        Source::Strategy(Box::new(Self {
            query,
            single,
            fingerprint,
            purpose,
            explain: None,
        }))
    }

    /// Whether the plan of a query is one of slices, or has to say why it is not.
    pub fn explains(engine: &Engine, query: &EventQuery, fingerprint: u64) -> bool {
        let likely = || engine.slices.prefers(fingerprint) == Way::Slices;
        (query.hints.parallel).unwrap_or_else(|| query.grouping.is_some() && likely())
    }

    /// Explains a query; `single` is the EXPLAIN of its one statement.
    pub fn explaining(
        query: EventQuery,
        fingerprint: u64,
        single: Statement,
        analyze: bool,
    ) -> Self {
        Self {
            query,
            single: Single::Query(Box::new(Planned {
                statement: single,
                is_empty: false,
                catch_up: None,
            })),
            fingerprint,
            purpose: Purpose::Buffered,
            explain: Some(analyze),
        }
    }

    fn plan(&self, frame: &Frame<'_>) -> Plan {
        let engine = frame.engine;
        if matches!(&self.single, Single::Query(planned) if planned.is_empty) {
            return Plan::Alone(Some("no event can satisfy the filter".to_owned()));
        }
        let slicing = match slicing(&self.query) {
            Ok(slicing) => slicing,
            Err(reason) => return Plan::Alone(Some(reason.to_owned())),
        };
        let most = engine.config.limits.max_workers.min(engine.config.pool.max);
        let workers = self.query.hints.workers.map_or(most, |asked| {
            usize::try_from(asked).map_or(most, |asked| asked.min(most))
        });
        if workers < 2 {
            return Plan::Alone(Some(
                "one worker: limits.maxWorkers, pool.max or the hint allow no more".to_owned(),
            ));
        }
        let asked = self.query.hints.parallel == Some(true);
        if asked || self.explain.is_some() || engine.slices.choose(self.fingerprint) == Way::Slices
        {
            Plan::Cut(slicing, workers)
        } else {
            Plan::Alone(None)
        }
    }

    /// Says what became of the hint; of a choice of our own only where it was to cut.
    fn tell(&self, frame: &Frame<'_>, outcome: Result<String, String>) {
        let asked = self.query.hints.parallel.is_some();
        if !asked && outcome.is_err() {
            return;
        }
        let value = match (asked, self.query.hints.workers) {
            (false, _) => "auto".to_owned(),
            (true, None) => "true".to_owned(),
            (true, Some(workers)) => workers.to_string(),
        };
        let mut told = json!({ "hint": "parallel", "value": value, "honoured": outcome.is_ok() });
        match outcome {
            Ok(how) => told["how"] = how.into(),
            Err(reason) => told["reason"] = reason.into(),
        }
        frame.tell(|all| {
            // Of the last attempt.
            all.hints.retain(|hint| hint["hint"] != "parallel");
            all.hints.push(told);
        });
    }

    async fn alone(&self, frame: &Frame<'_>, lease: Option<Lease>) -> Result<Batch> {
        let lease = match lease {
            Some(lease) => lease,
            None if matches!(&self.single, Single::Query(planned) if planned.is_empty) => {
                return single::attempt(frame, &self.single).await;
            }
            None => frame.lease().await?,
        };
        let began = Instant::now();
        let answer = single::answer(frame, &self.single, lease).await;
        if answer.is_ok() && self.purpose == Purpose::Buffered && self.explain.is_none() {
            (frame.engine.slices).note(self.fingerprint, Way::Single, began.elapsed());
        }
        answer
    }
}

impl Strategy for Slices {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        Box::pin(async move {
            match self.plan(frame) {
                Plan::Cut(slicing, workers) => match self.explain {
                    Some(analyze) => self.explained(frame, slicing, workers, analyze).await,
                    None => self.cut(frame, slicing, workers).await,
                },
                Plan::Alone(reason) => {
                    if let Some(reason) = reason {
                        self.tell(frame, Err(reason));
                    }
                    self.alone(frame, None).await
                }
            }
        })
    }
}
