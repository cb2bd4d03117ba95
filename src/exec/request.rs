//! What is asked of a run: which statement, how its rows are wanted, and the caller's wishes.

use serde_json::Value as Wire;

use super::frame::Strategy;
use super::since::CatchUp;
use super::user::UserSql;
use crate::query::{Hints, Priority};
use crate::sql::{Purpose, Statement};

/// How the rows are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All of them, within the limits of a buffered result.
    Buffered,
    /// As they come.
    Stream,
}

/// The caller's wishes for one run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Milliseconds; `Some(0)` asks for the cap.
    pub timeout: Option<u64>,
    /// Else one is made up.
    pub query_id: Option<String>,
    /// How soon, where it has to wait.
    pub priority: Priority,
    /// The number of a snapshot that is held, whose state it sees.
    pub snapshot: Option<u64>,
}

impl RunOptions {
    /// With what the hints of the query wish; a call's own deadline goes before theirs.
    pub fn hinted(self, hints: &Hints) -> Self {
        Self {
            timeout: self.timeout.or(hints.timeout),
            priority: hints.priority,
            ..self
        }
    }
}

/// What is run.
pub enum Source {
    /// One statement.
    Single(Single),
    /// Anything that takes more than one.
    Strategy(Box<dyn Strategy>),
}

/// What one statement answers.
pub enum Single {
    /// A query of events.
    Query(Box<Planned>),
    /// A query that names other tables: they are looked up first.
    OfTables(Box<OfTables>),
    /// The caller's own SQL.
    User(UserSql),
}

/// A query as it runs.
pub struct Planned {
    /// What is sent.
    pub statement: Statement,
    /// Whether no event can satisfy it: then it is answered without the server.
    pub is_empty: bool,
    /// A query with `since` is compiled again, for what there is when it runs.
    pub catch_up: Option<Box<CatchUp>>,
}

/// A query over other tables than the event table.
pub struct OfTables {
    /// As the API writes it.
    pub query: Wire,
    /// The names of the tables.
    pub tables: Vec<String>,
    /// What its statement is for.
    pub purpose: Purpose,
}
