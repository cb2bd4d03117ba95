//! What the planner says that a statement costs, and what it did read.

use std::collections::BTreeSet;

use serde_json::Value as Wire;
use sqlx::{PgConnection, Row, types::Json};

use crate::exec::{arguments, fault, sql_text};
use crate::model::{Error, Result};
use crate::sql::{Statement, explain};

/// What the planner adds to the cost of a plan that it was told not to use, before PostgreSQL 18.
const PENALTY: f64 = 1.0e10;

/// A cost without the penalty of forbidden scans.
fn without_penalty(cost: f64) -> f64 {
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

/// What the planner says of a statement.
#[derive(Clone, Debug, Default)]
pub struct Price {
    /// The cost of all of it.
    pub cost: f64,
    /// The indexes that it would use.
    pub used: BTreeSet<String>,
    /// The rows of the answer.
    pub rows: f64,
    /// What a limit at its top reads from, if nothing stopped it.
    pub stopped: Option<Stream>,
    /// Whether what its limit reads is sorted by the rest of the order: that takes one row more, the
    /// first of those that come later.
    pub ahead: bool,
}

/// What is read row by row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream {
    /// Before the first row.
    pub startup: f64,
    /// To the last.
    pub total: f64,
    /// How many there are.
    pub rows: f64,
}

impl Stream {
    /// The cost of one row.
    pub fn row(&self) -> f64 {
        (self.total - self.startup) / self.rows.max(1.0)
    }

    /// The cost of the first so many rows.
    pub fn first(&self, rows: f64) -> f64 {
        let share = (rows / self.rows.max(1.0)).min(1.0);
        (self.total - self.startup).mul_add(share, self.startup)
    }
}

impl Price {
    /// What the row costs that is read beyond the limit.
    pub fn one_ahead(&self) -> Option<f64> {
        let goes_on = |stream: &Stream| self.ahead && stream.rows > self.rows;
        self.stopped.filter(goes_on).map(|stream| stream.row())
    }
}

/// The planner's cost of a statement.
///
/// # Errors
/// The server's.
pub async fn cost(conn: &mut PgConnection, statement: &Statement) -> Result<f64> {
    Ok(price(conn, statement).await?.cost)
}

/// What the planner says of a statement.
///
/// # Errors
/// The server's.
pub async fn price(conn: &mut PgConnection, statement: &Statement) -> Result<Price> {
    let told = plan(conn, statement, false).await?;
    let number = |node: &Wire, key: &str| node[key].as_f64();
    let root = &told["Plan"];
    let cost =
        number(root, "Total Cost").ok_or_else(|| Error::Internal("EXPLAIN told no cost".into()))?;
    let mut used = BTreeSet::new();
    collect(root, &mut used);
    // The limit's own value may be a plan as well, which comes first.
    let below = root["Plans"].as_array().into_iter().flatten();
    let mut below = below.filter(|_| root["Node Type"] == "Limit");
    let outer = below.find(|node| node["Parent Relationship"] == "Outer");
    // Few enough, as on a sample, are sorted at once.
    let sorts = ["Incremental Sort", "Sort"];
    let ahead = outer.is_some_and(|node| sorts.iter().any(|sort| node["Node Type"] == *sort));
    let stopped = outer.and_then(|node| {
        Some(Stream {
            startup: without_penalty(number(node, "Startup Cost")?),
            total: without_penalty(number(node, "Total Cost")?),
            rows: number(node, "Plan Rows")?,
        })
    });
    Ok(Price {
        cost: without_penalty(cost),
        used,
        rows: number(root, "Plan Rows").unwrap_or_default(),
        stopped,
        ahead,
    })
}

fn collect(node: &Wire, used: &mut BTreeSet<String>) {
    used.extend(node["Index Name"].as_str().map(str::to_owned));
    for child in node["Plans"].as_array().into_iter().flatten() {
        collect(child, used);
    }
}

/// Runs a statement and tells how many blocks it looked at, wherever they were, and by which indexes.
///
/// # Errors
/// The server's.
pub async fn buffers(
    conn: &mut PgConnection,
    statement: &Statement,
) -> Result<(f64, BTreeSet<String>)> {
    let told = plan(conn, statement, true).await?;
    let blocks = |key: &str| told["Plan"].get(key).and_then(Wire::as_f64);
    let kinds = [
        "Shared Hit Blocks",
        "Shared Read Blocks",
        "Temp Read Blocks",
        "Temp Written Blocks",
    ];
    let mut used = BTreeSet::new();
    collect(&told["Plan"], &mut used);
    Ok((kinds.iter().filter_map(|kind| blocks(kind)).sum(), used))
}
