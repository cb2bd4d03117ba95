//! Queries that were planned before: by their text, and by their shape.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::Value as Wire;
use xxhash_rust::xxh3::xxh3_128;

use super::super::engine::{Engine, query_wire};
use super::super::halves::Halves;
use super::super::request::{Mode, Planned, RunOptions};
use super::super::run::Run;
use super::Ready;
use super::lift::{Lifted, lift};
use super::template::{Probe, Template};
use crate::model::Result;
use crate::query::EventQuery;
use crate::sql::Purpose;

/// Texts and shapes in each of two halves: some megabytes at most.
const TEXTS: usize = 256;
const SHAPES: usize = 512;
/// Longer texts are rare, and dear to keep.
const LONGEST: usize = 16 << 10;

/// What is remembered.
pub struct Known {
    texts: Mutex<Halves<u128, Text>>,
    /// `None` for a shape whose plans depend on its constants.
    shapes: Mutex<Halves<u128, Option<Template>>>,
}

struct Text {
    text: Box<str>,
    ready: Ready,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            texts: Mutex::new(Halves::new(TEXTS)),
            shapes: Mutex::new(Halves::new(SHAPES)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// Forgets all plans: what they were made under has changed.
    pub fn forget(&self) {
        lock(&self.texts).clear();
        lock(&self.shapes).clear();
    }
}

/// Plans for several purposes stand beside each other.
const fn salted(key: u128, purpose: Purpose) -> u128 {
    key ^ match purpose {
        Purpose::Show => 1,
        Purpose::Buffered => 2,
        Purpose::Stream => 3,
    }
}

impl Engine {
    /// The plan of a query that was planned before, or of one of its shape.
    pub fn known(&self, text: &str, purpose: Purpose) -> Option<Ready> {
        if text.len() > LONGEST {
            return None;
        }
        let key = salted(xxh3_128(text.as_bytes()), purpose);
        let found = lock(&self.planning.known.texts).get(key);
        if let Some(found) = found.filter(|found| *found.text == *text) {
            return Some(found.ready.clone());
        }
        let Lifted { key, constants } = lift(text)?;
        let found = lock(&self.planning.known.shapes).get(salted(key, purpose))?;
        let template = (*found).as_ref()?;
        let ready = template.fill(constants.into_iter().map(|range| &text[range]))?;
        // With these constants an index may serve that did not with others.
        (!self.meets_a_predicate(&ready.query)).then_some(ready)
    }

    /// Whether a partial index's constants follow from those of a query.
    fn meets_a_predicate(&self, query: &EventQuery) -> bool {
        self.indexes().is_some_and(|indexes| {
            let mut partial = indexes
                .list
                .iter()
                .filter(|i| i.constants().next().is_some());
            partial.any(|index| index.covers(query, indexes.read_at))
        })
    }

    /// Remembers what a query came to.
    pub fn remember(&self, text: &str, purpose: Purpose, ready: Ready) {
        if text.len() > LONGEST || ready.query.since.is_some() {
            return;
        }
        if let Some(lifted) = lift(text)
            && !lifted.constants.is_empty()
            && !self.meets_a_predicate(&ready.query)
        {
            let key = salted(lifted.key, purpose);
            if lock(&self.planning.known.shapes).get(key).is_none() {
                let template = self.template(text, purpose, &lifted, &ready);
                let is_shared = template.is_some();
                lock(&self.planning.known.shapes).keep(key, Arc::new(template));
                if is_shared {
                    return;
                }
            }
        }
        let key = salted(xxh3_128(text.as_bytes()), purpose);
        let text = text.into();
        lock(&self.planning.known.texts).keep(key, Arc::new(Text { text, ready }));
    }

