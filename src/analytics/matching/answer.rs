//! Answering a query for matches: as one of the ways a run can take.
//!
//! Who releases what: the connection belongs to the attempt's future as a lease. A transaction that
//! ends in step with the server is rolled back and the connection given back; dropped or stopped in
//! the middle, the lease cancels on the server.

use std::{collections::HashMap, ops::Range, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value as Wire;
use uuid::Uuid;

use super::cohorts::{Funnels, Retained};
use super::kept::{Earlier, Found, KeptMatches, TakeUp};
use super::output::Output;
use super::partition::Partition;
use super::patterns::Patterns;
use super::sequences::{Sequences, page};
use crate::exec::{
    Batch, BigintMode, Connection, Frame, IntoAscii, Outdated, Stop, Strategy, event_texts,
    nothing_read, write_value,
};
use crate::model::{Result, field::Kind};
use crate::plan::is_contradiction;
use crate::query::{
    EventQuery,
    matching::{FunnelMode, Matching},
};
use crate::sql::{
    EventSource, Statement,
    matching::{self, Projection},
};

/// Events by their ids, as JSON text.
pub type Texts = HashMap<Uuid, Box<[u8]>>;

/// What is found in partitions, and how it is written.
pub trait Matches: Send + Sync {
    /// Finds the matches of a partition.
    fn partition(&mut self, partition: &Partition) -> Result<()>;
    /// Adds those of the partitions behind its own, as another found them.
    ///
    /// # Errors
    /// MATCH_LIMIT where together they are too many.
    fn absorb(&mut self, others: Self) -> Result<()>
    where
        Self: Sized;
    /// All partitions were seen: puts the matches in their order.
    fn finish(&mut self);
    /// When the data ends, where that is not known before.
    fn end_at(&mut self, _: i64) {}
    /// How many there are.
    fn len(&self) -> usize;
    /// Appends the ids of the events of a match.
    fn ids(&self, i: usize, out: &mut Vec<Uuid>);
    /// Adds what was kept of the keys that were not read again; what was kept of the others is past.
    ///
    /// # Errors
    /// MATCH_LIMIT where together they are too many.
    fn take_up(&mut self, kept: &TakeUp<'_>) -> Result<()>;
    /// Gives away what was found, of which the matches of a page were sent.
    fn keep(&mut self, page: &Range<usize>) -> Found;
    /// Which row of an earlier answer a match is.
    fn row_of(&self, _: usize) -> Option<usize> {
        None
    }
    /// Appends the values of a match as they were sent before, but for what may have changed.
    fn write_again(&self, _: usize, row: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(row);
    }
    /// What is said of all of them, as members of JSON: how `lib/rows.js` reads them.
    fn header(&self) -> String;
    /// Appends the values of a match.
    fn write(&self, i: usize, texts: &Texts, out: &mut Vec<u8>) -> Result<()>;
}

/// A query for matches, as it runs.
#[derive(Clone)]
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

/// Events that are fetched at a time.
const FETCHED: usize = 2_000;

impl Strategy for Answer {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        self.answer(frame).boxed()
    }

    fn update<'a>(
        &'a self,
        frame: &'a Frame<'a>,
        outdated: Outdated<'a>,
    ) -> BoxFuture<'a, Result<Option<Batch>>> {
        self.brought_up_to_date(frame, outdated).boxed()
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
                keys: None,
                since: None,
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
                keys: None,
                since: None,
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
                keys: None,
                since: None,
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
                keys: None,
                since: None,
            },
        }
    }

    /// Nothing was found yet.
    pub(super) fn matches(
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
            nothing_read(frame, &self.query.hints);
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
        let answered = if self.query.hints.name_indexes() {
            self.read_by_index(frame, connection).await
        } else {
            self.read(frame, connection).await
        };
        connection.end_reading(answered).await
    }

    async fn read(&self, frame: &Frame<'_>, connection: &mut Connection) -> Result<Batch, Stop> {
        let snapshot = connection.begin_snapshot().await?;
        frame.engine.pool.note_snapshot(&snapshot);
        self.share(connection).await?;
        let mode = self.mode(frame.engine.config.bigint);
        let matches = self.find(frame, connection, mode).await?;
        self.give(frame, connection, matches, &snapshot, None).await
    }

    async fn read_by_index(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
    ) -> Result<Batch, Stop> {
        let mode = self.mode(frame.engine.config.bigint);
        let (mut matches, snapshot) = self.find_by_index(frame, connection, mode).await?;
        matches.finish();
        self.give(frame, connection, matches, &snapshot, None).await
    }

    /// Answers with matches, of which an earlier answer may have had some, and says what would bring it
    /// up to date.
    pub(super) async fn give(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        mut matches: Box<dyn Matches + '_>,
        snapshot: &str,
        earlier: Option<Earlier<'_>>,
    ) -> Result<Batch, Stop> {
        let (batch, page, rows) = if let Some(then) = &self.then {
            let statement = Self::bound_to(frame, &*matches, then)?;
            let writer = frame.rows(connection, &statement, false).await?;
            (frame.finish(writer, snapshot), 0..0, Vec::new())
        } else {
            let mut output = Output::new(frame, &matches.header());
            let page = page(matches.len(), self.query.limit, self.query.offset);
            self.send(
                frame,
                connection,
                (&*matches, earlier),
                &mut output,
                page.clone(),
            )
            .await?;
            let rows = output.take_spans();
            (output.finish(frame, snapshot), page, rows)
        };
        if frame.keeps {
            let found = matches.keep(&page);
            frame.tell(|told| told.kept = Some(Arc::new(KeptMatches { found, rows })));
        }
        Ok(batch)
    }

    /// Finds the matches, in the transaction that was begun.
    pub(super) async fn find(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        mode: BigintMode,
    ) -> Result<Box<dyn Matches + '_>, Stop> {
        let target = frame.engine.target();
        let mut matches = self.look_for(frame, connection, mode, &target).await?;
        matches.finish();
        Ok(matches)
    }

    async fn send(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        (matches, earlier): (&dyn Matches, Option<Earlier<'_>>),
        output: &mut Output,
        mut page: Range<usize>,
    ) -> Result<(), Stop> {
        output
            .check_rows(page.len() as u64)
            .map_err(Stop::Refused)?;
        let sql = matching::events_by_id(&frame.engine.target());
        let known = |i: usize| earlier?.row(matches.row_of(i)?);
        while !page.is_empty() {
            let (mut ids, from) = (Vec::new(), page.start);
            while page.start < page.end && ids.len() < FETCHED {
                if known(page.start).is_none() {
                    matches.ids(page.start, &mut ids);
                }
                page.start += 1;
            }
            ids.sort_unstable();
            ids.dedup();
            let texts = if ids.is_empty() {
                Texts::new()
            } else {
                event_texts(connection, &sql, ids).await?
            };
            for i in from..page.start {
                let row = output.row(|out| match known(i) {
                    Some(row) => {
                        matches.write_again(i, row, out);
                        Ok(())
                    }
                    None => matches.write(i, &texts, out),
                });
                row.map_err(Stop::Refused)?;
                output.flow(frame).await;
            }
        }
        Ok(())
    }
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
