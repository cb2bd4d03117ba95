//! Reading the events of a query, key by key, and finding the matches among them.
//!
//! What fits into memory comes in no order and is put in order here. More than that is sorted by the
//! server, and read one key at a time.

use std::num::NonZero;

use futures_util::TryStreamExt;
use serde_json::Value as Wire;
use sqlx::Row;

use super::LOOKS;
use super::answer::{Answer, Matches};
use super::cohorts::{Funnels, Retained};
use super::gathered::{ByKey, Gathered, ROW};
use super::partition::Partition;
use super::patterns::Patterns;
use super::sequences::Sequences;
use crate::exec::{BigintMode, Connection, Frame, Stop, Watch, arguments, sql_text};
use crate::model::{Error, Result, field::Kind};
use crate::query::matching::Matching;
use crate::sql::{
    Target, explain,
    matching::{self, KeyList, Matched, Projection},
};

/// So many rows are matched where they do not hold others up, and by so many more each thread.
const LARGE: usize = 5_000;
/// Threads that match the events of one query.
const MAX_THREADS: usize = 8;
/// What the events of all keys may take in memory, whatever the limit of a result is.
const MAX_GATHERED: u64 = 256 << 20;
/// Keys with a rare step that are looked up one by one.
const MAX_KEYS: u64 = 1_000;
/// Conditions whose rarity is worth asking for.
const MAX_ESTIMATED: u32 = 8;

/// How matches are made of rows.
pub struct Making<'a> {
    pub answer: &'a Answer,
    pub kinds: Vec<Kind>,
    pub mode: BigintMode,
    /// The time of the last event, where it matters.
    pub end: i64,
    /// How many values a row has beside its mask, and what the rows of one key may take.
    pub width: usize,
    pub limit: u64,
    pub watch: Watch,
}

impl Answer {
    /// Reads what the query is matched in, and finds its matches.
    pub(super) async fn look_for<'a>(
        &'a self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        mode: BigintMode,
        target: &Target,
    ) -> Result<Box<dyn Matches + 'a>, Stop> {
        let limit = frame.engine.config.limits.max_result_bytes;
        let mut projection = self.projection();
        let end = self.end(connection, &projection, target).await?;
        let mut conditions = Vec::new();
        for bit in self.estimated_bits() {
            let statement = matching::one_condition(&projection, bit, target);
            conditions.push((bit, estimate(connection, &statement).await?.0));
        }
        projection.rare = rare(&conditions);
        let mut keys = None;
        if let Some(statement) = keys_with_rare(&projection, &conditions, target) {
            let found = texts(connection, &statement).await?;
            if found.is_empty() {
                let nothing = self.matches(statement.kinds, mode, end);
                return nothing.map_err(Stop::Refused);
            }
            keys = are_few(&found).then_some([KeyList::Texts(found)]);
        }
        let projection = projection.of_keys(keys.as_ref().map(<[_; 1]>::as_slice));
        let (room, most) = room(limit);
        let statement = matching::gathered(&projection, target, most + 1);
        let making = Making {
            answer: self,
            kinds: statement.kinds.clone(),
            mode,
            end,
            width: projection.fields.len(),
            limit,
            watch: frame.watch.clone(),
        };
        if self.may_gather(&making.kinds)
            && fits(
                self.expected(frame, connection, &conditions, &statement)
                    .await?,
                most,
            )
            && let Some(gathered) = making.gather(connection, &statement, room).await?
        {
            return making.match_gathered(&gathered, 0).map_err(Stop::Refused);
        }
        let statement = matching::rows(&projection, target);
        if !self.may_gather(&making.kinds) && self.is_hinted() {
            let (_, plan) = estimate(connection, &statement).await?;
            self.tell_shared(frame, &plan);
        }
        making.one_by_one(connection, &statement).await
    }

    /// The time of the last event, where it matters.
    pub(super) async fn end(
        &self,
        connection: &mut Connection,
        projection: &Projection<'_>,
        target: &Target,
    ) -> Result<i64, Stop> {
        match &self.matching {
            Matching::Sequence(sequence) if sequence.can_be_open() => {
                time_of(connection, &matching::end(projection, target)).await
            }
            _ => Ok(0),
        }
    }

    /// The order of keys shows in that of a pattern's matches, and JSON's is the server's.
    pub(super) fn may_gather(&self, kinds: &[Kind]) -> bool {
        !(self.is_ordered() && kinds.contains(&Kind::Json))
    }

    /// Whether the order of keys shows.
    fn is_ordered(&self) -> bool {
        match &self.matching {
            Matching::Pattern(_) => true,
            // An event that has several keys may be the last of matches of each.
            Matching::Sequence(sequence) => {
                let mut keys = sequence.conditions.0.iter().map(|(_, fields)| fields);
                let first = keys.next();
                keys.any(|fields| Some(fields) != first)
            }
            Matching::Funnel(_) | Matching::Retention(_) => false,
        }
    }

    /// How many rows the server expects of a statement: asked for where those of its conditions do not
    /// tell that they are few, or it is to be said how it is read.
    async fn expected(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        conditions: &[(usize, f64)],
        statement: &Matched,
    ) -> Result<f64, Stop> {
        let all: f64 = conditions.iter().map(|(_, rows)| rows).sum();
        if !self.is_hinted() && !conditions.is_empty() && all < 100_000.0 {
            return Ok(all);
        }
        let (rows, plan) = estimate(connection, statement).await?;
        self.tell_shared(frame, &plan);
        Ok(rows)
    }

    /// The required bits whose rarity may matter.
    pub(super) fn estimated_bits(&self) -> Vec<usize> {
        let projection = self.projection();
        let mut keys = projection.conditions.iter().map(|(_, key)| key);
        if keys.any(Vec::is_empty)
            || !(2..=MAX_ESTIMATED).contains(&projection.required.count_ones())
        {
            return Vec::new();
        }
        (0..projection.conditions.len())
            .filter(|bit| projection.required >> bit & 1 == 1)
            .collect()
    }
}

