//! One client: its connections, its limits, its running queries.

mod enter;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use futures_util::TryStreamExt;
use serde_json::Value as Wire;
use tokio::sync::mpsc;

use super::arguments::{arguments, sql_text};
use super::batch::Batch;
use super::catalog;
use super::config::Config;
use super::examples::Examples;
use super::fault::fault;
use super::governor::Governor;
use super::held::Snapshots;
use super::hinted::Memory;
use super::observe::{Observer, Sample, Status};
use super::pinned::Pins;
use super::planning::Planning;
use super::pool::Pool;
use super::preparing::Preparing;
use super::registry::{Registry, Ticket};
use super::replicas::Replicas;
use super::request::Planned;
use super::run::Run;
use super::shape::{Shape, Shapes};
use super::slices::Knowledge;
use crate::model::{Error, Result, catalog::Catalog, table::TableNames, token::Token};
use crate::query::EventQuery;
use crate::sql::{Purpose, Statement, Target, compile};

/// The next client's number.
static CLIENTS: AtomicU64 = AtomicU64::new(1);

/// The core of a client.
pub struct Engine {
    /// Tells the clients of a process apart, in what they log.
    pub number: u64,
    /// What the client was asked to be.
    pub config: Config,
    /// Its connections.
    pub pool: Arc<Pool>,
    /// The servers that follow.
    pub replicas: Replicas,
    /// Its limits.
    pub governor: Governor,
    /// Its running queries.
    pub registry: Arc<Registry>,
    /// Its calls that have no run yet.
    pub preparing: Preparing,
    /// The snapshots that callers hold.
    pub snapshots: Snapshots,
    /// What runs told of those to come.
    pub slices: Knowledge,
    /// What it knows for planning.
    pub planning: Planning,
    target: RwLock<Arc<Target>>,
    catalog: RwLock<Arc<Catalog>>,
    realm: RwLock<Arc<str>>,
    shapes: Shapes,
    /// Recent queries of each fingerprint.
    pub examples: Examples,
    /// What index hints came to before.
    pub hinted: Memory,
    /// The statements that are kept on a plan.
    pub pins: Pins,
    observer: Option<Arc<dyn Observer>>,
}

impl Engine {
    /// A client that has not connected yet. Needs a tokio runtime around it.
    pub fn new(config: Config, observer: Option<Arc<dyn Observer>>) -> Arc<Self> {
        let table = TableNames {
            schema: config.schema.clone().unwrap_or_else(|| "public".to_owned()),
            ..config.table.clone()
        };
        Arc::new(Self {
            number: CLIENTS.fetch_add(1, Ordering::Relaxed),
            pool: Pool::new(config.server.clone(), config.pool),
            replicas: Replicas::new(&config.replicas, config.pool),
            governor: Governor::new(config.limits, config.pool.acquire_timeout),
            registry: Arc::default(),
            preparing: Preparing::default(),
            snapshots: Snapshots::default(),
            slices: Knowledge::default(),
            planning: Planning::default(),
            catalog: RwLock::new(Arc::new(Catalog {
                events: table.clone(),
                ..Catalog::default()
            })),
            target: RwLock::new(Arc::new(Target {
                table,
                code_point_collation: false,
                stand_in: None,
            })),
            realm: RwLock::new(Arc::from("")),
            shapes: Shapes::default(),
            examples: Examples::default(),
            hinted: Memory::default(),
            pins: Pins::default(),
            observer,
            config,
        })
    }

    /// Tells of a run that ends.
    pub fn observe(&self, ticket: &Ticket, error: Option<&Error>, status: Status) {
        let Some(ended) = ticket.ended(self.number, error, status) else {
            return;
        };
        if status == Status::Done {
            let worked = ended
                .elapsed
                .saturating_sub(ended.waited.unwrap_or_default());
            let millis = worked.as_secs_f64() * 1000.0;
            (self.planning.calibration).ran(ended.shape.fingerprint, millis);
        }
        if let Some(observer) = &self.observer {
            observer.ended(ended);
        }
    }

    /// Gives whoever watches a sample of a statement, where one is wanted.
    pub fn offer(&self, shape: &Arc<Shape>, planned: &Planned) {
        if let Some(observer) = &self.observer
            && !planned.is_empty
            && planned.catch_up.is_none()
            && observer.wants(shape.fingerprint)
        {
            observer.sample(Sample {
                shape: Arc::clone(shape),
                statement: planned.statement.clone(),
            });
        }
    }

    /// What is said of a query in monitoring: the statement as it is shown, whatever it is for.
    pub fn shape_of(&self, statement: &Statement, query: &EventQuery) -> Arc<Shape> {
        // What the rules make of a query differs by its constants and by the indexes of the day.
        let shown = compile(query, &self.target(), Purpose::Show);
        let text = shown.as_ref().map_or(&statement.sql, |shown| &shown.sql);
        self.shapes.of(text, || Shape::of_compiled(text))
    }

