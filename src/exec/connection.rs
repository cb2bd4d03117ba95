//! One connection, set up for queries.

use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection as _, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow, types::Oid},
};
use tokio::sync::Notify;

use super::arguments::sql_text;
use super::catalog;
use super::fault::spares_connection;
use super::stop::Stop;
use crate::model::{snapshot::Snapshot, token::Origin};

/// An open connection, the backend it talks to, and when it was opened.
#[allow(clippy::struct_excessive_bools)] // Each is a state of its own of the session.
pub struct Connection {
    /// The driver's connection.
    pub driver: PgConnection,
    /// The backend's process id, for `pg_cancel_backend`.
    pub pid: i32,
    /// When it was opened.
    pub opened: Instant,
    /// When it was last returned.
    pub idle_since: Instant,
    /// Whether a transaction of the caller's own SQL is open on it.
    pub in_transaction: bool,
    /// Whether a statement on it was parsed before the schema changed.
    pub outdated: bool,
    /// Whether its transactions are REPEATABLE READ unless they say otherwise: for the exact cache.
    pub repeatable: bool,
    /// Whether a pooler stands between that may give each transaction another session: nothing is set in it,
    /// and its pid is not to be relied on.
    pub pooled: bool,
    /// The session's `statement_timeout` in milliseconds; 0 for none.
    pub backstop: u64,
    /// Whether its statements are planned once, whatever their values: those of a check.
    generic: bool,
    /// The snapshot text at the time it was opened: a bound for tokens of empty answers.
    pub snapshot: String,
    /// Which database it is connected to.
    pub origin: Origin,
    /// Whether the server followed another when it was opened: then its snapshots say less.
    pub is_standby: bool,
    _open: Open,
}

/// The longest wait for a server to take note of a goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The open connections of a pool: `close()` waits until there are none.
#[derive(Default)]
pub struct OpenCount {
    count: AtomicUsize,
    changed: Notify,
}

