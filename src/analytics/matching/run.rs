//! Entering runs of queries for matches.

use std::sync::Arc;

use serde_json::{Map, Value as Wire};

use super::answer::Answer;
use super::patterns;
use crate::analytics::{Made, text_of};
use crate::cache::{Cache, Question};
use crate::exec::{Engine, Mode, Run, RunOptions, Shape};
use crate::model::{Error, Result, path::Path};
use crate::query::{
    EventQuery, Hints,
    matching::{Funnel, Matching, Retention},
};
use crate::sql::{
    Bind, Statement,
    matching::{self, Matched},
};

/// Whether a query's text may ask for matches: a text without these names does not.
pub fn is_asked(query: &str) -> bool {
    ["\"sequence\"", "\"pattern\""]
        .iter()
        .any(|member| memchr::memmem::find(query.as_bytes(), member.as_bytes()).is_some())
}

/// The run of a query for matches, which the cache answers where it was asked to; `None` where the query
/// is another.
///
/// # Errors
/// What is wrong with the query or its options; CLOSED.
pub fn enter(
    engine: &Arc<Engine>,
    cache: &Arc<Cache>,
    query: &str,
    options: &RunOptions,
    mode: Mode,
) -> Result<Option<Run>> {
    if !is_asked(query) {
        return Ok(None);
    }
    let wire = read(query)?;
    let Some(answer) = Answer::of(engine, &wire)? else {
        return Ok(None);
    };
    let options = RunOptions {
        query_id: options.query_id.clone().or_else(|| answer.query.id.clone()),
        ..options.clone()
    };
    let regex = EventQuery::regex_path(&wire);
    let run = cache.enter_question(engine, answer.question(engine, wire), options, mode)?;
    Ok(Some(Run { regex, ..run }))
}

/// What monitoring calls a query for matches; `None` where the query is another.
///
/// # Errors
/// What is wrong with the query.
pub fn shape(engine: &Engine, query: &str) -> Result<Option<Shape>> {
    if !is_asked(query) {
        return Ok(None);
    }
    let answer = Answer::of(engine, &read(query)?)?;
    Ok(answer.map(|answer| answer.shape(engine)))
}

/// What answers a funnel or retention, and how it is to be run.
///
/// # Errors
/// What is wrong with it.
pub fn asked_cohorts(engine: &Engine, members: &Map<String, Wire>) -> Result<(Made, Hints)> {
    let answer = Answer::of_cohorts(engine, members)?;
    let hints = members.get("hints").map_or(Ok(Hints::default()), |wire| {
        Hints::parse(wire, &Path::Root.key("hints"))
    })?;
    let events = answer.query.clone();
    Ok((answer.made(engine, events), hints))
}

/// A statement whose columns are the matcher's own.
pub(super) fn statement_of(sql: String, binds: Vec<Bind>, width: usize) -> Statement {
    Statement {
        sql,
        binds,
        columns: Some((0..width).map(|i| i.to_string()).collect()),
        visible: width,
        json_scalars: Vec::new(),
        computed: Vec::new(),
        keys: Vec::new(),
        token: None,
        limit: None,
        identity: 0,
        since: None,
    }
}

pub(super) fn read(query: &str) -> Result<Wire> {
    serde_json::from_str(query).map_err(|e| Error::invalid("", format!("is not JSON: {e}")))
}

impl Answer {
    /// The answer of a query that asks for matches.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn of(engine: &Engine, wire: &Wire) -> Result<Option<Self>> {
        let mut query = EventQuery::parse(wire, &engine.catalog())?;
        let matching = query.matching.take();
        if let Some(Matching::Pattern(pattern)) = &matching {
            patterns::check(pattern)?;
        }
        Ok(matching.map(|matching| Self {
            query,
            source: None,
            matching,
            then: None,
        }))
    }

    /// The answer of a funnel or of retention.
    fn of_cohorts(engine: &Engine, members: &Map<String, Wire>) -> Result<Self> {
        let (matching, filter) = if members.get("op").and_then(Wire::as_str) == Some("funnel") {
            let funnel = Funnel::parse(members)?;
            let filter = funnel.filter.clone();
            (Matching::Funnel(funnel), filter)
        } else {
            let retention = Retention::parse(members)?;
            let filter = retention.filter.clone();
            (Matching::Retention(retention), filter)
        };
        // Every event, and of these what the question's own filter lets through.
        let mut query = EventQuery::parse(&serde_json::json!({ "filter": {} }), &engine.catalog())?;
        query.filter = filter;
        Ok(Self {
            query,
            source: None,
            matching,
            then: None,
        })
    }

    /// A query for matches as the question that it is.
    pub fn question(self, engine: &Engine, wire: Wire) -> Question {
        let mut events = self.query.clone();
        if events.hints.name_indexes() && events.hints.cache.take().is_some() {
            events.hints.declined.push(("cache", "on".to_owned()));
        }
        let shape = Arc::new(self.shape(engine));
        let Made {
            events,
            statement,
            strategy,
        } = self.made(engine, events);
        Question {
            text: text_of(wire),
            hints: events.hints.clone(),
            events,
            statement,
            strategy,
            shape,
        }
    }

    /// The answer as that of a question which depends on these events.
    pub fn made(self, engine: &Engine, events: EventQuery) -> Made {
        let Matched { sql, binds, .. } = self.rows(engine);
        Made {
            events,
            statement: statement_of(sql, binds, 0),
            strategy: Some(Box::new(self)),
        }
    }

    /// What monitoring calls it.
    pub fn shape(&self, engine: &Engine) -> Shape {
        Shape::of_compiled(&self.rows(engine).sql)
    }

    /// The statement of what the matcher reads.
    pub fn rows(&self, engine: &Engine) -> Matched {
        matching::rows(&self.projection(), &engine.target())
    }
}
