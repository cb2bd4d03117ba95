//! The rows of slices: as they come, or merged in order. Of each slice one row is kept, and what the
//! driver has read of its connection: a reader that is behind lets all of them wait.

use std::cmp::Ordering;

use futures_util::{
    StreamExt, TryStreamExt,
    future::try_join_all,
    stream::{BoxStream, select_all},
};
use sqlx::{Row, ValueRef, postgres::PgRow};

use super::super::arguments::{arguments, sql_text};
use super::super::batch::{Batch, Writer};
use super::super::connection::Connection;
use super::super::fault::fault;
use super::super::frame::Frame;
use super::super::lease::Lease;
use super::super::request::Mode;
use super::super::snapshot::Exported;
use super::super::stop::Stop;
use crate::model::{Error, Result, field::Kind};
use crate::query::EventQuery;
use crate::sql::{MergeKey, Statement};

/// What slices are asked for.
pub struct Asked {
    /// One statement for each.
    pub statements: Vec<Statement>,
    /// The keys of their order; none where they come in any.
    pub keys: Vec<MergeKey>,
}

/// The last batch, and whether all slices were read to their end: else their statements still run.
pub struct Answered {
    /// The batch.
    pub batch: Batch,
    /// Whether the leader's connection is in step.
    pub is_over: bool,
}

type Rows<'c> = BoxStream<'c, Result<PgRow, Stop>>;

/// Reads all slices, the first on the leader's own connection.
///
/// The others' leases end here: given back where their rows were read, else dropped, which cancels.
pub async fn answer(
    frame: &Frame<'_>,
    query: &EventQuery,
    asked: &Asked,
    leader: &mut Connection,
    mut others: Vec<Lease>,
    exported: &Exported,
) -> Result<Answered, Stop> {
    let Some(first) = asked.statements.first() else {
        return Err(Stop::Refused(Error::Internal("no slices".into())));
    };
    try_join_all(
        others
            .iter_mut()
            .map(|lease| async { (lease.connection().begin_adopting(&exported.name, true)).await }),
    )
    .await
    .map_err(of_another)?;
    let limits = (frame.mode == Mode::Buffered).then_some(frame.engine.config.limits);
    let mut writer = Writer::new(first, frame.engine.config.bigint, limits);
    let all_read = {
        let mut slices = vec![rows(leader, first)?];
        for (lease, statement) in others.iter_mut().zip(&asked.statements[1..]) {
            let rows = rows(lease.connection(), statement)?;
            slices.push(rows.map_err(of_another).boxed());
        }
        let mut sink = Sink::new(frame, &mut writer, query);
        if asked.keys.is_empty() {
            let mut rows = select_all(slices);
            while let Some(row) = rows.try_next().await? {
                sink.push(&row).await?;
            }
            true
        } else {
            merge(slices, &asked.keys, &mut sink).await?
        }
    };
    if all_read {
        for lease in others {
            lease.end_transaction(&Ok::<_, Stop>(())).await;
        }
    }
    Ok(Answered {
        batch: frame.finish(writer, &exported.seen),
        is_over: all_read,
    })
}

/// The error of another slice says nothing of the leader's statement, which goes on.
fn of_another(stop: Stop) -> Stop {
    Stop::Ours(match stop {
        Stop::Driver(error) => fault(error),
        Stop::Refused(error) | Stop::Ours(error) => error,
    })
}

fn rows<'c>(connection: &'c mut Connection, statement: &Statement) -> Result<Rows<'c>, Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let rows = sqlx::query_with(sql_text(&statement.sql), values).fetch(&mut connection.driver);
    Ok(rows.map_err(Stop::Driver).boxed())
}

/// Where rows go: the query's page of them.
struct Sink<'f, 's> {
    frame: &'f Frame<'f>,
    writer: &'f mut Writer<'s>,
    skip: u64,
    /// How many more are taken; one beyond a buffered page, to learn whether more are left.
    wanted: Option<u64>,
    seen: u64,
}

