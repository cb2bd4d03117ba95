//! The index manager of a client.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use serde_json::{Value as Wire, json};
use tokio::{sync::Notify, time::timeout};

use super::build::Plan;
use super::catalog;
use super::comment::Comment;
use super::decisions;
use super::definition::{Definition, checked_name};
use super::job::{Job, Stop};
use super::maintain::Status;
use super::recommend::{advise, optimal_share, parse_options};
use super::rolling;
use super::session::Session;
use super::workload::Recorded;
use crate::exec::{Engine, fault};
use crate::model::{
    Error, Result,
    field::Column,
    table::{POSITION, TRANSACTION_ID, TableNames},
};

/// How long a caller whose work failed waits for what is left of it to go.
const PATIENCE: Duration = Duration::from_secs(2);

/// The index manager of a client.
pub struct Indexes {
    engine: Weak<Engine>,
    work: Mutex<Work>,
    done: Notify,
    recorded: Option<Arc<dyn Recorded>>,
    /// Stopped when the client closes.
    closing: Arc<Job>,
    /// How maintenance goes.
    pub(super) status: Mutex<Status>,
}

#[derive(Default)]
struct Work {
    jobs: Vec<Arc<Job>>,
    closed: bool,
}

/// A job's place among those that `close()` waits for.
pub(super) struct Entered {
    indexes: Arc<Indexes>,
    job: Arc<Job>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut work = self.indexes.lock();
        work.jobs.retain(|job| !Arc::ptr_eq(job, &self.job));
        drop(work);
        self.indexes.done.notify_waiters();
    }
}

