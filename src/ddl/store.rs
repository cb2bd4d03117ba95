//! The statements that change something: settings of a session, locks, indexes.

use std::time::Duration;

use sqlx::{PgConnection, Result};

use crate::model::table::quote_ident;

/// Makes a session independent of the settings of its user, role and database.
///
/// # Errors
/// The server's.
pub async fn configure(conn: &mut PgConnection) -> Result<()> {
    // Only what the server's version has: transaction_timeout came with 17.
    sqlx::query(
        "SELECT set_config(s.name, v.value, false)
         FROM (VALUES
           ('search_path', 'pg_catalog'), ('client_min_messages', 'warning'),
           ('standard_conforming_strings', 'on'), ('lock_timeout', '10s'),
           ('default_transaction_isolation', 'read committed'),
           ('default_transaction_read_only', 'off'), ('default_transaction_deferrable', 'off'),
           ('statement_timeout', '0'), ('transaction_timeout', '0'),
           ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0')
         ) AS v (name, value) JOIN pg_catalog.pg_settings s USING (name)",
    )
    .execute(&mut *conn)
    .await?;
    // So that an index build does not go on for hours, lock and all, for a client that died. Not
    // every platform's server can tell.
    let _ = sqlx::query("SET client_connection_check_interval = '5s'")
        .execute(conn)
        .await;
    Ok(())
}

/// Whether the advisory lock was free and is now this session's.
///
/// # Errors
/// The server's.
pub async fn try_lock(conn: &mut PgConnection, key: i64) -> Result<bool> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
        .bind(key)
        .fetch_one(conn)
        .await
}

/// Sets how long this session waits for each lock.
///
/// # Errors
/// The server's.
pub async fn set_lock_timeout(conn: &mut PgConnection, timeout: Duration) -> Result<()> {
    // Zero would mean for ever.
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(format!("{}ms", timeout.as_millis().max(1)))
        .execute(conn)
        .await
        .map(drop)
}

/// How an index's template begins.
pub fn create_index(index: &str, concurrently: bool) -> String {
    let how = if concurrently { "CONCURRENTLY " } else { "" };
    format!("CREATE INDEX {how}{}", quote_ident(index))
}

/// Drops an index, quoted, without stopping writers.
pub fn drop_index(index: &str) -> String {
    format!("DROP INDEX CONCURRENTLY {index}")
}

/// Makes a partition's index part of its parent's; both quoted.
pub fn attach_index(parent: &str, partition: &str) -> String {
    format!("ALTER INDEX {parent} ATTACH PARTITION {partition}")
}
