//! The fixed statements of the cache's table.

use crate::model::table::TableNames;

/// Removes what has expired from the table that results may be kept in.
pub fn drop_expired(table: &TableNames) -> String {
    format!(
        "DELETE FROM {} WHERE expires_at <= now()",
        table.beside("query_cache")
    )
}
