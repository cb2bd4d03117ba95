//! The statements of the index manager that change something.

use std::fmt::Write as _;

use sqlx::{AssertSqlSafe, PgConnection, Result};

use crate::ddl;
use crate::model::table::quote_ident;
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

/// Runs statements by the simple protocol.
pub async fn run(conn: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(conn)
        .await
        .map(drop)
}
