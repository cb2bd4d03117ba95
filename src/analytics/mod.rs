//! Questions that take more than rows: statistics, processes, pipelines. Where the server can answer
//! in one statement it does, and the run is one like any other. Whatever answers, the cache knows the
//! events that the answer depends on, and keeps it for as long as no new one is among them.

mod changepoints;
pub mod matching;
mod pipeline;

pub use pipeline::{explain as explain_pipeline, export as export_pipeline};

use std::sync::Arc;

use serde_json::{Map, Value as Wire};

use crate::cache::{Cache, Question};
use crate::exec::{Engine, Mode, Run, RunOptions, Shape, Strategy, query_wire};
use crate::model::{Error, Result};
use crate::query::{Analysis, Condition, EventQuery, Hints};
use crate::sql::{Purpose, Statement, analyse};

/// Checks and compiles a question and enters its run, which the cache answers where it was asked to.
///
/// # Errors
/// What is wrong with it or with its options; CLOSED.
pub fn enter(
    engine: &Arc<Engine>,
    cache: &Arc<Cache>,
    question: &str,
    options: RunOptions,
    mode: Mode,
) -> Result<Run> {
    let wire = query_wire(question)?;
    let regex = EventQuery::regex_path(&wire);
    let purpose = match mode {
        Mode::Buffered => Purpose::Buffered,
        Mode::Stream => Purpose::Stream,
    };
    let asked = asked(engine, &wire, purpose)?;
    let run = cache.enter_question(engine, asked, options, mode)?;
    Ok(Run { regex, ..run })
}

/// The statement of a question, for monitoring.
///
/// # Errors
/// What is wrong with it.
pub fn show(engine: &Engine, question: &str) -> Result<String> {
    Ok(asked(engine, &query_wire(question)?, Purpose::Show)?
        .statement
        .sql)
}

/// Checks and compiles a question.
fn asked(engine: &Engine, wire: &Wire, purpose: Purpose) -> Result<Question> {
    let text = text_of(wire.clone());
    let none = Map::new();
    let members = wire.as_object().unwrap_or(&none);
    let (made, mut hints) = match members.get("op").and_then(Wire::as_str) {
        Some("changepoints") => changepoints::asked(engine, members)?,
        Some("funnel" | "retention") => matching::asked_cohorts(engine, members)?,
        Some("pipeline") => pipeline::asked(engine, members, purpose)?,
        _ => {
            let analysis = Analysis::parse(wire)?;
            let statement = analyse(&analysis, &engine.target());
            let made = Made {
                events: events(engine, analysis.filter)?,
                statement,
                strategy: None,
            };
            (made, analysis.hints)
        }
    };
    decline(&mut hints)?;
    Ok(Question {
        text,
        shape: Arc::new(Shape::of_compiled(&made.statement.sql)),
        events: made.events,
        hints,
        statement: made.statement,
        strategy: made.strategy,
    })
}

/// What answers a question, and all events that its answer depends on.
pub struct Made {
    /// The events.
    pub events: EventQuery,
    /// The statement that answers it, or that the strategy begins with.
    pub statement: Statement,
    /// What answers it, where that is more than the statement.
    pub strategy: Option<Box<dyn Strategy>>,
}

/// The events of a filter, as a query.
fn events(engine: &Engine, filter: Condition) -> Result<EventQuery> {
    let all = serde_json::json!({ "filter": {} });
    Ok(EventQuery {
        filter,
        ..EventQuery::parse(&all, &engine.catalog())?
    })
}

/// A question's text without what only says how it is run: the same for the same question.
fn text_of(mut wire: Wire) -> String {
    if let Some(members) = wire.as_object_mut() {
        members.remove("hints");
        members.remove("id");
    }
    wire.to_string()
}

/// What no question of analysis acts on is said to be so.
fn decline(hints: &mut Hints) -> Result<()> {
    if !hints.force_index.is_empty() {
        return Err(Error::Unsupported {
            path: "hints.forceIndex".to_owned(),
            what: "the use of an index is not proved for questions of analysis".into(),
        });
    }
    let named = hints.use_index.drain(..);
    (hints.declined).extend(named.map(|name| ("useIndex", name)));
    if hints.parallel.take() == Some(true) {
        hints.declined.push(("parallel", "true".to_owned()));
    }
    Ok(())
}
