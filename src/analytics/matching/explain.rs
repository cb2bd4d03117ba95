//! The plan of a query for matches: what the server reads, and what the matcher makes of it.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::answer::Answer;
use super::run::{enter, is_asked, read, statement_of};
use crate::cache::Cache;
use crate::exec::{Engine, ExplainOptions, Mode, RunOptions, Shape, document};
use crate::model::{Error, Result};
use crate::plan::is_contradiction;
use crate::query::matching::Matching;
use crate::sql::{
    Bind, explain,
    matching::{self, Matched},
};

/// Explains a query for matches; `None` where the query is another.
///
/// # Errors
/// What is wrong with the query, or why the server could not explain it.
pub async fn explain(
    engine: &Arc<Engine>,
    cache: &Arc<Cache>,
    query: &str,
    options: &ExplainOptions,
) -> Result<Option<Wire>> {
    if !is_asked(query) {
        return Ok(None);
    }
    let Some(answer) = Answer::of(engine, &read(query)?)? else {
        return Ok(None);
    };
    let rows = answer.rows(engine);
    let nothing = is_contradiction(&answer.query.filter);
    let id = options.run.query_id.clone();
    let plan = plan_of(engine, &answer, &rows, options.analyze, id).await?;
    let (mut told, mut step) = told(&answer, &plan, &rows);
    let mut text = OPERATIONS[usize::from(told["strategy"] == "pattern")].to_owned();
    if options.analyze && !nothing {
        let (projection, target) = (answer.projection(), engine.target());
        let counts = counts(engine, matching::counts(&projection, &target)).await?;
        let matches = matches(engine, cache, query, &options.run).await?;
        text = format!(
            "{text}  (really {matches} matches of {} events and {} keys; {} keys lack a step and stay on the server)",
            counts[1], counts[0], counts[2]
        );
        step["actualRows"] = matches.into();
        step["details"] = json!({
            "rowsScanned": counts[1],
            "keys": counts[0],
            "keysSkipped": counts[2],
            "matches": matches,
        });
    }
    told["text"] = above(&text, &told).into();
    let id = options.run.query_id.clone().or(answer.query.id.clone());
    told["queryId"] = id
        .unwrap_or_else(|| uuid::Uuid::now_v7().to_string())
        .into();
    told["steps"] = json!([step]);
    let asked = answer.question(engine, read(query)?);
    cache.explain_question(engine, asked, &mut told).await?;
    Ok(Some(told))
}

/// Explains the matches of a stage of a pipeline.
///
/// # Errors
/// Why the server could not explain it.
pub async fn explain_stage(engine: &Arc<Engine>, answer: &Answer) -> Result<Wire> {
    let rows = answer.rows(engine);
    let plan = plan_of(engine, answer, &rows, false, None).await?;
    let (mut told, step) = told(answer, &plan, &rows);
    told["text"] = above(
        OPERATIONS[usize::from(told["strategy"] == "pattern")],
        &told,
    )
    .into();
    told["steps"] = json!([step]);
    told["queryId"] = uuid::Uuid::now_v7().to_string().into();
    Ok(told)
}

const OPERATIONS: [&str; 2] = ["Sequence Match", "Pattern Match"];

/// A line, and the server's plan below it.
fn above(line: &str, told: &Wire) -> String {
    let below = told["text"].as_str().unwrap_or_default();
    let below = below.lines().map(|line| format!("  {line}\n"));
    format!("{line}\n{}", below.collect::<String>())
}

/// The server's plan of what the matcher reads.
async fn plan_of(
    engine: &Arc<Engine>,
    answer: &Answer,
    rows: &Matched,
    analyze: bool,
    id: Option<String>,
) -> Result<explain::Plan> {
    if is_contradiction(&answer.query.filter) {
        return Ok(explain::Plan::nothing());
    }
    let explained = Matched {
        sql: explain::statement(&rows.sql, analyze),
        binds: rows.binds.clone(),
        kinds: Vec::new(),
    };
    explain::Plan::parse(&ask(engine, explained, 1, id).await?)
}

