//! One run that the cache answers: from memory, after a check, by merging what is new, or anew.
//!
//! Here stands which of these it is, and how the answer is sent. [`unchanged`] asks whether anything has
//! happened at all, [`check`] whether a kept one is still true, [`read`] reads one anew, [`compute`] has a
//! strategy make one, [`update`] has it bring one up to date, [`gather`] makes rows into what is kept.

mod check;
mod compute;
mod gather;
mod incarnation;
mod read;
mod unchanged;
mod update;

use std::{sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use serde_json::json;

use super::Cache;
use super::answer::Answer;
use super::fresh::Needed;
use super::plan::{Merge, Plan};
use super::stamp::Refusal;
use crate::exec::{Batch, Connection, Frame, Stop, Strategy, may_be_outdated};
use crate::model::{Error, Result};
use crate::query::Cursor;
use crate::sql::Merge as Parts;

pub use check::is_believed;
pub use gather::{asked, is_null, said, unexpected, write_value};

/// A run that the cache answers.
pub struct Cached {
    /// Of which cache.
    pub cache: Arc<Cache>,
    /// What is asked.
    pub plan: Arc<Plan>,
    /// What the answer must have seen.
    pub needed: Needed,
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The cache had no part in it.
    Off,
    /// Read anew.
    Miss,
    /// As it was kept.
    Memory,
    /// As another process had shared it, found true.
    Redis,
    /// As an earlier process had left it in the database, found true.
    Table,
    /// Brought up to date.
    Delta,
}

impl Outcome {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Miss => "miss",
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Table => "table",
            Self::Delta => "delta",
        }
    }
}

/// An answer, and how it was come by.
pub struct Brought {
    /// The answer.
    pub answer: Arc<Answer>,
    /// Where it came from.
    pub outcome: Outcome,
    /// Why it can't be kept, where that has to be said.
    pub refusal: Option<Refusal>,
}

/// What a check says of a kept answer.
pub enum Verdict {
    /// It is true as it stands.
    Current(Arc<Answer>),
    /// It is true with what was merged into it.
    Merged(Arc<Answer>),
    /// It has to be read anew.
    Void,
}

impl Strategy for Cached {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        Box::pin(self.answer(frame))
    }
}

impl Cached {
    async fn answer(&self, frame: &Frame<'_>) -> Result<Batch> {
        let stats = &self.cache.stats;
        let key = &self.plan.key;
        let will_do = |answer: &Arc<Answer>| self.needed.is_met_by(answer, frame.started);
        if let Some(answer) = self.cache.kept(key).filter(will_do) {
            stats.hits.add(1);
            self.price(&answer, frame.started);
            if self.needed.is_nearly_over(&answer) {
                self.cache.refresh(frame.engine, &self.plan);
            }
            return Ok(self.serve(frame, &answer, Outcome::Memory, None).await);
        }
        let slot = self.cache.slots.of(key);
        let gate = slot.gate.lock().await;
        let kept = slot.newest().or_else(|| self.cache.kept(key));
        if let Some(answer) = kept.clone().filter(will_do) {
            drop(gate);
            drop(slot);
            stats.hits.add(1);
            stats.coalesced.add(1);
            self.price(&answer, frame.started);
            return Ok(self.serve(frame, &answer, Outcome::Memory, None).await);
        }
        self.cache.peers.ready(&self.cache).await;
        let begun = Instant::now();
        let (kept, found) = self.cache.or_shared(key, kept).await;
        let gain = kept.as_ref().map(|kept| Arc::clone(&kept.gain));
        let brought = match self.cache.inexact() {
            Some(refusal) => self.read_plainly(frame, refusal).await?,
            None => self.bring(frame, kept).await?,
        };
        let Brought {
            mut answer,
            outcome,
            refusal,
        } = brought;
        let outcome = match outcome {
            Outcome::Memory => found.unwrap_or(outcome),
            other => other,
        };
        match outcome {
            Outcome::Memory | Outcome::Redis | Outcome::Table => stats.hits.add(1),
            Outcome::Delta => stats.deltas.add(1),
            Outcome::Miss | Outcome::Off => stats.misses.add(1),
        }
        let took = begun.elapsed();
        stats.price(answer.cost, took);
        if let Some(gain) = gain {
            match outcome {
                Outcome::Miss => gain.lost(answer.cost, took),
                // Nothing was asked of what is kept.
                Outcome::Off => {}
                _ => gain.won(answer.cost, took),
            }
            if !Arc::ptr_eq(&gain, &answer.gain) {
                Arc::make_mut(&mut answer).gain = gain;
            }
        }
        if answer.stamp.is_some() || self.needed.allows_inexact() {
            slot.show(&answer);
            self.cache.keep(key, &answer);
            if outcome == Outcome::Miss || outcome == Outcome::Delta {
                self.cache.share(&self.plan, &answer);
            }
        } else {
            stats.rejected.add(1);
        }
        drop(gate);
        drop(slot);
        Ok(self.serve(frame, &answer, outcome, refusal).await)
    }

