//! What the planner says that a statement costs, and what it did read.

use serde_json::Value as Wire;
use sqlx::{PgConnection, Row, types::Json};

use crate::exec::{arguments, fault, sql_text};
use crate::model::{Error, Result};
use crate::sql::{Statement, explain};

/// What the planner adds to the cost of a plan that it was told not to use, before PostgreSQL 18.
const PENALTY: f64 = 1.0e10;

/// A cost without the penalty of forbidden scans.
pub fn without_penalty(cost: f64) -> f64 {
    if cost >= PENALTY {
        cost % PENALTY
    } else {
        cost
    }
}

async fn plan(conn: &mut PgConnection, statement: &Statement, analyze: bool) -> Result<Wire> {
    let sql = explain::statement(&statement.sql, analyze);
    let row = sqlx::query_with(sql_text(&sql), arguments(&statement.binds)?)
        .persistent(false)
        .fetch_one(conn)
        .await
        .map_err(fault)?;
    let Json(told): Json<Wire> = row.try_get(0).map_err(fault)?;
    told.get(0)
        .cloned()
        .ok_or_else(|| Error::Internal("EXPLAIN gave no plan".into()))
}

/// The planner's cost of a statement.
///
/// # Errors
/// The server's.
pub async fn cost(conn: &mut PgConnection, statement: &Statement) -> Result<f64> {
    let told = plan(conn, statement, false).await?;
    told.pointer("/Plan/Total Cost")
        .and_then(Wire::as_f64)
        .ok_or_else(|| Error::Internal("EXPLAIN told no cost".into()))
}

/// Runs a statement and tells how many blocks it looked at, wherever they were.
///
/// # Errors
/// The server's.
pub async fn buffers(conn: &mut PgConnection, statement: &Statement) -> Result<f64> {
    let told = plan(conn, statement, true).await?;
    let blocks = |key: &str| told["Plan"].get(key).and_then(Wire::as_f64);
    let kinds = [
        "Shared Hit Blocks",
        "Shared Read Blocks",
        "Temp Read Blocks",
        "Temp Written Blocks",
    ];
    Ok(kinds.iter().filter_map(|kind| blocks(kind)).sum())
}
