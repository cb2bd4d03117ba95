//! What the catalogs say of partitions, and of whom schema changes wait for.

use sqlx::{PgConnection, Result};

/// A partition, one level down.
#[derive(Debug)]
pub struct Partition {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it has partitions itself.
    pub partitioned: bool,
}

/// The partitions directly below `table` that its index `index` does not cover yet; both quoted.
///
/// # Errors
/// The server's.
pub async fn partitions(
    conn: &mut PgConnection,
    table: &str,
    index: &str,
) -> Result<Vec<Partition>> {
    let rows: Vec<(String, String, bool)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, c.relkind = 'p'
         FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE h.inhparent = $1::regclass AND NOT EXISTS (
           SELECT FROM pg_inherits p JOIN pg_index i ON i.indexrelid = p.inhrelid
           WHERE p.inhparent = $2::regclass AND i.indrelid = c.oid AND i.indisvalid)
         ORDER BY c.oid",
    )
    .bind(table)
    .bind(index)
    .fetch_all(conn)
    .await?;
    let partition = |(schema, name, partitioned)| Partition {
        schema,
        name,
        partitioned,
    };
    Ok(rows.into_iter().map(partition).collect())
}

/// Process ids of transactions whose snapshots a concurrent index build waits for.
///
/// # Errors
/// The server's.
pub async fn snapshot_holders(conn: &mut PgConnection) -> Result<Vec<i32>> {
    sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
           AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
         ORDER BY xact_start",
    )
    .fetch_all(conn)
    .await
}

/// Process ids of the holders of an advisory lock.
///
/// # Errors
/// The server's.
pub async fn advisory_holders(conn: &mut PgConnection, key: i64) -> Result<Vec<i32>> {
    sqlx::query_scalar(
        "SELECT pid FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND objsubid = 1
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (classid::bigint << 32) | objid::bigint = $1",
    )
    .bind(key)
    .fetch_all(conn)
    .await
}
