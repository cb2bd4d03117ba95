//! A query as the cache knows it, made once for each text.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use super::key::Key;
use super::splice::Splice;
use crate::exec::{Engine, Planned, Shape, Strategy, query_wire};
use crate::model::{Result, field::Kind};
use crate::query::{
    Aggregate, Condition, EventQuery, Freshness, Function, Hints, Source, Test, Window,
};
use crate::sql::{Purpose, Statement, compile, has_states, is_of_the_clock};

/// A query as the cache knows it.
pub struct Plan {
    /// As the caller wrote it: JSON.
    pub text: Box<str>,
    /// The query.
    pub query: EventQuery,
    /// How fresh its answer has to be.
    pub freshness: Freshness,
    /// Under which its answer is kept.
    pub key: Arc<Key>,
    /// What it comes to without the cache.
    pub planned: Planned,
    /// What answers it, where that is more than the statement.
    pub strategy: Option<Box<dyn Strategy>>,
    /// What monitoring calls it.
    pub shape: Arc<Shape>,
    /// Where its regular expression is.
    pub regex: Option<String>,
    /// How new events get into its answer.
    pub merge: Merge,
    /// How an answer is put together from groups.
    pub splice: Splice,
}

/// How new events get into a kept answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// It is read anew once a new event matches.
    Anew,
    /// Its rows and the new ones are ordered and cut again.
    Rows,
    /// What the new events contribute to each group is added to what is kept of it.
    States,
    /// The buckets that have new events are read anew, the others kept.
    Buckets,
}

impl Plan {
    /// The plan of a query; `None` where the cache has no part in it: it did not ask, reads other
    /// tables, or can't have rows at all.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(engine: &Arc<Engine>, text: &str) -> Result<Option<Self>> {
        let wire = query_wire(text)?;
        let catalog = engine.catalog();
        if !EventQuery::tables(&wire, &catalog).is_empty() {
            return Ok(None);
        }
        let query = EventQuery::parse(&wire, &catalog)?;
        let Some(freshness) = query.hints.cache.clone() else {
            return Ok(None);
        };
        let planned = engine.plan(&query, Purpose::Buffered)?;
        // The clock of page one stands in the cursor: such a page is asked for once. And what `since`
        // reads is new.
        let frozen = query.after.is_some() && matches!(query.window, Some(Window::Last(_)));
        if planned.is_empty
            || frozen
            || query.since.is_some()
            || query.hints.name_indexes()
            || query.from != Source::Events
        {
            return Ok(None);
        }
        let merge = merge(&query, &planned);
        Ok(Some(Self {
            text: text.into(),
            key: Arc::new(key(engine, &query)?),
            shape: engine.shape_of(&planned.statement, &query),
            regex: EventQuery::regex_path(&wire),
            merge,
            splice: match merge {
                Merge::States | Merge::Buckets => Splice::of(&query),
                Merge::Anew | Merge::Rows => Splice::Whole,
            },
            freshness,
            planned,
            strategy: None,
            query,
        }))
    }

    /// The plan of a question that is no query.
    pub fn of_question(engine: &Engine, asked: Question, freshness: Freshness) -> Self {
        // A strategy's answer is that of its rules too, which the statement does not show.
        let rules = (asked.strategy.as_ref())
            .map(|_| format!("{} {}", env!("CARGO_PKG_VERSION"), asked.text));
        Self {
            text: asked.text.into(),
            key: Arc::new(key_of(engine, &asked.statement, rules.as_deref())),
            shape: asked.shape,
            regex: None,
            merge: Merge::Anew,
            splice: Splice::Whole,
            freshness,
            planned: Planned {
                statement: asked.statement,
                is_empty: false,
                catch_up: None,
            },
            strategy: asked.strategy,
            query: EventQuery {
                hints: asked.hints,
                ..asked.events
            },
        }
    }

    /// By how many of its first values a group is looked up, where groups are.
    pub fn keys(&self) -> Option<usize> {
        self.splice.keys(self.query.grouping.as_ref()?)
    }

    /// The name of the key of a query, whether it asks for the cache or not.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn key_of(engine: &Arc<Engine>, text: &str) -> Result<String> {
        let query = EventQuery::parse(&query_wire(text)?, &engine.catalog())?;
        Ok(key(engine, &query)?.name())
    }
}

/// A question that is no query, and has its answer from events all the same.
pub struct Question {
    /// Its text: JSON, the same for the same question.
    pub text: String,
    /// All events that the answer depends on: a filter and a window, and nothing else.
    pub events: EventQuery,
    /// How it is to be run.
    pub hints: Hints,
    /// The statement that answers it, or that the strategy begins with.
    pub statement: Statement,
    /// What answers it, where that is more than the statement.
    pub strategy: Option<Box<dyn Strategy>>,
    /// What monitoring calls it.
    pub shape: Arc<Shape>,
}

