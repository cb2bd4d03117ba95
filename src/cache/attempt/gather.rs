//! A statement's rows on their way into what is kept: written once as the caller gets them, and the
//! stamp and the ids taken out, which are the cache's own.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::{Row, ValueRef, postgres::PgRow};
use uuid::Uuid;

use super::Cached;
use crate::cache::answer::Body;
use crate::cache::plan::{Merge, id_column};
use crate::cache::splice::{Leaders, Mark, Part, RESERVE, Splice};
use crate::cache::stamp::Said;
use crate::exec::{Connection, Frame, RowWriter, Stop, arguments, sql_text};
use crate::model::{Error, time::Timestamp};
use crate::sql::{Bind, Stamped, Statement};

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

/// What a statement of one row says, asked in the transaction that is open. It is parsed for this once:
/// never outdated, and rarer than what follows it.
pub async fn asked(
    connection: &mut Connection,
    (sql, binds): &(String, Vec<Bind>),
) -> Result<Said, Stop> {
    let values = arguments(binds).map_err(Stop::Refused)?;
    let row = sqlx::query_with(sql_text(sql), values)
        .persistent(false)
        .fetch_one(&mut connection.driver)
        .await?;
    said(&row, 0)
}

/// Whether a column of a row is NULL.
pub fn is_null(row: &PgRow, column: Option<usize>) -> Result<bool, Stop> {
    let Some(column) = column else {
        return Ok(false);
    };
    Ok(row.try_get_raw(column)?.is_null())
}

/// A row's first columns, as what is kept of groups has them.
fn group_key(row: &PgRow, columns: usize) -> Result<Box<[u8]>, Stop> {
    let mut key = Vec::new();
    for column in 0..columns {
        write_value(&mut key, row, column)?;
    }
    Ok(key.into())
}

/// Appends a value in the server's binary form, its length before it.
pub fn write_value(out: &mut Vec<u8>, row: &PgRow, column: usize) -> Result<(), Stop> {
    let wrong = |text: String| Stop::Ours(Error::Internal(text.into()));
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return Ok(());
    }
    let bytes = value.as_bytes().map_err(|e| wrong(e.to_string()))?;
    let length = i32::try_from(bytes.len()).map_err(|e| wrong(e.to_string()))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// Rows on their way into a body.
struct Gathered<'s> {
    writer: RowWriter<'s>,
    batches: Vec<Arc<Part>>,
    ids: Option<Vec<Uuid>>,
    id_column: usize,
    pushed: u64,
    splice: Splice,
    /// How many of a row's columns are the key of its group.
    keys: usize,
    /// The buckets of the batch.
    marks: Vec<Mark>,
    /// The keys of the first groups.
    first: Vec<Box<[u8]>>,
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
            splice: cached.plan.splice,
            keys: cached.plan.keys().unwrap_or(0),
            marks: Vec::new(),
            first: Vec::new(),
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
        match self.splice {
            Splice::Whole => {}
            Splice::Buckets { .. } => self.mark(row)?,
            Splice::Leaders { .. } => self.first.push(group_key(row, self.keys)?),
        }
        self.writer.push(row).map_err(Stop::Ours)?;
        if self.writer.is_full() {
            let json = self.writer.take().into_json();
            let part = Part::new(json, std::mem::take(&mut self.marks));
            self.batches.push(Arc::new(part));
        }
        self.pushed += 1;
        // The JavaScript thread may be the one that polls.
        if self.pushed.is_multiple_of(256) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Notes where the rows of a bucket stand: the first column.
    fn mark(&mut self, row: &PgRow) -> Result<(), Stop> {
        let value = row.try_get_raw(0)?;
        let bytes = value
            .as_bytes()
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| unexpected("a bucket that is no time"))?;
        let bucket = Timestamp::from_postgres(i64::from_be_bytes(bytes));
        match self.marks.last_mut() {
            Some(mark) if mark.bucket == bucket => mark.rows += 1,
            _ => self.marks.push(Mark {
                bucket,
                at: self.writer.next_at(),
                rows: 1,
            }),
        }
        Ok(())
    }

    fn finish(self) -> Body {
        let rows = self.writer.rows;
        let leaders = match self.splice {
            Splice::Leaders { limit } => Some(Leaders::new(self.first, limit + RESERVE + 1)),
            _ => None,
        };
        let (tail, cursor) = self.writer.into_parts();
        Body {
            batches: self.batches,
            tail: Arc::new(Part::new(tail, self.marks)),
            rows,
            cursor: cursor.map(|cursor| cursor.keys),
            kept: self.ids,
            states: None,
            again: None,
            leaders,
        }
    }
}
