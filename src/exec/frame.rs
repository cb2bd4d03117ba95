//! What every way to answer a query shares: its place, its connections, the way out to its reader.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{FutureExt, TryFutureExt, TryStreamExt, future::BoxFuture};
use serde_json::{Value as Wire, json};
use tokio::sync::mpsc;

use super::arguments::{arguments, sql_text};
use super::batch::{Batch, Writer};
use super::connection::{Connection, seen};
use super::end::End;
use super::engine::Engine;
use super::fault::fault;
use super::interrupt::Watch;
use super::kept::{Kept, Outdated};
use super::lease::Lease;
use super::registry::Ticket;
use super::request::Mode;
use super::snapshot::Exported;
use super::stop::Stop;
use crate::model::{Error, Result, time::Timestamp};
use crate::query::Priority;
use crate::sql::Statement;

/// A way to answer that is more than one statement: slices, a cached state, a matcher.
///
/// It runs inside a [`Frame`]: its time, its cancel, its place in the queue and its end are looked
/// after there. It may be dropped at any await, and tried again where the server had gone away before a
/// batch was sent.
pub trait Strategy: Send + Sync {
    /// Answers. All batches but the last go out by [`Frame::send`].
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>>;

    /// Answers by bringing an earlier answer up to date, in the transaction that the frame lends; `None`
    /// where it has to be made anew.
    fn update<'a>(
        &'a self,
        _frame: &'a Frame<'a>,
        _outdated: Outdated<'a>,
    ) -> BoxFuture<'a, Result<Option<Batch>>> {
        Box::pin(async { Ok(None) })
    }
}

/// What a strategy would have sent.
pub struct Answered {
    /// Its batches but the last.
    pub batches: Vec<Batch>,
    /// The last.
    pub last: Batch,
    /// What it keeps, to bring them up to date with.
    pub kept: Option<Arc<dyn Kept>>,
}

/// One run, as those see it who answer it.
pub struct Frame<'a> {
    /// The client.
    pub engine: &'a Arc<Engine>,
    /// How its rows are wanted.
    pub mode: Mode,
    /// When the caller asked.
    pub started: Instant,
    /// How soon, where it has to wait.
    pub priority: Priority,
    /// The state that it sees, where that is one that is held: every connection it gets has adopted it.
    pub snapshot: Option<Arc<Exported>>,
    /// Its id, and how far it has come.
    pub ticket: &'a Arc<Ticket>,
    /// Whether it has to end early, for work that awaits nothing.
    pub watch: Watch,
    /// What `end` says beside the rest: declined hints.
    pub notes: &'a [(&'static str, String)],
    /// What `end` says beside that, as a strategy finds it out.
    pub told: Mutex<Told>,
    /// Whether its answer is kept: then a strategy says in `told` what would bring it up to date.
    pub keeps: bool,
    /// A connection whose open transaction it is to answer in, where there is one.
    pub(super) lent: Mutex<Option<Lease>>,
    pub(super) out: &'a mpsc::Sender<Batch>,
    pub(super) sent: AtomicBool,
}

/// How long a statement may go on after its client's own deadline.
const GRACE: Duration = Duration::from_secs(5);

/// What is told of an answer beside its rows.
#[derive(Default)]
pub struct Told {
    /// What became of hints, as `HintOutcome`.
    pub hints: Vec<Wire>,
    /// The indexes that its plan uses, where they are known.
    pub indexes: Option<Vec<String>>,
    /// What would bring it up to date.
    pub kept: Option<Arc<dyn Kept>>,
}

