//! The connection that builds: its own, outside the pool; one builder of a table at a time, across
//! processes.
//!
//! The session's advisory lock says that someone builds. Its end, however it comes, releases it; so
//! whoever holds it knows that half-built indexes of the table are nobody's, and sweeps them out.
//!
//! Who releases what: the session is closed by [`Session::close`]; dropped, its socket closes, and
//! the server ends what it ran within seconds (`client_connection_check_interval`).

use std::{pin::pin, time::Duration};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::{sleep, timeout};

use super::catalog::{self, Table};
use super::definition::RESERVED;
use super::job::{Job, Progress};
use super::store;
use crate::ddl::{
    self,
    session::{Patience, is_lock_failure, lock_key, sql_state},
};
use crate::exec::fault;
use crate::model::{Error, Result, table::TableNames};

/// What the sessions are called in `pg_stat_activity`.
const NAME: &str = "tamma-events indexes";
/// The longest wait for others' locks, snapshots and builds.
pub const LOCK_WAIT: Duration = Duration::from_mins(5);
/// Locks that stop writers are waited for briefly, and again.
const BRIEFLY: Duration = Duration::from_millis(100);
/// How often a build is looked at.
const GLANCE: Duration = Duration::from_millis(150);
/// How often a statement is asked to end.
const CANCELS: u32 = 60;

/// A session that builds.
pub struct Session {
    /// Its connection.
    pub conn: PgConnection,
    pid: i32,
    server: PgConnectOptions,
    names: TableNames,
    /// The event table.
    pub table: Table,
    locked: bool,
    /// The longest wait for others' locks and snapshots.
    pub wait: Duration,
}

impl Session {
    /// Connects, and looks the event table up.
    ///
    /// # Errors
    /// CONNECTION_FAILED, UNKNOWN_TABLE.
    pub async fn open(server: &PgConnectOptions, names: &TableNames) -> Result<Self> {
        let mut conn = ddl::session::open(server, NAME).await.map_err(fault)?;
        let pid = catalog::backend(&mut conn).await.map_err(fault)?;
        let table = catalog::table(&mut conn, names)
            .await
            .map_err(fault)?
            .ok_or_else(|| {
                Error::UnknownTable(format!(
                    "there is no table {}: migrate() makes it",
                    names.quoted()
                ))
            })?;
        Ok(Self {
            conn,
            pid,
            server: server.clone(),
            names: names.clone(),
            table,
            locked: false,
            wait: lock_wait(server),
        })
    }

    /// Whether it is the one that builds.
    pub const fn is_locked(&self) -> bool {
        self.locked
    }

