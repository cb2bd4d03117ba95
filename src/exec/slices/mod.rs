//! A query answered by several connections over one snapshot.
//!
//! One connection, the leader, begins a transaction and exports its snapshot; the others adopt it, so
//! all slices read one state, whatever is written meanwhile. The leader answers a slice too. What the
//! slices give then goes back to it, and the server makes the answer of it (see `sql::partial`).
//!
//! Who holds what: the leader waits for its place and its connection as any query does. The others are
//! only taken where they are free at that moment, each with a place of its own: nobody who holds a
//! connection waits for another, so parallel queries cannot wait for each other, however many there
//! are. With none free the leader answers alone. Where a slice fails, or the run is stopped, the
//! futures of all slices are dropped, and with them their leases: each statement is cancelled on the
//! server and its transaction rolled back before the connection serves again.

mod catalog;
mod explain;
mod gather;
mod knowledge;
mod rows;

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use futures_util::{
    TryStreamExt,
    future::{BoxFuture, try_join, try_join_all},
};
use serde_json::json;
use sqlx::Row;

use self::gather::Gathered;
pub use self::knowledge::Knowledge;
use self::knowledge::Way;
use self::rows::{Answered, Asked};
use super::arguments::{arguments, sql_text};
use super::batch::Batch;
use super::connection::Connection;
use super::engine::Engine;
use super::fault::may_be_outdated;
use super::frame::{Frame, Strategy};
use super::lease::Lease;
use super::request::{Planned, Single, Source};
use super::single;
use super::snapshot::Exported;
use super::stop::Stop;
use crate::model::{Error, Result, time::Timestamp};
use crate::plan::{Cut, Meet, Slicing, cuts, slicing, times};
use crate::query::EventQuery;
use crate::sql::{
    Merged, Partial, Purpose, Share, Statement, bucket_starts, merged, partial, rows_of,
};

/// What slices may give together: more groups than that are not worth the way there and back.
const MOST_BYTES: usize = 64 << 20;

/// A query that several connections may answer.
pub struct Slices {
    query: EventQuery,
    single: Single,
    fingerprint: u64,
    purpose: Purpose,
    /// Its plan is wanted, not its answer; with `true` it runs all the same.
    explain: Option<bool>,
}

/// How a run is to be answered.
enum Plan {
    /// By one statement, for a reason that is told where the caller asked for more.
    Alone(Option<String>),
    Cut(Slicing, usize),
}

impl Slices {
    /// How a query is run: by slices, or by one statement where it will never be cut.
    pub fn source(
        query: EventQuery,
        planned: Planned,
        fingerprint: u64,
        purpose: Purpose,
    ) -> Source {
        let single = Single::Query(Box::new(planned));
        let wanted = match query.hints.parallel {
            Some(asked) => asked,
            None => {
                purpose == Purpose::Buffered && query.grouping.is_some() && slicing(&query).is_ok()
            }
        };
        if !wanted {
            return Source::Single(single);
        }
        Source::Strategy(Box::new(Self {
            query,
            single,
            fingerprint,
            purpose,
            explain: None,
        }))
    }

    /// Whether the plan of a query is one of slices, or has to say why it is not.
    pub fn explains(engine: &Engine, query: &EventQuery, fingerprint: u64) -> bool {
        let likely = || engine.slices.prefers(fingerprint) == Way::Slices;
        (query.hints.parallel).unwrap_or_else(|| query.grouping.is_some() && likely())
    }

    /// Explains a query; `single` is the EXPLAIN of its one statement.
    pub fn explaining(
        query: EventQuery,
        fingerprint: u64,
        single: Statement,
        analyze: bool,
    ) -> Self {
        Self {
            query,
            single: Single::Query(Box::new(Planned {
                statement: single,
                is_empty: false,
                catch_up: None,
            })),
            fingerprint,
            purpose: Purpose::Buffered,
            explain: Some(analyze),
        }
    }

    /// How a query was cut, in words.
    fn said(slicing: Slicing, shares: &[Share]) -> Result<String, String> {
        let by = match (shares.first(), slicing.cut) {
            (Some(Share::Pages { .. }), _) => "the pages of the table",
            (_, Cut::Buckets) => "bucket",
            (_, Cut::Groups) => "the hash of the group",
            _ => "timestamp",
        };
        match shares.len() {
            1 => Err(format!("there is nothing to cut by {by}")),
            slices => Ok(format!("{slices} slices by {by}")),
        }
    }

