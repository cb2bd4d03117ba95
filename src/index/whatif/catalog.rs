//! The statements of what-if: hypothetical indexes, a sampled clone, figures of the data. All but the
//! clones, which are the session's own, happens in one transaction that is rolled back.

use sqlx::{AssertSqlSafe, PgConnection, Result, Row};

use crate::model::table::{TableNames, quote_ident};

/// Begins what is never committed, with short waits: it must not be in anybody's way. Costs are those
/// of all work, whoever shares it: no plan is in parallel.
pub const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '120s'; \
     SET LOCAL jit = off; \
     SET LOCAL max_parallel_workers_per_gather = 0";
/// Ends it.
pub const ROLLBACK: &str = "ROLLBACK";
/// A table is read whole only where there is no other way.
pub const NO_SEQUENTIAL: &str = "SET LOCAL enable_seqscan = off";
/// A point to come back to.
pub const SAVEPOINT: &str = "SAVEPOINT whatif";
/// Back to it.
pub const BACK: &str = "ROLLBACK TO SAVEPOINT whatif";

/// The schema of the extension, quoted, where it is installed.
pub async fn extension(conn: &mut PgConnection, name: &str) -> Result<Option<String>> {
    let schema: Option<String> = sqlx::query_scalar(
        "SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
         WHERE e.extname = $1",
    )
    .bind(name)
    .fetch_optional(conn)
    .await?;
    Ok(schema.map(|schema| quote_ident(&schema)))
}

/// Makes a hypothetical index, and tells its name and size.
pub async fn hypothetical(
    conn: &mut PgConnection,
    schema: &str,
    create: &str,
) -> Result<(String, f64)> {
    let sql = format!(
        "SELECT indexname::text, {schema}.hypopg_relation_size(indexrelid)::float8 FROM {schema}.hypopg_create_index($1)"
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .persistent(false)
        .bind(create)
        .fetch_one(conn)
        .await
}

/// Forgets the hypothetical indexes.
pub fn forget(schema: &str) -> String {
    format!("SELECT {schema}.hypopg_reset()")
}

/// What is known of the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Size {
    /// Events in it.
    pub rows: f64,
    /// Its bytes, without indexes.
    pub bytes: f64,
    /// How well time follows the table's own order.
    pub correlation: f64,
}

/// Asks for the table's size.
pub async fn size(conn: &mut PgConnection, names: &TableNames) -> Result<Size> {
    let row = sqlx::query(
        "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::float8, coalesce(sum(pg_relation_size(c.oid)), 0)::float8,
           coalesce((SELECT max(p.correlation) FROM pg_stats p WHERE (p.schemaname, p.tablename) IN
               (SELECT n.nspname, l.relname FROM pg_class l JOIN pg_namespace n ON n.oid = l.relnamespace
                WHERE l.oid = to_regclass($1) OR l.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1))))
             AND p.attname = $2), 0)::float8
         FROM (SELECT to_regclass($1)::oid AS oid UNION SELECT relid FROM pg_partition_tree(to_regclass($1))) AS t
           JOIN pg_class c ON c.oid = t.oid AND c.relkind = 'r'",
    )
    .bind(names.quoted())
    .bind(&names.columns.timestamp)
    .fetch_one(conn)
    .await?;
    Ok(Size {
        rows: row.try_get(0)?,
        bytes: row.try_get(1)?,
        correlation: row.try_get(2)?,
    })
}

/// A part of the table, by blocks, so large in percent.
fn sampled(names: &TableNames, percent: f64) -> String {
    format!(
        "{} TABLESAMPLE SYSTEM ({:.6}) REPEATABLE (4711)",
        names.quoted(),
        percent.clamp(0.000_1, 100.0)
    )
}

/// Numbers of a sample: one for each expression, each in its own words.
pub async fn figures(
    conn: &mut PgConnection,
    names: &TableNames,
    percent: f64,
    most: u32,
    expressions: &[String],
) -> Result<Vec<f64>> {
    if expressions.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT ARRAY[{}]::float8[] FROM (SELECT * FROM {} LIMIT {most}) AS sample",
        expressions.join(", "),
        sampled(names, percent)
    );
    let found: Vec<Option<f64>> = sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(conn)
        .await?;
    Ok(found.into_iter().map(Option::unwrap_or_default).collect())
}

/// The share of the sample's events that have a value.
pub fn share_present(expression: &str) -> String {
    format!("count({expression})::float8 / nullif(count(*), 0)")
}

/// The share of the sample's events that satisfy a predicate.
pub fn share_of(predicate: &str) -> String {
    format!("count(*) FILTER (WHERE {predicate})::float8 / nullif(count(*), 0)")
}

/// The mean width of a value, and its largest.
pub fn widths(expression: &str) -> [String; 2] {
    [
        format!("avg(pg_column_size({expression}))::float8"),
        format!("max(pg_column_size({expression}))::float8"),
    ]
}

/// The clone's statement: a part of the table in a temporary one.
pub fn clone(names: &TableNames, clone: &str, percent: f64) -> String {
    format!(
        "CREATE TEMPORARY TABLE {} AS SELECT * FROM {}",
        quote_ident(clone),
        sampled(names, percent)
    )
}

/// A part of a clone as another.
pub fn clone_of(from: &str, clone: &str, each: u32) -> String {
    format!(
        "CREATE TEMPORARY TABLE {} AS SELECT * FROM pg_temp.{} WHERE (ctid::text::point)[0]::int % {each} = 0",
        quote_ident(clone),
        quote_ident(from)
    )
}

/// Takes statistics of a clone, and marks what all can see: else no plan reads an index alone.
pub fn analyze(clone: &str) -> String {
    format!("VACUUM (ANALYZE) pg_temp.{}", quote_ident(clone))
}

/// The rows of a clone.
pub async fn rows(conn: &mut PgConnection, clone: &str) -> Result<f64> {
    let sql = format!(
        "SELECT count(*)::float8 FROM pg_temp.{}",
        quote_ident(clone)
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_one(conn)
        .await
}

/// Builds an index on a clone.
pub fn create_index(name: &str, clone: &str, body: &str) -> String {
    format!(
        "CREATE INDEX {} ON pg_temp.{} {body}",
        quote_ident(name),
        quote_ident(clone)
    )
}

/// What the table's own indexes say from their method on.
pub async fn bodies(conn: &mut PgConnection, names: &TableNames) -> Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT substring(pg_get_indexdef(indexrelid) FROM ' (USING .*)$')
         FROM pg_index WHERE indrelid = to_regclass($1) AND indisvalid ORDER BY indexrelid",
    )
    .bind(names.quoted())
    .fetch_all(conn)
    .await
}

/// Drops indexes of a clone.
pub fn drop_indexes(names: &[String]) -> String {
    let quoted: Vec<_> = (names.iter())
        .map(|name| format!("pg_temp.{}", quote_ident(name)))
        .collect();
    format!("DROP INDEX {}", quoted.join(", "))
}

/// The size of an index of a clone.
pub async fn index_size(conn: &mut PgConnection, name: &str) -> Result<f64> {
    sqlx::query_scalar("SELECT pg_relation_size($1::regclass)::float8")
        .persistent(false)
        .bind(format!("pg_temp.{}", quote_ident(name)))
        .fetch_one(conn)
        .await
}

/// Drops clones, where they are.
pub fn drop_clones(clones: &[&str]) -> String {
    let quoted: Vec<_> = (clones.iter())
        .map(|clone| format!("pg_temp.{}", quote_ident(clone)))
        .collect();
    format!("DROP TABLE IF EXISTS {}", quoted.join(", "))
}
