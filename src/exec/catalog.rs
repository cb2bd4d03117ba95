//! What the catalog says of the event table and its database.

use sqlx::{PgConnection, Row};

/// Where the event table is, and how the database orders text.
pub struct Facts {
    /// The schema of the table, or the one that it would be made in.
    pub schema: String,
    /// Whether the database's own collation orders by code point.
    pub code_point_collation: bool,
    /// For people, such as `18.4`.
    pub version: String,
}

/// `datlocale` is called otherwise before PostgreSQL 17: `to_jsonb` finds either.
const FACTS: &str = "\
    SELECT coalesce(\
        (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = to_regclass(quote_ident($1))), current_schema(), 'public')::text, \
      (d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX')) \
        OR (d.datlocprovider = 'b' AND to_jsonb(d)->>'datlocale' IN ('C', 'C.UTF-8', 'PG_UNICODE_FAST')), \
      current_setting('server_version') \
    FROM pg_database d WHERE d.datname = current_database()";

/// Asks the catalog. `table` is the bare name, looked up along the search path.
pub async fn facts(driver: &mut PgConnection, table: &str) -> Result<Facts, sqlx::Error> {
    let row = sqlx::query(FACTS)
        .persistent(false)
        .bind(table)
        .fetch_one(driver)
        .await?;
    Ok(Facts {
        schema: row.try_get(0)?,
        code_point_collation: row.try_get::<Option<bool>, _>(1)?.unwrap_or(false),
        version: row.try_get(2)?,
    })
}