    fn plan(&self, frame: &Frame<'_>) -> Plan {
        let engine = frame.engine;
        if matches!(&self.single, Single::Query(planned) if planned.is_empty) {
            return Plan::Alone(Some("no event can satisfy the filter".to_owned()));
        }
        let slicing = match slicing(&self.query) {
            Ok(slicing) => slicing,
            Err(reason) => return Plan::Alone(Some(reason.to_owned())),
        };
        let most = engine.config.limits.max_workers.min(engine.config.pool.max);
        let workers = self.query.hints.workers.map_or(most, |asked| {
            usize::try_from(asked).map_or(most, |asked| asked.min(most))
        });
        if workers < 2 {
            return Plan::Alone(Some(
                "one worker: limits.maxWorkers, pool.max or the hint allow no more".to_owned(),
            ));
        }
        let asked = self.query.hints.parallel == Some(true);
        if asked || self.explain.is_some() || engine.slices.choose(self.fingerprint) == Way::Slices
        {
            Plan::Cut(slicing, workers)
        } else {
            Plan::Alone(None)
        }
    }

    /// Says what became of the hint; of a choice of our own only where it was to cut.
    fn tell(&self, frame: &Frame<'_>, outcome: Result<String, String>) {
        let asked = self.query.hints.parallel.is_some();
        if !asked && outcome.is_err() {
            return;
        }
        let value = match (asked, self.query.hints.workers) {
            (false, _) => "auto".to_owned(),
            (true, None) => "true".to_owned(),
            (true, Some(workers)) => workers.to_string(),
        };
        let mut told = json!({ "hint": "parallel", "value": value, "honoured": outcome.is_ok() });
        match outcome {
            Ok(how) => told["how"] = how.into(),
            Err(reason) => told["reason"] = reason.into(),
        }
        frame.tell(|all| {
            // Of the last attempt.
            all.hints.retain(|hint| hint["hint"] != "parallel");
            all.hints.push(told);
        });
    }

    async fn alone(&self, frame: &Frame<'_>, lease: Option<Lease>) -> Result<Batch> {
        let lease = match lease {
            Some(lease) => lease,
            None if matches!(&self.single, Single::Query(planned) if planned.is_empty) => {
                return single::attempt(frame, &self.single).await;
            }
            None => frame.lease().await?,
        };
        let began = Instant::now();
        let answer = single::answer(frame, &self.single, lease).await;
        if answer.is_ok() && self.purpose == Purpose::Buffered && self.explain.is_none() {
            (frame.engine.slices).note(self.fingerprint, Way::Single, began.elapsed());
        }
        answer
    }

    async fn cut(&self, frame: &Frame<'_>, slicing: Slicing, workers: usize) -> Result<Batch> {
        let mut leader = frame.lease().await?;
        let began = Instant::now();
        let mut others = Vec::with_capacity(workers - 1);
        while others.len() + 1 < workers
            && let Some(lease) = frame.try_lease().await
        {
            others.push(lease);
        }
        if others.is_empty() {
            self.tell(frame, Err("no other connection was free".to_owned()));
            return self.alone(frame, Some(leader)).await;
        }
        let state = Gathering::default();
        let floor = frame.engine.pool.seen_snapshot();
        let connection = leader.connection();
        let outcome = self
            .sliced(frame, slicing, connection, others, &floor, &state)
            .await;
        match &outcome {
            // A page that is full before its slices are read: dropped, its lease stops the statement.
            Ok(Answered { is_over: false, .. }) => drop(leader),
            _ => leader.end_transaction(&outcome).await,
        }
        match outcome.map_err(Error::from) {
            Ok(Answered { batch, .. }) => {
                if self.purpose == Purpose::Buffered {
                    (frame.engine.slices).note(self.fingerprint, Way::Slices, began.elapsed());
                }
                Ok(batch)
            }
            Err(error) if frame.has_sent() => Err(error),
            Err(_) if state.is_full() => {
                self.tell(frame, Err("there are too many groups to merge".to_owned()));
                self.alone(frame, None).await
            }
            Err(error) if is_of_slices(&error) => {
                self.tell(frame, Err("the statements of slices failed".to_owned()));
                self.alone(frame, None).await
            }
            Err(error) => Err(error),
        }
    }

