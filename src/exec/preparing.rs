//! Calls that have an id and no run yet: their tables and indexes are looked up first. They can be
//! cancelled like a run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use super::engine::Engine;
use crate::model::{Error, Result};

/// The calls of one client.
#[derive(Default)]
pub struct Preparing(Mutex<HashMap<String, Arc<Notify>>>);

/// Dropping it says that the call has ended.
struct Place<'a> {
    preparing: &'a Preparing,
    id: &'a str,
    stop: &'a Arc<Notify>,
}

impl Preparing {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut calls = self.preparing.lock();
        // Another call of the same id may have taken its place.
        if (calls.get(self.id)).is_some_and(|stop| Arc::ptr_eq(stop, self.stop)) {
            calls.remove(self.id);
        }
    }
}

impl Engine {
    /// A call that ends when its id is cancelled or its time is over, whatever it waits for. It is
    /// dropped then, and with it the run that it has begun.
    ///
    /// # Errors
    /// The call's; QUERY_CANCELLED, QUERY_TIMEOUT.
    pub async fn prepared<T>(
        &self,
        id: Option<String>,
        timeout: Option<u64>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let late = async {
            match timeout.filter(|millis| *millis > 0) {
                None => std::future::pending().await,
                Some(millis) => {
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                    Error::Timeout(millis)
                }
            }
        };
        let Some(id) = id else {
            return tokio::select! {
                told = call => told,
                error = late => Err(error),
            };
        };
        let stop = Arc::<Notify>::default();
        (self.preparing.lock()).insert(id.clone(), Arc::clone(&stop));
        let _place = Place {
            preparing: &self.preparing,
            id: &id,
            stop: &stop,
        };
        tokio::select! {
            told = call => told,
            () = stop.notified() => Err(Error::Cancelled),
            error = late => Err(error),
        }
    }

    /// Asks a query to stop, and waits until it has.
    ///
    /// # Errors
    /// UNKNOWN_QUERY for an id that was never seen.
    pub async fn cancel(&self, id: &str) -> Result<()> {
        // First of all: between its look-ups and its run a call is known here alone.
        let waiting = self.preparing.lock().get(id).map(Arc::clone);
        if let Some(stop) = &waiting {
            stop.notify_one();
        }
        match self.registry.cancel(id).await {
            Err(Error::UnknownQuery(_)) if waiting.is_some() => Ok(()),
            outcome => outcome,
        }
    }
}
