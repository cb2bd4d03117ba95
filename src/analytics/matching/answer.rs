//! Answering a query for matches: as one of the ways a run can take.
//!
//! Who releases what: the connection belongs to the attempt's future as a lease. A transaction that
//! ends in step with the server is rolled back and the connection given back; dropped or stopped in
//! the middle, the lease cancels on the server.

use std::collections::HashMap;

use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};
use serde_json::Value as Wire;
use sqlx::Row;
use uuid::Uuid;

use super::cohorts::{Funnels, Retained};
use super::output::Output;
use super::partition::Partition;
use super::patterns::Patterns;
use super::sequences::{Sequences, page};
use crate::exec::{
    Batch, BigintMode, Connection, Frame, IntoAscii, Stop, Strategy, arguments, event_texts,
    sql_text, write_value,
};
use crate::model::{Result, field::Kind};
use crate::plan::is_contradiction;
use crate::query::{
    EventQuery,
    matching::{FunnelMode, Matching},
};
use crate::sql::{
    EventSource, Statement, Target, explain,
    matching::{self, Matched, Projection},
};

/// Events by their ids, as JSON text.
pub type Texts = HashMap<Uuid, Box<[u8]>>;

/// What is found in partitions, and how it is written.
pub trait Matches: Send + Sync {
    /// Finds the matches of a partition.
    fn partition(&mut self, partition: &Partition) -> Result<()>;
    /// All partitions were seen: puts the matches in their order.
    fn finish(&mut self);
    /// How many there are.
    fn len(&self) -> usize;
    /// Appends the ids of the events of a match.
    fn ids(&self, i: usize, out: &mut Vec<Uuid>);
    /// What is said of all of them, as members of JSON: how `lib/rows.js` reads them.
    fn header(&self) -> String;
    /// Appends the values of a match.
    fn write(&self, i: usize, texts: &Texts, out: &mut Vec<u8>) -> Result<()>;
}

/// A query for matches, as it runs.
pub struct Answer {
    /// The query.
    pub query: EventQuery,
    /// What is read in the place of the event table.
    pub source: Option<EventSource>,
    /// What it is asked for.
    pub matching: Matching,
    /// What works on the matches, where these are not the answer themselves.
    pub then: Option<Statement>,
}

/// A partition of more events is matched where it does not hold others up.
const LARGE: usize = 20_000;
/// Events that are fetched at a time.
const FETCHED: usize = 2_000;
/// Conditions whose rarity is worth asking for.
const MAX_ESTIMATED: u32 = 8;

impl Strategy for Answer {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        self.answer(frame).boxed()
    }
}