    async fn sliced(
        &self,
        frame: &Frame<'_>,
        slicing: Slicing,
        leader: &mut Connection,
        mut others: Vec<Lease>,
        floor: &str,
        state: &Gathering,
    ) -> Result<Answered, Stop> {
        // A snapshot that is held was adopted with the connection.
        let exported = match &frame.snapshot {
            Some(held) => Exported::clone(held),
            None => leader.begin_exporting().await?,
        };
        let shares = self
            .shares(frame, slicing, leader, &exported, others.len() + 1)
            .await?;
        leader.one_process().await?;
        for spare in others.drain(shares.len().min(others.len() + 1) - 1..) {
            spare.release();
        }
        self.tell(frame, Self::said(slicing, &shares));
        let (Meet::Groups(merge), Some(grouping)) = (slicing.meet, &self.query.grouping) else {
            let asked = self.rows_of(frame, &shares, slicing.meet, exported.clock)?;
            return rows::answer(frame, &self.query, &asked, leader, others, &exported).await;
        };
        let target = frame.engine.target();
        let mut parts = (0_u64..)
            .zip(&shares)
            .map(|slice| partial(&self.query, grouping, &target, slice, merge, exported.clock))
            .collect::<Result<Vec<_>>>()
            .map_err(Stop::Refused)?;
        let first = parts.remove(0);
        let theirs = (others.into_iter().zip(&parts))
            .map(|(lease, part)| of_another(lease, &exported, part, state));
        let (mut gathered, more) = try_join(
            gather(leader, &first, state),
            // The leader's own statement goes on: it has to be stopped.
            async { try_join_all(theirs).await.map_err(Stop::Ours) },
        )
        .await?;
        for slice in more {
            gathered.append(slice);
        }
        let all = Merged {
            columns: gathered.into_arrays(),
            merge,
        };
        let statement = merged(&self.query, &target, self.purpose, &all, exported.clock)
            .map_err(Stop::Refused)?;
        Ok(Answered {
            batch: frame.produce(leader, &statement, floor).await?,
            is_over: true,
        })
    }

    fn rows_of(
        &self,
        frame: &Frame<'_>,
        shares: &[Share],
        meet: Meet,
        clock: Timestamp,
    ) -> Result<Asked, Stop> {
        let target = frame.engine.target();
        let slices = (shares.iter())
            .map(|share| rows_of(&self.query, &target, self.purpose, share, clock))
            .collect::<Result<Vec<_>>>()
            .map_err(Stop::Refused)?;
        let mut keys = Vec::new();
        let statements = slices.into_iter().map(|(statement, order)| {
            keys = order;
            statement
        });
        let statements = statements.collect();
        if meet == Meet::AnyOrder {
            keys.clear();
        }
        Ok(Asked { statements, keys })
    }

    /// The slices, as many as there are workers or fewer.
    async fn shares(
        &self,
        frame: &Frame<'_>,
        slicing: Slicing,
        leader: &mut Connection,
        exported: &Exported,
        workers: usize,
    ) -> Result<Vec<Share>, Stop> {
        if slicing.cut == Cut::Groups {
            let of = workers as u64;
            return Ok((0..of).map(|this| Share::Groups { of, this }).collect());
        }
        let target = frame.engine.target();
        if slicing.cut == Cut::Pages
            && let Some(pages) = catalog::pages(&mut leader.driver, &target.table).await?
        {
            return Ok(shares_of_pages(pages, workers));
        }
        let window = times(&self.query, exported.clock);
        let known = if let Some(known) = frame.engine.slices.bounds() {
            known
        } else {
            let read = catalog::bounds(&mut leader.driver, &target.table).await?;
            frame.engine.slices.keep_bounds(read)
        };
        let mut at = cuts(&known, window, workers);
        if at.is_empty() && known.is_empty() {
            let ends = catalog::ends(&mut leader.driver, &target.table).await?;
            at = cuts(&ends, window, workers);
        }
        if let (Cut::Buckets, Some(bucket)) = (
            slicing.cut,
            self.query.grouping.as_ref().and_then(|g| g.bucket.as_ref()),
        ) {
            let (sql, binds) = bucket_starts(bucket, at, &target);
            let values = arguments(&binds).map_err(Stop::Refused)?;
            at = sqlx::query_with(sql_text(&sql), values)
                .fetch_all(&mut leader.driver)
                .await?
                .iter()
                .map(|row| row.try_get(0).map(Timestamp::from_micros))
                .collect::<Result<_, _>>()?;
        }
        let from = std::iter::once(None).chain(at.iter().copied().map(Some));
        let to = at.iter().copied().map(Some).chain(std::iter::once(None));
        Ok(from
            .zip(to)
            .map(|(from, to)| Share::Time { from, to })
            .collect())
    }
}

