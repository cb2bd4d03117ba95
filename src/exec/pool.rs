//! Connections, kept for the next query.
//!
//! sqlx's own pool asks the server for a sign of life at every release, which costs a point query
//! a third of its time and drains an abandoned stream to its end. Here a lease goes back only when
//! its holder says that the connection is in step with the server; any other is closed.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{Connection as _, postgres::PgConnectOptions};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::cancel::Canceller;
use super::config::PoolConfig;
use super::connection::{Connection, OpenCount};
use super::fault::fault;
use super::lease::Lease;
use crate::model::{Error, Result, token::Origin};

/// The connections of one client.
pub struct Pool {
    options: PgConnectOptions,
    config: PoolConfig,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
    /// Of connections that are none of the pool's.
    beside: Arc<Semaphore>,
    open: Arc<OpenCount>,
    closed: AtomicBool,
    /// Stops statements on the server.
    pub canceller: Canceller,
    /// The newest snapshot that some finished statement of this pool has seen.
    seen: Mutex<Arc<str>>,
    /// The mark of the database that was connected to last.
    origin: Mutex<Origin>,
    /// Where its tasks run: a lease may end on a thread outside of it.
    runtime: Handle,
}

/// A connection that was used this recently is taken to be alive.
const FRESH: Duration = Duration::from_secs(1);
/// How often the idle are looked through.
const REAP: Duration = Duration::from_secs(5);

impl Pool {
    /// An empty pool. Connects to nothing yet. Needs a tokio runtime around it.
    pub fn new(options: PgConnectOptions, config: PoolConfig) -> Arc<Self> {
        let pool = Arc::new(Self {
            permits: Arc::new(Semaphore::new(config.max)),
            beside: Arc::new(Semaphore::new(config.max)),
            canceller: Canceller::new(options.clone()),
            options,
            config,
            idle: Mutex::default(),
            open: Arc::default(),
            closed: AtomicBool::new(false),
            seen: Mutex::new(Arc::from("")),
            origin: Mutex::default(),
            runtime: Handle::current(),
        });
        tokio::spawn(reap(Arc::downgrade(&pool)));
        pool
    }

    /// A connection, within `acquireTimeout`.
    ///
    /// # Errors
    /// POOL_TIMEOUT, CLOSED, or why the server could not be reached.
    pub async fn acquire(self: &Arc<Self>) -> Result<Lease> {
        self.acquire_in(false).await
    }

