//! Pipelines: compiled into one statement, run or exported as such.

use std::sync::Arc;

use serde_json::{Map, Value as Wire, json};

use crate::exec::{Engine, Mode, Run, RunOptions, Shape};
use crate::export::{self, Rows};
use crate::model::{Error, Result, path::Path, wire::known_keys};
use crate::query::pipeline::Pipeline;
use crate::query::{EventQuery, Hints};
use crate::sql::{Purpose, pipeline as compile};

struct Asked {
    pipeline: Pipeline,
    hints: Hints,
}

/// Checks a pipeline: `{ op, stages, hints }`.
fn asked(members: &Map<String, Wire>) -> Result<Asked> {
    known_keys(members, &Path::Root, &["op", "stages", "hints"])?;
    let stages = members
        .get("stages")
        .ok_or_else(|| Error::invalid("stages", "is missing"))?;
    let hints = members.get("hints");
    Ok(Asked {
        pipeline: Pipeline::parse(stages)?,
        hints: hints.map_or(Ok(Hints::default()), |wire| {
            Hints::parse(wire, &Path::Root.key("hints"))
        })?,
    })
}

/// Enters the run of a pipeline.
pub fn enter(
    engine: &Arc<Engine>,
    members: &Map<String, Wire>,
    options: RunOptions,
    mode: Mode,
) -> Result<Run> {
    let asked = asked(members)?;
    let purpose = match mode {
        Mode::Buffered => Purpose::Buffered,
        Mode::Stream => Purpose::Stream,
    };
    let compiled = compile(&asked.pipeline, &engine.target(), purpose)?;
    engine.enter_compiled(compiled.statement, &asked.hints, options, mode)
}

/// The statement of a pipeline, for people.
pub fn show(engine: &Engine, members: &Map<String, Wire>) -> Result<String> {
    let asked = asked(members)?;
    let compiled = compile(&asked.pipeline, &engine.target(), Purpose::Show)?;
    Ok(compiled.statement.sql)
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
    let shape = Arc::new(Shape::of_compiled(&statement.sql));
    let rows = Rows::Of(Box::new(statement));
    let run = export::enter(engine, rows, shape, wanted, &Hints::default(), options)?;
    let regex = EventQuery::regex_path(stages);
    Ok(Run { regex, ..run })
}

/// The plan of a pipeline, as `QueryExecutionPlan`: its first step tells what became of each stage.
///
/// # Errors
/// What is wrong with it, or why the server could not explain it.
pub async fn explain(engine: &Arc<Engine>, question: &str) -> Result<Wire> {
    let wire = crate::exec::query_wire(question)?;
    let members = wire.as_object().cloned().unwrap_or_default();
    let asked = asked(&members)?;
    let compiled = compile(&asked.pipeline, &engine.target(), Purpose::Show)?;
    let mut rules = vec![json!({
        "rule": "stages to SQL",
        "before": stage_names(&members).join(" → "),
        "after": "one statement",
        "reason": "every stage has a form in SQL: rows leave the server once, at the end",
    })];
    rules.extend(
        compiled
            .rules_json()
            .as_array()
            .cloned()
            .unwrap_or_default(),
    );
    let mut told = engine.explain_statement(compiled.statement).await?;
    told["rules"] = rules.into();
    if let Some(first) = told.pointer_mut("/steps/0") {
        let stages = stage_names(&members);
        let stages = stages
            .iter()
            .map(|name| json!({ "stage": name, "runs": "sql" }));
        let stages: Vec<Wire> = stages.collect();
        match first.get_mut("details").and_then(Wire::as_object_mut) {
            Some(details) => {
                details.insert("stages".to_owned(), stages.into());
            }
            None => first["details"] = json!({ "stages": stages }),
        }
    }
    Ok(told)
}

fn stage_names(members: &Map<String, Wire>) -> Vec<String> {
    let stages = members.get("stages").and_then(Wire::as_array);
    let names = stages.into_iter().flatten().filter_map(Wire::as_object);
    names.flat_map(|stage| stage.keys().cloned()).collect()
}
