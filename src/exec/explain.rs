//! The plan of a query: PostgreSQL's own, of the very statement that would run.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::engine::{Engine, query_wire};
use super::fault::fault;
use super::hinted::Hinted;
use super::request::{Mode, RunOptions};
use super::shape::Shape;
use crate::model::{Error, Result};
use crate::plan::is_contradiction;
use crate::query::EventQuery;
use crate::sql::{Bind, Purpose, Statement, compile, explain};

/// How a query is explained.
#[derive(Clone, Debug, Default)]
pub struct ExplainOptions {
    /// Run it, and measure.
    pub analyze: bool,
    /// Its id and its time.
    pub run: RunOptions,
}

impl Engine {
    /// Explains a query, as `QueryExecutionPlan`.
    ///
    /// # Errors
    /// What is wrong with the query, or why the server could not explain it.
    pub async fn explain(self: &Arc<Self>, query: &str, options: ExplainOptions) -> Result<Wire> {
        let wire = query_wire(query)?;
        let mut catalog = self.catalog();
        let tables = EventQuery::tables(&wire, &catalog);
        if !tables.is_empty() {
            self.forget_tables(&tables);
            let mut lease = self.pool.acquire_alive().await?;
            let learnt = self.learn(&mut lease.connection().driver, &tables);
            catalog = learnt.await.map_err(fault)?;
            lease.release();
        }
        let query = EventQuery::parse(&wire, &catalog)?;
        let statement = compile(&query, &self.target(), Purpose::Buffered)?;
        let shown = compile(&query, &self.target(), Purpose::Show)?;
        let contradiction = query.needs_rows() && is_contradiction(&query.filter);
        let id = options.run.query_id.or_else(|| query.id.clone());
        let mut run = if query.hints.name_indexes() {
            let strategy = Hinted {
                query: wire,
                tables,
                purpose: Purpose::Buffered,
                explain: Some(options.analyze),
            };
            let run = RunOptions {
                query_id: id,
                ..RunOptions::default()
            };
            let shape = self.shape_of(&statement, &query);
            self.enter_strategy(Box::new(strategy), shape, &query.hints, run, Mode::Buffered)?
        } else {
            let statement = Statement {
                sql: explain::statement(&statement.sql, options.analyze),
                ..explained(statement.binds)
            };
            self.enter_statement(statement, id, Mode::Buffered)?
        };
        if let Some(timeout) = options.run.timeout {
            run.timeout =
                super::interrupt::time_allowed(Some(timeout), &self.config.limits, Mode::Buffered);
        }
        let id = run.ticket.id().to_owned();
        let mut outcomes = None;
        let plan = if contradiction {
            explain::Plan::nothing()
        } else {
            let batches = self.collect(run).await?;
            let plan = explain::Plan::parse(document(&batches)?)?;
            outcomes = (batches.last()).and_then(|last| last.pointer("/end/hints").cloned());
            plan
        };
        let mut told = plan.to_json();
        told["queryId"] = id.into();
        told["fingerprint"] = Shape::of_compiled(&shown.sql).hex().into();
        told["parameters"] = shown.binds.iter().map(Bind::to_json).collect();
        told["sql"] = shown.sql.into();
        told["strategy"] = "single".into();
        told["rules"] = if contradiction {
            json!([{ "rule": "contradiction", "before": "the filter", "after": "false", "reason": "no event can satisfy the filter: the database is not asked" }])
        } else {
            json!([])
        };
        told["hints"] = outcomes.unwrap_or_else(|| {
            let declined = query.hints.declined.iter();
            declined
                .map(|(hint, value)| json!({ "hint": hint, "value": value, "honoured": false, "reason": "not offered by this version" }))
                .collect()
        });
        Ok(told)
    }
}

/// How the answer of an EXPLAIN of a statement with these values is read; its text is to be added.
pub(super) fn explained(binds: Vec<Bind>) -> Statement {
    Statement {
        sql: String::new(),
        binds,
        columns: Some(vec!["plan".to_owned()]),
        visible: 1,
        json_scalars: Vec::new(),
        computed: Vec::new(),
        keys: Vec::new(),
        token: None,
        limit: None,
        identity: 0,
    }
}

/// The document that EXPLAIN answered with; an error of the run is passed on.
///
/// # Errors
/// That of the run.
pub fn document(batches: &[Wire]) -> Result<&Wire> {
    let first = batches
        .first()
        .ok_or_else(|| Error::Internal("EXPLAIN gave no answer".into()))?;
    if let Some(error) = first.get("error") {
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        return Err(match error["code"].as_str() {
            Some("INDEX_HINT_NOT_HONOURED") => Error::IndexHint {
                path: text("path"),
                message: text("message"),
            },
            Some("UNKNOWN_INDEX") => Error::UnknownIndex {
                path: text("path"),
                message: text("message"),
            },
            Some("CONNECTION_FAILED") => Error::Connection {
                message: text("message"),
                sql_state: None,
            },
            Some("CLOSED") => Error::Closed,
            Some("QUERY_CANCELLED") => Error::Cancelled,
            _ => Error::Database {
                sql_state: text("sqlState"),
                message: text("message"),
            },
        });
    }
    first
        .pointer("/rows/0/0")
        .ok_or_else(|| Error::Internal("EXPLAIN gave no plan".into()))
}
