//! How a run ends early: asked to, out of time, or with no one left to read it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::batch::Batch;
use super::config::{DEFAULT_TIMEOUT, Limits};
use super::registry::{Reason, Ticket};
use super::request::Mode;

/// The time of a run: the call's, else the client's; the client's caps.
pub fn time_allowed(asked: Option<u64>, limits: &Limits, mode: Mode) -> Option<Duration> {
    let asked = asked.filter(|ms| *ms > 0).map(Duration::from_millis);
    match (asked, limits.timeout) {
        (Some(asked), Some(cap)) => Some(asked.min(cap)),
        (Some(asked), None) => Some(asked),
        (None, Some(cap)) => Some(cap),
        // A stream is as long as its reader takes: only a limit that someone set ends it.
        (None, None) => (mode == Mode::Buffered).then_some(DEFAULT_TIMEOUT),
    }
}

/// Why a run ended before its last row.
pub enum Interrupt {
    /// Its caller, or the client's end.
    Stopped(Reason),
    /// Its time is over.
    Late,
    /// No one reads it any more.
    Abandoned,
}

/// Whether a run has to end early, for work that awaits nothing.
#[derive(Clone)]
pub struct Watch {
    /// Whether it was asked to.
    pub ticket: Arc<Ticket>,
    /// When its time is over.
    pub deadline: Option<Instant>,
    /// Whether someone is left to read it.
    pub out: mpsc::Sender<Batch>,
}

impl Watch {
    /// Whether it has to end.
    pub fn is_over(&self) -> bool {
        self.ticket.is_stopped()
            || self.out.is_closed()
            || self.deadline.is_some_and(|at| at <= Instant::now())
    }
}

/// Resolves when the run has to end early.
pub async fn interruption(
    ticket: &Ticket,
    deadline: Option<Instant>,
    out: &mpsc::Sender<Batch>,
) -> Interrupt {
    let late = async {
        match deadline {
            Some(at) => tokio::time::sleep_until(at.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        reason = ticket.stopped() => Interrupt::Stopped(reason),
        () = late => Interrupt::Late,
        () = out.closed() => Interrupt::Abandoned,
    }
}
