//! What the catalogs say of indexes.

use sqlx::{PgConnection, Result, postgres::types::Oid};

use super::super::row::from_row;

from_row!(Index { table, valid });

/// An index, as far as building it must know.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) table: Oid,
    pub(super) valid: bool,
}

/// Reads the index of this name.
pub(super) async fn find(
    conn: &mut PgConnection,
    schema: &str,
    name: &str,
) -> Result<Option<Index>> {
    sqlx::query_as(
        "SELECT i.indrelid AS \"table\",
           i.indisvalid AND i.indisready AND i.indislive AS valid
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_index i ON i.indexrelid = c.oid
         WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema)
    .bind(name)
    .fetch_optional(conn)
    .await
}

/// The name of a valid index of `table` that is the same as `model`, the quoted index of another
/// table with the same columns.
pub(super) async fn same(
    conn: &mut PgConnection,
    table: Oid,
    model: &str,
) -> Result<Option<String>> {
    // By the text of each key: the columns' numbers differ where one was dropped.
    sqlx::query_scalar(
        "SELECT c.relname::text
         FROM pg_index m JOIN pg_class mc ON mc.oid = m.indexrelid,
           pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE m.indexrelid = $2::regclass AND i.indrelid = $1
           AND i.indisvalid AND i.indisready AND c.relam = mc.relam
           AND i.indnkeyatts = m.indnkeyatts
           AND i.indclass::text = m.indclass::text AND i.indcollation::text = m.indcollation::text
           AND i.indoption::text = m.indoption::text
           AND pg_get_expr(i.indpred, i.indrelid) IS NOT DISTINCT FROM pg_get_expr(m.indpred, m.indrelid)
           AND NOT EXISTS (
             SELECT FROM generate_series(1, i.indnkeyatts) k
             WHERE pg_get_indexdef(i.indexrelid, k, false) <> pg_get_indexdef(m.indexrelid, k, false))
         LIMIT 1",
    )
    .bind(table)
    .bind(model)
    .fetch_optional(conn)
    .await
}