impl Answer {
    /// What it reads.
    pub fn projection(&self) -> Projection<'_> {
        match &self.matching {
            Matching::Sequence(sequence) => Projection {
                query: &self.query,
                source: self.source.as_ref(),
                conditions: &sequence.conditions.0,
                key: &[],
                fields: &[],
                relevant: Some(u64::MAX),
                null_keys: false,
                required: sequence.required(),
                rare: 0,
            },
            Matching::Pattern(pattern) => Projection {
                query: &self.query,
                source: self.source.as_ref(),
                conditions: &pattern.conditions.0,
                key: &pattern.by,
                fields: &pattern.fields,
                relevant: pattern.relevant_bits(),
                null_keys: true,
                required: pattern.required(),
                rare: 0,
            },
            // Every event of a key may interrupt what must be in order.
            Matching::Funnel(funnel) => Projection {
                query: &self.query,
                source: self.source.as_ref(),
                conditions: &funnel.conditions.0,
                key: &[],
                fields: &[],
                relevant: (funnel.mode != FunnelMode::StrictOrder).then_some(u64::MAX),
                null_keys: false,
                required: funnel.steps.first().map_or(0, |bit| 1 << bit),
                rare: 0,
            },
            Matching::Retention(retention) => Projection {
                query: &self.query,
                source: self.source.as_ref(),
                conditions: &retention.conditions.0,
                key: &[],
                fields: &[],
                relevant: Some(u64::MAX),
                null_keys: false,
                required: 1,
                rare: 0,
            },
        }
    }

    fn matches(
        &self,
        kinds: Vec<Kind>,
        mode: BigintMode,
        end: i64,
    ) -> Result<Box<dyn Matches + '_>> {
        Ok(match &self.matching {
            Matching::Sequence(sequence) => Box::new(Sequences::new(sequence, kinds, mode, end)),
            Matching::Pattern(pattern) => Box::new(Patterns::new(pattern, kinds, mode)?),
            Matching::Funnel(funnel) => Box::new(Funnels::new(funnel)),
            Matching::Retention(retention) => Box::new(Retained::new(retention)),
        })
    }

    async fn answer(&self, frame: &Frame<'_>) -> Result<Batch> {
        if is_contradiction(&self.query.filter) && self.then.is_none() {
            let matches = self.matches(Vec::new(), frame.engine.config.bigint, 0)?;
            let floor = frame.engine.pool.seen_snapshot();
            return Ok(Output::new(frame, &matches.header()).finish(frame, &floor));
        }
        let mut lease = frame.lease().await?;
        let answered = self.in_transaction(frame, lease.connection()).await;
        lease.settle(&answered);
        Ok(answered?)
    }

    async fn in_transaction(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
    ) -> Result<Batch, Stop> {
        let begun = connection.begin_snapshot().await;
        let answered = match begun {
            Ok(snapshot) => {
                frame.engine.pool.note_snapshot(&snapshot);
                self.read(frame, connection, &snapshot).await
            }
            Err(error) => Err(Stop::Driver(error)),
        };
        connection.end_reading(answered).await
    }

    async fn read(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        snapshot: &str,
    ) -> Result<Batch, Stop> {
        let Some(then) = &self.then else {
            let matches = self
                .find(frame, connection, frame.engine.config.bigint)
                .await?;
            let target = frame.engine.target();
            return self
                .send(frame, connection, &*matches, snapshot, &target)
                .await;
        };
        let statement = self.bound(frame, connection, then).await?;
        let writer = frame.rows(connection, &statement, false).await?;
        Ok(frame.finish(writer, snapshot))
    }

    /// Finds the matches, in the transaction that was begun.
    pub(super) async fn find(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        mode: BigintMode,
    ) -> Result<Box<dyn Matches + '_>, Stop> {
        let target = frame.engine.target();
        let limits = frame.engine.config.limits;
        let mut projection = self.projection();
        let end = match &self.matching {
            Matching::Sequence(sequence) if sequence.can_be_open() => {
                time_of(connection, &matching::end(&projection, &target)).await?
            }
            _ => 0,
        };
        projection.rare = rare(connection, &projection, &target).await?;
        let Matched { sql, binds, kinds } = matching::rows(&projection, &target);
        let width = projection.fields.len();
        let mut matches = (self.matches(kinds.clone(), mode, end)).map_err(Stop::Refused)?;
        let mut partition = Partition::new(kinds, width, limits.max_result_bytes);
        {
            let values = arguments(&binds).map_err(Stop::Refused)?;
            let mut rows = sqlx::query_with(sql_text(&sql), values).fetch(&mut connection.driver);
            let mut read = 0_u64;
            while let Some(row) = rows.try_next().await? {
                if !partition.is_of(&row)? {
                    look(&mut *matches, &partition).map_err(Stop::Ours)?;
                    partition.clear();
                }
                partition.push(&row)?;
                read += 1;
                // The JavaScript thread may be the one that polls.
                if read.is_multiple_of(512) {
                    tokio::task::yield_now().await;
                }
            }
        }
        // No statement is running any more: the connection is in step whatever happens here.
        look(&mut *matches, &partition).map_err(Stop::Refused)?;
        matches.finish();
        Ok(matches)
    }

    async fn send(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        matches: &dyn Matches,
        snapshot: &str,
        target: &Target,
    ) -> Result<Batch, Stop> {
        let mut output = Output::new(frame, &matches.header());
        let mut page = page(matches.len(), self.query.limit, self.query.offset);
        output
            .check_rows(page.len() as u64)
            .map_err(Stop::Refused)?;
        let sql = matching::events_by_id(target);
        while !page.is_empty() {
            let (mut ids, from) = (Vec::new(), page.start);
            while page.start < page.end && ids.len() < FETCHED {
                matches.ids(page.start, &mut ids);
                page.start += 1;
            }
            ids.sort_unstable();
            ids.dedup();
            let texts = event_texts(connection, &sql, ids).await?;
            for i in from..page.start {
                output
                    .row(|out| matches.write(i, &texts, out))
                    .map_err(Stop::Refused)?;
                output.flow(frame).await;
            }
        }
        Ok(output.finish(frame, snapshot))
    }
}