/// As many pages for each: where there are fewer than workers, one slice reads them all.
fn shares_of_pages(pages: u32, workers: usize) -> Vec<Share> {
    let slices = u32::try_from(workers).unwrap_or(u32::MAX).min(pages.max(1));
    let each = pages.div_ceil(slices);
    (0..slices)
        .map(|slice| Share::Pages {
            from: (slice > 0).then(|| slice.saturating_mul(each)),
            // Pages that are added meanwhile hold nothing that the snapshot sees.
            to: (slice + 1 < slices).then(|| (slice + 1).saturating_mul(each)),
        })
        .collect()
}

impl Strategy for Slices {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        Box::pin(async move {
            match self.plan(frame) {
                Plan::Cut(slicing, workers) => match self.explain {
                    Some(analyze) => self.explained(frame, slicing, workers, analyze).await,
                    None => self.cut(frame, slicing, workers).await,
                },
                Plan::Alone(reason) => {
                    if let Some(reason) = reason {
                        self.tell(frame, Err(reason));
                    }
                    self.alone(frame, None).await
                }
            }
        })
    }
}

/// How much the slices of a run have given.
#[derive(Default)]
struct Gathering(AtomicUsize);

impl Gathering {
    fn add(&self, bytes: usize) -> Result<(), Stop> {
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= MOST_BYTES {
            return Ok(());
        }
        Err(Stop::Ours(Error::Internal(
            "slices gave more groups than are merged".into(),
        )))
    }

    fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MOST_BYTES
    }
}

/// Answers a slice on a connection of its own, and gives the connection back.
async fn of_another(
    mut lease: Lease,
    exported: &Exported,
    part: &Partial,
    state: &Gathering,
) -> Result<Gathered> {
    let connection = lease.connection();
    let outcome = match connection.begin_adopting(&exported.name, true).await {
        Ok(_) => gather(connection, part, state).await,
        Err(stop) => Err(stop),
    };
    lease.end_transaction(&outcome).await;
    Ok(outcome?)
}

/// Runs a slice's statement and keeps its rows.
async fn gather(
    connection: &mut Connection,
    part: &Partial,
    state: &Gathering,
) -> Result<Gathered, Stop> {
    let mut gathered = Gathered::new(&part.types);
    let values = arguments(&part.binds).map_err(Stop::Refused)?;
    let result: Result<(), Stop> = async {
        let mut rows = sqlx::query_with(sql_text(&part.sql), values).fetch(&mut connection.driver);
        let mut count = 0_u32;
        while let Some(row) = rows.try_next().await? {
            let before = gathered.bytes();
            gathered.push(&row).map_err(Stop::Ours)?;
            state.add(gathered.bytes() - before)?;
            count = count.wrapping_add(1);
            // The JavaScript thread may be the one that polls.
            if count.is_multiple_of(256) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
    .await;
    if let Err(Stop::Driver(error)) = &result
        && may_be_outdated(error)
    {
        // Parsed before the schema changed: the next query parses it anew.
        connection.outdated = true;
    }
    result.map(|()| gathered)
}

/// Whether the slices' statements failed where the query's own may not: it was parsed before a change
/// of the schema, or a sum of squares is beyond what a number can be.
fn is_of_slices(error: &Error) -> bool {
    matches!(error, Error::Database { sql_state, .. }
        if matches!(sql_state.as_str(), "0A000" | "26000" | "22003") || sql_state.starts_with("42"))
}
