//! A connection for schema changes, and how long it waits for others.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use xxhash_rust::xxh3::xxh3_64;

use super::store;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Bounds of the pause between two tries.
const PAUSE: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(2)];

/// Opens a connection whose settings do not depend on those of its user, role or database.
///
/// # Errors
/// Why there is none.
pub async fn open(options: &PgConnectOptions, name: &str) -> Result<PgConnection, sqlx::Error> {
    let options = options
        .clone()
        .application_name(name)
        .disable_statement_logging();
    let connecting = async {
        let mut conn = options.connect().await?;
        store::configure(&mut conn).await?;
        Ok(conn)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// The five characters of SQLSTATE.
pub fn sql_state(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .map(std::borrow::Cow::into_owned)
}

/// Whether others' locks were in the way: lock_timeout, or a deadlock that this session lost.
pub fn is_lock_failure(error: &sqlx::Error) -> bool {
    matches!(sql_state(error).as_deref(), Some("55P03" | "40P01"))
}

/// The key of an advisory lock. PostgreSQL keeps those of each database apart.
pub fn lock_key(subject: &str, parts: &[&str]) -> i64 {
    // No name holds U+0000.
    let text = format!("@tamma/events\0{subject}\0{}", parts.join("\0"));
    xxh3_64(text.as_bytes()).cast_signed()
}

/// Growing pauses until a deadline.
pub struct Patience {
    deadline: Instant,
    next: Duration,
}

impl Patience {
    /// So much of it.
    pub fn new(limit: Duration) -> Self {
        Self {
            deadline: Instant::now() + limit,
            next: PAUSE[0],
        }
    }

    /// Sleeps; false where the time is used up.
    pub async fn pause(&mut self) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        tokio::time::sleep(self.next.min(left)).await;
        self.next = (self.next * 2).min(PAUSE[1]);
        true
    }
}