    /// The same for a query's text, which need not have run.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn shape(&self, query: &str) -> Result<Shape> {
        Ok(Shape::of_compiled(&self.show(query)?.sql))
    }

    /// Connects, and learns where the event table is.
    ///
    /// # Errors
    /// CONNECTION_FAILED, POOL_TIMEOUT or CLOSED.
    pub async fn connect(&self) -> Result<String> {
        let mut lease = self.pool.acquire().await?;
        let facts = catalog::facts(&mut lease.connection().driver, &self.config.table.name)
            .await
            .map_err(fault)?;
        let schema = self.config.schema.clone().unwrap_or(facts.schema);
        let table = TableNames {
            schema,
            ..self.config.table.clone()
        };
        self.change_catalog(|catalog| catalog.events = table.clone());
        let target = Target {
            table,
            code_point_collation: facts.code_point_collation,
            stand_in: None,
        };
        *self.target.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(target);
        *self.realm.write().unwrap_or_else(PoisonError::into_inner) = facts.realm.into();
        self.forget_plans();
        self.learn_indexes(&mut lease.connection().driver).await;
        lease.release();
        Ok(facts.version)
    }

    /// What an answer or a write has seen, as callers carry it around: the text of a snapshot, and of
    /// a write `+` and its transaction.
    pub fn token(&self, seen: &str) -> String {
        Token::text(self.pool.origin(), seen)
    }

    /// The database, and what an answer depends on beside the query: role, search path, zone.
    pub fn realm(&self) -> Arc<str> {
        Arc::clone(&self.realm.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What queries compile to.
    pub fn target(&self) -> Arc<Target> {
        Arc::clone(&self.target.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The tables that queries may name, as far as they are known.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what is known of tables.
    pub fn change_catalog(&self, change: impl FnOnce(&mut Catalog)) {
        let mut catalog = self.catalog.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut catalog));
    }

    /// A failure of one of the module's own statements, where the server's words would not help.
    pub fn explained(&self, error: Error) -> Error {
        match error {
            Error::Database { sql_state, .. } if sql_state == "42P01" => {
                let table = self.target().table.quoted();
                Error::UnknownTable(format!("there is no table {table}: migrate() makes it"))
            }
            // A column that the options name, or the default name of one.
            Error::Database { sql_state, message } if sql_state == "42703" => {
                let table = self.target().table.quoted();
                Error::UnknownTable(format!("{table} is no event table: {message}"))
            }
            // `float8` of a JSON number that no double holds.
            Error::Database { sql_state, .. } if sql_state == "22003" => Error::BeyondDouble,
            other => other,
        }
    }

    /// The statement of a query, for people.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn show(&self, query: &str) -> Result<Statement> {
        compile(
            &EventQuery::parse(&query_wire(query)?, &self.catalog())?,
            &self.target(),
            Purpose::Show,
        )
    }

    /// Runs to the end and gives all batches: for statements of the core's own.
    ///
    /// # Errors
    /// Those of the run.
    pub async fn collect(self: &Arc<Self>, run: Run) -> Result<Vec<Wire>> {
        let (out, mut sent) = mpsc::channel(4);
        let running = async move { Box::pin(run.answered(self, &out)).await };
        let reading = async {
            let mut all = Vec::new();
            while let Some(batch) = sent.recv().await {
                all.push(batch);
            }
            all
        };
        let (last, mut all) = tokio::join!(running, reading);
        // Someone is left to tell: the reader is above.
        all.push(last.unwrap_or(Err(Error::Cancelled))?);
        let parsed = |batch: Batch| serde_json::from_slice(&batch.into_json());
        (all.into_iter()
            .map(parsed)
            .collect::<std::result::Result<_, _>>())
        .map_err(|e| Error::Internal(e.to_string().into()))
    }

    /// Reads the rows of a query and throws them away: the rate that a stream is measured against.
    ///
    /// # Errors
    /// What is wrong with the query, or why the server could not answer it.
    pub async fn drain(&self, query: &str) -> Result<u64> {
        let statement = compile(
            &EventQuery::parse(&query_wire(query)?, &self.catalog())?,
            &self.target(),
            Purpose::Stream,
        )?;
        let values = arguments(&statement.binds)?;
        let mut lease = self.pool.acquire().await?;
        let mut count = 0;
        {
            let driver = &mut lease.connection().driver;
            let mut rows = sqlx::query_with(sql_text(&statement.sql), values).fetch(driver);
            while rows.try_next().await.map_err(fault)?.is_some() {
                count += 1;
            }
        }
        lease.release();
        Ok(count)
    }

    /// Stops all runs and waits until the connections are gone.
    pub async fn close(&self) {
        self.registry.close();
        self.pool.refuse();
        self.snapshots.clear().await;
        tokio::join!(self.pool.close(), self.replicas.close());
    }
}

/// A query's JSON text, read.
///
/// # Errors
/// INVALID_QUERY
pub fn query_wire(text: &str) -> Result<Wire> {
    serde_json::from_str(text).map_err(|e| Error::invalid("", format!("is not JSON: {e}")))
}
