//! Runs as they are entered: what answers them, what monitoring calls them, and the options that their
//! hints and the client's limits leave. Nothing is sent here.

use std::{sync::Arc, time::Instant};

use serde_json::Value as Wire;
use uuid::Uuid;

use super::{Engine, query_wire};
use crate::exec::frame::Strategy;
use crate::exec::hinted::Hinted;
use crate::exec::interrupt::time_allowed;
use crate::exec::pinned::Pinned;
use crate::exec::planning::Ready;
use crate::exec::replicas::FromReplica;
use crate::exec::request::{Mode, OfTables, Planned, RunOptions, Single, Source};
use crate::exec::run::Run;
use crate::exec::shape::Shape;
use crate::exec::slices::Slices;
use crate::exec::user::UserSql;
use crate::model::Result;
use crate::query::{EventQuery, Hints};
use crate::sql::{Purpose, Statement};

impl Engine {
    /// Checks and compiles a query and enters its run.
    ///
    /// # Errors
    /// What is wrong with the query or its options; CLOSED.
    pub fn enter(&self, query: &str, options: RunOptions, mode: Mode) -> Result<Run> {
        let started = Instant::now();
        let purpose = match mode {
            Mode::Buffered => Purpose::Buffered,
            Mode::Stream => Purpose::Stream,
        };
        if options.snapshot.is_none()
            && let Some(ready) = self.known(query, purpose)
        {
            (self.examples).offer(ready.shape.fingerprint, query, started);
            return self.enter_ready(ready, options, (mode, purpose), started);
        }
        let text = query;
        let wire = query_wire(text)?;
        let catalog = self.catalog();
        let tables = EventQuery::tables(&wire, &catalog);
        let query = EventQuery::parse(&wire, &catalog)?;
        let regex = EventQuery::regex_path(&wire);
        let mut options = options.hinted(&query.hints);
        options.query_id = options.query_id.or_else(|| query.id.clone());
        let mut declined = query.hints.declined.clone();
        // Unless slices say what they did.
        if query.hints.parallel == Some(true) {
            declined.push(("parallel", "true".to_owned()));
        }
        if query.hints.cache.is_some() {
            declined.push(("cache", "on".to_owned()));
        }
        let (source, shape) = if query.hints.name_indexes() {
            let shape = (tables.is_empty().then(|| self.plan(&query, purpose)))
                .transpose()?
                .map(|planned| self.shape_of(&planned.statement, &query));
            let hinted = Hinted {
                query: wire,
                tables,
                purpose,
                explain: None,
            };
            (Source::Strategy(Box::new(hinted)), shape)
        } else if tables.is_empty() {
            let clock = self.held(options.snapshot)?.map(|held| held.clock);
            let planned = self.plan_at(&query, purpose, clock)?;
            let shape = self.shape_of(&planned.statement, &query);
            if clock.is_none() && planned.catch_up.is_none() {
                let ready = Ready {
                    query: query.clone(),
                    statement: planned.statement.clone(),
                    is_empty: planned.is_empty,
                    shape: Arc::clone(&shape),
                    regex: regex.clone(),
                };
                self.remember(text, purpose, ready);
            }
            let source = self.source_of(query, planned, &shape, purpose);
            (source, Some(shape))
        } else {
            let of = OfTables {
                query: wire,
                tables,
                purpose,
            };
            let single = Single::OfTables(Box::new(of));
            let source = match self.replicas.asked(query.hints.read_from) {
                Some(wish) => Source::Strategy(Box::new(FromReplica { single, wish })),
                None => Source::Single(single),
            };
            (source, None)
        };
        if let Some(shape) = &shape {
            self.examples.offer(shape.fingerprint, text, started);
        }
        let run = self.entered(source, shape, declined, options, mode, started)?;
        Ok(Run { regex, ..run })
    }

