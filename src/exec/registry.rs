//! The queries that run, by id, and how to stop one.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

use super::observe::{Ended, Status};
use super::shape::Shape;
use crate::model::{Error, Result};

/// Why a query was stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its caller asked.
    Cancelled,
    /// The client was closed.
    Closed,
}

impl Reason {
    /// What the caller is told.
    pub const fn error(self) -> Error {
        match self {
            Self::Cancelled => Error::Cancelled,
            Self::Closed => Error::Closed,
        }
    }
}

/// The queries of one client.
#[derive(Default)]
pub struct Registry(Mutex<Queries>);

#[derive(Default)]
struct Queries {
    running: HashMap<Arc<str>, Arc<Entry>>,
    /// Ids that ended, so that cancelling one is no error; the oldest are forgotten.
    ended: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
    closed: bool,
}

const REMEMBERED: usize = 10_000;

struct Entry {
    reason: AtomicU8,
    stop: Notify,
    ended: Notify,
    progress: Progress,
}

/// How far a query has come: written by its run, read by whoever looks.
struct Progress {
    shape: OnceLock<Arc<Shape>>,
    started: Instant,
    started_at: SystemTime,
    /// Microseconds and one; 0 while it waits.
    waited: AtomicU64,
    rows: AtomicU64,
    bytes: AtomicU64,
    indexes: OnceLock<Arc<[String]>>,
    cache: OnceLock<&'static str>,
}

/// A query that runs, as it stands.
pub struct Running {
    /// Its id.
    pub id: Arc<str>,
    /// What is run.
    pub shape: Arc<Shape>,
    /// When the caller asked.
    pub started: Instant,
    /// The same by the calendar.
    pub started_at: SystemTime,
    /// Rows made so far.
    pub rows: u64,
    /// Bytes of JSON made so far.
    pub bytes: u64,
}

/// A query's place in the registry. Dropping it says that the query has ended, on the server too.
pub struct Ticket {
    id: Arc<str>,
    entry: Arc<Entry>,
    registry: Arc<Registry>,
}

impl Registry {
    /// Enters a query.
    ///
    /// # Errors
    /// INVALID_QUERY where the id is running; CLOSED after [`Registry::close`].
    pub fn enter(self: &Arc<Self>, id: Arc<str>) -> Result<Ticket> {
        self.enter_at(id, Instant::now(), None)
    }

    /// Enters a query of which monitoring is told, as asked at `started`.
    ///
    /// # Errors
    /// As [`Registry::enter`].
    pub fn enter_at(
        self: &Arc<Self>,
        id: Arc<str>,
        started: Instant,
        shape: Option<Arc<Shape>>,
    ) -> Result<Ticket> {
        let mut queries = self.lock();
        if queries.closed {
            return Err(Error::Closed);
        }
        if queries.running.contains_key(&id) {
            return Err(Error::invalid(
                "queryId",
                "is the id of a query that is running",
            ));
        }
        let entry = Arc::new(Entry {
            reason: AtomicU8::new(0),
            stop: Notify::new(),
            ended: Notify::new(),
            progress: Progress {
                shape: shape.map_or_else(OnceLock::new, OnceLock::from),
                started,
                started_at: SystemTime::now(),
                waited: AtomicU64::new(0),
                rows: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                indexes: OnceLock::new(),
                cache: OnceLock::new(),
            },
        });
        queries.running.insert(Arc::clone(&id), Arc::clone(&entry));
        Ok(Ticket {
            id,
            entry,
            registry: Arc::clone(self),
        })
    }

    /// Asks a query to stop and waits until it has ended on the server.
    ///
    /// # Errors
    /// UNKNOWN_QUERY for an id that was never seen.
    pub async fn cancel(&self, id: &str) -> Result<()> {
        let entry = {
            let queries = self.lock();
            match queries.running.get(id) {
                Some(entry) => Arc::clone(entry),
                None if queries.ended.contains(id) => return Ok(()),
                None => return Err(Error::UnknownQuery(id.to_owned())),
            }
        };
        // Listening before asking: the end must not fall between.
        let mut ended = std::pin::pin!(entry.ended.notified());
        ended.as_mut().enable();
        entry.stop(Reason::Cancelled);
        // It may have ended between the look-up and now.
        if self
            .lock()
            .running
            .get(id)
            .is_some_and(|now| Arc::ptr_eq(now, &entry))
        {
            ended.await;
        }
        Ok(())
    }