/// What is told of a plan, and the step of the matcher above it.
fn told(answer: &Answer, plan: &explain::Plan, rows: &Matched) -> (Wire, Wire) {
    let mut told = plan.to_json();
    let pattern = !matches!(answer.matching, Matching::Sequence(_));
    let step = json!({
        "operation": OPERATIONS[usize::from(pattern)],
        "estimatedRows": told["estimatedRows"],
        "estimatedCost": told["estimatedCost"],
        "children": told["steps"],
    });
    told["fingerprint"] = Shape::of_compiled(&rows.sql).hex().into();
    told["parameters"] = rows.binds.iter().map(Bind::to_json).collect();
    told["sql"] = rows.sql.as_str().into();
    told["strategy"] = if pattern { "pattern" } else { "sequence" }.into();
    told["rules"] = rules(answer, is_contradiction(&answer.query.filter));
    told["hints"] = (answer.query.hints.declined.iter())
        .map(|(hint, value)| json!({ "hint": hint, "value": value, "honoured": false, "reason": "not offered by this version" }))
        .collect();
    (told, step)
}

fn rules(answer: &Answer, nothing: bool) -> Wire {
    if nothing {
        return json!([{ "rule": "contradiction", "before": "the filter", "after": "false", "reason": "no event can satisfy the filter: the database is not asked" }]);
    }
    let projection = answer.projection();
    let mut rules = vec![
        json!({ "rule": "match-mask", "before": "whole events", "after": "key, time, id and a bit for each step", "reason": "the matcher needs no more; the events of matches are fetched by their ids" }),
    ];
    if projection.relevant.is_some() {
        rules.push(json!({ "rule": "match-relevant", "before": "all events", "after": "those of a step", "reason": "events of no step change nothing" }));
    }
    if projection.required != 0 {
        rules.push(json!({ "rule": "match-required", "before": "all keys", "after": "keys that have every required step", "reason": "a key that lacks a required step has no match" }));
    }
    rules.into()
}

async fn matches(
    engine: &Arc<Engine>,
    cache: &Arc<Cache>,
    query: &str,
    options: &RunOptions,
) -> Result<u64> {
    let Some(run) = enter(engine, cache, query, options, Mode::Stream)? else {
        return Ok(0);
    };
    let batches = engine.collect(run).await?;
    let last = batches.last().unwrap_or(&Wire::Null);
    if last.get("error").is_some() {
        document(&batches[batches.len() - 1..])?;
    }
    Ok(last["end"]["rowCount"].as_u64().unwrap_or(0))
}

async fn counts(engine: &Arc<Engine>, statement: Matched) -> Result<[u64; 3]> {
    let first = ask_all(engine, statement, 3, None).await?;
    let rows = first["rows"].as_array().cloned().unwrap_or_default();
    let count = |i: usize| rows.get(i).and_then(Wire::as_u64).unwrap_or(0);
    Ok([count(0), count(1), count(2)])
}

/// Runs a statement of one row and one column that is a document.
async fn ask(
    engine: &Arc<Engine>,
    statement: Matched,
    width: usize,
    id: Option<String>,
) -> Result<Wire> {
    let first = ask_all(engine, statement, width, id).await?;
    document(&[first]).cloned()
}

async fn ask_all(
    engine: &Arc<Engine>,
    statement: Matched,
    width: usize,
    id: Option<String>,
) -> Result<Wire> {
    let statement = statement_of(statement.sql, statement.binds, width);
    let run = engine.enter_statement(statement, id, Mode::Buffered)?;
    let batches = engine.collect(run).await?;
    let first = batches.into_iter().next();
    let first = first.ok_or_else(|| Error::Internal("no answer came".into()))?;
    if first.get("error").is_some() {
        document(std::slice::from_ref(&first))?;
    }
    Ok(first)
}
