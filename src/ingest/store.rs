//! The fixed statements that write events. Names come from the client's options, quoted.

use super::condition::Lock;
use crate::model::{
    field::Column,
    table::{TableNames, quote_ident},
};

/// The columns that an event has values for, quoted, with `prefix` before each.
fn columns(table: &TableNames, prefix: &str) -> String {
    let quoted: Vec<String> = Column::EVENT
        .iter()
        .map(|c| format!("{prefix}{}", quote_ident(table.columns.of(*c))))
        .collect();
    quoted.join(", ")
}

/// Inserts six arrays of one length; says what the transaction is and has seen.
pub fn append(table: &TableNames) -> String {
    format!(
        "WITH stored AS (INSERT INTO {} ({}) \
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::jsonb[], $5::jsonb[], $6::jsonb[]) RETURNING 1) \
         SELECT pg_current_snapshot()::text, pg_current_xact_id()::text, count(*) FROM stored",
        table.quoted(),
        columns(table, ""),
    )
}

/// How long a conditional append waits for each lock: a transaction that inserted and stays open, or
/// another conditional append.
const LOCK_TIMEOUT: &str = "10s";

/// Begins a conditional append: its locks in their order, then the gate, and behind all of them what
/// the database shows. One message of several statements, each with a snapshot of its own.
pub fn begin_under(table: &TableNames, locks: &[Lock]) -> String {
    let locks: Vec<String> = locks
        .iter()
        .map(|Lock { key, shared }| {
            let shared = if *shared { "_shared" } else { "" };
            format!("pg_advisory_xact_lock{shared}('{key}'::int8)")
        })
        .collect();
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; \
         SELECT {}; SELECT {}(); SELECT pg_current_snapshot()::text",
        locks.join(", "),
        table.close_gate(),
    )
}

/// The same as [`append`], unless `found`, a query of a boolean with so many binds, says that there is
/// something: then it stores nothing.
pub fn append_unless(table: &TableNames, found: &str, binds: usize) -> String {
    let arrays: Vec<String> = ["uuid", "text", "timestamptz", "jsonb", "jsonb", "jsonb"]
        .iter()
        .enumerate()
        .map(|(i, r#type)| format!("${}::{type}[]", binds + i + 1))
        .collect();
    format!(
        "WITH conflict (found) AS MATERIALIZED ({found}), \
         stored AS (INSERT INTO {} ({}) SELECT u.* FROM unnest({}) AS u, conflict WHERE NOT conflict.found RETURNING 1) \
         SELECT pg_current_snapshot()::text, pg_current_xact_id()::text, (SELECT count(*) FROM stored)",
        table.quoted(),
        columns(table, ""),
        arrays.join(", "),
    )
}

/// A table of this session, emptied at the end of each transaction.
pub const STAGING: &str = "CREATE TEMPORARY TABLE IF NOT EXISTS tamma_events_staging \
     (id uuid, type text, at timestamptz, tags jsonb, metadata jsonb, data jsonb) ON COMMIT DELETE ROWS";

/// Fills it.
pub const COPY: &str = "COPY pg_temp.tamma_events_staging FROM STDIN (FORMAT binary)";

/// Each chunk is a transaction of its own.
pub const BEGIN: &str = "BEGIN";
/// Its end.
pub const COMMIT: &str = "COMMIT";

/// Drops it, before the session is used for something else.
pub const DROP_STAGING: &str = "DROP TABLE IF EXISTS pg_temp.tamma_events_staging";

/// Moves what is staged into the event table; ids that are there already are left alone.
pub fn merge(table: &TableNames) -> String {
    format!(
        "INSERT INTO {} ({}) SELECT id, type, at, tags, metadata, data FROM pg_temp.tamma_events_staging ON CONFLICT DO NOTHING",
        table.quoted(),
        columns(table, ""),
    )
}