    /// A connection whose transactions are REPEATABLE READ where `repeatable`. Those that are so
    /// already are taken first, so that the two kinds settle.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub async fn acquire_in(self: &Arc<Self>, repeatable: bool) -> Result<Lease> {
        // The ordinary case: a place and a connection are there, and neither is waited for.
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned()
            && let Some(connection) = self.pop(repeatable)
        {
            if connection.repeatable == repeatable {
                return Ok(Lease::new(connection, Arc::clone(self), permit));
            }
            // Boxed: it holds a connection being opened.
            let lease = Box::pin(self.lease(connection, permit, repeatable));
            return self.in_time(lease).await;
        }
        self.in_time(Box::pin(self.acquire_slowly(repeatable)))
            .await
    }

    /// What waits no longer than `acquireTimeout`: a server that is cut off does not even refuse.
    async fn in_time<T>(&self, acquiring: impl Future<Output = Result<T>>) -> Result<T> {
        let wait = self.config.acquire_timeout;
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        (tokio::time::timeout(wait, acquiring).await)
            .unwrap_or_else(|_| Err(Error::PoolTimeout(millis)))
    }

    /// Whether all that it may have are in use.
    pub fn is_busy(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// A connection that nobody uses, or a new one where there may be more.
    pub async fn try_acquire(self: &Arc<Self>) -> Option<Lease> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let connection = match self.pop(false) {
            Some(connection) => connection,
            None => Connection::open(&self.options, &self.open).await.ok()?,
        };
        if self.is_closed() {
            connection.close().await;
            return None;
        }
        self.lease(connection, permit, false).await.ok()
    }

    /// A connection beside those of the pool, and the right to it: as many more as there are of those.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub async fn open_beside(&self) -> Result<(Connection, OwnedSemaphorePermit)> {
        let opening = async {
            let permit =
                (Arc::clone(&self.beside).acquire_owned().await).map_err(|_| Error::Closed)?;
            let connection = Connection::open(&self.options, &self.open)
                .await
                .map_err(fault)?;
            self.note_snapshot(&connection.snapshot);
            Ok((connection, permit))
        };
        self.in_time(Box::pin(opening)).await
    }

    /// A connection that answered just now: for statements that must not be sent twice.
    ///
    /// # Errors
    /// As [`Pool::acquire`].
    pub async fn acquire_alive(self: &Arc<Self>) -> Result<Lease> {
        loop {
            let mut lease = self.acquire().await?;
            let connection = lease.connection();
            // Writes have no limit of a query's: setting it to none is a sign of life as well.
            let alive = async {
                Ok(if connection.backstop > 0 {
                    connection.set_backstop(0).await.is_ok()
                } else {
                    connection.idle_since.elapsed() < FRESH
                        || connection.driver.ping().await.is_ok()
                })
            };
            let alive = self.in_time(alive).await.unwrap_or(false);
            if alive {
                return Ok(lease);
            }
            // The server went away while it was idle, and so for all others that are.
            lease.discard();
            self.forget_idle();
        }
    }

    async fn acquire_slowly(self: &Arc<Self>, repeatable: bool) -> Result<Lease> {
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(|_| Error::Closed)?;
        let connection = match self.pop(repeatable) {
            Some(connection) => connection,
            None => Connection::open(&self.options, &self.open)
                .await
                .map_err(fault)?,
        };
        if self.closed.load(Ordering::Acquire) {
            connection.close().await;
            return Err(Error::Closed);
        }
        self.note_snapshot(&connection.snapshot);
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = connection.origin;
        self.lease(connection, permit, repeatable).await
    }

    async fn lease(
        self: &Arc<Self>,
        mut connection: Connection,
        permit: OwnedSemaphorePermit,
        repeatable: bool,
    ) -> Result<Lease> {
        if connection.set_repeatable(repeatable).await.is_err() {
            // The server went away while it was idle, and so for all others that are.
            self.forget_idle();
            connection = Connection::open(&self.options, &self.open)
                .await
                .map_err(fault)?;
            connection.set_repeatable(repeatable).await.map_err(fault)?;
        }
        Ok(Lease::new(connection, Arc::clone(self), permit))
    }

    fn pop(&self, repeatable: bool) -> Option<Connection> {
        loop {
            let connection = {
                let mut idle = self.idle();
                match idle.iter().rposition(|c| c.repeatable == repeatable) {
                    Some(fit) => idle.remove(fit),
                    None => idle.pop()?,
                }
            };
            if connection.opened.elapsed() < self.config.max_lifetime {
                return Some(connection);
            }
            self.spawn(connection.close());
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back a connection that is in step with the server.
    pub(super) fn put_back(&self, connection: Connection) {
        if self.is_closed() {
            self.spawn(connection.close());
            return;
        }
        self.idle().push(connection);
        // `close()` may have emptied the list between the test and the push.
        if self.is_closed() {
            self.idle().clear();
        }
    }

    /// Runs a task, from any thread.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime.spawn(task));
    }

    /// Closes what is idle: after the server went away, no idle connection can be trusted.
    pub fn forget_idle(&self) {
        self.idle().clear();
    }

    /// Connections open and idle, and the most there may be.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.open.get(), self.idle().len(), self.config.max)
    }

    /// Keeps the snapshot of a finished statement. Any statement that begins later sees at least
    /// as much.
    pub fn note_snapshot(&self, snapshot: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if &**seen != snapshot {
            *seen = Arc::from(snapshot);
        }
    }

    /// Which database it connects to.
    pub fn origin(&self) -> Origin {
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot that every statement which begins now sees at least.
    pub fn seen_snapshot(&self) -> Arc<str> {
        Arc::clone(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses new leases.
    pub fn refuse(&self) {
        self.closed.store(true, Ordering::Release);
        self.permits.close();
        self.beside.close();
    }

    /// Refuses new leases, closes what is idle, and waits until the leased ones are closed too.
    pub async fn close(&self) {
        self.refuse();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            connection.close().await;
        }
        self.open.none().await;
        // Last: until then, statements that were running are cancelled through it.
        self.canceller.close().await;
    }

    /// Whether [`Pool::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// Closes connections that were idle for too long. Ends with its pool.
async fn reap(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(REAP).await;
        let Some(pool) = pool.upgrade() else { return };
        if pool.is_closed() {
            return;
        }
        let (timeout, lifetime) = (pool.config.idle_timeout, pool.config.max_lifetime);
        let old: Vec<_> = pool
            .idle()
            .extract_if(.., |c| {
                c.idle_since.elapsed() > timeout || c.opened.elapsed() > lifetime
            })
            .collect();
        for connection in old {
            connection.close().await;
        }
    }
}
