//! The plan of a query: PostgreSQL's own, of the very statement that would run.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::engine::{Engine, query_wire};
use super::fault::fault;
use super::frame;
use super::hinted::Hinted;
use super::request::{Mode, RunOptions};
use super::run::Run;
use super::shape::Shape;
use super::slices::Slices;
use crate::model::{Error, Result};
use crate::plan::{AppliedRule, Confidence, Optimized, rewrite};
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

/// A query that was asked about, and what would run.
struct Asked {
    wire: Wire,
    tables: Vec<String>,
    query: EventQuery,
    optimized: Optimized,
    /// As it is sent.
    statement: Statement,
    /// As people are shown it.
    shown: Statement,
    shape: u64,
    fingerprint: String,
}

/// A plan that PostgreSQL made.
struct Planning {
    query_id: String,
    plan: explain::Plan,
    /// What became of hints, where the way that it runs looked into them.
    outcomes: Option<Wire>,
}

impl Engine {
    /// Explains a query, as `QueryExecutionPlan`.
    ///
    /// # Errors
    /// What is wrong with the query, or why the server could not explain it.
    pub async fn explain(self: &Arc<Self>, query: &str, options: ExplainOptions) -> Result<Wire> {
        let asked = self.asked(query_wire(query)?).await?;
        let planning = self.plan_of(&asked, &options).await?;
        let mut told = planning.plan.to_json();
        told["queryId"] = planning.query_id.into();
        let (time, confidence) = self.time_of(&asked, &planning.plan);
        if planning.plan.measured().is_none() {
            // With nothing learned there is little to go by: PostgreSQL's unit is a page that is read.
            told["executionTime"] = time.unwrap_or(planning.plan.cost() / 100.0).into();
            told["confidence"] = confidence.word().into();
        }
        let mut warnings = planning.plan.warnings();
        warnings.extend(self.advice(&asked.query, &planning.plan.indexes()));
        told["warnings"] = warnings.into();
        told["fingerprint"] = asked.fingerprint.into();
        told["parameters"] = asked.shown.binds.iter().map(Bind::to_json).collect();
        told["sql"] = asked.shown.sql.into();
        told["strategy"] = strategy(planning.outcomes.as_ref()).into();
        told["rules"] = rules_json(&asked.optimized.rules);
        told["hints"] = (planning.outcomes).unwrap_or_else(|| declined(&asked.query));
        Ok(told)
    }

    /// The cost of a query, as `QueryCost`. Nothing is run.
    ///
    /// # Errors
    /// What is wrong with the query, or why the server could not explain it.
    pub async fn estimate(self: &Arc<Self>, query: &str) -> Result<Wire> {
        let asked = self.asked(query_wire(query)?).await?;
        let plan = self.plan_of(&asked, &ExplainOptions::default()).await?.plan;
        let time = self.time_of(&asked, &plan);
        Ok(cost_json(&plan, time))
    }

    /// A query with every rule applied, as `OptimizedQuery` without recommendations.
    ///
    /// # Errors
    /// What is wrong with the query, or why the server could not explain it.
    pub async fn optimized(self: &Arc<Self>, query: &str) -> Result<Wire> {
        let asked = self.asked(query_wire(query)?).await?;
        let plan = self.plan_of(&asked, &ExplainOptions::default()).await?.plan;
        let time = self.time_of(&asked, &plan);
        let mut wire = asked.wire;
        rewrite(&mut wire, &asked.query, &asked.optimized.plan.query);
        let parameters: Vec<Wire> = asked.shown.binds.iter().map(Bind::to_json).collect();
        Ok(json!({
            "query": wire,
            "sql": asked.shown.sql,
            "parameters": parameters,
            "rules": rules_json(&asked.optimized.rules),
            "cost": cost_json(&plan, time),
        }))
    }

    /// Explains a statement that the core compiled for people, as `QueryExecutionPlan` without rules.
    ///
    /// # Errors
    /// Why the server could not explain it.
    pub async fn explain_statement(self: &Arc<Self>, shown: Statement) -> Result<Wire> {
        let statement = Statement {
            sql: explain::statement(&shown.sql, false),
            ..explained(shown.binds.clone())
        };
        let run = self.enter_statement(statement, None, Mode::Buffered)?;
        let query_id = run.ticket.id().to_owned();
        let batches = self.collect(run).await?;
        let mut told = explain::Plan::parse(document(&batches)?)?.to_json();
        told["queryId"] = query_id.into();
        told["fingerprint"] = Shape::of_compiled(&shown.sql).hex().into();
        told["parameters"] = shown.binds.iter().map(Bind::to_json).collect();
        told["sql"] = shown.sql.into();
        told["strategy"] = "single".into();
        told["rules"] = json!([]);
        told["hints"] = json!([]);
        Ok(told)
    }

    /// How long a plan will take; what was measured is learned from.
    fn time_of(&self, asked: &Asked, plan: &explain::Plan) -> (Option<f64>, Confidence) {
        let calibration = &self.planning.calibration;
        if asked.optimized.plan.is_empty() {
            return (Some(0.0), Confidence::High);
        }
        let kind = plan.dominant();
        if let Some(millis) = plan.measured() {
            calibration.measured(kind, plan.cost(), millis);
        }
        calibration.estimate(asked.shape, kind, plan.cost())
    }