impl<'a> Making<'a> {
    /// The rows of all keys; `None` where there are too many.
    pub async fn gather(
        &self,
        connection: &mut Connection,
        statement: &Matched,
        room: u64,
    ) -> Result<Option<Gathered>, Stop> {
        let empty = || Gathered::new(self.kinds.clone(), self.width, room);
        let mut gathered = Some(empty());
        let values = arguments(&statement.binds).map_err(Stop::Refused)?;
        let mut rows =
            sqlx::query_with(sql_text(&statement.sql), values).fetch(&mut connection.driver);
        let mut read = 0_u64;
        while let Some(row) = rows.try_next().await? {
            // What does not fit is read to its end, which the statement has set.
            if let Some(into) = &mut gathered
                && !into.push(&row)?
            {
                gathered = None;
            }
            read += 1;
            // The JavaScript thread may be the one that polls.
            if read.is_multiple_of(512) {
                tokio::task::yield_now().await;
            }
        }
        Ok(gathered)
    }

    /// The matches among rows that have none of the bits of `without`.
    pub fn match_gathered(
        &self,
        gathered: &Gathered,
        without: u64,
    ) -> Result<Box<dyn Matches + 'a>> {
        if gathered.len() < LARGE {
            return self.match_all(gathered, without);
        }
        // Long work on a thread that others wait for: they move to another.
        tokio::task::block_in_place(|| self.match_all(gathered, without))
    }

    fn partition(&self) -> Partition {
        let watch = Some(self.watch.clone());
        Partition::new(self.kinds.clone(), self.width, self.limit, watch)
    }

    fn match_all(&self, gathered: &Gathered, without: u64) -> Result<Box<dyn Matches + 'a>> {
        let required = self.answer.projection().required;
        let keys = gathered.by_key(required, self.answer.is_ordered());
        let kinds = || self.kinds.clone();
        Ok(match &self.answer.matching {
            Matching::Sequence(sequence) => Box::new(self.matched(&keys, without, &|| {
                Ok(Sequences::new(sequence, kinds(), self.mode, self.end))
            })?),
            Matching::Pattern(pattern) => Box::new(self.matched(&keys, without, &|| {
                Patterns::new(pattern, kinds(), self.mode)
            })?),
            Matching::Funnel(funnel) => {
                Box::new(self.matched(&keys, without, &|| Ok(Funnels::new(funnel)))?)
            }
            Matching::Retention(retention) => {
                Box::new(self.matched(&keys, without, &|| Ok(Retained::new(retention)))?)
            }
        })
    }

    /// The matches of keys, by as many threads as there is work for.
    fn matched<M: Matches>(
        &self,
        keys: &ByKey<'_>,
        without: u64,
        make: &(dyn Fn() -> Result<M> + Sync),
    ) -> Result<M> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = (keys.rows() / LARGE).clamp(1, processors.min(MAX_THREADS));
        let from = |thread: usize| keys.key_at(keys.rows() / threads * thread);
        let find = |thread: usize| -> Result<M> {
            let mut matches = make()?;
            let mut partition = self.partition();
            let (mut order, mut looked) = (Vec::new(), 0);
            let to = if thread + 1 == threads {
                keys.len()
            } else {
                from(thread + 1)
            };
            for key in from(thread)..to {
                keys.fill(key, &mut partition, &mut order, without);
                // A look takes as long as some events do.
                looked += order.len() + 1;
                if looked >= LOOKS {
                    looked = 0;
                    if self.watch.is_over() {
                        return Err(Error::Cancelled);
                    }
                }
                matches.partition(&partition)?;
            }
            Ok(matches)
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map(|thread| {
                    let named = std::thread::Builder::new().name("tamma-match".to_owned());
                    // Where the system has no thread left, this one does its part.
                    let spawned = named.spawn_scoped(scope, move || find(thread));
                    (thread, spawned.ok())
                })
                .collect();
            let mut matches = find(0)?;
            for (thread, spawned) in others {
                let found = match spawned {
                    Some(spawned) => (spawned.join())
                        .map_err(|_| Error::Internal("a matcher panicked".into()))?,
                    None => find(thread),
                };
                matches.absorb(found?)?;
            }
            Ok(matches)
        })
    }

    /// The matches of one key after the other, as the server has sorted them.
    pub async fn one_by_one(
        &self,
        connection: &mut Connection,
        statement: &Matched,
    ) -> Result<Box<dyn Matches + 'a>, Stop> {
        let mut matches = self
            .answer
            .matches(self.kinds.clone(), self.mode, self.end)
            .map_err(Stop::Refused)?;
        let mut partition = self.partition();
        {
            let values = arguments(&statement.binds).map_err(Stop::Refused)?;
            let mut rows =
                sqlx::query_with(sql_text(&statement.sql), values).fetch(&mut connection.driver);
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
        Ok(matches)
    }
}

