//! The queries that run, by id, and how to stop one.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::sync::Notify;

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

#[derive(Default)]
struct Entry {
    reason: AtomicU8,
    stop: Notify,
    ended: Notify,
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
        let entry = Arc::new(Entry::default());
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

    fn lock(&self) -> MutexGuard<'_, Queries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The query's id.
    pub fn id(&self) -> &str {
        &self.id
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
