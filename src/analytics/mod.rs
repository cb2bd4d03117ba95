//! Questions that take more than rows: statistics, processes, pipelines. Where the server can answer
//! in one statement it does, and the run is one like any other.

use std::sync::Arc;

use crate::exec::{Engine, Mode, Run, RunOptions, query_wire};
use crate::model::Result;
use crate::query::{Analysis, EventQuery};
use crate::sql::analyse;

/// Checks and compiles a question and enters its run.
///
/// # Errors
/// What is wrong with it or with its options; CLOSED.
pub fn enter(engine: &Arc<Engine>, question: &str, options: RunOptions, mode: Mode) -> Result<Run> {
    let wire = query_wire(question)?;
    let analysis = Analysis::parse(&wire)?;
    let statement = analyse(&analysis, &engine.target());
    let run = engine.enter_compiled(statement, &analysis.hints, options, mode)?;
    Ok(Run {
        regex: EventQuery::regex_path(&wire),
        ..run
    })
}

/// The statement of a question, for monitoring.
///
/// # Errors
/// What is wrong with it.
pub fn show(engine: &Engine, question: &str) -> Result<String> {
    let analysis = Analysis::parse(&query_wire(question)?)?;
    Ok(analyse(&analysis, &engine.target()).sql)
}
