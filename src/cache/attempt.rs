//! One run that the cache answers: from memory, after a check, by merging what is new, or anew.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use futures_util::{TryStreamExt, future::BoxFuture};
use serde_json::{Value as Wire, json};
use sqlx::{Row, ValueRef, postgres::PgRow};
use uuid::Uuid;

use super::answer::{Answer, Body};
use super::fresh::Needed;
use super::plan::{Merge, Plan, id_column};
use super::stamp::{Refusal, Said};
use super::{Cache, stamp::Stamp};
use crate::exec::{
    Batch, Connection, Frame, IntoAscii, RowWriter, Stop, Strategy, arguments, may_be_outdated,
    sql_text,
};
use crate::model::{Error, Result};
use crate::query::Cursor;
use crate::sql::{Base, MOST_NEW, Merge as Parts, Stamped, Statement, check, fill, merged_list};

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

/// Longer lists are read anew: sending their ids would take as long.
const MOST_KEPT: usize = 2000;

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
            stats.price(answer.cost, frame.started.elapsed());
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
            stats.price(answer.cost, frame.started.elapsed());
            return Ok(self.serve(frame, &answer, Outcome::Memory, None).await);
        }
        let begun = Instant::now();
        let (kept, is_shared) = self.cache.or_shared(key, kept).await;
        let brought = match self.cache.inexact() {
            Some(refusal) => self.read_plainly(frame, refusal).await?,
            None => self.bring(frame, kept).await?,
        };
        let Brought {
            answer,
            outcome,
            refusal,
        } = brought;
        let outcome = match outcome {
            Outcome::Memory if is_shared => Outcome::Redis,
            other => other,
        };
        match outcome {
            Outcome::Memory | Outcome::Redis => stats.hits.add(1),
            Outcome::Delta => stats.deltas.add(1),
            Outcome::Miss | Outcome::Off => stats.misses.add(1),
        }
        stats.price(answer.cost, begun.elapsed());
        if answer.stamp.is_some() || self.needed.allows_inexact() {
            slot.show(&answer);
            self.cache.keep(key, &answer);
            if outcome == Outcome::Miss || outcome == Outcome::Delta {
                self.cache.share(key, &answer);
            }
        } else {
            stats.rejected.add(1);
        }
        drop(gate);
        drop(slot);
        Ok(self.serve(frame, &answer, outcome, refusal).await)
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
        end["cache"] = outcome.name().into();
        if let Some(keys) = &body.cursor {
            let cursor = Cursor {
                identity: self.plan.planned.statement.identity,
                keys: keys.clone(),
            };
            end["nextCursor"] = cursor.encode().into();
        }
        if let Some(refusal) = refusal {
            let told = json!({ "hint": "cache", "value": self.needed.name(), "honoured": false, "reason": refusal.reason() });
            match &mut end["hints"] {
                Wire::Array(hints) => hints.push(told),
                other => *other = json!([told]),
            }
        }
        for batch in body.batches() {
            frame.send(batch).await;
        }
        body.last(&end.to_string().into_bytes_ascii())
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
        Ok(brought?)
    }

    async fn current(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        kept: Option<&Arc<Answer>>,
    ) -> Result<Brought, Stop> {
        if let Some(answer) = kept
            && let Some(stamp) = &answer.stamp
        {
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
                return Ok(Brought {
                    answer,
                    outcome,
                    refusal: None,
                });
            }
        }
        connection.plan_once(false).await?;
        match (&self.plan.query.grouping, self.plan.merge) {
            (Some(grouping), Merge::States) => {
                (self.read_groups(frame, connection, (grouping, Parts::States))).await
            }
            (Some(grouping), Merge::Buckets) => {
                (self.read_groups(frame, connection, (grouping, Parts::Apart))).await
            }
            _ => self.read(frame, connection).await,
        }
    }

    /// What a check begins from.
    pub fn base<'s>(&self, stamp: &'s Stamp) -> Base<'s> {
        Base {
            snapshot: &stamp.snapshot,
            clock: stamp.clock,
            partitioned: self.cache.partitioned.load(Ordering::Relaxed),
        }
    }

    /// Whether a kept answer is still true, or can be made so by what is new.
    async fn check(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        answer: &Arc<Answer>,
        stamp: &Stamp,
    ) -> Result<Verdict, Stop> {
        let stats = &self.cache.stats;
        let (sql, binds) = check(&self.plan.query, &frame.engine.target(), self.base(stamp));
        let values = arguments(&binds).map_err(Stop::Refused)?;
        let sent = Instant::now();
        let row = sqlx::query_with(sql_text(&sql), values)
            .fetch_one(&mut connection.driver)
            .await?;
        stats.checks.add(1);
        let said = said(&row, 0)?;
        let Some(news) = said.news().filter(|_| is_believed(stamp, &said)) else {
            return Ok(Verdict::Void);
        };
        stats.new_events.add(news.events);
        if news.left || news.events > MOST_NEW {
            return Ok(Verdict::Void);
        }
        if news.matching == 0 {
            let snapshot = said.stamp.snapshot.to_string();
            frame.engine.pool.note_snapshot(&snapshot);
            return Ok(Verdict::Current(Arc::new(
                answer.confirmed(said.stamp, sent),
            )));
        }
        match (self.plan.merge, &answer.body.kept) {
            (Merge::Rows, Some(kept)) => {
                self.merge_rows(frame, connection, answer, stamp, kept)
                    .await
            }
            _ => Ok(Verdict::Void),
        }
    }

    async fn merge_rows(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        answer: &Arc<Answer>,
        stamp: &Stamp,
        kept: &[Uuid],
    ) -> Result<Verdict, Stop> {
        let target = frame.engine.target();
        let stamped = merged_list(&self.plan.query, &target, self.base(stamp), kept.to_vec())
            .map_err(Stop::Refused)?;
        let sent = Instant::now();
        let (body, said) = self.rows(frame, connection, &stamped).await?;
        let news = said.news().filter(|_| is_believed(stamp, &said));
        if news.is_none_or(|news| news.left || news.events > MOST_NEW) {
            return Ok(Verdict::Void);
        }
        Ok(Verdict::Merged(Arc::new(Answer {
            body: Arc::new(body),
            ..answer.confirmed(said.stamp, sent)
        })))
    }

    /// Reads the answer anew.
    async fn read(&self, frame: &Frame<'_>, connection: &mut Connection) -> Result<Brought, Stop> {
        let target = frame.engine.target();
        loop {
            let partitioned = self.cache.partitioned.load(Ordering::Relaxed);
            let planned = &self.plan.planned.statement;
            let stamped = fill(&self.plan.query, &target, planned, partitioned);
            let sent = Instant::now();
            let (body, said) = self.rows(frame, connection, &stamped).await?;
            if said.is_partitioned() && !partitioned {
                // Once more, with a fingerprint of all partitions.
                self.cache.partitioned.store(true, Ordering::Relaxed);
                continue;
            }
            let refusal = said.refusal();
            self.cache.note_exactness(refusal);
            let seen = said.stamp.snapshot.to_string();
            let answer = self.made(body, seen, refusal.is_none().then_some(said.stamp), sent);
            return Ok(self.brought_anew(answer, refusal));
        }
    }

    /// An answer that was just read.
    pub fn made(
        &self,
        body: Body,
        seen: String,
        stamp: Option<Stamp>,
        sent: Instant,
    ) -> Arc<Answer> {
        let wish = &self.plan.freshness;
        let ttl = wish.ttl.or(self.cache.options.ttl);
        Arc::new(Answer {
            body: Arc::new(body),
            stamp,
            seen,
            checked: sent,
            cost: sent.elapsed(),
            expires: ttl.and_then(|ttl| sent.checked_add(ttl)),
            tags: wish.tags.clone().into(),
        })
    }

    /// Reads the answer without a stamp: only its age is known.
    async fn read_plainly(&self, frame: &Frame<'_>, refusal: Refusal) -> Result<Brought> {
        let mut lease = frame.lease().await?;
        let floor = frame.engine.pool.seen_snapshot();
        let sent = Instant::now();
        let planned = &self.plan.planned.statement;
        let connection = lease.connection();
        let mut read = self.plain_rows(frame, connection, planned).await;
        if let Err(Stop::Driver(error)) = &read
            && may_be_outdated(error)
        {
            read = match connection.forget_statements().await {
                Ok(()) => self.plain_rows(frame, connection, planned).await,
                Err(error) => Err(Stop::Driver(error)),
            };
        }
        lease.settle(&read);
        let (body, snapshot) = read?;
        let seen = snapshot.unwrap_or_else(|| floor.to_string());
        let bounded = self.needed.allows_inexact();
        Ok(Brought {
            answer: self.made(body, seen, None, sent),
            outcome: if bounded { Outcome::Miss } else { Outcome::Off },
            refusal: (!bounded).then_some(refusal),
        })
    }

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
    async fn rows(
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

/// Whether the circumstances of a check are those of the stamp that it began from.
pub fn is_believed(stamp: &Stamp, said: &Said) -> bool {
    said.refusal().is_none() && !said.is_rotated() && stamp.leads_to(&said.stamp)
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
        }
    }
}
