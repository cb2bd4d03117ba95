//! A query whose hints name indexes: `useIndex`, `forceIndex`.
//!
//! One transaction, one snapshot. Planner settings are tried in it until EXPLAIN shows the wanted
//! indexes; the statement then runs under the same settings, planned for its very values. That a hint
//! was honoured is proved twice: by the index's name in that plan, and by the server's own counter of
//! the index's scans in this transaction, before and after. No index is dropped, hidden or changed
//! for the sake of another.
//!
//! What the counter says: planning may itself look at an index's ends, which counts as a scan; EXPLAIN
//! shows how often, and as much is taken off. A node of the plan that nothing reaches (behind an empty
//! outer side, under LIMIT 0) scans nothing; the plan is then looked at again, to be sure that
//! the run had the same. Parallel workers count for themselves, so such a run has none.
//!
//! The transaction belongs to its lease: where the run is dropped, the canceller rolls it back.

mod catalog;
mod ladder;
mod memory;
mod reason;
mod verdict;

use std::{
    hash::{Hash as _, Hasher as _},
    time::Instant,
};

use futures_util::future::BoxFuture;
use serde_json::Value as Wire;
use xxhash_rust::xxh3::Xxh3;

use self::catalog::{Facts, Index};
use self::ladder::indexes_of;
pub use self::ladder::{LADDER, Rung};
pub use self::memory::Memory;
use self::memory::Remembered;
use self::verdict::{Proof, Verdict};
use super::batch::Batch;
use super::connection::Connection;
use super::explain::explained;
use super::frame::{Frame, Strategy};
use super::stop::Stop;
use crate::model::{Error, Result, catalog::Catalog};
use crate::query::{EventQuery, Hints, Source};
use crate::sql::{Purpose, Statement, explain};

/// The strategy of a query whose hints name indexes.
pub struct Hinted {
    /// The query, as the API writes it.
    pub query: Wire,
    /// The tables that it names beside the event table.
    pub tables: Vec<String>,
    /// What its statement is for.
    pub purpose: Purpose,
    /// Its plan is wanted, not its rows; with `true` it runs all the same.
    pub explain: Option<bool>,
}

impl Strategy for Hinted {
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

/// A query that is ready to be run, and what it is made from.
struct Ready<'a> {
    query: &'a EventQuery,
    statement: &'a Statement,
    /// Preferred, then required.
    names: Vec<&'a str>,
    facts: &'a Facts,
}

