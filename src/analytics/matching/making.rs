//! Making matches of rows: of those of all keys, gathered and shared by threads, or of one key after the
//! other, as the server has sorted them.

use std::num::NonZero;

use futures_util::TryStreamExt;

use super::LOOKS;
use super::answer::{Answer, Matches};
use super::cohorts::{Funnels, Retained};
use super::gathered::{ByKey, Gathered};
use super::partition::Partition;
use super::patterns::Patterns;
use super::sequences::Sequences;
use crate::exec::{BigintMode, Connection, Stop, Watch, arguments, sql_text};
use crate::model::{Error, Result, field::Kind};
use crate::query::matching::Matching;
use crate::sql::matching::Matched;

/// So many rows are matched where they do not hold others up, and by so many more each thread.
const LARGE: usize = 5_000;
/// Threads that match the events of one query.
const MAX_THREADS: usize = 8;

/// How matches are made of rows.
pub struct Making<'a> {
    /// For which query.
    pub answer: &'a Answer,
    /// How the fields of a key compare.
    pub kinds: Vec<Kind>,
    /// How large integers are written.
    pub mode: BigintMode,
    /// The time of the last event, where it matters.
    pub end: i64,
    /// How many values a row has beside its mask.
    pub width: usize,
    /// What the rows of one key may take.
    pub limit: u64,
    /// Whether the run is over.
    pub watch: Watch,
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
