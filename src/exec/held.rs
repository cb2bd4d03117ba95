//! Snapshots that callers hold: many queries, one state of the database.
//!
//! Each is exported by a transaction on a connection beside the pool's, so that a query inside never
//! waits for the very connection that its snapshot stands on, however small the pool. At most as many
//! are held at once as the pool has connections. A run inside adopts the snapshot on whatever
//! connection it gets ([`Frame::lease`](super::frame::Frame::lease)).
//!
//! Who releases what: the caller lets a snapshot go by its number, and `close()` all of them; that ends
//! the transaction and closes the connection. A client that is dropped closes its connections, which
//! ends their transactions.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::OwnedSemaphorePermit;

use super::connection::Connection;
use super::engine::Engine;
use super::snapshot::Exported;
use crate::model::{Error, Result};

/// The snapshots of one client.
#[derive(Default)]
pub struct Snapshots {
    next: AtomicU64,
    held: Mutex<HashMap<u64, Holder>>,
}

struct Holder {
    exported: Arc<Exported>,
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl Snapshots {
    fn keep(&self, holder: Holder) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, holder);
        number
    }

    fn get(&self, number: u64) -> Result<Arc<Exported>> {
        let held = self.lock();
        let found = held.get(&number).map(|holder| Arc::clone(&holder.exported));
        found.ok_or_else(|| {
            Error::invalid(
                "snapshot",
                "was let go when the function that it was given to ended: run queries inside it, and wait for them",
            )
        })
    }

    /// Lets a snapshot go. Runs that have adopted it keep it.
    pub async fn release(&self, number: u64) {
        let holder = self.lock().remove(&number);
        if let Some(holder) = holder {
            holder.end().await;
        }
    }

    /// Lets all go.
    pub async fn clear(&self) {
        let all: Vec<_> = self.lock().drain().map(|(_, holder)| holder).collect();
        for holder in all {
            holder.end().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Holder>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    async fn end(self) {
        // The goodbye ends the transaction.
        self.connection.close().await;
    }
}

impl Engine {
    /// The snapshot that a run asks for.
    ///
    /// # Errors
    /// INVALID_QUERY where it was let go; CLOSED.
    pub fn held(&self, number: Option<u64>) -> Result<Option<Arc<Exported>>> {
        let Some(number) = number else {
            return Ok(None);
        };
        if self.pool.is_closed() {
            return Err(Error::Closed);
        }
        self.snapshots.get(number).map(Some)
    }

    /// Takes a snapshot and holds it. Gives its number, by which runs adopt it, and what it has seen.
    ///
    /// # Errors
    /// POOL_TIMEOUT where too many are held for too long, CLOSED, or why the server could not be reached.
    pub async fn hold_snapshot(&self) -> Result<(u64, String)> {
        let (mut connection, permit) = self.pool.open_beside().await?;
        let exported = match connection.begin_exporting().await {
            Ok(exported) => Arc::new(exported),
            Err(stop) => {
                connection.close().await;
                return Err(stop.into());
            }
        };
        let seen = exported.seen.clone();
        let number = self.snapshots.keep(Holder {
            exported,
            connection,
            _permit: permit,
        });
        if self.pool.is_closed() {
            // `close()` may have looked before it was kept.
            self.snapshots.clear().await;
            return Err(Error::Closed);
        }
        Ok((number, seen))
    }
}
