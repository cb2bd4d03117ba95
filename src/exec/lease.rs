//! A connection in use, and what becomes of it.

use std::{sync::Arc, time::Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::connection::Connection;
use super::fault::spares_connection;
use super::governor::Place;
use super::pool::Pool;
use super::registry::Ticket;
use super::stop::Stop;

/// A connection in use.
///
/// Who holds one says how it ended: [`Lease::release`] gives it back, [`Lease::discard`] closes it.
/// Dropped without either, in the middle of a query's statement, the statement is cancelled on the
/// server in a task of its own, and the connection goes back once it has drained. So a future that
/// runs statements can be dropped at any moment.
pub struct Lease {
    connection: Option<Connection>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
    place: Option<Place>,
    /// Whose statements run on it: the query counts as running until they have stopped.
    query: Option<Arc<Ticket>>,
}

impl Lease {
    /// A connection of a pool, and the right to use it.
    pub(super) const fn new(
        connection: Connection,
        pool: Arc<Pool>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            connection: Some(connection),
            pool,
            permit: Some(permit),
            place: None,
            query: None,
        }
    }

    /// The connection.
    #[allow(clippy::expect_used, clippy::missing_panics_doc)] // Taken only by what ends the lease.
    pub fn connection(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("a lease holds its connection until it ends")
    }

    /// A snapshot that every statement which begins on its server now sees at least.
    pub fn seen_snapshot(&self) -> Arc<str> {
        self.pool.seen_snapshot()
    }

    /// From now on it runs the statements of a query, that can be cancelled.
    pub fn run_for(&mut self, query: Arc<Ticket>, place: Option<Place>) {
        self.query = Some(query);
        // Kept until the lease ends: a statement that is being cancelled still runs.
        self.place = place;
    }

    /// Gives a connection back that is in step with the server: no statement is running on it.
    pub fn release(mut self) {
        if (self.connection.as_ref()).is_some_and(|connection| connection.in_transaction) {
            return self.release_after_rollback();
        }
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        connection.idle_since = Instant::now();
        self.pool.put_back(connection);
    }

    /// The transaction in which it adopted a snapshot is over: who waits for the answer does not wait
    /// for that.
    fn release_after_rollback(self) {
        let pool = Arc::clone(&self.pool);
        pool.spawn(async move {
            let mut lease = self;
            match lease.connection().roll_back().await {
                Ok(()) => lease.release(),
                Err(_) => lease.discard(),
            }
        });
    }

    /// Closes the connection: the server has gone away, or is out of step.
    pub fn discard(mut self) {
        self.query = None;
    }

    /// Ends its transaction, and it, as its last statement ended.
    pub async fn end_transaction<T>(mut self, outcome: &Result<T, Stop>) {
        match outcome {
            // The statement is still running: it is cancelled, and its transaction rolled back.
            Err(Stop::Ours(_)) => drop(self),
            Err(Stop::Driver(error)) if !spares_connection(error) => self.discard(),
            _ => match self.connection().roll_back().await {
                Ok(()) => self.release(),
                Err(_) => self.discard(),
            },
        }
    }

    /// Ends it as its last statement ended.
    pub fn settle<T>(self, outcome: &Result<T, Stop>) {
        match outcome {
            Ok(_) | Err(Stop::Refused(_)) => self.release(),
            Err(Stop::Driver(error)) if spares_connection(error) => self.release(),
            Err(Stop::Driver(_)) => self.discard(),
            // The statement is still running: it is cancelled.
            Err(Stop::Ours(_)) => drop(self),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(query), Some(connection)) = (self.query.take(), self.connection.take()) else {
            return;
        };
        let mut stopping = Self {
            connection: Some(connection),
            pool: Arc::clone(&self.pool),
            permit: self.permit.take(),
            place: self.place.take(),
            query: None,
        };
        self.pool.spawn(async move {
            let pool = Arc::clone(&stopping.pool);
            if pool.canceller.stop(stopping.connection()).await {
                stopping.release();
            } else {
                drop(stopping);
            }
            drop(query);
        });
    }
}