    /// Enters a run of the caller's own SQL.
    ///
    /// # Errors
    /// What is wrong with the call; CLOSED.
    pub fn enter_sql(
        &self,
        strings: &[String],
        values: Vec<Wire>,
        options: RunOptions,
        mode: Mode,
    ) -> Result<Run> {
        let started = Instant::now();
        let user = UserSql::new(strings, values)?;
        let shape = (self.shapes).of(user.text(), || Shape::of_user(user.text()));
        self.entered(
            Source::Single(Single::User(user)),
            Some(shape),
            Vec::new(),
            options,
            mode,
            started,
        )
    }

    /// Enters a run that a strategy answers. `shape` is what monitoring calls it.
    ///
    /// # Errors
    /// CLOSED, or an id that is running.
    pub fn enter_strategy(
        &self,
        strategy: Box<dyn Strategy>,
        shape: Arc<Shape>,
        hints: &Hints,
        options: RunOptions,
        mode: Mode,
    ) -> Result<Run> {
        let mut declined = hints.declined.clone();
        if hints.parallel == Some(true) {
            declined.push(("parallel", "true".to_owned()));
        }
        self.entered(
            Source::Strategy(strategy),
            Some(shape),
            declined,
            options.hinted(hints),
            mode,
            Instant::now(),
        )
    }

    /// Enters a run of a statement that the core itself compiled.
    ///
    /// # Errors
    /// CLOSED, or an id that is running.
    pub fn enter_statement(
        &self,
        statement: Statement,
        query_id: Option<String>,
        mode: Mode,
    ) -> Result<Run> {
        let options = RunOptions {
            query_id,
            ..RunOptions::default()
        };
        self.enter_compiled(statement, &Hints::default(), options, mode)
    }

    /// Enters a run of a statement that was compiled for a caller's question.
    ///
    /// # Errors
    /// CLOSED, or an id that is running.
    pub fn enter_compiled(
        &self,
        statement: Statement,
        hints: &Hints,
        options: RunOptions,
        mode: Mode,
    ) -> Result<Run> {
        let shape = (self.shapes).of(&statement.sql, || Shape::of_compiled(&statement.sql));
        let planned = Planned {
            statement,
            is_empty: false,
            catch_up: None,
        };
        self.entered(
            Source::Single(Single::Query(Box::new(planned))),
            Some(shape),
            hints.declined.clone(),
            options.hinted(hints),
            mode,
            Instant::now(),
        )
    }

    pub(in crate::exec) fn entered(
        &self,
        source: Source,
        shape: Option<Arc<Shape>>,
        notes: Vec<(&'static str, String)>,
        options: RunOptions,
        mode: Mode,
        started: Instant,
    ) -> Result<Run> {
        let snapshot = self.held(options.snapshot)?;
        let id: Arc<str> = (options.query_id)
            .unwrap_or_else(|| Uuid::now_v7().to_string())
            .into();
        let ticket = self.registry.enter_at(id, started, shape)?;
        Ok(Run {
            source,
            mode,
            ticket,
            started,
            priority: options.priority,
            snapshot,
            timeout: time_allowed(options.timeout, &self.config.limits, mode),
            regex: None,
            notes,
        })
    }

    /// How a planned query is run.
    pub(in crate::exec) fn source_of(
        &self,
        query: EventQuery,
        planned: Planned,
        shape: &Arc<Shape>,
        purpose: Purpose,
    ) -> Source {
        self.offer(shape, &planned);
        if let Some(wish) = self.replicas.asked(query.hints.read_from)
            && !planned.is_empty
            && planned.catch_up.is_none()
        {
            let single = Single::Query(Box::new(planned));
            return Source::Strategy(Box::new(FromReplica { single, wish }));
        }
        match self.pins.of(shape.fingerprint) {
            Some(rung) if !planned.is_empty && planned.catch_up.is_none() => {
                Source::Strategy(Box::new(Pinned { planned, rung }))
            }
            _ => Slices::source(query, planned, shape.fingerprint, purpose),
        }
    }
}
