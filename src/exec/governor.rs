//! How many queries run and how many may wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Limits;
use crate::model::{Error, Result};

/// The places of one client.
pub struct Governor {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    limits: Limits,
    patience: Duration,
}

/// A place among the running queries, given back when dropped.
pub struct Place(#[allow(dead_code)] OwnedSemaphorePermit);

impl Governor {
    /// As many places as the limits say.
    pub fn new(limits: Limits, patience: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.max_concurrent)),
            waiting: AtomicUsize::new(0),
            limits,
            patience,
        }
    }

    /// A place, at once or after a wait.
    ///
    /// # Errors
    /// TOO_MANY_QUERIES at once where the queue is full; POOL_TIMEOUT after `acquireTimeout`.
    pub async fn enter(&self) -> Result<Place> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Place(place));
        }
        let _waiting = self.queue()?;
        match tokio::time::timeout(self.patience, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Place(place)),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::PoolTimeout(
                u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX),
            )),
        }
    }

    fn queue(&self) -> Result<Waiting<'_>> {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        let guard = Waiting(&self.waiting);
        if waiting >= self.limits.max_queued {
            return Err(Error::TooManyQueries {
                running: self.limits.max_concurrent,
                waiting,
            });
        }
        Ok(guard)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
