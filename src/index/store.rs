//! The statements of the index manager that change something.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, PgConnection, Result};

use super::decisions::Decision;
use crate::ddl;
use crate::model::table::{TableNames, quote_ident};
use crate::sql::quote_literal;

/// What a definition says from the table on.
pub fn index_body(
    method: &str,
    keys: &[String],
    include: &[String],
    storage: &[(&'static str, String)],
    predicate: Option<&str>,
) -> String {
    let mut sql = format!("USING {method} ({})", keys.join(", "));
    // Writing to a String cannot fail.
    if !include.is_empty() {
        let _ = write!(sql, " INCLUDE ({})", include.join(", "));
    }
    if !storage.is_empty() {
        let all: Vec<_> = (storage.iter())
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        let _ = write!(sql, " WITH ({})", all.join(", "));
    }
    if let Some(predicate) = predicate {
        let _ = write!(sql, " WHERE ({predicate})");
    }
    sql
}

/// Builds an index. `target` is the table, quoted, maybe behind ONLY; `body` goes on from there.
pub fn create_index(
    name: &str,
    unique: bool,
    concurrently: bool,
    target: &str,
    body: &str,
) -> String {
    let create = ddl::store::create_index(name, concurrently);
    let create = if unique {
        create.replacen("INDEX", "UNIQUE INDEX", 1)
    } else {
        create
    };
    format!("{create} ON {target} {body}")
}

/// Drops an index, if it is there. Of a partitioned table it cannot be done concurrently.
pub fn drop_index(schema: &str, name: &str, concurrently: bool) -> String {
    let how = if concurrently { "CONCURRENTLY " } else { "" };
    format!(
        "DROP INDEX {how}IF EXISTS {}.{}",
        quote_ident(schema),
        quote_ident(name)
    )
}

/// Gives an index another name.
pub fn rename_index(schema: &str, from: &str, to: &str) -> String {
    format!(
        "ALTER INDEX {}.{} RENAME TO {}",
        quote_ident(schema),
        quote_ident(from),
        quote_ident(to)
    )
}

/// Says on an index whose it is.
pub fn comment(schema: &str, name: &str, text: &str) -> String {
    format!(
        "COMMENT ON INDEX {}.{} IS {}",
        quote_ident(schema),
        quote_ident(name),
        quote_literal(text)
    )
}

/// Several statements in one transaction.
pub fn together(statements: &[String]) -> String {
    // The simple protocol makes them one.
    statements.join("; ")
}

/// Builds an index anew, in place.
pub fn reindex(schema: &str, name: &str) -> String {
    format!(
        "REINDEX INDEX CONCURRENTLY {}.{}",
        quote_ident(schema),
        quote_ident(name)
    )
}

/// Takes statistics of a table, quoted.
pub fn analyze(table: &str) -> String {
    format!("ANALYZE {table}")
}

/// Has the server keep statistics of an expression, which is in parentheses. Names are quoted.
pub fn create_statistics(name: &str, table: &str, expression: &str) -> String {
    format!("CREATE STATISTICS {name} ON {expression} FROM {table}")
}

/// Runs statements by the simple protocol.
pub async fn run(conn: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await
        .map(drop)
}

/// The table of decisions, quoted. Made by whoever decides first: it is the builder's own, and no
/// query needs it.
fn decisions_table(names: &TableNames) -> String {
    names.beside(&names.derived("", "_index_decisions"))
}

/// Makes the table of decisions.
pub async fn make_decisions(conn: &mut PgConnection, names: &TableNames) -> Result<()> {
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (
           id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
           decided_at timestamptz NOT NULL DEFAULT clock_timestamp(),
           decided_by text NOT NULL,
           action text NOT NULL,
           index_name text NOT NULL,
           body text NOT NULL,
           reason text NOT NULL)",
        decisions_table(names)
    );
    run(conn, &sql).await
}

/// Writes a decision down; old ones go.
pub async fn note(
    conn: &mut PgConnection,
    names: &TableNames,
    by: &str,
    decision: &Decision<'_>,
) -> Result<()> {
    make_decisions(conn, names).await?;
    let sql = format!(
        "WITH old AS (DELETE FROM {table} WHERE decided_at < now() - interval '90 days')
         INSERT INTO {table} (decided_by, action, index_name, body, reason) VALUES ($1, $2, $3, $4, $5)",
        table = decisions_table(names)
    );
    sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .bind(by)
        .bind(decision.action)
        .bind(decision.index)
        .bind(decision.body)
        .bind(decision.reason)
        .execute(conn)
        .await
        .map(drop)
}

/// The ends of indexes that were reverted in so many days.
pub async fn reverted(
    conn: &mut PgConnection,
    names: &TableNames,
    days: i32,
) -> Result<Vec<String>> {
    let table = decisions_table(names);
    if !is_there(conn, &table).await? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT DISTINCT body FROM {table} WHERE action = 'reverted' AND decided_at > now() - $1 * interval '1 day'"
    );
    sqlx::query_scalar(AssertSqlSafe(sql))
        .persistent(false)
        .bind(days)
        .fetch_all(conn)
        .await
}

/// A decision as it is told: when, by whom, what, of which index, why.
type Told = (String, String, String, String, String);

/// The newest decisions.
pub async fn decisions(
    conn: &mut PgConnection,
    names: &TableNames,
    limit: i64,
) -> Result<Vec<Told>> {
    let table = decisions_table(names);
    if !is_there(conn, &table).await? {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT to_char(decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), decided_by, action, index_name, reason
         FROM {table} ORDER BY id DESC LIMIT $1"
    );
    sqlx::query_as(AssertSqlSafe(sql))
        .persistent(false)
        .bind(limit)
        .fetch_all(conn)
        .await
}

async fn is_there(conn: &mut PgConnection, table: &str) -> Result<bool> {
    sqlx::query_scalar("SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false)")
        .bind(table)
        .fetch_one(conn)
        .await
}

/// Begins a transaction in which nothing can be written, and a statement takes so long at most.
pub async fn begin_measuring(conn: &mut PgConnection, longest: &str) -> Result<()> {
    let sql = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = {}",
        quote_literal(longest)
    );
    run(conn, &sql).await
}

/// Keeps the planner from a kind of step, by its setting, until the transaction ends.
pub fn switch_off(setting: &'static str) -> String {
    format!("SET LOCAL {setting} = off")
}

/// Ends it.
pub async fn end_measuring(conn: &mut PgConnection) -> Result<()> {
    run(conn, "ROLLBACK").await
}