    /// Stops all queries and takes no more.
    pub fn close(&self) {
        let mut queries = self.lock();
        queries.closed = true;
        for entry in queries.running.values() {
            entry.stop(Reason::Closed);
        }
    }

    /// The queries that run, the oldest first. The module's own work is not among them.
    pub fn running(&self) -> Vec<Running> {
        let mut running: Vec<_> = (self.lock().running.iter())
            .filter_map(|(id, entry)| entry.progress.running(id))
            .collect();
        running.sort_by_key(|query| query.started);
        running
    }

    /// The query of this id, if it runs.
    pub fn running_query(&self, id: &str) -> Option<Running> {
        let queries = self.lock();
        let (id, entry) = queries.running.get_key_value(id)?;
        entry.progress.running(id)
    }

    fn lock(&self) -> MutexGuard<'_, Queries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    fn running(&self, id: &Arc<str>) -> Option<Running> {
        Some(Running {
            id: Arc::clone(id),
            shape: Arc::clone(self.shape.get()?),
            started: self.started,
            started_at: self.started_at,
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        })
    }
}

impl Entry {
    fn stop(&self, reason: Reason) {
        let code = if reason == Reason::Closed { 2 } else { 1 };
        let _ = self
            .reason
            .compare_exchange(0, code, Ordering::AcqRel, Ordering::Acquire);
        self.stop.notify_one();
    }
}

impl Ticket {
    /// Waits until the query is asked to stop.
    pub async fn stopped(&self) -> Reason {
        loop {
            match self.entry.reason.load(Ordering::Acquire) {
                0 => self.entry.stop.notified().await,
                2 => return Reason::Closed,
                _ => return Reason::Cancelled,
            }
        }
    }

    /// Whether the query was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.entry.reason.load(Ordering::Acquire) != 0
    }

    /// The query's id, for whoever outlives the ticket.
    pub fn shared_id(&self) -> Arc<str> {
        Arc::clone(&self.id)
    }

    /// The query's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is run, where that was not known at first.
    pub fn set_shape(&self, shape: Arc<Shape>) {
        // A second attempt plans again, and comes to the same.
        let _ = self.entry.progress.shape.set(shape);
    }

    /// How long the query waited for its place and a connection.
    pub fn set_waited(&self, waited: Duration) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX - 1);
        (self.entry.progress.waited).store(micros + 1, Ordering::Relaxed);
    }

    /// The indexes of its plan.
    pub fn set_indexes(&self, indexes: &[String]) {
        let _ = self.entry.progress.indexes.set(indexes.into());
    }

    /// Where the answer came from, by its name in the API, where the cache has a part in it.
    pub fn set_cache(&self, outcome: &'static str) {
        let _ = self.entry.progress.cache.set(outcome);
    }

    /// How much was made so far.
    pub fn set_made(&self, rows: u64, bytes: u64) {
        self.entry.progress.rows.store(rows, Ordering::Relaxed);
        self.entry.progress.bytes.store(bytes, Ordering::Relaxed);
    }

    /// The query as it ends; `None` for the module's own work.
    pub fn ended(&self, client: u64, error: Option<&Error>, status: Status) -> Option<Ended> {
        let progress = &self.entry.progress;
        let waited = progress.waited.load(Ordering::Relaxed).checked_sub(1);
        Some(Ended {
            client,
            id: Arc::clone(&self.id),
            shape: Arc::clone(progress.shape.get()?),
            status,
            started: progress.started,
            started_at: progress.started_at,
            elapsed: progress.started.elapsed(),
            waited: waited.map(Duration::from_micros),
            cache: progress.cache.get().copied().unwrap_or("off"),
            rows: progress.rows.load(Ordering::Relaxed),
            bytes: progress.bytes.load(Ordering::Relaxed),
            indexes: progress.indexes.get().cloned(),
            failure: error.map(|e| (e.code(), e.sql_state().map(str::to_owned))),
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut queries = self.registry.lock();
        queries.running.remove(&self.id);
        if queries.ended.insert(Arc::clone(&self.id)) {
            queries.order.push_back(Arc::clone(&self.id));
            if queries.order.len() > REMEMBERED
                && let Some(oldest) = queries.order.pop_front()
            {
                queries.ended.remove(&oldest);
            }
        }
        drop(queries);
        self.entry.ended.notify_waiters();
    }
}