impl<'f, 's> Sink<'f, 's> {
    fn new(frame: &'f Frame<'f>, writer: &'f mut Writer<'s>, query: &EventQuery) -> Self {
        let more = u64::from(frame.mode == Mode::Buffered);
        Self {
            frame,
            writer,
            skip: query.offset.unwrap_or(0),
            wanted: query.limit.map(|limit| limit.saturating_add(more)),
            seen: 0,
        }
    }

    /// Whether the page is full.
    fn is_full(&self) -> bool {
        self.wanted == Some(0)
    }

    async fn push(&mut self, row: &PgRow) -> Result<(), Stop> {
        self.seen += 1;
        // The JavaScript thread may be the one that polls.
        if self.seen.is_multiple_of(256) {
            tokio::task::yield_now().await;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        self.wanted = self.wanted.map(|left| left.saturating_sub(1));
        self.writer.push(row).map_err(Stop::Ours)?;
        if self.writer.is_full() {
            (self.frame.ticket).set_made(self.writer.rows, self.writer.made());
            self.frame.send(self.writer.take()).await;
        }
        Ok(())
    }
}

/// The next row of a slice, and its place in the order.
struct Head {
    row: PgRow,
    keys: Vec<Option<Key>>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Time(i64),
    /// Text by code point, and UUIDs: as their bytes compare.
    Bytes(Vec<u8>),
}

/// Merges rows that come in order. Gives whether all were read.
async fn merge(
    mut slices: Vec<Rows<'_>>,
    keys: &[MergeKey],
    sink: &mut Sink<'_, '_>,
) -> Result<bool, Stop> {
    // All at once: what they sort, they sort at the same time.
    let mut heads = try_join_all(slices.iter_mut().map(|slice| next(slice, keys))).await?;
    while !sink.is_full() {
        let first = (0..heads.len())
            .filter(|place| heads[*place].is_some())
            .min_by(|a, b| match (&heads[*a], &heads[*b]) {
                (Some(a), Some(b)) => order(a, b, keys),
                _ => Ordering::Equal,
            });
        let Some(place) = first else {
            return Ok(true);
        };
        if let Some(head) = heads[place].take() {
            sink.push(&head.row).await?;
        }
        heads[place] = next(&mut slices[place], keys).await?;
    }
    // The server has sent what a page can need; it may not have been read.
    for (slice, head) in slices.iter_mut().zip(heads) {
        if head.is_some() || slice.try_next().await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn next(slice: &mut Rows<'_>, keys: &[MergeKey]) -> Result<Option<Head>, Stop> {
    let Some(row) = slice.try_next().await? else {
        return Ok(None);
    };
    let keys = keys.iter().map(|key| read(&row, *key));
    let keys = keys.collect::<Result<_>>().map_err(Stop::Ours)?;
    Ok(Some(Head { row, keys }))
}

fn read(row: &PgRow, key: MergeKey) -> Result<Option<Key>> {
    let wrong = |what: &dyn std::fmt::Display| Error::Internal(what.to_string().into());
    let value = row.try_get_raw(key.column).map_err(|e| wrong(&e))?;
    if value.is_null() {
        return Ok(None);
    }
    let bytes = value.as_bytes().map_err(|e| wrong(&e))?;
    Ok(Some(if key.kind == Kind::Time {
        let micros = (bytes.try_into()).map_err(|_| wrong(&"a time of an unexpected length"))?;
        Key::Time(i64::from_be_bytes(micros))
    } else {
        Key::Bytes(bytes.to_vec())
    }))
}

fn order(a: &Head, b: &Head, keys: &[MergeKey]) -> Ordering {
    for ((a, b), key) in a.keys.iter().zip(&b.keys).zip(keys) {
        let nulls = if key.nulls_first {
            Ordering::Less
        } else {
            Ordering::Greater
        };
        let ordering = match (a, b) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => nulls,
            (Some(_), None) => nulls.reverse(),
            (Some(a), Some(b)) if key.descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}
