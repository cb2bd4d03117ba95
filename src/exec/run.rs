//! One run of a statement: from its place in the queue to its last row, or to the reason why not.
//!
//! Who releases what: the place and the lease belong to the run's future. A run that ends in step
//! with the server gives its connection back; one that is interrupted tells its caller first and
//! then, in a task of its own, cancels on the server and gives the connection back once it has
//! drained, or closes it. The ticket goes with that task: the query counts as running until then.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures_util::TryStreamExt;
use serde_json::json;
use tokio::sync::mpsc;

use super::arguments::{arguments, sql_text};
use super::batch::{Batch, Writer};
use super::connection::Connection;
use super::engine::Engine;
use super::fault::{blame_regex, fault, may_be_outdated, spares_connection};
use super::interrupt::{Interrupt, interruption, stop_on_server};
use super::observe::Status;
use super::pool::Lease;
use super::registry::Ticket;
use super::request::{Mode, OfTables, Source};
use super::user::UserSql;
use crate::model::{Error, Result};
use crate::query::{EventQuery, Priority};
use crate::sql::Statement;

/// A run that has been entered and not yet begun.
pub struct Run {
    /// What.
    pub source: Source,
    /// How.
    pub mode: Mode,
    /// Its id and the way to stop it.
    pub ticket: Ticket,
    /// When the caller asked.
    pub started: Instant,
    /// How soon, where it has to wait.
    pub priority: Priority,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Where the query's regular expression is, should the server refuse it.
    pub regex: Option<String>,
    /// What `end` says beside the rest: declined hints.
    pub notes: Vec<(&'static str, String)>,
}

/// What an attempt came to.
enum Outcome {
    Done(Batch),
    Failed(Error),
    /// The server had gone away before it sent a row: the statement can be sent again.
    Lost(Error),
}

/// What a run came to.
enum Ending {
    Done(Batch),
    /// Where a lease is still held, its statement is still running.
    Failed(Error),
    /// No one is left to tell.
    Abandoned,
}

/// Attempts where the server goes away before the first row, and the pause before the second.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(40);

impl Run {
    /// Runs to the end. The last batch, or the error, is always the last thing sent.
    pub async fn execute(self, engine: Arc<Engine>, out: mpsc::Sender<Batch>) {
        let Self {
            source,
            mode,
            ticket,
            started,
            priority,
            timeout,
            regex,
            notes,
        } = self;
        let context = Context {
            engine: &engine,
            mode,
            started,
            priority,
            out: &out,
            notes: &notes,
            ticket: &ticket,
        };
        let mut lease = None;
        let ending = context.attempts(&source, &mut lease, timeout).await;
        let batch = match ending {
            Ending::Done(batch) => {
                engine.observe(&ticket, None, Status::Done);
                // The id is free again before the caller hears of the end.
                drop(ticket);
                batch
            }
            Ending::Failed(error) => {
                let error = match source {
                    Source::User(_) => error,
                    _ => engine.explained(blame_regex(error, regex)),
                };
                let batch = Batch::error(&error, Some(ticket.id()));
                engine.observe(&ticket, Some(&error), Status::of(&error));
                stop_on_server(lease, ticket);
                batch
            }
            Ending::Abandoned => {
                engine.observe(&ticket, None, Status::Cancelled);
                return stop_on_server(lease, ticket);
            }
        };
        // Whoever wanted it may be gone.
        let _ = out.send(batch).await;
    }
}

/// Before another attempt: longer each time, and not in step with other clients.
async fn pause(attempt: u32) {
    let jitter = RandomState::new().hash_one(attempt) % 32;
    tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1) + Duration::from_millis(jitter)).await;
}

/// Gives back a connection that is in step with the server.
fn release(held: &mut Option<Lease>) {
    if let Some(lease) = held.take() {
        lease.release();
    }
}

struct Context<'a> {
    engine: &'a Arc<Engine>,
    mode: Mode,
    started: Instant,
    priority: Priority,
    out: &'a mpsc::Sender<Batch>,
    notes: &'a [(&'static str, String)],
    ticket: &'a Ticket,
}

