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
mod followed;
mod ladder;
mod memory;
mod ready;
mod reason;
mod verdict;

use futures_util::future::BoxFuture;
use serde_json::Value as Wire;

pub use self::followed::Asked;
pub use self::followed::Followed;
pub use self::ladder::{LADDER, Rung};
pub use self::memory::Memory;
use self::ready::Ready;
pub use self::verdict::nothing_read;
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
            nothing_read(frame, &query.hints);
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
        let tables = tables_of(query, catalog);
        let asked = Asked {
            query,
            statement,
            tables: &tables,
            explain: self.explain,
            over: None,
        };
        let followed = asked.follow(frame, connection).await?;
        let changed;
        let statement = if let Some(analyze) = self.explain {
            let sql = explain::statement(&statement.sql, analyze);
            changed = Statement {
                sql: followed.comment().to_owned() + &sql,
                ..explained(statement.binds.clone())
            };
            &changed
        } else if followed.comment().is_empty() {
            statement
        } else {
            changed = Statement {
                sql: followed.comment().to_owned() + &statement.sql,
                ..statement.clone()
            };
            &changed
        };
        let writer = frame.rows(connection, statement, false).await?;
        followed.prove(frame, connection).await?;
        Ok(frame.finish(writer, floor))
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
