//! What a failure of the driver means to the caller.

use sqlx::{Error as Driver, postgres::PgDatabaseError};

use crate::model::{Error, error::database_message};

/// A driver's error as ours.
pub fn fault(error: Driver) -> Error {
    match error {
        Driver::Database(db) => db.try_downcast_ref::<PgDatabaseError>().map_or_else(
            || Error::Database {
                sql_state: String::new(),
                message: "the server refused the statement".to_owned(),
            },
            database_fault,
        ),
        Driver::Io(io) => connection(&format!("the connection to the server failed: {io}")),
        Driver::Tls(tls) => connection(&format!("no secure connection: {tls}")),
        Driver::Configuration(_) => connection("the url cannot be used to connect"),
        Driver::PoolClosed => Error::Closed,
        // A server that goes away in mid-message shows as a break of the protocol.
        Driver::Protocol(what) => connection(&format!("the server broke off: {what}")),
        Driver::Encode(e) => Error::invalid("", format!("a value cannot be sent: {e}")),
        other => Error::Internal(other.to_string().into()),
    }
}

/// A server's error as ours.
pub fn database_fault(db: &PgDatabaseError) -> Error {
    let sql_state = db.code();
    let message = database_message(sql_state, db.message());
    match sql_state {
        "57014" if message.contains("statement timeout") => Error::Timeout(0),
        "57014" => Error::Cancelled,
        // Shut down, crashed, starting up, too many connections; the login; no such database.
        "57P01" | "57P02" | "57P03" | "53300" | "3D000" => Error::Connection {
            message,
            sql_state: Some(sql_state.to_owned()),
        },
        // A message that the server cannot read: another connection would not help.
        "08P01" => Error::Database {
            sql_state: sql_state.to_owned(),
            message,
        },
        _ if sql_state.starts_with("08") || sql_state.starts_with("28") => Error::Connection {
            message,
            sql_state: Some(sql_state.to_owned()),
        },
        _ => Error::Database {
            sql_state: sql_state.to_owned(),
            message,
        },
    }
}

/// A regular expression that the server cannot read is the caller's mistake, and has a place.
pub fn blame_regex(error: Error, path: Option<String>) -> Error {
    match (error, path) {
        (Error::Database { sql_state, message }, Some(path)) if sql_state == "2201B" => {
            Error::invalid(path, message)
        }
        (error, _) => error,
    }
}

fn connection(message: &str) -> Error {
    Error::Connection {
        message: message.to_owned(),
        sql_state: None,
    }
}

/// Whether the statement may have failed because it was parsed before the schema changed: its plan
/// can no longer be used, its types are others now, or it was thrown away.
pub fn may_be_outdated(error: &Driver) -> bool {
    let Driver::Database(db) = error else {
        return false;
    };
    db.try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|db| matches!(db.code(), "0A000" | "26000") || db.code().starts_with("42"))
}

/// Whether the connection can be used again after this error, once it is back in step.
pub fn spares_connection(error: &Driver) -> bool {
    match error {
        Driver::Database(db) => db.try_downcast_ref::<PgDatabaseError>().is_some_and(|db| {
            !matches!(db.code(), "57P01" | "57P02" | "57P03") && !db.code().starts_with("08")
        }),
        _ => false,
    }
}