    /// Counts what a kept answer was worth.
    fn price(&self, answer: &Answer, since: Instant) {
        let took = since.elapsed();
        self.cache.stats.price(answer.cost, took);
        answer.gain.won(answer.cost, took);
    }

    /// Sends an answer.
    async fn serve(
        &self,
        frame: &Frame<'_>,
        answer: &Answer,
        outcome: Outcome,
        refusal: Option<Refusal>,
    ) -> Batch {
        let body = &answer.body;
        frame.ticket.set_made(body.rows, body.bytes() as u64);
        frame.ticket.set_cache(outcome.name());
        let mut end = frame.end(body.rows, &answer.seen);
        end.cache = Some(outcome.name());
        if let Some(keys) = &body.cursor {
            let cursor = Cursor {
                identity: self.plan.planned.statement.identity,
                keys: keys.clone(),
            };
            end.next_cursor = Some(cursor.encode());
        }
        if let Some(refusal) = refusal {
            end.hints.push(json!({ "hint": "cache", "value": self.needed.name(), "honoured": false, "reason": refusal.reason() }));
        }
        for batch in body.batches() {
            frame.send(batch).await;
        }
        body.last(&end.to_ascii())
    }

    /// Asks the database.
    async fn bring(&self, frame: &Frame<'_>, kept: Option<Arc<Answer>>) -> Result<Brought> {
        let mut lease = frame.lease_in(true).await?;
        let connection = lease.connection();
        let mut brought = self.current(frame, connection, kept.as_ref()).await;
        if let Err(Stop::Driver(error)) = &brought
            && may_be_outdated(error)
        {
            brought = match connection.forget_statements().await {
                Ok(()) => self.current(frame, connection, kept.as_ref()).await,
                Err(error) => Err(Stop::Driver(error)),
            };
        }
        let lacking = match &brought {
            Err(Stop::Driver(error)) => lacks(error),
            _ => None,
        };
        lease.settle(&brought);
        if let Some(refusal) = lacking {
            // The query's own statement says whether that is all that is amiss.
            self.cache.note_exactness(Some(refusal));
            return self.read_plainly(frame, refusal).await;
        }
        match (brought?, &self.plan.strategy) {
            (Some(brought), _) => Ok(brought),
            (None, Some(strategy)) => {
                let strategy = &**strategy;
                if let Some(kept) = &kept
                    && let Some(brought) = self.update(frame, strategy, kept).await?
                {
                    return Ok(brought);
                }
                self.compute(frame, strategy).await
            }
            (None, None) => Err(Error::Internal("nothing answers".into())),
        }
    }

    /// The kept answer, where it is still true or can be made so, else one read anew; `None` where a
    /// strategy has to make it.
    async fn current(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        kept: Option<&Arc<Answer>>,
    ) -> Result<Option<Brought>, Stop> {
        if let Some(answer) = kept
            && let Some(stamp) = &answer.stamp
        {
            if let Some(answer) = self.unchanged(frame, connection, (answer, stamp)).await? {
                return Ok(Some(Brought {
                    answer,
                    outcome: Outcome::Memory,
                    refusal: None,
                }));
            }
            connection.plan_once(true).await?;
            let verdict = match (&self.plan.query.grouping, &answer.body.states) {
                (Some(grouping), Some(states)) => {
                    (self.add_new(frame, connection, (answer, stamp), (grouping, states))).await?
                }
                _ => self.check(frame, connection, answer, stamp).await?,
            };
            let brought = match verdict {
                Verdict::Current(answer) => Some((answer, Outcome::Memory)),
                Verdict::Merged(answer) => Some((answer, Outcome::Delta)),
                Verdict::Void => None,
            };
            if let Some((answer, outcome)) = brought {
                return Ok(Some(Brought {
                    answer,
                    outcome,
                    refusal: None,
                }));
            }
        }
        connection.plan_once(false).await?;
        if self.plan.strategy.is_some() {
            return Ok(None);
        }
        let read = match (&self.plan.query.grouping, self.plan.merge) {
            (Some(grouping), Merge::States) => {
                (self.read_groups(frame, connection, (grouping, Parts::States))).await
            }
            (Some(grouping), Merge::Buckets) => {
                (self.read_groups(frame, connection, (grouping, Parts::Apart))).await
            }
            _ => self.read(frame, connection).await,
        };
        read.map(Some)
    }
}

/// Why a statement of the cache can't run here at all.
fn lacks(error: &sqlx::Error) -> Option<Refusal> {
    let sqlx::Error::Database(db) = error else {
        return None;
    };
    match db.code().as_deref()? {
        // The objects of the migrations are missing, or may not be read.
        "42P01" | "42703" | "42501" | "42883" | "42846" => Some(Refusal::NotMigrated),
        // Unlogged tables can't be read during recovery.
        "0A000" | "55000" => Some(Refusal::Standby),
        _ => None,
    }
}
