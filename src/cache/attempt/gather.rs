//! A statement's rows on their way into what is kept: written once as the caller gets them, and the
//! stamp and the ids taken out, which are the cache's own.

use futures_util::TryStreamExt;
use sqlx::{Row, ValueRef, postgres::PgRow};
use uuid::Uuid;

use super::Cached;
use crate::cache::answer::Body;
use crate::cache::plan::{Merge, id_column};
use crate::cache::stamp::Said;
use crate::exec::{Connection, Frame, RowWriter, Stop, arguments, sql_text};
use crate::model::Error;
use crate::sql::{Stamped, Statement};

/// Longer lists are read anew: sending their ids would take as long.
const MOST_KEPT: usize = 2000;

impl Cached {
    /// Runs a statement that has no stamp. Gives the snapshot that it saw, where it had rows.
    pub async fn plain_rows(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        statement: &Statement,
    ) -> Result<(Body, Option<String>), Stop> {
        let mut gathered = Gathered::new(self, frame, statement);
        let values = arguments(&statement.binds).map_err(Stop::Refused)?;
        let mut rows =
            sqlx::query_with(sql_text(&statement.sql), values).fetch(&mut connection.driver);
        while let Some(row) = rows.try_next().await? {
            gathered.push(&row).await?;
        }
        let snapshot = gathered.writer.snapshot.clone();
        Ok((gathered.finish(), snapshot))
    }

    /// Runs a stamped statement.
    pub async fn rows(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        stamped: &Stamped,
    ) -> Result<(Body, Said), Stop> {
        let statement = &stamped.statement;
        let mut gathered = Gathered::new(self, frame, statement);
        let mut found = None;
        let values = arguments(&statement.binds).map_err(Stop::Refused)?;
        {
            let mut rows =
                sqlx::query_with(sql_text(&statement.sql), values).fetch(&mut connection.driver);
            while let Some(row) = rows.try_next().await? {
                if found.is_none() {
                    found = Some(said(&row, stamped.stamp)?);
                }
                if !is_null(&row, statement.token)? {
                    gathered.push(&row).await?;
                }
            }
        }
        let found = found.ok_or_else(|| unexpected("a statement without its stamp"))?;
        (frame.engine.pool).note_snapshot(&found.stamp.snapshot.to_string());
        Ok((gathered.finish(), found))
    }
}

/// What should not have come from the server.
pub fn unexpected(what: &'static str) -> Stop {
    Stop::Refused(Error::Internal(what.into()))
}

/// The stamp in a row.
pub fn said(row: &PgRow, column: usize) -> Result<Said, Stop> {
    let text: &str = row.try_get(column)?;
    Said::parse(text).ok_or_else(|| unexpected("a stamp that can't be read"))
}

/// Whether a column of a row is NULL.
pub fn is_null(row: &PgRow, column: Option<usize>) -> Result<bool, Stop> {
    let Some(column) = column else {
        return Ok(false);
    };
    Ok(row.try_get_raw(column)?.is_null())
}

/// Rows on their way into a body.
struct Gathered<'s> {
    writer: RowWriter<'s>,
    batches: Vec<Box<[u8]>>,
    ids: Option<Vec<Uuid>>,
    id_column: usize,
    pushed: u64,
}

impl<'s> Gathered<'s> {
    fn new(cached: &Cached, frame: &Frame<'_>, statement: &'s Statement) -> Self {
        let config = &frame.engine.config;
        // Of this statement: another for the same query may have its columns in other places.
        let id_column = (cached.plan.merge == Merge::Rows)
            .then(|| id_column(&cached.plan.query, statement))
            .flatten();
        Self {
            writer: RowWriter::new(statement, config.bigint, Some(config.limits)),
            batches: Vec::new(),
            ids: id_column.map(|_| Vec::new()),
            id_column: id_column.unwrap_or(0),
            pushed: 0,
        }
    }

    async fn push(&mut self, row: &PgRow) -> Result<(), Stop> {
        if let Some(ids) = &mut self.ids {
            if ids.len() < MOST_KEPT {
                ids.push(row.try_get(self.id_column)?);
            } else {
                self.ids = None;
            }
        }
        self.writer.push(row).map_err(Stop::Ours)?;
        if self.writer.is_full() {
            self.batches.push(self.writer.take().json.into());
        }
        self.pushed += 1;
        // The JavaScript thread may be the one that polls.
        if self.pushed.is_multiple_of(256) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn finish(self) -> Body {
        let rows = self.writer.rows;
        let (tail, cursor) = self.writer.into_parts();
        Body {
            batches: self.batches,
            tail: tail.into(),
            rows,
            cursor: cursor.map(|cursor| cursor.keys),
            kept: self.ids,
            states: None,
            again: None,
        }
    }
}