fn look(matches: &mut dyn Matches, partition: &Partition) -> Result<()> {
    if partition.times.len() < LARGE {
        return matches.partition(partition);
    }
    tokio::task::block_in_place(|| matches.partition(partition))
}

/// The memory for the rows of all keys, and how many rows these are at most.
pub fn room(limit: u64) -> (u64, u64) {
    let room = limit.min(MAX_GATHERED);
    (room, room / ROW)
}

/// Whether so many rows as are expected come to no more than `most`.
#[allow(clippy::cast_precision_loss)] // Far below 2^53.
pub fn fits(expected: f64, most: u64) -> bool {
    expected <= most as f64
}

/// The bits that are so rare that it pays to look for the keys that have them first.
pub fn rare(conditions: &[(usize, f64)]) -> u64 {
    let all: f64 = conditions.iter().map(|(_, rows)| rows).sum();
    conditions
        .iter()
        .filter(|(_, rows)| *rows >= 0.0 && rows * 8.0 < all && all > 1000.0)
        .fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// Asks for the keys that have the rarest of the rare bits, where such keys can be listed.
pub fn keys_with_rare(
    projection: &Projection<'_>,
    conditions: &[(usize, f64)],
    target: &Target,
) -> Option<Matched> {
    let rare = conditions
        .iter()
        .filter(|(bit, _)| projection.rare >> bit & 1 == 1);
    let (bit, _) = rare.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    matching::keys_with(projection, *bit, target, MAX_KEYS + 1)
}

/// Whether keys are looked up one by one. So many that they are not are joined by the server.
pub fn are_few(keys: &[String]) -> bool {
    keys.len() as u64 <= MAX_KEYS
}

/// The texts that a statement answers.
async fn texts(connection: &mut Connection, statement: &Matched) -> Result<Vec<String>, Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let rows = sqlx::query_with(sql_text(&statement.sql), values)
        .fetch_all(&mut connection.driver)
        .await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// How many rows the server expects of a statement, and its plan.
pub async fn estimate(
    connection: &mut Connection,
    statement: &Matched,
) -> Result<(f64, Wire), Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let sql = explain::statement(&statement.sql, false);
    let row = sqlx::query_with(sql_text(&sql), values)
        .fetch_one(&mut connection.driver)
        .await?;
    let mut plan: sqlx::types::Json<Wire> = row.try_get(0)?;
    let plan = plan.0[0].take();
    let rows = plan["Plan"]["Plan Rows"].as_f64().unwrap_or(f64::MAX);
    Ok((rows, plan))
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
