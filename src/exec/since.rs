//! Queries with `since`: what the database shows at this moment is looked at, and nothing later.
//!
//! The snapshot is asked for first and the statement is compiled for it: the transactions that it sees
//! and the token did not are ranges of ids with both ends. Whatever commits between the two statements
//! is left to the next call, so the answer's token is that snapshot, also where there are no rows, and
//! the pages of one answer are cuts of one state.

use std::sync::Arc;

use super::batch::Batch;
use super::catalog;
use super::connection::Connection;
use super::engine::Engine;
use super::frame::Frame;
use super::stop::Stop;
use crate::model::{Error, snapshot::Snapshot, time::Timestamp};
use crate::query::{EventQuery, Since};
use crate::sql::{Purpose, Statement};

/// A query that is compiled once it is known what it shall look at.
pub struct CatchUp {
    /// The query.
    pub query: EventQuery,
    /// What its statement is for.
    pub purpose: Purpose,
    /// What its windows end at, where that is not the server's clock.
    pub clock: Option<Timestamp>,
}

impl CatchUp {
    /// A query with `since`; none where it has no such part.
    pub fn of(query: &EventQuery, purpose: Purpose, clock: Option<Timestamp>) -> Option<Box<Self>> {
        query.since.is_some().then(|| {
            Box::new(Self {
                query: query.clone(),
                purpose,
                clock,
            })
        })
    }

    /// Runs it.
    pub async fn produce(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        floor: &str,
    ) -> Result<Batch, Stop> {
        let statement = self.compile(frame.engine, connection).await?;
        let is_news = (statement.since.as_ref()).is_none_or(|s| !s.seen.news(&s.upto).is_empty());
        if !is_news && self.query.needs_rows() {
            return Ok(frame.nothing(&statement, floor));
        }
        frame.produce(connection, &statement, floor).await
    }

    /// The statement, of what the connection shows now.
    ///
    /// # Errors
    /// As [`Engine::caught_up`].
    pub async fn compile(
        &self,
        engine: &Arc<Engine>,
        connection: &mut Connection,
    ) -> Result<Statement, Stop> {
        let query = engine.caught_up(&self.query, connection).await?;
        let optimized = engine.optimize(&query);
        optimized
            .compile(&query, &engine.target(), self.purpose, self.clock)
            .map_err(Stop::Refused)
    }
}

impl Engine {
    /// The query as it looks at what the connection shows now; a page behind the first has what it
    /// looks at in its cursor. Without `since` as it is.
    ///
    /// # Errors
    /// INVALID_QUERY for a token of another database; UNSUPPORTED where events do not say which
    /// transaction they belong to.
    pub async fn caught_up(
        &self,
        query: &EventQuery,
        connection: &mut Connection,
    ) -> Result<EventQuery, Stop> {
        let Some(since) = &query.since else {
            return Ok(query.clone());
        };
        let table = self.target().table.quoted();
        let now = catalog::now(&mut connection.driver, &table).await?;
        if now.is_standby {
            return Err(unsupported(
                "a standby's snapshots do not show what is running on the primary: ask the primary",
            ));
        }
        if now.has_transaction_id == Some(false) {
            return Err(unsupported(
                "the event table has no column transaction_id: migrate() adds it",
            ));
        }
        let snapshot = Snapshot::parse(&now.snapshot).ok_or_else(|| {
            Stop::Refused(Error::Internal("a snapshot that cannot be read".into()))
        })?;
        Since::check(since, connection.origin, &snapshot).map_err(Stop::Refused)?;
        now.settle(&mut connection.driver).await?;
        self.pool.note_snapshot(&now.snapshot);
        Ok(query.upto(Some(snapshot)))
    }
}

fn unsupported(what: &'static str) -> Stop {
    Stop::Refused(Error::Unsupported {
        path: "since".to_owned(),
        what: what.into(),
    })
}