impl Context<'_> {
    /// Attempts until one is decisive or the run is interrupted.
    async fn attempts(
        &self,
        source: &Source,
        held: &mut Option<Lease>,
        timeout: Option<Duration>,
    ) -> Ending {
        let mut interrupted = std::pin::pin!(interruption(
            self.ticket,
            timeout.map(|t| self.started + t),
            self.out
        ));
        let mut attempt = 1;
        loop {
            let outcome = tokio::select! {
                biased;
                outcome = self.attempt(source, held) => outcome,
                interrupt = &mut interrupted => return match interrupt {
                    Interrupt::Stopped(reason) => Ending::Failed(reason.error()),
                    Interrupt::Late => Ending::Failed(Error::Timeout(timeout.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)))),
                    Interrupt::Abandoned => Ending::Abandoned,
                },
            };
            match outcome {
                Outcome::Done(batch) => return Ending::Done(batch),
                Outcome::Lost(_) if attempt < ATTEMPTS => {
                    self.engine.pool.forget_idle();
                    *held = None;
                    pause(attempt).await;
                    attempt += 1;
                }
                Outcome::Lost(error) | Outcome::Failed(error) => return Ending::Failed(error),
            }
        }
    }

    /// One attempt. `held` keeps the lease while a statement runs on it, so that an interrupt
    /// finds it; it is empty again where the connection is back in step.
    async fn attempt(&self, source: &Source, held: &mut Option<Lease>) -> Outcome {
        if let Source::Nothing(statement) = source {
            let writer = Writer::new(statement, self.engine.config.bigint, None);
            return Outcome::Done(self.finish(writer, &self.engine.pool.seen_snapshot()));
        }
        let asked = Instant::now();
        let place = match self.engine.governor.enter(self.priority).await {
            Ok(place) => place,
            Err(error) => return Outcome::Failed(error),
        };
        let lease = match self.engine.pool.acquire().await {
            Ok(lease) => held.insert(lease),
            Err(error @ Error::Connection { .. }) => return Outcome::Lost(error),
            Err(error) => return Outcome::Failed(error),
        };
        lease.hold(place);
        self.ticket.set_waited(asked.elapsed());
        let floor = self.engine.pool.seen_snapshot();
        let connection = lease.connection();
        let mut sent = false;
        let mut produced = self
            .produce_any(connection, source, &floor, &mut sent)
            .await;
        if let Err(Stop::Driver(error)) = &produced
            && !sent
            && may_be_outdated(error)
        {
            // Once more, parsed anew. A statement that is wrong in itself fails again.
            produced = match connection.forget_statements().await {
                Ok(()) => {
                    self.produce_any(connection, source, &floor, &mut sent)
                        .await
                }
                Err(error) => Err(Stop::Driver(error)),
            };
        }
        match produced {
            Ok(batch) => {
                release(held);
                Outcome::Done(batch)
            }
            Err(Stop::Driver(error)) => {
                if spares_connection(&error) {
                    release(held);
                } else {
                    *held = None;
                }
                match fault(error) {
                    error @ Error::Connection { .. } if !sent => Outcome::Lost(error),
                    error => Outcome::Failed(error),
                }
            }
            Err(Stop::Refused(error)) => {
                release(held);
                Outcome::Failed(error)
            }
            // The statement is still running: `held` keeps its lease for the cancel.
            Err(Stop::Ours(error)) => Outcome::Failed(error),
        }
    }

    async fn produce_any(
        &self,
        connection: &mut Connection,
        source: &Source,
        floor: &str,
        sent: &mut bool,
    ) -> Result<Batch, Stop> {
        match source {
            Source::Query(statement) => self.produce(connection, statement, floor, sent).await,
            Source::User(user) => self.produce_user(connection, user, floor, sent).await,
            Source::OfTables(of) => self.produce_of(connection, of, floor, sent).await,
            Source::Nothing(_) => Err(Stop::Refused(Error::Internal("nothing was run".into()))),
        }
    }

    /// Looks the tables up, where they are not known, and runs what the query then compiles to.
    async fn produce_of(
        &self,
        connection: &mut Connection,
        of: &OfTables,
        floor: &str,
        sent: &mut bool,
    ) -> Result<Batch, Stop> {
        let learnt = self.engine.learn(&mut connection.driver, &of.tables).await;
        let planned = learnt.and_then(|()| {
            let query = EventQuery::from_json(&of.query, &self.engine.catalog())?;
            let planned = self.engine.plan(&query, of.purpose)?;
            if let Some(shape) = self.engine.shape_of(&planned, &query) {
                self.ticket.set_shape(shape);
            }
            Ok(planned)
        });
        let produced = match planned {
            Ok(Source::Query(statement)) => self.produce(connection, &statement, floor, sent).await,
            Ok(Source::Nothing(statement)) => {
                let writer = Writer::new(&statement, self.engine.config.bigint, None);
                Ok(self.finish(writer, floor))
            }
            Ok(_) => Err(Stop::Refused(Error::Internal("planned twice".into()))),
            Err(error) => Err(Stop::Refused(error)),
        };
        if produced.is_err() {
            // A table may have changed, or been made, since it was looked up.
            self.engine.forget_tables(&of.tables);
        }
        produced
    }

    async fn produce_user(
        &self,
        connection: &mut Connection,
        user: &UserSql,
        floor: &str,
        sent: &mut bool,
    ) -> Result<Batch, Stop> {
        connection.begin_read_only().await?;
        let produced = match user.prepare(connection).await {
            Ok(statement) => self.produce(connection, &statement, floor, sent).await,
            Err(stop) => Err(stop),
        };
        match produced {
            // A statement of ours is still running: the canceller ends its transaction too.
            Err(Stop::Ours(error)) => Err(Stop::Ours(error)),
            Err(Stop::Driver(error)) if !spares_connection(&error) => Err(Stop::Driver(error)),
            // Where the transaction does not end, the connection is not in step with the server.
            produced => {
                connection.roll_back().await?;
                produced
            }
        }
    }

    async fn produce(
        &self,
        connection: &mut Connection,
        statement: &Statement,
        floor: &str,
        sent: &mut bool,
    ) -> Result<Batch, Stop> {
        let limits = (self.mode == Mode::Buffered).then_some(self.engine.config.limits);
        let mut writer = Writer::new(statement, self.engine.config.bigint, limits);
        let values = arguments(&statement.binds).map_err(Stop::Refused)?;
        {
            let mut rows =
                sqlx::query_with(sql_text(&statement.sql), values).fetch(&mut connection.driver);
            while let Some(row) = rows.try_next().await? {
                writer.push(&row).map_err(Stop::Ours)?;
                if writer.is_full() {
                    *sent = true;
                    self.ticket.set_made(writer.rows, writer.made());
                    if self.out.send(writer.take()).await.is_err() {
                        // The reader is gone: `interruption` sees it too, and ends the run.
                        std::future::pending::<()>().await;
                    }
                }
                // The JavaScript thread may be the one that polls.
                if writer.rows.is_multiple_of(256) {
                    tokio::task::yield_now().await;
                }
            }
        }
        if let Some(snapshot) = &writer.snapshot {
            self.engine.pool.note_snapshot(snapshot);
        }
        Ok(self.finish(writer, floor))
    }

    fn finish(&self, writer: Writer<'_>, floor: &str) -> Batch {
        self.ticket.set_made(writer.rows, writer.made());
        // An answer without rows carries no snapshot: it has seen at least what was seen before.
        let seen = writer.snapshot.as_deref().unwrap_or(floor);
        let mut end = json!({
            "queryId": self.ticket.id(),
            "token": token(seen),
            "rowCount": writer.rows,
            "executionTime": self.started.elapsed().as_secs_f64() * 1000.0,
        });
        if !self.notes.is_empty() {
            end["hints"] = self
                .notes
                .iter()
                .map(|(hint, value)| json!({ "hint": hint, "value": value, "honoured": false, "reason": "not offered by this version" }))
                .collect();
        }
        writer.finish(end)
    }
}

/// Why producing rows stopped.
pub enum Stop {
    /// Ours, before the statement was sent: nothing runs.
    Refused(Error),
    /// The driver's error: the statement is over.
    Driver(sqlx::Error),
    /// Ours, in the middle of a statement.
    Ours(Error),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

/// What an answer has seen, as callers carry it around.
pub fn token(snapshot: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("1:{snapshot}"))
}
