//! The fixed statements that write events. Names come from the client's options, quoted.

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