    /// Becomes the one that builds, and sweeps out what a builder that died left behind.
    ///
    /// # Errors
    /// Who builds for too long; QUERY_CANCELLED, CLOSED.
    pub async fn lock(&mut self, job: &Job) -> Result<()> {
        self.lock_within(job, LOCK_WAIT).await
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As [`Session::lock`].
    pub async fn lock_within(&mut self, job: &Job, wait: Duration) -> Result<()> {
        let key = lock_key("indexes", &[&self.names.schema, &self.names.name]);
        let mut patience = Patience::new(wait);
        // Asked again and again rather than waited for: a session that waits inside a statement
        // holds a snapshot, which the builder would wait for in turn.
        while !ddl::store::try_lock(&mut self.conn, key)
            .await
            .map_err(fault)?
        {
            job.check()?;
            if !patience.pause().await {
                let holders = ddl::catalog::advisory_holders(&mut self.conn, key)
                    .await
                    .map_err(fault)?;
                return Err(Error::Database {
                    sql_state: "55P03".to_owned(),
                    message: format!(
                        "indexes of the table are being built by {}",
                        backends(&holders)
                    ),
                });
            }
        }
        self.locked = true;
        self.sweep(job).await
    }

    /// Drops half-built indexes. Only for the holder of the lock.
    ///
    /// # Errors
    /// Why not all of them could be.
    pub async fn sweep(&mut self, job: &Job) -> Result<()> {
        debug_assert!(self.locked);
        // One by one, and looked up anew: what is dropped takes its parts along.
        let mut tries = 0;
        loop {
            let left = catalog::leftovers(&mut self.conn, self.table.oid, RESERVED)
                .await
                .map_err(fault)?;
            let Some(next) = left.iter().find(|one| !one.attached) else {
                return Ok(());
            };
            tries += 1;
            if tries > 10_000 {
                return Err(Error::Internal("half-built indexes come back".into()));
            }
            tracing::info!(
                target: "tamma_events::indexes",
                index = next.name,
                "a half-built index is dropped"
            );
            self.drop_index(&next.schema, &next.name, next.partitioned, job)
                .await?;
        }
    }

    /// Drops an index, if it is there, without stopping writers, or for a moment only.
    ///
    /// # Errors
    /// The server's, or who is in the way for too long.
    pub async fn drop_index(
        &mut self,
        schema: &str,
        name: &str,
        partitioned: bool,
        job: &Job,
    ) -> Result<()> {
        let sql = store::drop_index(schema, name, !partitioned);
        if partitioned {
            self.briefly(&sql, job).await
        } else {
            self.slowly(&sql, job).await
        }
    }

    /// A statement that lets writers go on, and waits for each transaction older than itself.
    ///
    /// # Errors
    /// The server's; QUERY_CANCELLED or CLOSED where it was stopped.
    pub async fn slowly(&mut self, sql: &str, job: &Job) -> Result<()> {
        let wait = self.wait;
        ddl::store::set_lock_timeout(&mut self.conn, wait)
            .await
            .map_err(fault)?;
        match self.watched(sql, job).await {
            Ok(()) => Ok(()),
            Err(error) if sql_state(&error).as_deref() == Some("55P03") => {
                let holders = ddl::catalog::snapshot_holders(&mut self.conn)
                    .await
                    .map_err(fault)?;
                Err(Error::Database {
                    sql_state: "55P03".to_owned(),
                    message: format!(
                        "the build waited {} ms for {}",
                        wait.as_millis(),
                        backends(&holders)
                    ),
                })
            }
            Err(error) => Err(stopped(job, error)),
        }
    }

    /// A statement whose lock stops writers: given up soon, and tried again.
    ///
    /// # Errors
    /// As [`Session::slowly`].
    pub async fn briefly(&mut self, sql: &str, job: &Job) -> Result<()> {
        let mut patience = Patience::new(self.wait);
        ddl::store::set_lock_timeout(&mut self.conn, BRIEFLY)
            .await
            .map_err(fault)?;
        loop {
            match self.watched(sql, job).await {
                Ok(()) => return Ok(()),
                Err(error) if is_lock_failure(&error) => {
                    job.check()?;
                    if !patience.pause().await {
                        return Err(fault(error));
                    }
                }
                Err(error) => return Err(stopped(job, error)),
            }
        }
    }

    /// Runs a statement, tells how far it is, and cancels it where the job is to stop.
    async fn watched(&mut self, sql: &str, job: &Job) -> Result<(), sqlx::Error> {
        let (pid, server) = (self.pid, self.server.clone());
        let mut statement = pin!(store::run(&mut self.conn, sql));
        let mut watcher = None;
        loop {
            tokio::select! {
                biased;
                done = &mut statement => return done,
                _ = job.stopped() => break,
                () = sleep(GLANCE) => {
                    // A build that cannot be looked at goes on all the same.
                    let _ = timeout(GLANCE * 10, glance(&mut watcher, &server, pid, job)).await;
                }
            }
        }
        // One after the other: no cancel is on its way when the next statement is sent.
        for _ in 0..CANCELS {
            let _ = timeout(GLANCE * 10, cancel(&mut watcher, &server, pid)).await;
            if let Ok(done) = timeout(GLANCE, &mut statement).await {
                return done;
            }
        }
        Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
    }

    /// Whether the connection still answers.
    pub async fn alive(&mut self) -> bool {
        matches!(
            timeout(Duration::from_secs(5), self.conn.ping()).await,
            Ok(Ok(()))
        )
    }

    /// Another session in the place of one that was lost, with its lock.
    ///
    /// # Errors
    /// CONNECTION_FAILED, or whoever builds now.
    pub async fn renew(&mut self, job: &Job) -> Result<()> {
        let mut patience = Patience::new(Duration::from_secs(10));
        let renewed = loop {
            match Self::open(&self.server, &self.names).await {
                Ok(renewed) => break renewed,
                Err(error) => {
                    if !error.retryable() || !patience.pause().await {
                        return Err(error);
                    }
                }
            }
        };
        let lost = std::mem::replace(self, renewed);
        drop(lost);
        self.lock_within(job, Duration::from_secs(30)).await
    }

    /// Says goodbye, which gives up the lock.
    pub async fn close(self) {
        // Where that fails it is closed already.
        let _ = timeout(Duration::from_secs(2), self.conn.close()).await;
    }
}

/// The lock timeout of the client's url, where it names one; else [`LOCK_WAIT`].
fn lock_wait(server: &PgConnectOptions) -> Duration {
    let options = server.get_options().unwrap_or_default();
    let named = options
        .split("lock_timeout=")
        .nth(1)
        .map(|rest| rest.split_whitespace().next().unwrap_or_default());
    let millis = named.and_then(|text| text.trim_end_matches("ms").parse().ok());
    millis
        .filter(|ms| *ms > 0)
        .map_or(LOCK_WAIT, Duration::from_millis)
}

/// What a stopped job's failure is to its caller.
fn stopped(job: &Job, error: sqlx::Error) -> Error {
    match job.is_stopped() {
        Some(stop) => stop.error(),
        None => fault(error),
    }
}

async fn connected<'a>(
    watcher: &'a mut Option<PgConnection>,
    server: &PgConnectOptions,
) -> Result<&'a mut PgConnection, sqlx::Error> {
    let conn = match watcher.take() {
        Some(conn) => conn,
        None => ddl::session::open(server, NAME).await?,
    };
    Ok(watcher.insert(conn))
}

async fn cancel(
    watcher: &mut Option<PgConnection>,
    server: &PgConnectOptions,
    pid: i32,
) -> Result<(), sqlx::Error> {
    let conn = connected(watcher, server).await?;
    let done = catalog::cancel(conn, pid).await;
    if done.is_err() {
        *watcher = None;
    }
    done
}

async fn glance(
    watcher: &mut Option<PgConnection>,
    server: &PgConnectOptions,
    pid: i32,
    job: &Job,
) -> Result<(), sqlx::Error> {
    let conn = connected(watcher, server).await?;
    let found = catalog::build_progress(conn, pid).await;
    if found.is_err() {
        *watcher = None;
    }
    if let Some(found) = found? {
        job.set(Progress {
            done: found.done.unsigned_abs(),
            total: (found.total > 0).then_some(found.total.unsigned_abs()),
            unit: found.unit,
            phase: found.phase,
        });
    }
    Ok(())
}

fn backends(pids: &[i32]) -> String {
    match pids {
        [] => "another session".to_owned(),
        [one] => format!("the server's process {one}"),
        many => {
            let list: Vec<_> = many.iter().map(ToString::to_string).collect();
            format!("the server's processes {}", list.join(", "))
        }
    }
}
