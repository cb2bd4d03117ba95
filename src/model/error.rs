//! The one error type of the crate: what went wrong, where in the caller's input, and whether
//! trying again can help.
//!
//! Messages never hold event data or credentials: they name paths, limits and settings, and of a
//! server's answer only what [`database_message`] lets through.

use std::{borrow::Cow, fmt};

use thiserror::Error;

/// What every fallible function of the crate answers with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure with its context.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The query, or an option of its run, is malformed.
    #[error("{}: {problem}", shown(path))]
    InvalidQuery {
        /// Where, for example `filter.where.and[1].op`.
        path: String,
        /// What is wrong and what would be right.
        problem: Cow<'static, str>,
    },
    /// A field that events do not have.
    #[error("{}: there is no field {field:?}", shown(path))]
    UnknownField {
        /// Where in the query.
        path: String,
        /// The name as the caller wrote it.
        field: String,
    },
    /// An event that may not be stored.
    #[error("{}: {problem}", shown(path))]
    InvalidEvent {
        /// Where, for example `events[3].tags.issueId`.
        path: String,
        /// What is wrong and what would be right.
        problem: Cow<'static, str>,
    },
    /// An event with this id exists already.
    #[error("an event with the id {id} exists already")]
    DuplicateEvent {
        /// Where in the call.
        path: Option<String>,
        /// The id.
        id: String,
    },
    /// An event that a conditional append must not come after.
    #[error(
        "an event that condition.failIf matches was committed that condition.after could not see: read again and decide anew"
    )]
    AppendConflict,
    /// A part of the API that this version does not offer.
    #[error("{}: {what}", shown(path))]
    Unsupported {
        /// Where in the query, or empty.
        path: String,
        /// What is not offered.
        what: Cow<'static, str>,
    },
    /// The table of the client's options is not there, or is not an event table.
    #[error("{0}")]
    UnknownTable(String),
    /// A table that a query names and the database does not have.
    #[error("{path}: there is no table {table:?}")]
    NoSuchTable {
        /// Where in the query.
        path: String,
        /// The name as the caller wrote it.
        table: String,
    },
    /// An index that the database does not have.
    #[error("{message}")]
    UnknownIndex {
        /// Where in the query, or in the call's arguments.
        path: String,
        /// Which, for people.
        message: String,
    },
    /// An index that had to be used, and cannot be.
    #[error("{message}")]
    IndexHint {
        /// Where in the query.
        path: String,
        /// Which, and why not.
        message: String,
    },
    /// An index, or another relation, of this name is there.
    #[error(
        "{}: there is an index, or another relation, of the name {name:?}",
        shown(path)
    )]
    IndexExists {
        /// Where in the call.
        path: String,
        /// The name.
        name: String,
    },
    /// A definition of an index that is refused.
    #[error("{}: {problem}", shown(path))]
    IndexInvalid {
        /// Where in the definition.
        path: String,
        /// What is wrong and what would be right.
        problem: Cow<'static, str>,
    },
    /// No query of this id was ever seen.
    #[error("there is no query with the id {0:?}")]
    UnknownQuery(String),
    /// The run took longer than it may.
    #[error("the query took longer than its {0} ms")]
    Timeout(u64),
    /// The run was cancelled by its caller.
    #[error("the query was cancelled")]
    Cancelled,
    /// The transaction that held a snapshot is over: its connection broke, or the server ended it.
    #[error("the snapshot is gone: the server ended the transaction that held it")]
    SnapshotGone,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
    /// A buffered result outgrew its limit.
    #[error(
        "the result has more than {limit} {unit}: stream it, or narrow the query (limits.{option})"
    )]
    ResultTooLarge {
        /// The limit in force.
        limit: u64,
        /// `rows` or `bytes`.
        unit: &'static str,
        /// The option that sets the limit.
        option: &'static str,
    },
    /// A matcher found more, or had to keep more, than it may.
    #[error("{0}")]
    MatchLimit(Cow<'static, str>),
    /// A pattern's text does not follow the grammar.
    #[error("{path}: {problem}, at offset {position}")]
    PatternText {
        /// Where in the query.
        path: String,
        /// What is wrong and what would be right.
        problem: Cow<'static, str>,
        /// The offset of the character in the text.
        position: usize,
    },
    /// As many queries wait as may.
    #[error(
        "{running} queries are running and {waiting} are waiting, the most that limits.maxConcurrentQueries and limits.maxQueuedQueries allow"
    )]
    TooManyQueries {
        /// Running now.
        running: usize,
        /// Waiting now.
        waiting: usize,
    },
    /// No connection became free in time.
    #[error("no connection became free within {0} ms (pool.acquireTimeout)")]
    PoolTimeout(u64),
    /// A number that a JavaScript number cannot hold exactly.
    #[error(
        "column {column:?} holds an integer beyond 2^53 that a number would round: connect with bigint: 'string' or 'bigint'"
    )]
    PrecisionLoss {
        /// The column of the result.
        column: String,
    },
    /// A number that no JavaScript number comes near.
    #[error("a number is beyond the range of a double: leave such values out by a condition")]
    BeyondDouble,
    /// The server could not be reached, refused the login, or went away.
    #[error("{message}")]
    Connection {
        /// What happened, without the url.
        message: String,
        /// SQLSTATE, where the server said why.
        sql_state: Option<String>,
    },
    /// The server refused the statement.
    #[error("{message}")]
    Database {
        /// The five characters of SQLSTATE.
        sql_state: String,
        /// The server's primary message, without data.
        message: String,
    },
    /// The schema could not be brought up to date.
    #[error("{message}")]
    Migration {
        /// Why, and what would help.
        message: String,
        /// The option that is wrong, where it is one.
        path: Option<String>,
        /// SQLSTATE, where the server answered.
        sql_state: Option<String>,
        /// Whether the same call can succeed later.
        retryable: bool,
    },
    /// A file or a stream that could not be written.
    #[error("{0}")]
    Export(String),
    /// A defect of this package.
    #[error("internal error: {0}")]
    Internal(Cow<'static, str>),
}