fn look(matches: &mut dyn Matches, partition: &Partition) -> Result<()> {
    if partition.times.len() < LARGE {
        return matches.partition(partition);
    }
    // Long work on a thread that others wait for: they move to another.
    tokio::task::block_in_place(|| matches.partition(partition))
}

/// The required bits that are so rare, by the server's estimate, that it pays to look for the keys
/// that have them first.
async fn rare(
    connection: &mut Connection,
    projection: &Projection<'_>,
    target: &Target,
) -> Result<u64, Stop> {
    let is_keyed = projection.conditions.iter().all(|(_, key)| !key.is_empty());
    if !is_keyed || !(2..=MAX_ESTIMATED).contains(&projection.required.count_ones()) {
        return Ok(0);
    }
    let mut estimates = Vec::new();
    for bit in (0..projection.conditions.len()).filter(|bit| projection.required >> bit & 1 == 1) {
        let Matched { sql, binds, .. } = matching::one_condition(projection, bit, target);
        let values = arguments(&binds).map_err(Stop::Refused)?;
        let sql = explain::statement(&sql, false);
        let row = sqlx::query_with(sql_text(&sql), values)
            .fetch_one(&mut connection.driver)
            .await?;
        let plan: sqlx::types::Json<Wire> = row.try_get(0)?;
        estimates.push((
            bit,
            plan.0[0]["Plan"]["Plan Rows"].as_f64().unwrap_or(f64::MAX),
        ));
    }
    let all: f64 = estimates.iter().map(|(_, rows)| rows).sum();
    Ok(estimates
        .iter()
        .filter(|(_, rows)| *rows >= 0.0 && rows * 8.0 < all && all > 1000.0)
        .fold(0, |bits, (bit, _)| bits | 1 << bit))
}

/// The time that a statement answers; before all others where there is none.
async fn time_of(connection: &mut Connection, statement: &Matched) -> Result<i64, Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let row = sqlx::query_with(sql_text(&statement.sql), values)
        .fetch_one(&mut connection.driver)
        .await?;
    let time = crate::exec::raw(&row, 0)?.and_then(|bytes| bytes.try_into().ok());
    Ok(time.map_or(i64::MIN, i64::from_be_bytes))
}

/// The values of a partition's key as a JSON list.
///
/// # Errors
/// PRECISION_LOSS
pub fn key_text(
    partition: &Partition,
    kinds: &[Kind],
    names: &[String],
    mode: BigintMode,
) -> Result<Vec<u8>> {
    let mut out = vec![b'['];
    for (i, (kind, value)) in kinds.iter().zip(&partition.key).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        let name = names.get(i).map_or("", String::as_str);
        write_value(&mut out, *kind, value.as_deref(), mode, name)?;
    }
    out.push(b']');
    Ok(out)
}

/// A JSON value as ASCII text.
pub fn ascii(value: &Wire) -> Vec<u8> {
    value.to_string().into_bytes_ascii()
}
