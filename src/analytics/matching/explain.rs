//! The plan of a query for matches: what the server reads, and what the matcher makes of it.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::answer::Answer;
use super::hinted::Planned;
use super::read::{are_few, fits, keys_with_rare, rare, room};
use super::run::{enter, is_asked, read, statement_of};
use crate::cache::Cache;
use crate::exec::{Engine, ExplainOptions, Mode, RunOptions, declined, document};
use crate::model::{Error, Result};
use crate::plan::is_contradiction;
use crate::query::matching::Matching;
use crate::sql::{
    Bind, explain,
    matching::{self, KeyList, Matched, Projection},
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
    let nothing = is_contradiction(&answer.query.filter);
    let id = options.run.query_id.clone();
    let chosen = choose(engine, &answer, options.analyze, id).await?;
    let (mut told, mut step) = told(engine, &answer, &chosen);
    let mut text = OPERATIONS[usize::from(told["strategy"] == "pattern")].to_owned();
    if options.analyze && !nothing {
        let (projection, target) = (answer.projection(), engine.target());
        let counts = counts(engine, matching::counts(&projection, &target)).await?;
        let matches = matches(engine, cache, query, &options.run).await?;
        text = format!(
            "{text}  (really {matches} matches of {} events and {} keys; {} keys lack a step)",
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
    let chosen = choose(engine, answer, false, None).await?;
    let (mut told, step) = told(engine, answer, &chosen);
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

/// What is read, and how.
struct Chosen<'a> {
    statement: Matched,
    plan: explain::Plan,
    projection: Projection<'a>,
    in_memory: bool,
    /// What became of hints, where they were looked into.
    outcomes: Vec<Wire>,
}

/// Chooses as a run does, by the server's estimates.
async fn choose<'a>(
    engine: &Arc<Engine>,
    answer: &'a Answer,
    analyze: bool,
    id: Option<String>,
) -> Result<Chosen<'a>> {
    let nothing = is_contradiction(&answer.query.filter);
    if answer.is_hinted() && !nothing {
        return choose_by_hints(engine, answer, analyze, id).await;
    }
    let target = engine.target();
    let mut projection = answer.projection();
    let mut conditions = Vec::new();
    for bit in answer.estimated_bits().into_iter().filter(|_| !nothing) {
        let statement = matching::one_condition(&projection, bit, &target);
        let estimated = ask(engine, explained(&statement, false), 1, None).await?;
        let rows = estimated["Plan"]["Plan Rows"].as_f64();
        conditions.push((bit, rows.unwrap_or(f64::MAX)));
    }
    projection.rare = rare(&conditions);
    // Not for what is not run: the keys are found by reading.
    let keys = match keys_with_rare(&projection, &conditions, &target) {
        Some(statement) if analyze => Some(texts(engine, statement).await?),
        _ => None,
    };
    let list = (keys.filter(|keys| are_few(keys))).map(|keys| [KeyList::Texts(keys)]);
    let listed = projection.of_keys(list.as_ref().map(<[_; 1]>::as_slice));
    let (_, most) = room(engine.config.limits.max_result_bytes);
    let mut statement = matching::gathered(&listed, &target, most + 1);
    let mut in_memory = answer.may_gather(&statement.kinds);
    let mut plan = explain::Plan::nothing();
    if in_memory && !nothing {
        let told = ask(engine, explained(&statement, analyze), 1, id.clone()).await?;
        let expected = told["Plan"]["Plan Rows"].as_f64();
        in_memory = fits(expected.unwrap_or(f64::MAX), most);
        plan = explain::Plan::parse(&told)?;
    }
    if !in_memory {
        statement = matching::rows(&listed, &target);
    }
    if !in_memory && !nothing {
        let told = ask(engine, explained(&statement, analyze), 1, id.clone()).await?;
        plan = explain::Plan::parse(&told)?;
    }
    Ok(Chosen {
        statement,
        plan,
        projection,
        in_memory,
        outcomes: Vec::new(),
    })
}

/// Chooses as a run does whose hints say how its events are read.
async fn choose_by_hints<'a>(
    engine: &Arc<Engine>,
    answer: &'a Answer,
    analyze: bool,
    id: Option<String>,
) -> Result<Chosen<'a>> {
    let planned = Planned {
        answer: answer.clone(),
        analyze,
    };
    let run = RunOptions {
        query_id: id,
        ..RunOptions::default()
    };
    let (shape, hints) = (Arc::new(answer.shape(engine)), &answer.query.hints);
    let run = engine.enter_strategy(Box::new(planned), shape, hints, run, Mode::Buffered)?;
    let batches = engine.collect(run).await?;
    let plan = explain::Plan::parse(document(&batches)?)?;
    let outcomes = (batches.last()).and_then(|last| last.pointer("/end/hints"));
    let (_, most) = room(engine.config.limits.max_result_bytes);
    let target = engine.target();
    let gathered = answer.whole(&target, true, most);
    let rows = plan.to_json()["estimatedRows"].as_f64();
    let in_memory = answer.may_gather(&gathered.kinds) && fits(rows.unwrap_or(0.0), most);
    Ok(Chosen {
        statement: if in_memory {
            gathered
        } else {
            answer.whole(&target, false, most)
        },
        plan,
        projection: answer.projection(),
        in_memory,
        outcomes: outcomes
            .and_then(Wire::as_array)
            .cloned()
            .unwrap_or_default(),
    })
}

