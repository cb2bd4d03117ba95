//! Pipelines: compiled into one statement, run or exported as such. Where a stage looks for matches,
//! the stages before it say where, the matcher finds them, and a statement works on what it found.

use std::sync::Arc;

use serde_json::{Map, Value as Wire, json};

use super::matching::{self, Answer};
use super::{Made, events};
use crate::cache::Cache;
use crate::exec::{Engine, Run, RunOptions, Shape};
use crate::export::{self, Rows};
use crate::model::{Error, Result, path::Path, wire::known_keys};
use crate::query::pipeline::{MatchStage, Pipeline};
use crate::query::{EventQuery, Hints};
use crate::sql::{Compiled, Purpose, pipeline as compile};

struct Parsed {
    pipeline: Pipeline,
    hints: Hints,
}

/// Checks a pipeline: `{ op, stages, hints }`.
fn parsed(members: &Map<String, Wire>) -> Result<Parsed> {
    known_keys(members, &Path::Root, &["op", "stages", "hints"])?;
    let stages = members
        .get("stages")
        .ok_or_else(|| Error::invalid("stages", "is missing"))?;
    let hints = members.get("hints");
    Ok(Parsed {
        pipeline: Pipeline::parse(stages)?,
        hints: hints.map_or(Ok(Hints::default()), |wire| {
            Hints::parse(wire, &Path::Root.key("hints"))
        })?,
    })
}

/// What answers a pipeline, and how it is to be run.
pub fn asked(
    engine: &Engine,
    members: &Map<String, Wire>,
    purpose: Purpose,
) -> Result<(Made, Hints)> {
    let Parsed { pipeline, hints } = parsed(members)?;
    let compiled = compile(&pipeline, &engine.target(), purpose)?;
    let events = events(engine, pipeline.events())?;
    let Some(stage) = &pipeline.matched else {
        let made = Made {
            events,
            statement: compiled.statement,
            strategy: None,
        };
        return Ok((made, hints));
    };
    let then = (!pipeline.ends_with_matches()).then_some(compiled.statement);
    let answer = Answer::of_stage(engine, stage, then)?;
    Ok((answer.made(engine, events), hints))
}

/// Checks and compiles a pipeline and enters its export.
///
/// # Errors
/// What is wrong with it; CLOSED, or an id that is running.
pub fn export(
    engine: &Arc<Engine>,
    stages: &Wire,
    wanted: export::Options,
    options: RunOptions,
) -> Result<Run> {
    let pipeline = Pipeline::parse(stages)?;
    let statement = compile(&pipeline, &engine.target(), Purpose::Stream)?.statement;
    let (rows, shape) = if let Some(stage) = &pipeline.matched {
        let answer = Answer::of_stage(engine, stage, Some(statement))?;
        let shape = answer.shape(engine);
        (Rows::Found(Box::new(answer)), shape)
    } else {
        let shape = Shape::of_compiled(&statement.sql);
        (Rows::Of(Box::new(statement)), shape)
    };
    let hints = Hints::default();
    let run = export::enter(engine, rows, Arc::new(shape), wanted, &hints, options)?;
    let regex = EventQuery::regex_path(stages);
    Ok(Run { regex, ..run })
}

/// The plan of a pipeline, as `QueryExecutionPlan`: its first step tells what became of each stage.
///
/// # Errors
/// What is wrong with it, or why the server could not explain it.
pub async fn explain(engine: &Arc<Engine>, cache: &Cache, question: &str) -> Result<Wire> {
    let wire = crate::exec::query_wire(question)?;
    let members = wire.as_object().cloned().unwrap_or_default();
    let asked = parsed(&members)?;
    let compiled = compile(&asked.pipeline, &engine.target(), Purpose::Show)?;
    let names = stage_names(&members);
    let mut told = match &asked.pipeline.matched {
        None => of_one_statement(engine, compiled, &names).await?,
        Some(stage) => {
            let then = (!asked.pipeline.ends_with_matches()).then_some(compiled);
            around_matches(engine, stage, then, &names).await?
        }
    };
    let runs = names.iter().map(|name| match name.as_str() {
        "sequence" | "pattern" => json!({ "stage": name, "runs": "rust" }),
        _ => json!({ "stage": name, "runs": "sql" }),
    });
    let runs: Vec<Wire> = runs.collect();
    if let Some(first) = told.pointer_mut("/steps/0") {
        match first.get_mut("details").and_then(Wire::as_object_mut) {
            Some(details) => {
                details.insert("stages".to_owned(), runs.into());
            }
            None => first["details"] = json!({ "stages": runs }),
        }
    }
    let question = super::asked(engine, &wire, Purpose::Buffered)?;
    cache.explain_question(engine, question, &mut told).await?;
    Ok(told)
}

async fn of_one_statement(
    engine: &Arc<Engine>,
    compiled: Compiled,
    names: &[String],
) -> Result<Wire> {
    let mut rules = vec![json!({
        "rule": "stages to SQL",
        "before": names.join(" → "),
        "after": "one statement",
        "reason": "every stage has a form in SQL: rows leave the server once, at the end",
    })];
    rules.extend(compiled.rules_json());
    let mut told = engine.explain_statement(compiled.statement).await?;
    told["rules"] = rules.into();
    Ok(told)
}

/// The plan where a stage looks for matches: that of the matcher, below that of what comes behind it.
async fn around_matches(
    engine: &Arc<Engine>,
    stage: &MatchStage,
    then: Option<Compiled>,
    names: &[String],
) -> Result<Wire> {
    let answer = Answer::of_stage(engine, stage, None)?;
    let mut told = matching::explain_stage(engine, &answer).await?;
    let mut rules = vec![json!({
        "rule": "stages to SQL",
        "before": names.join(" → "),
        "after": if then.is_some() { "two statements with the matcher between them" } else { "one statement before the matcher" },
        "reason": "the order of events is looked at here: rows leave the server for it, and what it found is bound to the statement behind it",
    })];
    rules.extend(told["rules"].as_array().cloned().unwrap_or_default());
    if let Some(then) = then {
        rules.extend(then.rules_json());
        let sql = then.statement.sql.clone();
        let behind = engine.explain_statement(then.statement).await?;
        let mut above = behind["steps"].as_array().cloned().unwrap_or_default();
        if let Some(first) = above.first_mut() {
            first["details"] = json!({ "sql": sql });
        }
        above.extend(told["steps"].as_array().cloned().unwrap_or_default());
        told["steps"] = above.into();
        let text = |of: &Wire| of["text"].as_str().unwrap_or_default().to_owned();
        told["text"] = (text(&behind) + &text(&told)).into();
        for figure in ["estimatedCost", "executionTime"] {
            let sum = behind[figure].as_f64().unwrap_or(0.0) + told[figure].as_f64().unwrap_or(0.0);
            told[figure] = sum.into();
        }
        told["estimatedRows"] = behind["estimatedRows"].clone();
    }
    told["rules"] = rules.into();
    Ok(told)
}

fn stage_names(members: &Map<String, Wire>) -> Vec<String> {
    let stages = members.get("stages").and_then(Wire::as_array);
    let names = stages.into_iter().flatten().filter_map(Wire::as_object);
    names.flat_map(|stage| stage.keys().cloned()).collect()
}
