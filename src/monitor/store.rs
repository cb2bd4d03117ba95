//! The fixed statements of the monitor, on connections of its own: it takes none from the pool, and
//! no query ever waits for it.

use std::time::{Duration, SystemTime};

use sqlx::{PgConnection, Row, postgres::PgConnectOptions};

pub use crate::exec::close_beside as close;
use crate::exec::{Ended, open_beside, sql_text};
use crate::model::table::TableNames;

/// Short waits: nobody should notice them.
const LOCK: Duration = Duration::from_secs(1);
const STATEMENT: Duration = Duration::from_secs(5);

/// A connection to write or to look with.
pub async fn connect(server: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    open_beside(server, "tamma-events monitor", LOCK, STATEMENT).await
}

/// The longest id that the table takes.
const LONGEST_ID: usize = 255;

fn whole(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

fn epoch_micros(at: SystemTime) -> i64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Names as the text of an array: arrays of arrays must all be of one length.
fn array(names: &[String]) -> String {
    let quoted = |name: &String| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let names = names.iter().map(quoted).collect::<Vec<_>>();
    format!("{{{}}}", names.join(","))
}

/// Logs runs, and the indexes of their plans where they are known.
pub async fn log(
    driver: &mut PgConnection,
    table: &TableNames,
    runs: &[Ended],
    indexes: &[Option<Vec<String>>],
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO {} (query_id, query_text, execution_time_ms, rows_returned, created_at, indexes_used) \
         SELECT id, text, ms, count, timestamptz 'epoch' + at * interval '1 microsecond', indexes::text[] \
         FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[], $6::text[]) AS run (id, text, ms, count, at, indexes)",
        table.beside("query_performance_log")
    );
    let ids: Vec<String> = (runs.iter())
        .map(|run| {
            run.id
                .chars()
                .filter(|c| *c != '\0')
                .take(LONGEST_ID)
                .collect()
        })
        .collect();
    let texts: Vec<&str> = runs.iter().map(|run| run.shape.text.as_str()).collect();
    let times: Vec<i32> = runs
        .iter()
        .map(|run| whole(run.elapsed.as_millis()))
        .collect();
    let rows: Vec<i32> = runs.iter().map(|run| whole(run.rows)).collect();
    let ends: Vec<i64> = (runs.iter())
        .map(|run| epoch_micros(run.started_at + run.elapsed))
        .collect();
    sqlx::query(sql_text(&sql))
        .persistent(false)
        .bind(ids)
        .bind(texts)
        .bind(times)
        .bind(rows)
        .bind(ends)
        .bind(
            indexes
                .iter()
                .map(|names| names.as_deref().map(array))
                .collect::<Vec<_>>(),
        )
        .execute(driver)
        .await
        .map(drop)
}

/// Rows that one statement deletes, and statements of one sweep: the rest is for the next.
const SWEEP: i64 = 5000;
const SWEEPS: usize = 20;

/// Deletes what was logged before, in bounded statements.
pub async fn sweep(
    driver: &mut PgConnection,
    table: &TableNames,
    kept: Duration,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "DELETE FROM {log} WHERE id IN (SELECT id FROM {log} \
         WHERE created_at < now() - $1 * interval '1 second' ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        log = table.beside("query_performance_log")
    );
    for _ in 0..SWEEPS {
        let swept = sqlx::query(sql_text(&sql))
            .persistent(false)
            .bind(kept.as_secs_f64())
            .bind(SWEEP)
            .execute(&mut *driver)
            .await?;
        if swept.rows_affected() < SWEEP.unsigned_abs() {
            break;
        }
    }
    Ok(())
}

/// Notes how much the indexes of the event table were used, once a day each. `last_idx_scan` is new
/// in PostgreSQL 16: `to_jsonb` finds it where it is.
pub async fn note_indexes(
    driver: &mut PgConnection,
    table: &TableNames,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO {} AS noted (index_name, table_name, usage_count, last_used, size_bytes, stats_date) \
         SELECT s.indexrelname, s.relname, s.idx_scan, (to_jsonb(s)->>'last_idx_scan')::timestamptz, \
           pg_relation_size(s.indexrelid), current_date \
         FROM pg_stat_user_indexes s WHERE s.relid = to_regclass($1) ORDER BY s.indexrelname \
         ON CONFLICT (index_name, stats_date) DO UPDATE SET usage_count = excluded.usage_count, \
           last_used = coalesce(excluded.last_used, noted.last_used), size_bytes = excluded.size_bytes",
        table.beside("index_usage_stats")
    );
    sqlx::query(sql_text(&sql))
        .persistent(false)
        .bind(table.quoted())
        .execute(driver)
        .await
        .map(drop)
}

/// What the server is, for [`super::health`].
pub struct Server {
    /// For people, such as `18.4`.
    pub version: String,
    /// As a number, such as 180004.
    pub number: i32,
    /// Installed in this database.
    pub extensions: Vec<String>,
    /// Whether the event table is there.
    pub events: bool,
    /// Whether its events say which transaction stored them.
    pub transactions: bool,
    /// Whether runs can be logged.
    pub log: bool,
}

const SERVER: &str = "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
     ARRAY(SELECT extname::text FROM pg_extension ORDER BY extname), to_regclass($1) IS NOT NULL, \
     EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'transaction_id' AND NOT attisdropped), \
     coalesce(has_table_privilege(to_regclass($2), 'INSERT'), false)";

/// Asks the server.
pub async fn server(driver: &mut PgConnection, table: &TableNames) -> Result<Server, sqlx::Error> {
    let row = sqlx::query(SERVER)
        .persistent(false)
        .bind(table.quoted())
        .bind(table.beside("query_performance_log"))
        .fetch_one(driver)
        .await?;
    Ok(Server {
        version: row.try_get(0)?,
        number: row.try_get(1)?,
        extensions: row.try_get(2)?,
        events: row.try_get(3)?,
        transactions: row.try_get(4)?,
        log: row.try_get(5)?,
    })
}
