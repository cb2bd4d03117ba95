//! What can go wrong while the schema is brought up to date.

use crate::ddl::session::sql_state;
use std::time::Duration;

use thiserror::Error;

use crate::model::table::NameError;

/// Why a migration did not finish. What was done until then is kept, and a later run goes on from it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// A name in the options cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),

    /// The server cannot hold the schema.
    #[error("{0}")]
    Unsupported(String),

    /// Something stands where the event table or one of this module's own objects belongs, and is
    /// not fit to be it. Nothing was changed.
    #[error("{table} cannot be used as the event table: {}", reasons.join("; "))]
    NotAdoptable {
        /// The event table, quoted.
        table: String,
        /// Everything that stands in the way, each with what would help.
        reasons: Vec<String>,
    },

    /// The role lacks a privilege.
    #[error("role {role} may not {action}")]
    NotPermitted {
        /// The role that was refused.
        role: String,
        /// What it tried, and which privilege would allow it.
        action: String,
        /// The server's refusal, where it came to that.
        source: Option<sqlx::Error>,
    },

    /// Other transactions, or another migration, held a lock for longer than
    /// [`lock_wait`](super::MigrateOptions::lock_wait).
    #[error("{step} waited {} ms for a lock that {} held", waited.as_millis(), holders(blockers))]
    LockTimeout {
        /// What was waiting.
        step: String,
        /// For how long it was tried.
        waited: Duration,
        /// Process ids of the servers' processes in the way, as in `pg_stat_activity`. A guess: they
        /// are read just after.
        blockers: Vec<i32>,
    },

    /// A newer version of this module migrated the table.
    #[error("{table} was migrated by a newer version of this module (migration {version})")]
    Newer {
        /// The event table, quoted.
        table: String,
        /// The first migration that this version does not know.
        version: i64,
    },

    /// The record of applied migrations names one with another text.
    #[error("migration {version} of {table} was applied with another text than this module's")]
    Edited {
        /// The event table, quoted.
        table: String,
        /// The migration.
        version: i64,
    },

    /// No connection to the server.
    #[error("cannot connect to migrate: {0}")]
    Connect(#[source] sqlx::Error),

    /// The server refused a step, or went away in it.
    #[error("{step}: {source}")]
    Database {
        /// What was being done.
        step: String,
        /// The server's answer.
        source: sqlx::Error,
    },
}

impl MigrateError {
    /// SQLSTATE, where the server answered.
    pub fn sql_state(&self) -> Option<String> {
        match self {
            Self::NotPermitted {
                source: Some(source),
                ..
            }
            | Self::Connect(source)
            | Self::Database { source, .. } => sql_state(source),
            _ => None,
        }
    }

    /// Whether the same call can succeed later without a change by the caller.
    pub fn retryable(&self) -> bool {
        match self {
            Self::LockTimeout { .. } => true,
            Self::Connect(source) | Self::Database { source, .. } => {
                matches!(source, sqlx::Error::Io(_))
                    || sql_state(source).is_some_and(|state| {
                        // Connection failures; no resources; operator intervention; rollbacks.
                        ["08", "53", "57", "40"]
                            .iter()
                            .any(|class| state.starts_with(class))
                    })
            }
            _ => false,
        }
    }

    /// A refusal of the server, told apart by its SQLSTATE.
    pub(super) fn database(step: &str, role: &str, source: sqlx::Error) -> Self {
        if sql_state(&source).as_deref() == Some("42501") {
            let reason = source
                .as_database_error()
                .map_or_else(String::new, |e| format!(" ({})", e.message()));
            return Self::NotPermitted {
                role: role.to_owned(),
                action: format!("carry out {step}{reason}"),
                source: Some(source),
            };
        }
        Self::Database {
            step: step.to_owned(),
            source,
        }
    }
}

fn holders(pids: &[i32]) -> String {
    match pids {
        [] => "another session".to_owned(),
        [one] => format!("the server's process {one}"),
        many => {
            let list: Vec<String> = many.iter().map(ToString::to_string).collect();
            format!("one of the server's processes {}", list.join(", "))
        }
    }
}