fn merge(query: &EventQuery, planned: &Planned) -> Merge {
    if !query.joins.is_empty() {
        return Merge::Anew;
    }
    if let Some(grouping) = &query.grouping {
        // The first and the last value go by the events' time, which late events do not keep to.
        let adds = |aggregate: &Aggregate| {
            has_states(aggregate) && !matches!(aggregate.function, Function::First | Function::Last)
        };
        return match &grouping.bucket {
            _ if grouping.aggregates.iter().all(adds)
                && (grouping.bucket.is_some() || !is_of_the_clock(query)) =>
            {
                Merge::States
            }
            Some(_) => Merge::Buckets,
            // Without buckets, what leaves a window that ends at the clock can't be told apart.
            None => Merge::Anew,
        };
    }
    if query.offset.is_some_and(|o| o > 0) {
        return Merge::Anew;
    }
    match id_column(query, &planned.statement) {
        Some(_) => Merge::Rows,
        None => Merge::Anew,
    }
}

/// Which column of a statement's rows is the event's id, where there is one.
pub fn id_column(query: &EventQuery, statement: &Statement) -> Option<usize> {
    let of_key = (statement.keys.iter()).find(|key| key.kind == Kind::Uuid);
    match (of_key, query.select.is_none()) {
        (Some(key), _) => Some(key.column),
        // A whole event begins with its id.
        (None, true) => Some(0),
        (None, false) => None,
    }
}

/// The key of a query: of its canonical form's statement. Only what the answer can depend on is in
/// it, so that queries that mean the same share an entry, and no others do.
fn key(engine: &Arc<Engine>, query: &EventQuery) -> Result<Key> {
    let target = engine.target();
    let canonical = EventQuery {
        after: None,
        filter: canonical(&query.filter),
        ..query.clone()
    };
    let statement = compile(&canonical, &target, Purpose::Buffered)?;
    // A cursor stands for its text and what it is a cursor of.
    Ok(key_of(engine, &statement, query.after.as_deref()))
}

/// The key of a statement's answer, told apart from others of the same statement by `also`.
fn key_of(engine: &Engine, statement: &Statement, also: Option<&str>) -> Key {
    let target = engine.target();
    let server = &engine.config.server;
    let realm = format!(
        "{:?}\n{:?}",
        (
            server.get_host(),
            server.get_port(),
            server.get_database(),
            engine.realm(),
            engine.config.bigint,
        ),
        target.table
    );
    let table = engine.config.table.name.clone();
    Key::new(realm, table, statement, also)
}

/// The same condition whatever the order in which its parts were written.
fn canonical(condition: &Condition) -> Condition {
    let sorted = |arms: &[Condition]| {
        let mut arms: Vec<_> = (arms.iter().map(canonical))
            .map(|arm| (format!("{arm:?}"), arm))
            .collect();
        arms.sort_by(|a, b| a.0.cmp(&b.0));
        arms.dedup_by(|a, b| a.0 == b.0);
        arms.into_iter().map(|(_, arm)| arm).collect::<Vec<_>>()
    };
    match condition {
        Condition::And(arms) => Condition::And(sorted(arms)),
        Condition::Or(arms) => Condition::Or(sorted(arms)),
        Condition::Not(inner) => Condition::Not(Box::new(canonical(inner))),
        Condition::Leaf(leaf) => {
            let mut leaf = leaf.clone();
            if let Test::In { values, .. } = &mut leaf.test {
                values.sort_by_cached_key(|value| format!("{value:?}"));
                values.dedup();
            }
            Condition::Leaf(leaf)
        }
    }
}

/// Plans by the query's text. The newer half becomes the older when it is full, and what is still
/// asked for moves over.
#[derive(Default)]
pub struct Plans(Mutex<Halves>);

#[derive(Default)]
struct Halves {
    newer: HashMap<Box<str>, Arc<Plan>>,
    older: HashMap<Box<str>, Arc<Plan>>,
}

const KEPT: usize = 512;
/// A longer text is planned each time: it takes longer to run than to plan.
const LONGEST: usize = 16 << 10;

impl Plans {
    /// The plan of a query's text, made where it is not known.
    ///
    /// # Errors
    /// As [`Plan::of`].
    pub fn of(&self, engine: &Arc<Engine>, text: &str) -> Result<Option<Arc<Plan>>> {
        if let Some(known) = self.known(text) {
            return Ok(Some(known));
        }
        let Some(plan) = Plan::of(engine, text)?.map(Arc::new) else {
            return Ok(None);
        };
        if text.len() <= LONGEST {
            let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            halves.keep(text.into(), &plan);
        }
        Ok(Some(plan))
    }

    /// The texts that are known, those asked for lately first.
    pub fn texts(&self) -> Vec<String> {
        let halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (halves.newer.keys().chain(halves.older.keys()))
            .map(ToString::to_string)
            .collect()
    }

    fn known(&self, text: &str) -> Option<Arc<Plan>> {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = halves.newer.get(text) {
            return Some(Arc::clone(found));
        }
        let (text, found) = halves.older.remove_entry(text)?;
        halves.keep(text, &found);
        Some(found)
    }
}

impl Halves {
    fn keep(&mut self, text: Box<str>, plan: &Arc<Plan>) {
        if self.newer.len() >= KEPT {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(text, Arc::clone(plan));
    }
}