fn explained(statement: &Matched, analyze: bool) -> Matched {
    Matched {
        sql: explain::statement(&statement.sql, analyze),
        binds: statement.binds.clone(),
        kinds: Vec::new(),
    }
}

/// What is told of a plan, and the step of the matcher above it.
fn told(engine: &Engine, answer: &Answer, chosen: &Chosen<'_>) -> (Wire, Wire) {
    let mut told = chosen.plan.to_json();
    let rows = &chosen.statement;
    let pattern = !matches!(answer.matching, Matching::Sequence(_));
    let step = json!({
        "operation": OPERATIONS[usize::from(pattern)],
        "estimatedRows": told["estimatedRows"],
        "estimatedCost": told["estimatedCost"],
        "children": told["steps"],
    });
    told["fingerprint"] = answer.shape(engine).hex().into();
    told["parameters"] = rows.binds.iter().map(Bind::to_json).collect();
    told["sql"] = rows.sql.as_str().into();
    told["strategy"] = if pattern { "pattern" } else { "sequence" }.into();
    told["rules"] = rules(chosen, is_contradiction(&answer.query.filter));
    let looked_into = |name: &str| chosen.outcomes.iter().any(|hint| hint["hint"] == name);
    let unseen = answer.query.hints.declined.iter();
    let unseen = unseen.filter(|(name, _)| !looked_into(name));
    told["hints"] = (chosen.outcomes.iter().cloned())
        .chain(unseen.map(|(hint, value)| json!({ "hint": hint, "value": value, "honoured": false, "reason": declined(hint) })))
        .collect();
    (told, step)
}

fn rules(chosen: &Chosen<'_>, nothing: bool) -> Wire {
    if nothing {
        return json!([{ "rule": "contradiction", "before": "the filter", "after": "false", "reason": "no event can satisfy the filter: the database is not asked" }]);
    }
    let projection = &chosen.projection;
    let mut rules = vec![
        json!({ "rule": "match-mask", "before": "whole events", "after": "key, time, id and a bit for each step", "reason": "the matcher needs no more; the events of matches are fetched by their ids" }),
    ];
    if projection.relevant.is_some() {
        rules.push(json!({ "rule": "match-relevant", "before": "all events", "after": "those of a step", "reason": "events of no step change nothing" }));
    }
    if projection.required != 0 {
        rules.push(json!({ "rule": "match-required", "before": "all keys", "after": "keys that have every required step", "reason": "a key that lacks a required step has no match" }));
    }
    if projection.rare != 0 {
        rules.push(json!({ "rule": "match-rare", "before": "the events of all keys", "after": "those of keys that have the rarest steps", "reason": "by the server's estimate these are few, and their keys are asked for first: other keys never leave the server" }));
    }
    if chosen.in_memory {
        rules.push(json!({ "rule": "match-unsorted", "before": "rows sorted by key", "after": "rows as the server finds them", "reason": "by the server's estimate they fit into memory, where a hash of the key does" }));
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
    Ok(last["end"]["rowCount"].as_u64().unwrap_or(0))
}

async fn counts(engine: &Arc<Engine>, statement: Matched) -> Result<[u64; 3]> {
    let first = ask_all(engine, statement, 3, None).await?;
    let rows = first["rows"].as_array().cloned().unwrap_or_default();
    let count = |i: usize| rows.get(i).and_then(Wire::as_u64).unwrap_or(0);
    Ok([count(0), count(1), count(2)])
}

/// The texts that a statement answers.
async fn texts(engine: &Arc<Engine>, statement: Matched) -> Result<Vec<String>> {
    let run = engine.enter_statement(
        statement_of(statement.sql, statement.binds, 1),
        None,
        Mode::Buffered,
    )?;
    let mut texts = Vec::new();
    for batch in engine.collect(run).await? {
        let rows = batch["rows"].as_array().into_iter().flatten();
        texts.extend(rows.filter_map(Wire::as_str).map(str::to_owned));
    }
    Ok(texts)
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
    first.ok_or_else(|| Error::Internal("no answer came".into()))
}
