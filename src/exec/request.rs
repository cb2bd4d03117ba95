//! What is asked of a run: which statement, how its rows are wanted, and the caller's wishes.

use super::user::UserSql;
use crate::query::Priority;
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
}

/// What is run.
pub enum Source {
    /// A compiled query.
    Query(Box<Statement>),
    /// A query that no event can satisfy: it is answered without the server.
    Nothing(Box<Statement>),
    /// A query that names other tables: they are looked up first.
    OfTables(Box<OfTables>),
    /// The caller's own SQL.
    User(UserSql),
}

/// A query over other tables than the event table.
pub struct OfTables {
    /// Its JSON text.
    pub query: String,
    /// The names of the tables.
    pub tables: Vec<String>,
    /// What its statement is for.
    pub purpose: Purpose,
}
