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
mod choose;
mod ladder;
mod memory;
mod ready;
mod reason;
mod verdict;

use futures_util::future::BoxFuture;
use serde_json::Value as Wire;

use self::ladder::indexes_of;
pub use self::ladder::{LADDER, Rung};
pub use self::memory::Memory;
use self::ready::Ready;
use self::verdict::Proof;
use super::batch::Batch;
use super::connection::Connection;
use super::explain::explained;
use super::frame::{Frame, Strategy};
use super::stop::Stop;
use crate::model::{Error, Result, catalog::Catalog};
use crate::query::{EventQuery, Source};
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

fn forced_path(ready: &Ready<'_>, nth: usize) -> String {
    format!("hints.forceIndex[{}]", nth - ready.hints().use_index.len())
}

fn not_honoured(path: String, index: &str, reason: &str) -> Error {
    Error::IndexHint {
        message: format!("{path}: the index {index:?} cannot be used: {reason}"),
        path,
    }
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