impl Ready<'_> {
    const fn hints(&self) -> &Hints {
        &self.query.hints
    }

    fn is_forced(&self, nth: usize) -> bool {
        nth >= self.hints().use_index.len()
    }

    /// The indexes that there are.
    fn oids(&self) -> Vec<sqlx::postgres::types::Oid> {
        let found = self.facts.indexes.iter().flatten();
        found.flat_map(|index| index.oids.iter().copied()).collect()
    }

    /// Of one index's own, among counts in the order of [`Ready::oids`].
    fn count(&self, nth: usize, counts: &[i64]) -> i64 {
        let before = self.facts.indexes[..nth].iter().flatten();
        let start: usize = before.map(|index| index.oids.len()).sum();
        let own = self.facts.indexes[nth].as_ref().map_or(0, |i| i.oids.len());
        counts.iter().skip(start).take(own).sum()
    }

    fn key(&self, with_values: bool) -> u64 {
        let mut hasher = Xxh3::new();
        self.statement.sql.hash(&mut hasher);
        self.names.hash(&mut hasher);
        self.hints().use_index.len().hash(&mut hasher);
        // An index that comes, goes or becomes valid is a new question.
        for index in &self.facts.indexes {
            index
                .as_ref()
                .map(|i| (i.oid.0, i.is_valid))
                .hash(&mut hasher);
        }
        if with_values {
            format!("{:?}", self.statement.binds).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What a rung gives.
struct Try {
    rung: usize,
    /// Before the statement in its text, where `pg_hint_plan` reads it.
    comment: String,
    /// Indexes of its plan.
    used: Vec<String>,
    /// Scans before it was planned.
    before: Vec<i64>,
}

impl Try {
    fn uses(&self, index: &Index) -> bool {
        index.names.iter().any(|name| self.used.contains(name))
    }
}

impl Hinted {
    async fn produce(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        floor: &str,
    ) -> Result<Batch, Stop> {
        let engine = frame.engine;
        let catalog = engine.learn(&mut connection.driver, &self.tables).await?;
        let query = EventQuery::parse(&self.query, &catalog).map_err(Stop::Refused)?;
        let query = engine.caught_up(&query, connection).await?;
        let clock = frame.snapshot.as_ref().map(|held| held.clock);
        let planned = (engine.plan_at(&query, self.purpose, clock)).map_err(Stop::Refused)?;
        frame
            .ticket
            .set_shape(engine.shape_of(&planned.statement, &query));
        if planned.is_empty && self.explain.is_none() {
            verdict::nothing_read(frame, &query.hints);
            return Ok(frame.nothing(&planned.statement, floor));
        }
        let produced = self
            .inside(
                frame,
                connection,
                &query,
                &catalog,
                &planned.statement,
                floor,
            )
            .await;
        if produced.is_err() {
            engine.forget_tables(&self.tables);
        }
        produced
    }

    async fn inside(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        query: &EventQuery,
        catalog: &Catalog,
        statement: &Statement,
        floor: &str,
    ) -> Result<Batch, Stop> {
        begin(frame, connection).await?;
        let hints = &query.hints;
        let names: Vec<&str> = (hints.use_index.iter().chain(&hints.force_index))
            .map(String::as_str)
            .collect();
        let tables = tables_of(query, catalog);
        let facts = catalog::look_up(&mut connection.driver, &names, &tables).await?;
        let ready = Ready {
            query,
            statement,
            names,
            facts: &facts,
        };
        self.check_forced(&ready)?;
        let (chosen, verdicts) = self.choose(frame, connection, &ready).await?;
        let changed;
        let statement = if let Some(analyze) = self.explain {
            changed = Statement {
                sql: format!(
                    "{}{}",
                    chosen.comment,
                    explain::statement(&statement.sql, analyze)
                ),
                ..explained(statement.binds.clone())
            };
            &changed
        } else if chosen.comment.is_empty() {
            statement
        } else {
            changed = Statement {
                sql: format!("{}{}", chosen.comment, statement.sql),
                ..statement.clone()
            };
            &changed
        };
        let oids = ready.oids();
        let planned = catalog::scans(&mut connection.driver, &oids).await?;
        let writer = frame.rows(connection, statement, false).await?;
        let after = catalog::scans(&mut connection.driver, &oids).await?;
        let runs = self.explain != Some(false);
        let mut again = None;
        let mut proofs = Vec::with_capacity(verdicts.len());
        for nth in 0..verdicts.len() {
            let by_planning = ready.count(nth, &planned) - ready.count(nth, &chosen.before);
            let scans = ready.count(nth, &after) - ready.count(nth, &planned) - by_planning;
            proofs.push(if !runs {
                Proof::NotRun
            } else if !facts.counts {
                Proof::NotCounted
            } else if scans > 0 {
                Proof::Scans(scans)
            } else {
                if again.is_none() {
                    let document =
                        catalog::plan(&mut connection.driver, ready.statement, &chosen.comment)
                            .await?;
                    again = Some(indexes_of(&document));
                }
                if again.as_ref() == Some(&chosen.used) {
                    Proof::NeverReached
                } else {
                    Proof::PlanChanged
                }
            });
        }
        verdict::tell(frame, hints, &verdicts, &proofs, &chosen.used);
        Ok(frame.finish(writer, floor))
    }

    /// What can be said of required indexes without a plan. When only the plan is wanted it says so
    /// itself, except where there is no such index.
    fn check_forced(&self, ready: &Ready<'_>) -> Result<(), Stop> {
        for (nth, found) in ready.facts.indexes.iter().enumerate() {
            if !ready.is_forced(nth) {
                continue;
            }
            let path = forced_path(ready, nth);
            let name = ready.names[nth];
            match found {
                None => return Err(Stop::Refused(Error::unknown_index(path, name))),
                Some(found) if self.explain != Some(false) => {
                    if let Some(reason) = reason::at_sight(found, ready.facts) {
                        return Err(Stop::Refused(not_honoured(path, name, &reason)));
                    }
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The gentlest settings that follow most hints, the required ones first, and what is said of
    /// each. Those settings are in force afterwards.
    async fn choose(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        ready: &Ready<'_>,
    ) -> Result<(Try, Vec<Verdict>), Stop> {
        let memory = &frame.engine.hinted;
        let keys = (ready.key(false), ready.key(true));
        let possible = (ready.facts.indexes.iter().flatten())
            .filter(|index| reason::at_sight(index, ready.facts).is_none())
            .count();
        let is_whole = |found: &Try| {
            let (forced, preferred) = score(ready, found);
            forced + preferred == possible
        };
        let mut first = 0;
        // What is required is tried each time.
        if ready.hints().force_index.is_empty()
            && let Some(Remembered::Settled { rung, reasons, .. }) = memory.recall(keys.1)
        {
            let again = attempt(connection, ready, rung, String::new()).await?;
            if let Some(verdicts) = as_before(ready, &again, reasons) {
                return Ok((again, verdicts));
            }
        } else if let Some(Remembered::Rung(rung)) = memory.recall(keys.0) {
            first = rung;
        }
        let mut best = attempt(connection, ready, first, String::new()).await?;
        let mut in_force = true;
        if !is_whole(&best) {
            for (rung, comment) in steps(ready) {
                if comment.is_empty() && rung == first {
                    continue;
                }
                let found = attempt(connection, ready, rung, comment).await?;
                in_force = score(ready, &found) > score(ready, &best);
                if in_force {
                    best = found;
                    if is_whole(&best) {
                        break;
                    }
                }
            }
        }
        self.judge(frame, connection, ready, (best, in_force), keys)
            .await
    }

    /// Says what became of each hint under the settings that were chosen.
    async fn judge(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        ready: &Ready<'_>,
        (best, mut in_force): (Try, bool),
        (by_text, by_value): (u64, u64),
    ) -> Result<(Try, Vec<Verdict>), Stop> {
        let memory = &frame.engine.hinted;
        let mut verdicts = Vec::with_capacity(ready.names.len());
        for (nth, found) in ready.facts.indexes.iter().enumerate() {
            let reason = match found {
                Some(index) if best.uses(index) => {
                    verdicts.push(Verdict::Followed(how(&best)));
                    continue;
                }
                None => "there is no index of this name".to_owned(),
                Some(index) => {
                    if let Some(reason) = reason::at_sight(index, ready.facts) {
                        reason
                    } else {
                        in_force = false;
                        reason::why_not(frame.engine, connection, ready, index, &best.used).await?
                    }
                }
            };
            if ready.is_forced(nth) && self.explain != Some(false) {
                let path = forced_path(ready, nth);
                let refused = not_honoured(path, ready.names[nth], &reason);
                return Err(Stop::Refused(refused));
            }
            verdicts.push(Verdict::Refused(reason));
        }
        if best.comment.is_empty() {
            let followed = verdicts.iter().all(|v| matches!(v, Verdict::Followed(_)));
            if followed {
                memory.keep(by_text, Remembered::Rung(best.rung));
            } else {
                let settled = Remembered::Settled {
                    rung: best.rung,
                    reasons: verdicts.iter().map(Verdict::reason).collect(),
                    at: Instant::now(),
                };
                memory.keep(by_value, settled);
            }
        }
        if in_force {
            return Ok((best, verdicts));
        }
        // Other settings were tried since, or a probe has ended the transaction.
        connection.roll_back().await?;
        begin(frame, connection).await?;
        let again = attempt(connection, ready, best.rung, best.comment).await?;
        Ok((again, verdicts))
    }
}

/// What was said of each hint a moment ago, where the same indexes are still used.
fn as_before(ready: &Ready<'_>, now: &Try, reasons: Vec<Option<String>>) -> Option<Vec<Verdict>> {
    let verdicts = ready.facts.indexes.iter().zip(reasons);
    verdicts
        .map(|(index, reason)| match (index, reason) {
            (Some(index), None) => now.uses(index).then(|| Verdict::Followed(how(now))),
            (Some(index), Some(_)) if now.uses(index) => None,
            (_, reason) => reason.map(Verdict::Refused),
        })
        .collect()
}

/// Begins the transaction of a hinted run, which its lease ends; that of a snapshot that is held is
/// there already, unless a probe has ended it.
async fn begin(frame: &Frame<'_>, connection: &mut Connection) -> Result<(), Stop> {
    let statement = if let Some(held) = &frame.snapshot {
        if !connection.in_transaction {
            connection.begin_adopting(&held.name, false).await?;
        }
        catalog::SAVE
    } else {
        connection.in_transaction = true;
        catalog::BEGIN
    };
    let begun = sqlx::raw_sql(statement).execute(&mut connection.driver);
    Ok(begun.await.map(drop)?)
}

/// The rungs that a query may climb. Where an extension takes hints by name it is asked right after
/// the planner itself.
fn steps(ready: &Ready<'_>) -> Vec<(usize, String)> {
    let mut steps = vec![(0, String::new())];
    if ready.facts.hint_plan {
        let comments = reason::comments(ready).into_iter();
        steps.extend(comments.map(|comment| (0, comment)));
    }
    let alone = ready.query.joins.is_empty();
    let rungs = (1..LADDER.len()).filter(|rung| !(alone && LADDER[*rung].joins));
    steps.extend(rungs.map(|rung| (rung, String::new())));
    steps
}

fn forced_path(ready: &Ready<'_>, nth: usize) -> String {
    format!("hints.forceIndex[{}]", nth - ready.hints().use_index.len())
}

fn not_honoured(path: String, index: &str, reason: &str) -> Error {
    Error::IndexHint {
        message: format!("{path}: the index {index:?} cannot be used: {reason}"),
        path,
    }
}

fn how(chosen: &Try) -> String {
    if chosen.comment.is_empty() {
        LADDER[chosen.rung].describe()
    } else {
        format!("pg_hint_plan: {}", chosen.comment.trim())
    }
}

/// How many of the required and of the preferred indexes a plan uses.
fn score(ready: &Ready<'_>, found: &Try) -> (usize, usize) {
    let mut score = (0, 0);
    for (nth, index) in ready.facts.indexes.iter().enumerate() {
        if index.as_ref().is_some_and(|index| found.uses(index)) {
            if ready.is_forced(nth) {
                score.0 += 1;
            } else {
                score.1 += 1;
            }
        }
    }
    score
}

async fn attempt(
    connection: &mut Connection,
    ready: &Ready<'_>,
    rung: usize,
    comment: String,
) -> Result<Try, Stop> {
    let driver = &mut connection.driver;
    let settings: &Rung = &LADDER[rung];
    let before = catalog::settle(driver, settings, &ready.oids()).await?;
    let document = catalog::plan(driver, ready.statement, &comment).await?;
    let used = indexes_of(&document);
    Ok(Try {
        rung,
        comment,
        used,
        before,
    })
}

/// The query's relations, quoted: what it reads, and what is joined.
fn tables_of(query: &EventQuery, catalog: &Catalog) -> Vec<String> {
    std::iter::once(&query.from)
        .chain(query.joins.iter().map(|join| &join.source))
        .map(|source| match source {
            Source::Events => catalog.events.quoted(),
            Source::Table(table) => table.quoted(),
            Source::Named(name) => name.clone(),
        })
        .collect()
}