    /// Checks and plans a query; the tables that it names are looked up.
    async fn asked(&self, wire: Wire) -> Result<Asked> {
        let mut catalog = self.catalog();
        let tables = EventQuery::tables(&wire, &catalog);
        // Who asks for a plan wants it of the indexes and tables that there are now.
        let mut lease = self.pool.acquire_alive().await?;
        self.learn_indexes(&mut lease.connection().driver).await;
        if !tables.is_empty() {
            self.forget_tables(&tables);
            let learnt = self.learn(&mut lease.connection().driver, &tables);
            catalog = learnt.await.map_err(fault)?;
        }
        lease.release();
        let query = EventQuery::parse(&wire, &catalog)?;
        let target = self.target();
        let optimized = self.optimize(&query);
        let shape = Shape::of_compiled(&compile(&query, &target, Purpose::Show)?.sql);
        let statement = if query.since.is_some() {
            let mut lease = self.pool.acquire_alive().await?;
            let now = self.caught_up(&query, lease.connection()).await;
            lease.settle(&now);
            let now = now?;
            (self.optimize(&now)).compile(&now, &target, Purpose::Buffered, None)?
        } else {
            optimized.compile(&query, &target, Purpose::Buffered, None)?
        };
        Ok(Asked {
            statement,
            shown: optimized.compile(&query, &target, Purpose::Show, None)?,
            shape: shape.fingerprint,
            fingerprint: shape.hex(),
            wire,
            tables,
            query,
            optimized,
        })
    }

    /// The run that explains a query as it would be answered: by slices, or by one statement.
    fn explain_by(
        &self,
        statement: Statement,
        query: &EventQuery,
        id: Option<String>,
        asked: &Asked,
        analyze: bool,
    ) -> Result<Run> {
        let fingerprint = self.shape_of(&asked.statement, query).fingerprint;
        if !Slices::explains(self, query, fingerprint) {
            return self.enter_statement(statement, id, Mode::Buffered);
        }
        let run = RunOptions {
            query_id: id,
            ..RunOptions::default()
        };
        let shape = Arc::new(Shape::of_compiled(&statement.sql));
        let slices = Slices::explaining(query.clone(), fingerprint, statement, analyze);
        self.enter_strategy(Box::new(slices), shape, &query.hints, run, Mode::Buffered)
    }

    /// PostgreSQL's plan, and the run that asked for it.
    async fn plan_of(
        self: &Arc<Self>,
        asked: &Asked,
        options: &ExplainOptions,
    ) -> Result<Planning> {
        let query = &asked.query;
        let id = (options.run.query_id.clone()).or_else(|| query.id.clone());
        let mut run = if query.hints.name_indexes() {
            let strategy = Hinted {
                query: asked.wire.clone(),
                tables: asked.tables.clone(),
                purpose: Purpose::Buffered,
                explain: Some(options.analyze),
            };
            let run = RunOptions {
                query_id: id,
                ..RunOptions::default()
            };
            let shape = self.shape_of(&asked.statement, query);
            self.enter_strategy(Box::new(strategy), shape, &query.hints, run, Mode::Buffered)?
        } else {
            let statement = Statement {
                sql: explain::statement(&asked.statement.sql, options.analyze),
                ..explained(asked.statement.binds.clone())
            };
            self.explain_by(statement, query, id, asked, options.analyze)?
        };
        if let Some(timeout) = options.run.timeout {
            run.timeout =
                super::interrupt::time_allowed(Some(timeout), &self.config.limits, Mode::Buffered);
        }
        run.regex = EventQuery::regex_path(&asked.wire);
        let query_id = run.ticket.id().to_owned();
        if asked.optimized.plan.is_empty() {
            return Ok(Planning {
                query_id,
                plan: explain::Plan::nothing(),
                outcomes: None,
            });
        }
        let batches = self.collect(run).await?;
        Ok(Planning {
            query_id,
            plan: explain::Plan::parse(document(&batches)?)?,
            outcomes: (batches.last()).and_then(|last| last.pointer("/end/hints").cloned()),
        })
    }
}

/// How the query is answered, by what became of its hints.
fn strategy(outcomes: Option<&Wire>) -> &'static str {
    let mut hints = outcomes.and_then(Wire::as_array).into_iter().flatten();
    let cut = hints.any(|hint| hint["hint"] == "parallel" && hint["honoured"] == true);
    if cut { "parallel" } else { "single" }
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
        since: None,
    }
}

/// The hints that this plan does not act on.
fn declined(query: &EventQuery) -> Wire {
    let told = |hint| match hint {
        "readFrom" => "a plan is the primary's; the result of a run says who answered",
        other => frame::declined(other),
    };
    (query.hints.declined.iter())
        .map(|(hint, value)| json!({ "hint": hint, "value": value, "honoured": false, "reason": told(hint) }))
        .collect()
}

fn rules_json(rules: &[AppliedRule]) -> Wire {
    rules
        .iter()
        .map(
            |AppliedRule {
                 rule,
                 before,
                 after,
                 reason,
             }| {
                json!({ "rule": rule, "before": before, "after": after, "reason": reason })
            },
        )
        .collect()
}

fn cost_json(plan: &explain::Plan, (time, confidence): (Option<f64>, Confidence)) -> Wire {
    json!({
        "estimatedCost": plan.cost(),
        "estimatedRows": plan.rows(),
        "estimatedBytes": plan.bytes(),
        "estimatedTime": time,
        "confidence": confidence.word(),
    })
}

/// The document that EXPLAIN answered with.
///
/// # Errors
/// INTERNAL where there is none.
pub fn document(batches: &[Wire]) -> Result<&Wire> {
    let first = batches.first();
    first
        .and_then(|first| first.pointer("/rows/0/0"))
        .ok_or_else(|| Error::Internal("EXPLAIN gave no plan".into()))
}
