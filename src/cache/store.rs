//! The fixed statements of the cache, all but one on connections of its own: no query waits for what they
//! wait for.

use std::time::Duration;

use serde_json::Value as Wire;
use sqlx::{
    PgConnection, PgExecutor, Row,
    postgres::{PgConnectOptions, PgRow},
};

use super::scope::Scope;
pub use crate::exec::close_beside as close;
use crate::exec::{open_beside, sql_text};
use crate::model::table::TableNames;

/// Where processes tell each other what to forget.
pub const CHANNEL: &str = "tamma_events_cache";

/// Short waits: nobody should notice them.
const LOCK: Duration = Duration::from_millis(100);
const STATEMENT: Duration = Duration::from_secs(30);

/// A connection of the cache's own.
pub async fn connect(server: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    open_beside(server, "tamma-events cache", LOCK, STATEMENT).await
}

fn entries(table: &TableNames) -> String {
    table.beside("query_cache")
}

/// An entry on its way into the table.
pub struct Entry {
    /// Its key's name.
    pub name: String,
    /// Its key's hash.
    pub hash: String,
    /// What is kept: JSON.
    pub data: String,
    /// For how many seconds.
    pub seconds: f64,
}

/// What is kept under a name, unless it has expired.
pub async fn get(
    driver: &mut PgConnection,
    table: &TableNames,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
    let sql = format!(
        "SELECT result_data->>'answer' FROM {} WHERE query_key = $1 AND expires_at > now()",
        entries(table)
    );
    let found = sqlx::query(sql_text(&sql))
        .persistent(false)
        .bind(name)
        .fetch_optional(driver)
        .await?;
    found.map_or(Ok(None), |row| row.try_get(0))
}

/// Keeps an entry, unless what stands there has seen more. Comparing JSON numbers cannot fail, whatever
/// others have written there.
pub async fn put(
    driver: &mut PgConnection,
    table: &TableNames,
    entry: &Entry,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "INSERT INTO {} AS kept (query_key, query_hash, result_data, expires_at) \
         VALUES ($1, $2, $3::text::jsonb, now() + $4 * interval '1 second') \
         ON CONFLICT (query_key) DO UPDATE SET query_hash = excluded.query_hash, \
           result_data = excluded.result_data, expires_at = excluded.expires_at, last_accessed = now() \
         WHERE (kept.result_data->'incarnation' = excluded.result_data->'incarnation' \
           AND kept.result_data->'xmax' > excluded.result_data->'xmax') IS NOT TRUE",
        entries(table)
    );
    sqlx::query(sql_text(&sql))
        .persistent(false)
        .bind(&entry.name)
        .bind(&entry.hash)
        .bind(&entry.data)
        .bind(entry.seconds)
        .execute(driver)
        .await
        .map(drop)
}

/// Notes which entries were of use, and how often.
pub async fn note_use(
    driver: &mut PgConnection,
    table: &TableNames,
    names: &[String],
    times: &[i32],
) -> Result<(), sqlx::Error> {
    // In one order, so that two processes that note the same do not wait for each other in a ring.
    let sql = format!(
        "WITH used AS MATERIALIZED (SELECT entry.id, times FROM {table} AS entry \
           JOIN unnest($1::text[], $2::int[]) AS use (name, times) ON query_key = name \
           ORDER BY entry.id FOR UPDATE OF entry SKIP LOCKED) \
         UPDATE {table} AS kept SET last_accessed = now(), \
           hit_count = least(hit_count::bigint + used.times, 2147483647)::int \
         FROM used WHERE kept.id = used.id",
        table = entries(table)
    );
    sqlx::query(sql_text(&sql))
        .persistent(false)
        .bind(names)
        .bind(times)
        .execute(driver)
        .await
        .map(drop)
}

/// Removes what has expired, and of the rest what was of no use for longest, down to so many bytes.
pub async fn prune(
    driver: &mut PgConnection,
    table: &TableNames,
    budget: i64,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id IN ( \
           SELECT id FROM (SELECT id, expires_at, sum(pg_column_size(result_data)) \
               OVER (ORDER BY last_accessed DESC NULLS LAST, id) AS total FROM {table}) AS entry \
           WHERE expires_at <= now() OR total > $1) ORDER BY id FOR UPDATE SKIP LOCKED)",
        table = entries(table)
    );
    sqlx::query(sql_text(&sql))
        .persistent(false)
        .bind(budget)
        .execute(driver)
        .await
        .map(drop)
}

/// Makes a new nonce where a crash, or a promotion, has taken the one that was.
pub fn renew_incarnation(table: &TableNames) -> String {
    format!("SELECT {}()", table.renew_incarnation())
}

/// Removes what is to be forgotten.
pub async fn forget(
    driver: &mut PgConnection,
    table: &TableNames,
    scope: &Scope,
) -> Result<(), sqlx::Error> {
    let entries = entries(table);
    let names: Vec<String> = if let Scope::Key(name) = scope {
        vec![name.clone()]
    } else {
        // Tags stand in what is kept, which is large.
        let tags = match scope {
            Scope::Pattern(_) => "result_data->'tags'",
            _ => "NULL::jsonb",
        };
        let sql = format!("SELECT query_key, {tags} FROM {entries}");
        let found = sqlx::query(sql_text(&sql))
            .persistent(false)
            .fetch_all(&mut *driver)
            .await?;
        covered(&found, scope)?
    };
    if names.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "DELETE FROM {entries} WHERE id IN (SELECT id FROM {entries} \
         WHERE query_key = ANY($1) ORDER BY id FOR UPDATE)"
    );
    sqlx::query(sql_text(&sql))
        .persistent(false)
        .bind(names)
        .execute(driver)
        .await
        .map(drop)
}

/// The names of the entries that are to be forgotten.
fn covered(rows: &[PgRow], scope: &Scope) -> Result<Vec<String>, sqlx::Error> {
    let mut names = Vec::new();
    for row in rows {
        let name: String = row.try_get(0)?;
        let tags: Option<Wire> = row.try_get(1)?;
        let tags: Vec<String> = tags
            .and_then(|tags| serde_json::from_value(tags).ok())
            .unwrap_or_default();
        let table = name.rsplit_once(':').map_or("", |(table, _)| table);
        if scope.covers(&name, table, &tags) {
            names.push(name);
        }
    }
    Ok(names)
}

/// The queries whose answers are kept, those of most use first.
pub async fn queries(
    driver: &mut PgConnection,
    table: &TableNames,
    most: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let sql = format!(
        "SELECT result_data->>'query' FROM {} WHERE expires_at > now() \
           AND result_data->'query' IS NOT NULL AND split_part(query_key, ':', 1) = $1 \
         ORDER BY hit_count DESC, last_accessed DESC NULLS LAST LIMIT $2",
        entries(table)
    );
    sqlx::query_scalar(sql_text(&sql))
        .persistent(false)
        .bind(&table.name)
        .bind(most)
        .fetch_all(driver)
        .await
}

/// Says something to all who listen.
pub async fn notify(driver: impl PgExecutor<'_>, message: &str) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT pg_notify($1, $2)")
        .persistent(false)
        .bind(CHANNEL)
        .bind(message)
        .execute(driver)
        .await
        .map(drop)
}

/// That a table is missing, or may not be written or read: trying again soon would not help.
pub fn is_barred(sql_state: &str) -> bool {
    matches!(sql_state, "42P01" | "42703" | "42501" | "25006")
}