impl Indexes {
    /// The manager of a client's event table. Connects to nothing yet.
    pub fn new(engine: &Arc<Engine>, recorded: Option<Arc<dyn Recorded>>) -> Arc<Self> {
        Arc::new(Self {
            engine: Arc::downgrade(engine),
            work: Mutex::default(),
            done: Notify::new(),
            recorded,
            closing: Arc::default(),
            status: Mutex::default(),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn engine(&self) -> Result<Arc<Engine>> {
        self.engine.upgrade().ok_or(Error::Closed)
    }

    /// Is stopped when the client closes.
    pub(super) fn closing(&self) -> Arc<Job> {
        Arc::clone(&self.closing)
    }

    /// What was asked lately.
    pub(super) fn recorded(&self) -> Vec<(Wire, f64)> {
        self.recorded
            .as_ref()
            .map(|r| r.recorded())
            .unwrap_or_default()
    }

    /// The share of what was asked lately that reads no more than it could.
    pub(super) async fn optimal_ratio(self: &Arc<Self>) -> Result<f64> {
        let engine = self.engine()?;
        let questions = self.questions(&engine, None)?;
        if questions.is_empty() {
            return Ok(1.0);
        }
        let options = parse_options("{}")?;
        let mut session = self.session().await?;
        let share = async {
            let names = engine.target().table.clone();
            let refused = decisions::refused(&mut session.conn, &names).await;
            let conn = &mut session.conn;
            let advice = advise(conn, &engine, questions, &options, &refused).await?;
            optimal_share(&mut session.conn, &advice).await
        }
        .await;
        session.close().await;
        share
    }

    pub(super) fn names(&self) -> Result<TableNames> {
        Ok(self.engine()?.target().table.clone())
    }

    /// Enters a job, which `close()` stops and waits for.
    pub(super) fn enter(self: &Arc<Self>, job: &Arc<Job>) -> Result<Entered> {
        let mut work = self.lock();
        if work.closed {
            return Err(Error::Closed);
        }
        work.jobs.push(Arc::clone(job));
        Ok(Entered {
            indexes: Arc::clone(self),
            job: Arc::clone(job),
        })
    }

    /// Stops what is under way and waits until it has ended.
    pub async fn close(&self) {
        let jobs = {
            let mut work = self.lock();
            work.closed = true;
            work.jobs.clone()
        };
        self.closing.stop(Stop::Closed);
        for job in &jobs {
            job.stop(Stop::Closed);
        }
        loop {
            let mut changed = std::pin::pin!(self.done.notified());
            changed.as_mut().enable();
            if self.lock().jobs.is_empty() {
                return;
            }
            changed.await;
        }
    }

    pub(super) async fn session(&self) -> Result<Session> {
        let engine = self.engine()?;
        Session::open(&engine.config.server, &engine.target().table).await
    }

    /// The end of a session. After a failure what is left of its work goes first: that can take as
    /// long as others' transactions do, and the caller is not kept waiting for them.
    pub(super) async fn finish(self: &Arc<Self>, mut session: Session, succeeded: bool) {
        if succeeded {
            return session.close().await;
        }
        let cleaning = Arc::new(Job::default());
        let entered = self.enter(&cleaning);
        let is_open = entered.is_ok();
        let job = Arc::clone(&cleaning);
        let mut task = tokio::spawn(async move {
            session.clean(&job).await;
            session.close().await;
            drop(entered);
        });
        if timeout(PATIENCE, &mut task).await.is_err() && !is_open {
            cleaning.stop(Stop::Closed);
            let _ = task.await;
        }
    }

    /// Builds an index.
    ///
    /// # Errors
    /// What is wrong with the definition, before anything is built; INDEX_EXISTS; why the server
    /// could not.
    pub async fn create(self: &Arc<Self>, definition: &str, job: &Arc<Job>) -> Result<Wire> {
        let wire: Wire = serde_json::from_str(definition)
            .map_err(|e| Error::invalid("definition", format!("is not JSON: {e}")))?;
        let names = self.names()?;
        let definition = Definition::parse(&wire, &names, &columns(&names))?;
        let _entered = self.enter(job)?;
        job.check()?;
        let mut session = self.session().await?;
        let built = create_with(&mut session, &names, &definition, "createIndex", job).await;
        self.finish(session, built.is_ok()).await;
        built.map(|()| json!({}))
    }

    /// Drops an index by its name.
    ///
    /// # Errors
    /// UNKNOWN_INDEX; INDEX_INVALID where a constraint needs it; the server's.
    pub async fn remove(self: &Arc<Self>, name: &str, job: &Arc<Job>) -> Result<Wire> {
        checked_name(name, "indexName")?;
        let _entered = self.enter(job)?;
        let mut session = self.session().await?;
        let removed = async {
            session.lock(job).await?;
            let index = self.find(&mut session, name).await?;
            if index.constraint {
                return Err(Error::index_invalid(
                    "indexName",
                    format!("the index {name:?} serves a constraint, which would have to go first"),
                ));
            }
            session.remove(&index.schema, name, job).await
        }
        .await;
        self.finish(session, removed.is_ok()).await;
        removed.map(|()| json!({}))
    }

    /// Builds an index anew.
    ///
    /// # Errors
    /// UNKNOWN_INDEX; the server's.
    pub async fn rebuild(self: &Arc<Self>, name: &str, job: &Arc<Job>) -> Result<Wire> {
        checked_name(name, "indexName")?;
        let _entered = self.enter(job)?;
        let mut session = self.session().await?;
        let rebuilt = async {
            session.lock(job).await?;
            let index = self.find(&mut session, name).await?;
            let names = self.names()?;
            if rolling::rebuild(&mut session, &names, &index, job).await? {
                return Ok(());
            }
            session.reindex(&index.schema, name, job).await
        }
        .await;
        self.finish(session, rebuilt.is_ok()).await;
        rebuilt.map(|()| json!({}))
    }

    pub(super) async fn find(&self, session: &mut Session, name: &str) -> Result<catalog::Listed> {
        let list = catalog::list(&mut session.conn, session.table.oid)
            .await
            .map_err(fault)?;
        list.into_iter()
            .find(|index| index.name == name)
            .ok_or_else(|| Error::UnknownIndex {
                path: "indexName".to_owned(),
                message: format!("there is no index {name:?} on the event table"),
            })
    }
}

/// The event table's columns, as an index's SQL may name them.
pub(super) fn columns(names: &TableNames) -> Vec<String> {
    let own = Column::EVENT.into_iter().chain([Column::CreatedAt]);
    own.map(|column| names.columns.of(column).to_owned())
        .chain([POSITION.to_owned(), TRANSACTION_ID.to_owned()])
        .collect()
}

/// Proves, locks, builds.
pub(super) async fn create_with(
    session: &mut Session,
    names: &TableNames,
    definition: &Definition,
    by: &str,
    job: &Job,
) -> Result<()> {
    session.prove(definition).await?;
    session.lock(job).await?;
    build_definition(session, names, definition, by, false, job).await
}

/// Builds what a definition says. The session holds the lock.
pub(super) async fn build_definition(
    session: &mut Session,
    names: &TableNames,
    definition: &Definition,
    by: &str,
    replaces: bool,
    job: &Job,
) -> Result<()> {
    let taken = catalog::named(&mut session.conn, &names.schema, &definition.name)
        .await
        .map_err(fault)?;
    if taken.is_some() && !replaces {
        return Err(Error::IndexExists {
            path: "name".to_owned(),
            name: definition.name.clone(),
        });
    }
    let cutoff = match definition.rolling {
        None => None,
        Some(rolling) => {
            let micros = i64::try_from(rolling.keep.as_micros()).unwrap_or(i64::MAX);
            Some(
                catalog::moment_ago(&mut session.conn, micros)
                    .await
                    .map_err(fault)?,
            )
        }
    };
    let comment = Comment {
        by: by.to_owned(),
        cutoff: cutoff.clone(),
        definition: definition.wire.clone(),
    };
    let plan = Plan {
        names,
        name: &definition.name,
        unique: definition.unique,
        body: &definition.body(names, cutoff.as_deref()),
        comment: &comment,
        replaces: replaces && taken.is_some(),
        analyze: definition.keys.iter().any(|key| key.sql.starts_with('(')),
    };
    session.build(&plan, job).await
}