impl Frame<'_> {
    /// A connection for a statement of this query, once it is its turn.
    ///
    /// # Errors
    /// TOO_MANY_QUERIES, POOL_TIMEOUT, CLOSED, or why the server could not be reached.
    pub async fn lease(&self) -> Result<Lease> {
        self.lease_in(false).await
    }

    /// The same, whose transactions are REPEATABLE READ where `repeatable`.
    ///
    /// # Errors
    /// As [`Frame::lease`].
    pub async fn lease_in(&self, repeatable: bool) -> Result<Lease> {
        let lent = (self.lent.lock().unwrap_or_else(PoisonError::into_inner)).take();
        if let Some(lease) = lent {
            return Ok(lease);
        }
        self.lease_of(self.engine.pool.acquire_in(repeatable)).await
    }

    /// The same, of any server's connections.
    ///
    /// # Errors
    /// As [`Frame::lease`], and why there is no connection.
    pub async fn lease_of(&self, acquired: impl Future<Output = Result<Lease>>) -> Result<Lease> {
        let asked = Instant::now();
        let place = self.engine.governor.enter(self.priority).await?;
        let mut lease = acquired.await?;
        lease.run_for(Arc::clone(self.ticket), Some(place));
        self.ticket.set_waited(asked.elapsed());
        if let Err(error) = lease.connection().set_backstop(self.backstop()).await {
            lease.discard();
            return Err(fault(error));
        }
        if let Some(held) = &self.snapshot {
            let adopted = lease.connection().begin_adopting(&held.name, false).await;
            if adopted.is_err() {
                lease.end_transaction(&adopted).await;
                return Err(match adopted {
                    Err(Stop::Driver(error)) => Stop::Driver(error).into(),
                    _ => Error::SnapshotGone,
                });
            }
        }
        Ok(lease)
    }

    /// Lets a strategy answer, in the transaction of `lent` where that is given, and keeps what it would
    /// have sent.
    ///
    /// # Errors
    /// The strategy's.
    pub async fn answered(&self, strategy: &dyn Strategy, lent: Option<Lease>) -> Result<Answered> {
        let answered = self.answered_from(strategy, lent, None).await?;
        answered.ok_or_else(|| Error::Internal("an answer that is none".into()))
    }

    /// Lets a strategy bring an answer up to date in the transaction of `lent`.
    ///
    /// # Errors
    /// The strategy's.
    pub async fn updated(
        &self,
        strategy: &dyn Strategy,
        lent: Lease,
        outdated: Outdated<'_>,
    ) -> Result<Option<Answered>> {
        self.answered_from(strategy, Some(lent), Some(outdated))
            .await
    }

    async fn answered_from(
        &self,
        strategy: &dyn Strategy,
        lent: Option<Lease>,
        outdated: Option<Outdated<'_>>,
    ) -> Result<Option<Answered>> {
        let (out, mut sent) = mpsc::channel(1);
        let frame = Frame {
            engine: self.engine,
            mode: self.mode,
            started: self.started,
            priority: self.priority,
            snapshot: None,
            ticket: self.ticket,
            watch: self.watch.clone(),
            notes: &[],
            told: Mutex::default(),
            keeps: lent.is_some(),
            lent: Mutex::new(lent),
            out: &out,
            sent: AtomicBool::new(false),
        };
        let mut attempt = match outdated {
            Some(outdated) => strategy.update(&frame, outdated),
            None => strategy.attempt(&frame).map_ok(Some).boxed(),
        };
        let mut batches = Vec::new();
        let last = loop {
            tokio::select! {
                biased;
                Some(batch) = sent.recv() => batches.push(batch),
                last = &mut attempt => break last,
            }
        };
        // What it sent right before its end, and the connection that it had no need of.
        batches.extend(std::iter::from_fn(|| sent.try_recv().ok()));
        let unused = (frame.lent.lock().unwrap_or_else(PoisonError::into_inner)).take();
        if let Some(lease) = unused {
            lease.release();
        }
        let last = last?;
        let mut told = frame.told.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = told.kept.take();
        Ok(last.map(|last| Answered {
            batches,
            last,
            kept,
        }))
    }

    /// Another connection for this query, where one is to be had at once. Whoever holds a lease must
    /// not wait for a second: all who do could wait for each other.
    pub async fn try_lease(&self) -> Option<Lease> {
        let place = self.engine.governor.try_enter()?;
        let mut lease = self.engine.pool.try_acquire().await?;
        lease.run_for(Arc::clone(self.ticket), Some(place));
        if (lease.connection().set_backstop(self.backstop()).await).is_err() {
            lease.discard();
            return None;
        }
        Some(lease)
    }

    /// The server's own limit of a statement, once for each connection: `limits.timeout`, and the time
    /// that it takes the client to cancel. Without that cap a stream may last as long as its reader
    /// takes, which the server counts too; then a client that is gone is noticed by
    /// `client_connection_check_interval` alone.
    fn backstop(&self) -> u64 {
        let cap = self.engine.config.limits.timeout;
        cap.map_or(0, |cap| {
            u64::try_from((cap + GRACE).as_millis()).unwrap_or(0)
        })
    }

    /// Makes a connection ready for a statement that failed because it was parsed too long ago.
    ///
    /// # Errors
    /// Why the connection cannot be used.
    pub async fn afresh(&self, connection: &mut Connection) -> Result<(), Stop> {
        if let Some(held) = &self.snapshot {
            connection.roll_back().await?;
            connection.begin_adopting(&held.name, false).await?;
        }
        Ok(connection.forget_statements().await?)
    }

    /// What windows end at, where that is not the server's clock: one snapshot has one.
    pub fn clock(&self) -> Option<Timestamp> {
        self.snapshot.as_ref().map(|held| held.clock)
    }

    /// Whether the reader has had a batch: then there is no second attempt.
    pub fn has_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sends a batch that is not the last. Waits while the reader is behind, and for ever where it
    /// is gone: the run is then ended from outside.
    pub async fn send(&self, batch: Batch) {
        self.sent.store(true, Ordering::Relaxed);
        if self.out.send(batch).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Says more of the answer than its rows.
    pub fn tell(&self, change: impl FnOnce(&mut Told)) {
        change(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Runs a statement, sends its rows, and gives the last of them.
    ///
    /// # Errors
    /// Why it stopped.
    pub async fn produce(
        &self,
        connection: &mut Connection,
        statement: &Statement,
        floor: &str,
    ) -> Result<Batch, Stop> {
        let writer = self.rows(connection, statement, true).await?;
        Ok(self.finish(writer, floor))
    }

    /// Runs a statement, sends its rows, and gives what holds the last of them: [`Frame::finish`]
    /// makes the batch of it. Where the statement is not kept it is planned anew for this run alone.
    ///
    /// # Errors
    /// Why it stopped.
    pub async fn rows<'s>(
        &self,
        connection: &mut Connection,
        statement: &'s Statement,
        keep: bool,
    ) -> Result<Writer<'s>, Stop> {
        let limits = (self.mode == Mode::Buffered).then_some(self.engine.config.limits);
        let mut writer = Writer::new(statement, self.engine.config.bigint, limits);
        let values = arguments(&statement.binds).map_err(Stop::Refused)?;
        {
            let mut rows = sqlx::query_with(sql_text(&statement.sql), values)
                .persistent(keep)
                .fetch(&mut connection.driver);
            while let Some(row) = rows.try_next().await? {
                writer.push(&row).map_err(Stop::Ours)?;
                if writer.is_full() {
                    self.ticket.set_made(writer.rows, writer.made());
                    self.send(writer.take()).await;
                }
                // The JavaScript thread may be the one that polls.
                if writer.rows.is_multiple_of(256) {
                    tokio::task::yield_now().await;
                }
            }
        }
        if connection.is_standby {
            writer.snapshot = writer.snapshot.map(|text| seen(text, true));
        } else if let (Some(snapshot), None) = (&writer.snapshot, &self.snapshot) {
            self.engine.pool.note_snapshot(snapshot);
        }
        Ok(writer)
    }

    /// The answer that the server need not be asked for.
    pub fn nothing(&self, statement: &Statement, floor: &str) -> Batch {
        let writer = Writer::new(statement, self.engine.config.bigint, None);
        self.finish(writer, floor)
    }

    /// The last batch: the rows that were not sent yet, and what is said of them all.
    pub fn finish(&self, writer: Writer<'_>, floor: &str) -> Batch {
        self.ticket.set_made(writer.rows, writer.made());
        // An answer without rows carries no snapshot: it has seen at least what was seen before.
        let held = self.snapshot.as_ref().map(|held| held.seen.as_str());
        let seen = (writer.upto())
            .or_else(|| Some(held.or(writer.snapshot.as_deref())?.to_owned()))
            .unwrap_or_else(|| floor.to_owned());
        let mut end = self.end(writer.rows, &seen);
        if let Some(token) = writer.token_of_page(self.engine.pool.origin()) {
            end.token = token;
        }
        writer.finish(end)
    }

    /// What is said of a whole result behind its last row.
    pub fn end(&self, rows: u64, seen: &str) -> End<'_> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = |name: &str| told.hints.iter().all(|hint| hint["hint"] != name);
        let notes = self.notes.iter().filter(|(hint, _)| untold(hint));
        let declined = notes.map(|(hint, value)| {
            json!({ "hint": hint, "value": value, "honoured": false, "reason": declined(hint) })
        });
        End {
            query_id: self.ticket.id(),
            token: self.engine.token(seen),
            row_count: rows,
            execution_time: self.started.elapsed().as_secs_f64() * 1000.0,
            cache: None,
            next_cursor: None,
            hints: told.hints.iter().cloned().chain(declined).collect(),
            indexes_used: told.indexes.clone(),
        }
    }
}

/// Why a hint has no effect.
pub fn declined(hint: &str) -> &'static str {
    match hint {
        "cache" => {
            "streams, snapshots, queries of other tables and those with an index hint do not use the cache"
        }
        "parallel" => {
            "queries of other tables, with an index hint, through the cache or on a pinned plan are not cut"
        }
        "readFrom" => {
            "no replicas are configured, or the primary has to answer: for matches and analytics, for since, inside snapshots, with the cache or an index hint"
        }
        _ => "not offered by this version",
    }
}