fn shown(path: &str) -> &str {
    if path.is_empty() { "query" } else { path }
}

impl Error {
    /// A malformed query.
    pub fn invalid(path: impl fmt::Display, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidQuery {
            path: path.to_string(),
            problem: problem.into(),
        }
    }

    /// There is no index of this name.
    pub fn unknown_index(path: impl fmt::Display, index: &str) -> Self {
        Self::UnknownIndex {
            message: format!("{path}: there is no index {index:?}"),
            path: path.to_string(),
        }
    }

    /// A malformed event.
    pub fn invalid_event(path: impl fmt::Display, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidEvent {
            path: path.to_string(),
            problem: problem.into(),
        }
    }

    /// A refused definition of an index.
    pub fn index_invalid(path: impl fmt::Display, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::IndexInvalid {
            path: path.to_string(),
            problem: problem.into(),
        }
    }

    /// The stable code that callers branch on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidQuery { .. } | Self::PatternText { .. } => "INVALID_QUERY",
            Self::MatchLimit(_) => "MATCH_LIMIT",
            Self::UnknownField { .. } => "UNKNOWN_FIELD",
            Self::InvalidEvent { .. } => "INVALID_EVENT",
            Self::DuplicateEvent { .. } => "DUPLICATE_EVENT",
            Self::AppendConflict => "APPEND_CONFLICT",
            Self::Unsupported { .. } => "UNSUPPORTED",
            Self::UnknownTable(_) | Self::NoSuchTable { .. } => "UNKNOWN_TABLE",
            Self::UnknownIndex { .. } => "UNKNOWN_INDEX",
            Self::IndexHint { .. } => "INDEX_HINT_NOT_HONOURED",
            Self::IndexExists { .. } => "INDEX_EXISTS",
            Self::IndexInvalid { .. } => "INDEX_INVALID",
            Self::UnknownQuery(_) => "UNKNOWN_QUERY",
            Self::Timeout(_) => "QUERY_TIMEOUT",
            Self::Cancelled => "QUERY_CANCELLED",
            Self::Closed => "CLOSED",
            Self::ResultTooLarge { .. } => "RESULT_TOO_LARGE",
            Self::TooManyQueries { .. } => "TOO_MANY_QUERIES",
            Self::PoolTimeout(_) => "POOL_TIMEOUT",
            Self::PrecisionLoss { .. } | Self::BeyondDouble => "PRECISION_LOSS",
            Self::Connection { .. } | Self::SnapshotGone => "CONNECTION_FAILED",
            Self::Database { .. } | Self::Internal(_) => "DATABASE_ERROR",
            Self::Migration { .. } => "MIGRATION_FAILED",
            Self::Export(_) => "EXPORT_FAILED",
        }
    }

    /// The offending input, where there is one.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::InvalidQuery { path, .. }
            | Self::UnknownField { path, .. }
            | Self::InvalidEvent { path, .. }
            | Self::NoSuchTable { path, .. }
            | Self::UnknownIndex { path, .. }
            | Self::IndexHint { path, .. }
            | Self::IndexExists { path, .. }
            | Self::IndexInvalid { path, .. }
            | Self::PatternText { path, .. }
            | Self::Unsupported { path, .. } => (!path.is_empty()).then_some(path),
            Self::DuplicateEvent { path, .. } | Self::Migration { path, .. } => path.as_deref(),
            _ => None,
        }
    }

    /// The offset into a pattern's text, where that is what is wrong.
    pub const fn position(&self) -> Option<usize> {
        match self {
            Self::PatternText { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// SQLSTATE, where the server answered.
    pub fn sql_state(&self) -> Option<&str> {
        match self {
            Self::Database { sql_state, .. } => Some(sql_state),
            Self::Connection { sql_state, .. } | Self::Migration { sql_state, .. } => {
                sql_state.as_deref()
            }
            _ => None,
        }
    }

    /// Whether the same call can succeed later without a change by the caller.
    pub fn retryable(&self) -> bool {
        match self {
            Self::TooManyQueries { .. } | Self::PoolTimeout(_) | Self::AppendConflict => true,
            // A password that is wrong stays so, and a database that is missing.
            Self::Connection { sql_state, .. } => !sql_state
                .as_deref()
                .is_some_and(|code| code.starts_with("28") || code == "3D000"),
            Self::Migration { retryable, .. } => *retryable,
            // Serialization failure, deadlock, lock not available, shutdown, too many connections.
            Self::Database { sql_state, .. } => {
                matches!(
                    sql_state.as_str(),
                    "40001" | "40P01" | "55P03" | "57P01" | "57P02" | "57P03" | "53300"
                )
            }
            _ => false,
        }
    }
}

/// What of a server's message may be shown: in the classes of data exceptions (22) and integrity
/// violations (23) the message quotes stored values, which are cut out.
pub fn database_message(sql_state: &str, message: &str) -> String {
    if !(sql_state.starts_with("22") || sql_state.starts_with("23")) {
        return message.to_owned();
    }
    match sql_state {
        // The bytes of these stand in no quotes.
        "22021" => "invalid byte sequence".to_owned(),
        "22P05" => "a character that the other encoding lacks".to_owned(),
        // A value's own quotes are not escaped, so nothing between the first and the last is known to be none of it.
        _ => match (message.find('"'), message.rfind('"')) {
            (Some(first), Some(last)) if first < last => {
                format!("{}\"…\"{}", &message[..first], &message[last + 1..])
            }
            (Some(first), _) => format!("{}\"…", &message[..first]),
            _ => message.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_cut_out_of_messages() {
        assert_eq!(
            database_message("22P02", "invalid input syntax for type integer: \"s3cret\""),
            "invalid input syntax for type integer: \"…\""
        );
        assert_eq!(
            database_message(
                "22P02",
                "invalid input syntax for type integer: \"say \"s3cret\" now\""
            ),
            "invalid input syntax for type integer: \"…\""
        );
        assert!(
            !database_message(
                "22021",
                "invalid byte sequence for encoding \"UTF8\": 0xe2 0x28"
            )
            .contains("e2")
        );
        assert_eq!(
            database_message("42703", "column \"x\" does not exist"),
            "column \"x\" does not exist"
        );
    }

    #[test]
    fn the_path_is_part_of_the_message() {
        let e = Error::invalid("filter.limit", "must be a whole number");
        assert_eq!(e.to_string(), "filter.limit: must be a whole number");
        assert_eq!(
            (e.code(), e.path()),
            ("INVALID_QUERY", Some("filter.limit"))
        );
    }
}