impl OpenCount {
    /// How many are open.
    pub fn get(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until none is open.
    pub async fn none(&self) {
        loop {
            let changed = self.changed.notified();
            if self.get() == 0 {
                return;
            }
            changed.await;
        }
    }
}

struct Open(Arc<OpenCount>);

impl Open {
    fn new(count: &Arc<OpenCount>) -> Self {
        count.count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl Connection {
    /// Connects and sets the session up.
    pub async fn open(
        options: &PgConnectOptions,
        count: &Arc<OpenCount>,
    ) -> Result<Self, sqlx::Error> {
        let open = Open::new(count);
        let mut driver = options.connect().await?;
        let row = set_up(&mut driver).await?;
        let now = Instant::now();
        let snapshot: String = row.try_get(1)?;
        let is_standby = row.try_get(4)?;
        Ok(Self {
            pid: row.try_get(0)?,
            snapshot: seen(snapshot, is_standby),
            is_standby,
            origin: Origin::of(row.try_get(2)?, row.try_get::<Oid, _>(3)?.0),
            pooled: row.try_get(5)?,
            driver,
            in_transaction: false,
            outdated: false,
            repeatable: false,
            backstop: 0,
            generic: false,
            opened: now,
            idle_since: now,
            _open: open,
        })
    }

    /// Begins a transaction in which nothing can be written.
    pub async fn begin_read_only(&mut self) -> Result<(), sqlx::Error> {
        self.in_transaction = true;
        sqlx::query(catalog::BEGIN_READ_ONLY)
            .persistent(false)
            .execute(&mut self.driver)
            .await
            .map(drop)
    }

    /// Has the server itself end statements that take longer, should this process be gone or hang.
    pub async fn set_backstop(&mut self, millis: u64) -> Result<(), sqlx::Error> {
        if self.pooled || self.backstop == millis {
            return Ok(());
        }
        // Where it is not known whether it was set, it is set again: no other use has this number.
        self.backstop = u64::MAX;
        sqlx::query(catalog::BACKSTOP)
            .bind(millis.to_string())
            .execute(&mut self.driver)
            .await?;
        self.backstop = millis;
        Ok(())
    }

    /// Has what follows in its transaction answered by one process of the server.
    pub async fn one_process(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(catalog::ONE_PROCESS)
            .execute(&mut self.driver)
            .await
            .map(drop)
    }

    /// Has what follows in its transaction answered by so many processes of the server beside the first,
    /// wherever that can be.
    pub async fn processes(&mut self, workers: u32) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(sql_text(&catalog::processes(workers)))
            .execute(&mut self.driver)
            .await
            .map(drop)
    }

    /// Begins a transaction in which nothing can be written and all statements see one snapshot,
    /// whose text it gives.
    pub async fn begin_snapshot(&mut self) -> Result<String, sqlx::Error> {
        // One that adopted a snapshot has a transaction already.
        if !std::mem::replace(&mut self.in_transaction, true) {
            sqlx::query(catalog::BEGIN_SNAPSHOT)
                .persistent(false)
                .execute(&mut self.driver)
                .await?;
        }
        let row = sqlx::query(catalog::SNAPSHOT)
            .fetch_one(&mut self.driver)
            .await?;
        row.try_get(0)
    }

    /// Makes its transactions REPEATABLE READ from now on, or what the server has for others. One
    /// round trip where that is not so already.
    pub async fn set_repeatable(&mut self, repeatable: bool) -> Result<(), sqlx::Error> {
        if self.pooled || self.repeatable == repeatable {
            return Ok(());
        }
        let set = if repeatable {
            catalog::REPEATABLE_READ
        } else {
            catalog::DEFAULT_ISOLATION
        };
        sqlx::raw_sql(set).execute(&mut self.driver).await?;
        (self.repeatable, self.generic) = (repeatable, repeatable);
        Ok(())
    }

    /// Has statements planned once and for all, or as the server thinks best, from now on. One round
    /// trip where that is not so already.
    pub async fn plan_once(&mut self, generic: bool) -> Result<(), sqlx::Error> {
        if self.pooled || self.generic == generic {
            return Ok(());
        }
        let set = if generic {
            catalog::GENERIC_PLANS
        } else {
            catalog::DEFAULT_PLANS
        };
        sqlx::raw_sql(set).execute(&mut self.driver).await?;
        self.generic = generic;
        Ok(())
    }

    /// Forgets the statements that were parsed on it.
    pub async fn forget_statements(&mut self) -> Result<(), sqlx::Error> {
        self.driver.clear_cached_statements().await
    }

    /// Ends the transaction, and with it every setting and lock that was taken inside: session
    /// locks are given up too, which a transaction's end does not do.
    pub async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(catalog::ROLL_BACK)
            .execute(&mut self.driver)
            .await?;
        self.in_transaction = false;
        if std::mem::take(&mut self.outdated) {
            self.forget_statements().await?;
        }
        Ok(())
    }

    /// Ends a transaction that only read, by what came of it.
    ///
    /// # Errors
    /// What came of it; why the transaction did not end: then the connection is not in step.
    pub async fn end_reading<T>(&mut self, came: Result<T, Stop>) -> Result<T, Stop> {
        match came {
            // A statement of ours is still running: the canceller ends its transaction too.
            Err(Stop::Ours(error)) => Err(Stop::Ours(error)),
            Err(Stop::Driver(error)) if !spares_connection(&error) => Err(Stop::Driver(error)),
            came => {
                self.roll_back().await?;
                came
            }
        }
    }

    /// Says goodbye to the server. An error means that it is gone already.
    pub async fn close(self) {
        let Self {
            driver,
            _open: open,
            ..
        } = self;
        // A peer that does not answer must not hold up whoever waits for the end.
        let _ = tokio::time::timeout(GOODBYE, driver.close()).await;
        drop(open);
    }
}

/// What a snapshot of a server tells: its text, or as much of that as a standby's is good for.
pub fn seen(snapshot: String, is_standby: bool) -> String {
    if is_standby {
        Snapshot::settled(&snapshot).unwrap_or_default()
    } else {
        snapshot
    }
}

/// Sets the session up, as far as this server and this role allow.
async fn set_up(driver: &mut PgConnection) -> Result<PgRow, sqlx::Error> {
    for text in [catalog::SET_UP, catalog::SET_UP_PLAIN] {
        let row = sqlx::query(text).persistent(false).fetch_one(&mut *driver);
        match row.await {
            Err(sqlx::Error::Database(_)) => {}
            other => return other,
        }
    }
    let bare = sqlx::query(catalog::SET_UP_BARE).persistent(false);
    bare.fetch_one(driver).await
}
