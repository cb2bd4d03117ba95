//! The fixed statements of the module's own sessions, and what the catalog says of the event table.

use sqlx::{PgConnection, Row};

/// The settings of a session, in the one round trip that also learns the backend's pid.
///
/// `client_connection_check_interval` makes a backend notice within half a second that its client
/// is gone, even in mid-query. Platforms without it refuse the setting, hence the second text.
pub const SET_UP: &str = "SELECT pg_backend_pid(), pg_current_snapshot()::text, \
     set_config('statement_timeout', '0', false), \
     set_config('client_connection_check_interval', '500', false)";
/// The same without that setting.
pub const SET_UP_PLAIN: &str = "SELECT pg_backend_pid(), pg_current_snapshot()::text, set_config('statement_timeout', '0', false)";

/// A transaction in which nothing can be written.
pub const BEGIN_READ_ONLY: &str = "BEGIN READ ONLY";

/// The end of it, and of locks of the session, which a transaction's end does not release.
pub const ROLL_BACK: &str = "ROLLBACK; SELECT pg_advisory_unlock_all()";

/// Cancels what a backend runs.
pub const CANCEL: &str = "SELECT pg_cancel_backend($1)";

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
