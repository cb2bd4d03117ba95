//! Questions that take more than rows: statistics, processes, pipelines. Where the server can answer
//! in one statement it does, and the run is one like any other.

mod changepoints;
pub mod matching;
mod pipeline;

pub use pipeline::{explain as explain_pipeline, export as export_pipeline};

use std::sync::Arc;

use serde_json::Value as Wire;

use crate::exec::{Engine, Mode, Run, RunOptions, query_wire};
use crate::model::Result;
use crate::query::{Analysis, EventQuery};
use crate::sql::{Purpose, analyse};

/// Checks and compiles a question and enters its run.
///
/// # Errors
/// What is wrong with it or with its options; CLOSED.
pub fn enter(engine: &Arc<Engine>, question: &str, options: RunOptions, mode: Mode) -> Result<Run> {
    let wire = query_wire(question)?;
    let regex = EventQuery::regex_path(&wire);
    if let Some(members) = members_of(&wire, "changepoints") {
        let run = changepoints::enter(engine, members, options, mode)?;
        return Ok(Run { regex, ..run });
    }
    if let Some(members) = ["funnel", "retention"]
        .iter()
        .find_map(|op| members_of(&wire, op))
    {
        let run = matching::enter_cohorts(engine, members, options, mode)?;
        return Ok(Run { regex, ..run });
    }
    if let Some(members) = members_of(&wire, "pipeline") {
        let run = pipeline::enter(engine, members, options, mode)?;
        return Ok(Run { regex, ..run });
    }
    let analysis = Analysis::parse(&wire)?;
    let statement = analyse(&analysis, &engine.target());
    let run = engine.enter_compiled(statement, &analysis.hints, options, mode)?;
    Ok(Run { regex, ..run })
}

/// The members of a question that is this one.
fn members_of<'w>(wire: &'w Wire, op: &str) -> Option<&'w serde_json::Map<String, Wire>> {
    let members = wire.as_object()?;
    (members.get("op").and_then(Wire::as_str) == Some(op)).then_some(members)
}

/// The statement of a question, for monitoring.
///
/// # Errors
/// What is wrong with it.
pub fn show(engine: &Engine, question: &str) -> Result<String> {
    let wire = query_wire(question)?;
    if let Some(members) = members_of(&wire, "changepoints") {
        let query = changepoints::series(members, engine)?;
        return Ok(engine.plan(&query, Purpose::Show)?.statement.sql);
    }
    if let Some(members) = ["funnel", "retention"]
        .iter()
        .find_map(|op| members_of(&wire, op))
    {
        return matching::show_cohorts(engine, members);
    }
    if let Some(members) = members_of(&wire, "pipeline") {
        return pipeline::show(engine, members);
    }
    let analysis = Analysis::parse(&wire)?;
    Ok(analyse(&analysis, &engine.target()).sql)
}
