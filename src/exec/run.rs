//! One run of a query: from its place in the queue to its last row, or to the reason why not.
//!
//! Who releases what: the place and the connections belong to the run's future. What ends in step with
//! the server gives its connection back; where a run is interrupted its caller is told first, and the
//! [`Lease`](super::lease::Lease), dropped, cancels on the server and gives the connection back once
//! it has drained, or closes it. The ticket goes with it: the query counts as running until then.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::batch::Batch;
use super::engine::Engine;
use super::fault::blame_regex;
use super::frame::Frame;
use super::interrupt::{Interrupt, Watch, interruption};
use super::observe::Status;
use super::registry::Ticket;
use super::request::{Mode, Single, Source};
use super::single;
use super::snapshot::Exported;
use crate::model::{Error, Result};
use crate::query::Priority;

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
    /// The state that it sees, where that is one that is held.
    pub snapshot: Option<Arc<Exported>>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Where the query's regular expression is, should the server refuse it.
    pub regex: Option<String>,
    /// What `end` says beside the rest: declined hints.
    pub notes: Vec<(&'static str, String)>,
}

/// What a run came to.
enum Ending {
    Done(Batch),
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
        let id = self.ticket.shared_id();
        let batch = match self.answered(&engine, &out).await {
            Some(Ok(batch)) => batch,
            Some(Err(error)) => Batch::error(&error, Some(&id)),
            None => return,
        };
        // Whoever wanted it may be gone.
        let _ = out.send(batch).await;
    }

    /// Runs to the end, sends all batches but the last, and gives that; nothing where no one is left to
    /// tell. The id is free again then, unless a statement is being stopped.
    pub async fn answered(
        self,
        engine: &Arc<Engine>,
        out: &mpsc::Sender<Batch>,
    ) -> Option<Result<Batch>> {
        let ticket = Arc::new(self.ticket);
        let watch = Watch {
            ticket: Arc::clone(&ticket),
            deadline: self.timeout.map(|timeout| self.started + timeout),
            out: out.clone(),
        };
        let frame = Frame {
            engine,
            mode: self.mode,
            started: self.started,
            priority: self.priority,
            snapshot: self.snapshot,
            ticket: &ticket,
            watch,
            notes: &self.notes,
            told: Mutex::default(),
            keeps: false,
            lent: Mutex::default(),
            out,
            sent: AtomicBool::new(false),
        };
        match attempts(&frame, &self.source, self.timeout).await {
            Ending::Done(batch) => {
                engine.observe(&ticket, None, Status::Done);
                Some(Ok(batch))
            }
            Ending::Failed(error) => {
                let error = match self.source {
                    Source::Single(Single::User(_)) => error,
                    _ => engine.explained(blame_regex(error, self.regex)),
                };
                engine.observe(&ticket, Some(&error), Status::of(&error));
                Some(Err(error))
            }
            Ending::Abandoned => {
                engine.observe(&ticket, None, Status::Cancelled);
                None
            }
        }
    }
}

/// Before another attempt: longer each time, and not in step with other clients.
async fn pause(attempt: u32) {
    let jitter = RandomState::new().hash_one(attempt) % 32;
    tokio::time::sleep(PAUSE * 2_u32.pow(attempt - 1) + Duration::from_millis(jitter)).await;
}

async fn attempt_once(frame: &Frame<'_>, source: &Source) -> Result<Batch> {
    match source {
        Source::Single(single) => single::attempt(frame, single).await,
        Source::Strategy(strategy) => strategy.attempt(frame).await,
    }
}

/// Attempts until one is decisive or the run is interrupted.
async fn attempts(frame: &Frame<'_>, source: &Source, timeout: Option<Duration>) -> Ending {
    let deadline = frame.watch.deadline;
    let mut interrupted = std::pin::pin!(interruption(frame.ticket, deadline, frame.out));
    let ended = |interrupt| match interrupt {
        Interrupt::Stopped(reason) => Ending::Failed(reason.error()),
        Interrupt::Late => Ending::Failed(Error::Timeout(
            timeout.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        )),
        Interrupt::Abandoned => Ending::Abandoned,
    };
    let mut attempt = 1;
    loop {
        let outcome = tokio::select! {
            biased;
            outcome = attempt_once(frame, source) => outcome,
            interrupt = &mut interrupted => return ended(interrupt),
        };
        match outcome {
            Ok(batch) => return Ending::Done(batch),
            // The server had gone away before it sent a row: the statement can be sent again.
            Err(error @ Error::Connection { .. })
                if error.retryable() && !frame.has_sent() && attempt < ATTEMPTS =>
            {
                frame.engine.pool.forget_idle();
                tokio::select! {
                    biased;
                    interrupt = &mut interrupted => return ended(interrupt),
                    () = pause(attempt) => attempt += 1,
                }
            }
            // What it came upon may be no more than that it was to end.
            Err(_) if frame.watch.is_over() => return ended(interrupted.await),
            Err(error) => return Ending::Failed(error),
        }
    }
}
