//! The fixed statements of the module's own sessions, and what the catalog says of the event table.

use std::time::{Duration, Instant};

use sqlx::{PgConnection, Row, postgres::types::Oid};

use super::arguments::sql_text;
use crate::model::{
    catalog::{Table, TableColumn},
    field::Holds,
    table::{TRANSACTION_ID, quote_ident},
};
use crate::sql::REALM;

/// `extra_float_digits` is what the driver asks for as it connects. Where it is not so, a pooler stands
/// between that did not pass it on, and what is set here might be another client's: nothing is.
macro_rules! set_up {
    ($system:literal) => {
        concat!(
            "SELECT pg_backend_pid(), pg_current_snapshot()::text, ",
            $system,
            ", (SELECT oid FROM pg_database WHERE datname = current_database()), \
             pg_is_in_recovery(), current_setting('extra_float_digits') <> '2', \
             CASE WHEN current_setting('extra_float_digits') = '2' THEN set_config('statement_timeout', '0', false) END"
        )
    };
}

/// The settings of a session, in the one round trip that also learns the backend's pid.
///
/// `client_connection_check_interval` makes a backend notice within half a second that its client
/// is gone, even in mid-query. Platforms without it refuse the setting, hence the second text.
pub const SET_UP: &str = concat!(
    set_up!("(SELECT system_identifier::text FROM pg_control_system())"),
    ", CASE WHEN current_setting('extra_float_digits') = '2' THEN set_config('client_connection_check_interval', '500', false) END"
);
/// The same without that setting.
pub const SET_UP_PLAIN: &str = set_up!("(SELECT system_identifier::text FROM pg_control_system())");
/// The same where the role may not ask for the system identifier: the database's name stands in.
pub const SET_UP_BARE: &str = set_up!("current_database()::text");

/// Whether the server follows another, and how far it has come, as a byte of the log.
pub const REPLAYED: &str = "SELECT pg_is_in_recovery(), (pg_last_wal_replay_lsn() - '0/0')::int8";
/// How far the log of a primary is on disk. Whatever is committed is before that, but for transactions
/// with `synchronous_commit = off`, which are seen some moments before. Not what was only inserted: a
/// record that no commit follows can wait for its place on disk, and so for replicas, for 15 seconds.
pub const WRITTEN: &str = "SELECT (pg_current_wal_flush_lsn() - '0/0')::int8";

/// The session of a connection beside the pool: how long it waits for locks and statements. Nothing is
/// set where a pooler stands between.
pub const SET_UP_BESIDE: &str = "SELECT set_config('lock_timeout', $1, false), \
     set_config('statement_timeout', $2, false), set_config('synchronous_commit', 'off', false) \
     WHERE current_setting('extra_float_digits') = '2'";

/// How long a statement of the session may take, in milliseconds.
pub const BACKSTOP: &str = "SELECT set_config('statement_timeout', $1, false)";

/// A transaction in which nothing can be written.
pub const BEGIN_READ_ONLY: &str = "BEGIN READ ONLY";

/// A transaction that reads one state, which others can adopt by its name; its time, and what it sees.
pub const EXPORT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
    SELECT pg_export_snapshot(), (extract(epoch FROM now()) * 1000000)::int8::text, pg_current_snapshot()::text";

/// A transaction that reads the state of the one that exported it, by a name that was checked, in one
/// process of the server where `alone`; its time.
pub fn adopt(name: &str, alone: bool) -> String {
    let alone = if alone { ONE_PROCESS } else { "" };
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{name}'; {alone}; \
         SELECT (extract(epoch FROM now()) * 1000000)::int8::text"
    )
}

/// A slice is answered by one process: how many there are is said by the number of slices.
pub const ONE_PROCESS: &str = "SET LOCAL max_parallel_workers_per_gather = 0";

/// Has so many processes beside the first answer what follows in its transaction, wherever a plan can be
/// shared: what it costs to hand rows over is left out of the comparison.
pub fn processes(workers: u32) -> String {
    format!(
        "SET LOCAL max_parallel_workers_per_gather = {workers}; SET LOCAL parallel_setup_cost = 0; \
         SET LOCAL parallel_tuple_cost = 0"
    )
}

/// Begins a transaction in which nothing can be written, and all statements see one snapshot.
pub const BEGIN_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// What a transaction sees.
pub const SNAPSHOT: &str = "SELECT pg_current_snapshot()::text";

/// The isolation of the exact cache: READ COMMITTED plans a statement before it takes its snapshot, and
/// a partition that is attached between the two would be missing from an answer that claims to have
/// seen it. As a default of the session it costs no round trip.
pub const REPEATABLE_READ: &str = "SET default_transaction_isolation = 'repeatable read'; \
    SET plan_cache_mode = force_generic_plan";
/// The isolation that the server has for others.
pub const DEFAULT_ISOLATION: &str = "RESET default_transaction_isolation; RESET plan_cache_mode";
/// A check is planned once: planning takes longer than it.
pub const GENERIC_PLANS: &str = "SET plan_cache_mode = force_generic_plan";
/// What is read anew is planned as the server thinks best.
pub const DEFAULT_PLANS: &str = "RESET plan_cache_mode";

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
    /// The database, and what an answer depends on beside the query.
    pub realm: String,
}

/// `datlocale` is called otherwise before PostgreSQL 17: `to_jsonb` finds either.
const FACTS: &str = "\
    SELECT coalesce(\
        (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = to_regclass(quote_ident($1))), current_schema(), 'public')::text, \
      (d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX')) \
        OR (d.datlocprovider = 'b' AND to_jsonb(d)->>'datlocale' IN ('C', 'C.UTF-8', 'PG_UNICODE_FAST')), \
      current_setting('server_version'), concat(d.oid, '.', {realm}) \
    FROM pg_database d WHERE d.datname = current_database()";