    /// A template of the query's shape, held to the query itself and to two probes.
    fn template(
        &self,
        text: &str,
        purpose: Purpose,
        lifted: &Lifted,
        ready: &Ready,
    ) -> Option<Template> {
        let probe = |nth| {
            let probe = Probe::of(text, &lifted.constants, nth)?;
            let planned = self.planned(&probe.text, purpose).ok()??;
            Some((probe, planned))
        };
        let (probe_one, planned_one) = probe(0)?;
        let table = self.target().table.quoted();
        let template = Template::of(planned_one, &probe_one, table)?;
        let (probe_two, planned_two) = probe(1)?;
        let is_alike = |filled: Option<Ready>, ready: &Ready| {
            filled.is_some_and(|filled| {
                filled.query == ready.query
                    && filled.statement == ready.statement
                    && filled.shape.fingerprint == ready.shape.fingerprint
                    && filled.is_empty == ready.is_empty
            })
        };
        let constants = lifted.constants.iter().map(|range| &text[range.clone()]);
        (is_alike(template.fill(probe_two.tokens()), &planned_two)
            && is_alike(template.fill(constants), ready))
        .then_some(template)
    }

    /// Checks and plans a query from its text; `None` where it names tables or indexes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn planned(&self, text: &str, purpose: Purpose) -> Result<Option<Ready>> {
        let wire: Wire = query_wire(text)?;
        let catalog = self.catalog();
        if !EventQuery::tables(&wire, &catalog).is_empty() {
            return Ok(None);
        }
        let query = EventQuery::parse(&wire, &catalog)?;
        if query.hints.name_indexes() {
            return Ok(None);
        }
        let planned = self.plan(&query, purpose)?;
        if planned.catch_up.is_some() {
            return Ok(None);
        }
        Ok(Some(Ready {
            shape: self.shape_of(&planned.statement, &query),
            regex: EventQuery::regex_path(&wire),
            statement: planned.statement,
            is_empty: planned.is_empty,
            query,
        }))
    }

    /// Enters a run of a planned query.
    ///
    /// # Errors
    /// CLOSED, or an id that is running.
    pub fn enter_ready(
        &self,
        ready: Ready,
        options: RunOptions,
        (mode, purpose): (Mode, Purpose),
        started: Instant,
    ) -> Result<Run> {
        let hints = &ready.query.hints;
        let options = RunOptions {
            timeout: options.timeout.or(hints.timeout),
            query_id: options.query_id.or_else(|| ready.query.id.clone()),
            priority: hints.priority,
            ..options
        };
        let mut declined = hints.declined.clone();
        // Unless slices say what they did.
        if hints.parallel == Some(true) {
            declined.push(("parallel", "true".to_owned()));
        }
        if hints.cache.is_some() {
            declined.push(("cache", "on".to_owned()));
        }
        let planned = Planned {
            statement: ready.statement,
            is_empty: ready.is_empty,
            catch_up: None,
        };
        let source = self.source_of(ready.query, planned, &ready.shape, purpose);
        let run = self.entered(source, Some(ready.shape), declined, options, mode, started)?;
        Ok(Run {
            regex: ready.regex,
            ..run
        })
    }

    /// Forgets all plans: what they were made under has changed.
    pub fn forget_plans(&self) {
        self.planning.known.forget();
    }

    /// Plans texts, the one after the other, so many times in all, and gives the nanoseconds that each
    /// took: from a query's text to what is sent. For the benchmarks.
    ///
    /// # Errors
    /// What is wrong with a query.
    pub fn time_planning(&self, texts: &[String], times: usize, afresh: bool) -> Result<Vec<u32>> {
        let mut taken = Vec::with_capacity(times);
        for text in texts.iter().cycle().take(times) {
            if afresh {
                self.forget_plans();
            }
            let started = Instant::now();
            let ready = if let Some(ready) = self.known(text, Purpose::Buffered) {
                Some(ready)
            } else {
                let planned = self.planned(text, Purpose::Buffered)?;
                if let Some(ready) = &planned {
                    self.remember(text, Purpose::Buffered, ready.clone());
                }
                planned
            };
            let nanos = started.elapsed().as_nanos();
            std::hint::black_box(&ready);
            taken.push(u32::try_from(nanos).unwrap_or(u32::MAX));
        }
        Ok(taken)
    }
}
