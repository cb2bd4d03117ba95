//! Who holds what others wait for.

use std::time::Duration;

use sqlx::{PgConnection, Result, postgres::types::Oid};

/// Process ids of those that hold a lock on the table, and whether one of them is of the mode of
/// VACUUM and ANALYZE.
pub(super) async fn holders(conn: &mut PgConnection, table: Oid) -> Result<(Vec<i32>, bool)> {
    let rows: Vec<(i32, bool)> = sqlx::query_as(
        "SELECT pid, bool_or(mode = 'ShareUpdateExclusiveLock') FROM pg_locks
         WHERE locktype = 'relation' AND granted AND pid <> pg_backend_pid()
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (relation = $1 OR relation IN (SELECT relid FROM pg_partition_tree($1)))
         GROUP BY pid ORDER BY pid",
    )
    .bind(table)
    .fetch_all(conn)
    .await?;
    let vacuum = rows.iter().any(|(_, vacuum)| *vacuum);
    Ok((rows.into_iter().map(|(pid, _)| pid).collect(), vacuum))
}

/// How long a lock is waited for until those in the way are looked at.
pub(super) async fn deadlock_timeout(conn: &mut PgConnection) -> Result<Duration> {
    let ms: i32 =
        sqlx::query_scalar("SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'")
            .fetch_one(conn)
            .await?;
    // The server allows 1 and more.
    Ok(Duration::from_millis(u64::try_from(ms).unwrap_or(1000)))
}
