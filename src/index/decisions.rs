//! What was decided about indexes, and why: kept in a table beside the events, so that what did not
//! help is not tried again by the next run, of whatever process.

use std::collections::BTreeSet;

use serde_json::{Value as Wire, json};
use sqlx::PgConnection;

use super::store;
use crate::exec::fault;
use crate::model::{Result, table::TableNames};

/// For so long a candidate that was reverted is not tried again.
const REMEMBERED_DAYS: i32 = 14;

/// A decision.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    /// `created`, `reverted`, `dropped`, `rebuilt`, `moved` or `skipped`.
    pub action: &'static str,
    /// The index.
    pub index: &'a str,
    /// What it was, from the table on; empty where that does not matter.
    pub body: &'a str,
    /// Why.
    pub reason: &'a str,
}

/// The ends of candidates that were reverted lately. Nothing where nothing is remembered.
pub async fn refused(conn: &mut PgConnection, names: &TableNames) -> BTreeSet<String> {
    store::reverted(conn, names, REMEMBERED_DAYS)
        .await
        .unwrap_or_default()
        .into_iter()
        .collect()
}

/// Writes a decision down, and says it in the log.
///
/// # Errors
/// The server's.
pub async fn note(
    conn: &mut PgConnection,
    names: &TableNames,
    by: &str,
    decision: &Decision<'_>,
) -> Result<()> {
    tracing::info!(
        target: "tamma_events::indexes",
        action = decision.action,
        index = decision.index,
        by,
        "{}", decision.reason
    );
    store::note(conn, names, by, decision).await.map_err(fault)
}

/// What was decided lately, the newest first. Nothing where nothing was ever decided.
pub async fn recent(conn: &mut PgConnection, names: &TableNames, limit: i64) -> Vec<Wire> {
    let rows = store::decisions(conn, names, limit)
        .await
        .unwrap_or_default();
    rows.into_iter()
        .map(|(at, by, action, index, reason)| {
            json!({ "at": at, "by": by, "action": action, "index": index, "reason": reason })
        })
        .collect()
}
