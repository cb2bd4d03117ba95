//! The statements that change something, other than those of `migrations/`.

use sqlx::{AssertSqlSafe, PgConnection, Result};

use crate::model::table::{TableNames, quote_ident};

/// Acts as another role from here on.
pub(super) async fn become_role(conn: &mut PgConnection, role: &str) -> Result<()> {
    sqlx::query(AssertSqlSafe(format!("SET ROLE {}", quote_ident(role))))
        .execute(conn)
        .await
        .map(drop)
}

/// Creates the schema. IF NOT EXISTS alone fails where two create it at once.
pub(super) fn create_schema(schema: &str, lock: i64) -> String {
    format!(
        "SELECT pg_advisory_xact_lock({lock}); CREATE SCHEMA IF NOT EXISTS {}",
        quote_ident(schema)
    )
}

/// An empty table with the same columns.
pub(super) fn create_like(copy: &TableNames, table: &TableNames) -> String {
    format!("CREATE TABLE {} (LIKE {})", copy.quoted(), table.quoted())
}

/// Takes statistics of the table.
pub(super) fn analyze(table: &TableNames) -> String {
    format!("ANALYZE {}", table.quoted())
}