/// Asks the catalog. `table` is the bare name, looked up along the search path.
pub async fn facts(driver: &mut PgConnection, table: &str) -> Result<Facts, sqlx::Error> {
    let row = sqlx::query(sql_text(&FACTS.replace("{realm}", REALM)))
        .persistent(false)
        .bind(table)
        .fetch_one(driver)
        .await?;
    Ok(Facts {
        schema: row.try_get(0)?,
        code_point_collation: row.try_get::<Option<bool>, _>(1)?.unwrap_or(false),
        version: row.try_get(2)?,
        realm: row.try_get(3)?,
    })
}

/// What the database shows at this moment.
pub struct Now {
    /// The statement's snapshot.
    pub snapshot: String,
    /// Whether it follows another server.
    pub is_standby: bool,
    /// Whether the event table says which transaction an event belongs to; `None` where there is no
    /// such table.
    pub has_transaction_id: Option<bool>,
    /// Up to where the log of a server has to be on disk before a crash takes nothing of what this snapshot
    /// shows; `None` where it is there already.
    unsettled: Option<String>,
    /// Whether the server can be told to write it there.
    can_flush: bool,
}

const NOW: &str = "\
    SELECT pg_current_snapshot()::text, pg_is_in_recovery(), \
      CASE WHEN NOT pg_is_in_recovery() AND pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn() \
        THEN pg_current_wal_insert_lsn()::text END, \
      current_setting('server_version_num')::int >= 170000, \
      CASE WHEN to_regclass($1) IS NOT NULL THEN EXISTS ( \
        SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 \
          AND atttypid = 'xid8'::regtype AND NOT attisdropped) END";

/// Asks for the state of the database. `table` is quoted.
pub async fn now(driver: &mut PgConnection, table: &str) -> Result<Now, sqlx::Error> {
    let row = sqlx::query(NOW)
        .bind(table)
        .bind(TRANSACTION_ID)
        .fetch_one(driver)
        .await?;
    Ok(Now {
        snapshot: row.try_get(0)?,
        is_standby: row.try_get(1)?,
        unsettled: row.try_get(2)?,
        can_flush: row.try_get(3)?,
        has_transaction_id: row.try_get(4)?,
    })
}

const FLUSH: &str = "SELECT pg_logical_emit_message(false, 'tamma_events', '', true)";
const IS_FLUSHED: &str = "SELECT pg_is_in_recovery() OR pg_current_wal_flush_lsn() >= $1::pg_lsn";
/// The server writes what nobody waits for within three times `wal_writer_delay`, which is 200 ms.
const FLUSHED_BY_ITSELF: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

impl Now {
    /// Waits until a crash can't undo that a transaction has ended which this snapshot shows as ended. The
    /// server would use its id again, and what then comes under it would pass for seen: a transaction that was
    /// rolled back, or did not wait for the disk, ends before the log says so on disk.
    pub async fn settle(&self, driver: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Some(upto) = &self.unsettled else {
            return Ok(());
        };
        if self.can_flush {
            match sqlx::query(FLUSH).execute(&mut *driver).await {
                Ok(_) => return Ok(()),
                // Not for this role: then as on servers that can't be told to.
                Err(sqlx::Error::Database(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let begun = Instant::now();
        while begun.elapsed() < FLUSHED_BY_ITSELF {
            let looked = sqlx::query_scalar(IS_FLUSHED).bind(upto);
            if looked.fetch_one(&mut *driver).await? {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(())
    }
}

/// `indkey` counts from 0.
const LOOK_UP: &str = "\
    SELECT n.nspname::text, c.relname::text, a.attname::text, a.attnotnull, \
      coalesce(nullif(t.typbasetype, 0), t.oid), array_position(i.indkey::int2[], a.attnum) \
    FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    JOIN pg_type t ON t.oid = a.atttypid \
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
    WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
    ORDER BY a.attnum";

/// A table, view or the like, by a name with its schema or without; `None` where there is none.
pub async fn look_up(driver: &mut PgConnection, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let quoted: Vec<_> = name.splitn(2, '.').map(quote_ident).collect();
    let rows = sqlx::query(LOOK_UP)
        .persistent(false)
        .bind(quoted.join("."))
        .fetch_all(driver)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut table = Table {
        schema: first.try_get(0)?,
        name: first.try_get(1)?,
        columns: Vec::with_capacity(rows.len()),
        primary_key: Vec::new(),
    };
    let mut key: Vec<(i32, String)> = Vec::new();
    for row in &rows {
        let name: String = row.try_get(2)?;
        if let Some(place) = row.try_get(5)? {
            key.push((place, name.clone()));
        }
        table.columns.push(TableColumn {
            name,
            holds: holds(row.try_get::<Oid, _>(4)?),
            nullable: !row.try_get::<bool, _>(3)?,
        });
    }
    key.sort_unstable();
    table.primary_key = key.into_iter().map(|(_, name)| name).collect();
    Ok(Some(table))
}

const fn holds(r#type: Oid) -> Holds {
    match r#type.0 {
        25 => Holds::Text,
        // name, bpchar, varchar
        19 | 1042 | 1043 => Holds::TextLike,
        114 => Holds::Json,
        1184 => Holds::Time,
        2950 => Holds::Uuid,
        3802 => Holds::Jsonb,
        _ => Holds::Other,
    }
}
