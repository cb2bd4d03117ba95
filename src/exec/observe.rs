//! What is told of a run when it has ended. Who listens stands above this layer.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::shape::Shape;
use crate::model::Error;
use crate::sql::Statement;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// With its last row.
    Done,
    /// Its caller, its reader or the client's end stopped it.
    Cancelled,
    /// Its time was over.
    TimedOut,
    /// Something went wrong.
    Failed,
}

impl Status {
    /// How a run ended that ended with this error.
    pub const fn of(error: &Error) -> Self {
        match error {
            Error::Cancelled | Error::Closed => Self::Cancelled,
            Error::Timeout(_) => Self::TimedOut,
            _ => Self::Failed,
        }
    }

    /// Whether something went wrong. Stopping a query, or leaving a stream, is its caller's right.
    pub const fn is_error(self) -> bool {
        matches!(self, Self::TimedOut | Self::Failed)
    }

    /// The word of the public API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timeout",
            Self::Failed => "failed",
        }
    }
}

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Whose: the number of the engine.
    pub client: u64,
    /// The query's id.
    pub id: Arc<str>,
    /// What was run.
    pub shape: Arc<Shape>,
    /// How it ended.
    pub status: Status,
    /// When the caller asked.
    pub started: Instant,
    /// The same by the calendar.
    pub started_at: SystemTime,
    /// How long it took, waiting included.
    pub elapsed: Duration,
    /// How long it waited for its place and a connection; `None` where it came to neither.
    pub waited: Option<Duration>,
    /// Where the answer came from, by its name in the API.
    pub cache: &'static str,
    /// Rows made.
    pub rows: u64,
    /// Bytes of JSON made of them.
    pub bytes: u64,
    /// The indexes of its plan, where the run itself knows them.
    pub indexes: Option<Arc<[String]>>,
    /// The code of its error, and SQLSTATE: a message could quote what it must not.
    pub failure: Option<(&'static str, Option<String>)>,
}

/// A statement with the values of one of its runs, so that its plan can be looked at. It is never
/// shown nor stored: values are the caller's.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What it is a sample of.
    pub shape: Arc<Shape>,
    /// Text and values.
    pub statement: Statement,
}

/// Is told of every run. Called on the thread of the run, sometimes JavaScript's: it must be quick.
pub trait Observer: Send + Sync {
    /// Whether a sample of this fingerprint is wanted.
    fn wants(&self, fingerprint: u64) -> bool;

    /// A sample that was wanted.
    fn sample(&self, sample: Sample);

    /// A run has ended, and its caller is about to hear of it.
    fn ended(&self, run: Ended);
}
