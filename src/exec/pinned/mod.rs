//! Statements that are kept on a plan.
//!
//! A pin is a rung of planner settings under which the plan was seen to come out. A pinned statement
//! runs in a transaction of its own with those settings; whether they still give that plan is looked
//! at from outside, by the monitor, which lets the pin go where they do not. The transaction belongs
//! to its lease: where the run is dropped, the canceller rolls it back.

mod catalog;

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::batch::Batch;
use super::connection::Connection;
use super::fault::fault;
use super::frame::{Frame, Strategy};
use super::hinted::{LADDER, Rung};
use super::request::Planned;
use super::stop::Stop;
use crate::model::Result;
use crate::sql::{Statement, explain::Plan};

/// Settings that leave one kind of plan, beside those by which an index wins.
const KINDS: &[Rung] = &[
    Rung::of(&[
        ("enable_indexscan", "off"),
        ("enable_indexonlyscan", "off"),
        ("enable_bitmapscan", "off"),
    ]),
    Rung::of(&[("max_parallel_workers_per_gather", "0")]),
    Rung::of(&[
        ("max_parallel_workers_per_gather", "0"),
        ("enable_indexscan", "off"),
        ("enable_indexonlyscan", "off"),
        ("enable_bitmapscan", "off"),
    ]),
    Rung::of(&[
        ("max_parallel_workers_per_gather", "0"),
        ("enable_seqscan", "off"),
    ]),
    Rung::of(&[("enable_indexonlyscan", "off")]),
    Rung::of(&[("enable_sort", "off")]),
    Rung::of(&[("enable_incremental_sort", "off")]),
    Rung::of(&[("enable_hashagg", "off")]),
    Rung::of(&[("enable_nestloop", "off")]),
    Rung::of(&[("enable_hashjoin", "off")]),
    Rung::of(&[("enable_mergejoin", "off")]),
    Rung::of(&[("enable_hashjoin", "off"), ("enable_mergejoin", "off")]),
    Rung::of(&[("enable_nestloop", "off"), ("enable_mergejoin", "off")]),
    Rung::of(&[("enable_nestloop", "off"), ("enable_hashjoin", "off")]),
];

/// All rungs that a pin may stand on, by number.
fn rung(number: usize) -> Option<&'static Rung> {
    (LADDER.get(number)).or_else(|| KINDS.get(number.checked_sub(LADDER.len())?))
}

/// The rungs there are.
pub fn rungs() -> std::ops::Range<usize> {
    0..LADDER.len() + KINDS.len()
}

/// The pinned statements of a client, by fingerprint.
#[derive(Default)]
pub struct Pins {
    rungs: RwLock<HashMap<u64, usize>>,
    /// Whether there are any: most clients never have one.
    any: AtomicBool,
}

impl Pins {
    /// The rung that a statement is kept on.
    pub fn of(&self, fingerprint: u64) -> Option<usize> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let rungs = self.rungs.read().unwrap_or_else(PoisonError::into_inner);
        rungs.get(&fingerprint).copied()
    }

    /// Keeps a statement on a rung, or lets it go.
    pub fn set(&self, fingerprint: u64, rung: Option<usize>) {
        let mut rungs = self.rungs.write().unwrap_or_else(PoisonError::into_inner);
        match rung {
            Some(rung) => rungs.insert(fingerprint, rung),
            None => rungs.remove(&fingerprint),
        };
        self.any.store(!rungs.is_empty(), Ordering::Relaxed);
    }
}

/// The plan of a statement under the settings of a rung, or as things are. Nothing is run.
///
/// # Errors
/// Why the server could not say.
pub async fn plan_on(
    driver: &mut PgConnection,
    number: Option<usize>,
    statement: &Statement,
) -> Result<Plan> {
    let settings = number.and_then(rung).map_or(&[][..], |rung| rung.settings);
    let asked = catalog::plan(driver, settings, statement).await;
    let ended = catalog::roll_back(driver).await.map_err(fault);
    let document = asked?;
    ended?;
    Plan::parse(&document)
}

/// The strategy of a pinned statement.
pub struct Pinned {
    /// What is run.
    pub planned: Planned,
    /// Under which settings.
    pub rung: usize,
}

impl Strategy for Pinned {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        Box::pin(async move {
            let mut lease = frame.lease().await?;
            let floor = frame.engine.pool.seen_snapshot();
            let produced = self.produce(frame, lease.connection(), &floor).await;
            lease.settle(&produced);
            Ok(produced?)
        })
    }
}

impl Pinned {
    /// Runs it on a connection.
    ///
    /// # Errors
    /// Why it stopped.
    pub async fn produce(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        floor: &str,
    ) -> Result<Batch, Stop> {
        let settings = rung(self.rung).map_or(&[][..], |rung| rung.settings);
        if frame.snapshot.is_some() {
            // Its transaction is there already.
            catalog::settle(&mut connection.driver, settings).await?;
        } else {
            connection.in_transaction = true;
            catalog::begin(&mut connection.driver, settings).await?;
        }
        // Not a kept statement: those have plans of other settings.
        let writer = (frame.rows(connection, &self.planned.statement, false)).await?;
        Ok(frame.finish(writer, floor))
    }
}

#[cfg(test)]
mod tests {
    use super::{Pins, rung, rungs};

    #[test]
    fn every_rung_has_settings_and_none_is_there_twice() {
        let told: std::collections::HashSet<_> =
            rungs().map(|n| rung(n).unwrap().describe()).collect();
        assert_eq!(told.len(), rungs().len());
        assert!(rung(rungs().end).is_none());
    }

    #[test]
    fn a_pin_is_found_until_it_is_let_go() {
        let pins = Pins::default();
        assert_eq!(pins.of(1), None);
        pins.set(1, Some(3));
        assert_eq!((pins.of(1), pins.of(2)), (Some(3), None));
        pins.set(1, None);
        assert_eq!(pins.of(1), None);
    }
}
