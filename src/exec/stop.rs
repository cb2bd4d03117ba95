//! Why producing rows stopped.

use crate::model::Error;

/// Why producing rows stopped, and what that means for the connection.
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

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(error) | Stop::Ours(error) => error,
            Stop::Driver(error) => super::fault::fault(error),
        }
    }
}
