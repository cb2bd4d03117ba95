//! What is asked: given patterns, or what a client has recorded.

use serde_json::Value as Wire;

use crate::exec::{Engine, Shape};
use crate::model::{
    Error, Result,
    path::Path,
    wire::{known_keys, object},
};
use crate::query::EventQuery;
use crate::sql::{Purpose, Statement, Target, compile};

/// A query of the workload.
#[derive(Clone, Debug)]
pub struct Question {
    /// What monitoring calls it.
    pub fingerprint: String,
    /// The query.
    pub query: EventQuery,
    /// Its statement on the event table.
    pub statement: Statement,
    /// How often it is asked, in the window considered.
    pub weight: f64,
}

impl Question {
    /// A query, and how often it is asked.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn new(engine: &Engine, wire: &Wire, weight: f64) -> Result<Self> {
        let query = EventQuery::parse(wire, &engine.catalog())?;
        let target = engine.target();
        let shown = compile(&query, &target, Purpose::Show)?;
        Ok(Self {
            fingerprint: Shape::of_compiled(&shown.sql).hex(),
            statement: compile(&query, &target, Purpose::Buffered)?,
            query,
            weight,
        })
    }

    /// Its statement on another table of the same columns, which holds so large a share of the
    /// events: so large a share of its answer is asked for.
    ///
    /// # Errors
    /// As [`compile`].
    pub fn on(&self, target: &Target, share: f64) -> Result<Statement> {
        let mut query = self.query.clone();
        let shared = |n: u64| part_of(n, share);
        query.limit = query.limit.map(|n| shared(n).max(n.min(1)));
        query.offset = query.offset.map(shared);
        compile(&query, target, Purpose::Buffered)
    }

    /// Rows of the answer that a limit lets be read, with those that are passed over.
    #[allow(clippy::cast_precision_loss)] // A factor of costs.
    pub fn wanted(&self) -> Option<f64> {
        let limit = self.query.limit?;
        Some((limit.saturating_add(self.query.offset.unwrap_or(0))) as f64)
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // A share of it, rounded up: where it is that large, exactness means nothing.
fn part_of(n: u64, share: f64) -> u64 {
    (n as f64 * share.clamp(0.0, 1.0)).ceil() as u64
}

/// What was asked lately, by whoever watches.
pub trait Recorded: Send + Sync {
    /// Queries as the API writes them, and how often each was asked.
    fn recorded(&self) -> Vec<(Wire, f64)>;
}

/// Reads `QueryPattern[]`.
///
/// # Errors
/// The path of what is wrong.
pub fn parse(engine: &Engine, wire: &Wire) -> Result<Vec<Question>> {
    let root = Path::Root;
    let here = root.key("queryPatterns");
    let patterns = wire
        .as_array()
        .ok_or_else(|| Error::invalid(here, "must be a list of patterns"))?;
    let mut questions = Vec::with_capacity(patterns.len());
    for (i, pattern) in patterns.iter().enumerate() {
        let place = here.index(i);
        let members = object(pattern, &place, "a pattern such as { query, frequency }")?;
        known_keys(members, &place, &["query", "frequency", "averageTime"])?;
        let number = |key: &str| -> Result<Option<f64>> {
            let at = place.key(key);
            match members.get(key) {
                None => Ok(None),
                Some(wire) => wire
                    .as_f64()
                    .filter(|n| *n >= 0.0)
                    .map(Some)
                    .ok_or_else(|| Error::invalid(at, "must be a number from 0")),
            }
        };
        let query = members
            .get("query")
            .ok_or_else(|| Error::invalid(place.key("query"), "is missing"))?;
        let weight = number("frequency")?.unwrap_or(1.0);
        number("averageTime")?;
        let question = Question::new(engine, query, weight).map_err(|error| match error {
            Error::InvalidQuery { path, problem } => {
                Error::invalid(format!("{}.{path}", place.key("query")), problem)
            }
            Error::UnknownField { path, field } => Error::UnknownField {
                path: format!("{}.{path}", place.key("query")),
                field,
            },
            other => other,
        })?;
        questions.push(question);
    }
    Ok(questions)
}

/// What was recorded. What cannot be asked any more, of another table or by an older cursor, is left
/// out.
pub fn of_recorded(engine: &Engine, recorded: Vec<(Wire, f64)>) -> Vec<Question> {
    recorded
        .into_iter()
        .filter_map(|(wire, weight)| Question::new(engine, &wire, weight).ok())
        .collect()
}
