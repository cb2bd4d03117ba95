//! The fixed statements of pinned runs, and of looking at plans.

use std::fmt::Write as _;

use serde_json::Value as Wire;
use sqlx::{PgConnection, Row};

use crate::exec::arguments::{arguments, sql_text};
use crate::exec::fault::fault;
use crate::model::Result;
use crate::sql::{Statement, explain};

fn settings_of(settings: &[(&str, &str)]) -> String {
    let mut sql = "SET LOCAL plan_cache_mode = force_custom_plan".to_owned();
    for (name, value) in settings {
        // Infallible: it is memory.
        let _ = write!(sql, "; SET LOCAL {name} = {value}");
    }
    sql
}

/// Begins a transaction with settings of its own. The plan is made for the very values, as EXPLAIN
/// makes it.
pub async fn begin(
    driver: &mut PgConnection,
    settings: &[(&str, &str)],
) -> Result<(), sqlx::Error> {
    let sql = format!("BEGIN READ ONLY; {}", settings_of(settings));
    let begun = sqlx::raw_sql(sql_text(&sql)).execute(driver);
    begun.await.map(drop)
}

/// The same in a transaction that is there already.
pub async fn settle(
    driver: &mut PgConnection,
    settings: &[(&str, &str)],
) -> Result<(), sqlx::Error> {
    let set = sqlx::raw_sql(sql_text(&settings_of(settings))).execute(driver);
    set.await.map(drop)
}

/// The plan of a statement under settings. Leaves a transaction open.
pub async fn plan(
    driver: &mut PgConnection,
    settings: &[(&str, &str)],
    statement: &Statement,
) -> Result<Wire> {
    begin(driver, settings).await.map_err(fault)?;
    let values = arguments(&statement.binds)?;
    let text = sql_text(&explain::statement(&statement.sql, false));
    let row = sqlx::query_with(text, values)
        .persistent(false)
        .fetch_one(driver)
        .await
        .map_err(fault)?;
    let mut document: Wire = row.try_get(0).map_err(fault)?;
    Ok(document.get_mut(0).map(Wire::take).unwrap_or_default())
}

/// Ends it.
pub async fn roll_back(driver: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("ROLLBACK").execute(driver).await.map(drop)
}
