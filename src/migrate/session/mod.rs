//! The one connection that migrates, and what it waits for.

mod catalog;

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, PgConnection,
    migrate::{Migrate, Migration},
    postgres::{PgConnectOptions, types::Oid},
};

use super::error::MigrateError;
use crate::ddl::{
    self,
    session::{Patience, is_lock_failure},
};

/// Longest wait in the queue for a lock that stops writers. Whoever comes later queues behind it, so
/// it is given up soon and tried again.
const LOCK_TIMEOUT: Duration = Duration::from_millis(100);

/// Opens a connection whose settings do not depend on those of its user, role or database.
pub(super) async fn open(options: &PgConnectOptions) -> Result<PgConnection, MigrateError> {
    ddl::session::open(options, "@tamma/events migrate")
        .await
        .map_err(MigrateError::Connect)
}

/// Takes the advisory lock `key` for the session; its end, however it comes, releases it.
pub(super) async fn lock(
    conn: &mut PgConnection,
    key: i64,
    wait: Duration,
) -> Result<(), MigrateError> {
    let fail = |source| MigrateError::Database {
        step: "taking the migration lock".to_owned(),
        source,
    };
    let mut patience = Patience::new(wait);
    loop {
        // Asked again and again rather than waited for: a session that waits inside a statement
        // holds a snapshot, which the index build of the lock's holder would wait for in turn.
        if ddl::store::try_lock(conn, key).await.map_err(fail)? {
            return Ok(());
        }
        if !patience.pause().await {
            return Err(MigrateError::LockTimeout {
                step: "another migration of the table is running; this one".to_owned(),
                waited: wait,
                blockers: ddl::catalog::advisory_holders(conn, key)
                    .await
                    .map_err(fail)?,
            });
        }
    }
}

/// Something that takes a lock which stops writers, in one transaction.
pub(super) enum Work<'a> {
    /// A migration that sqlx runs and records in the table named.
    Migration(&'a Migration, &'a str),
    /// Statements.
    Sql(&'a str),
}

/// Who works on what, for messages and for telling who is in the way.
pub(super) struct Step<'a> {
    pub(super) title: &'a str,
    pub(super) role: &'a str,
    pub(super) table: Option<Oid>,
}

/// Does the work, trying again while others hold locks, for as long as `wait`.
pub(super) async fn carry_out(
    conn: &mut PgConnection,
    step: &Step<'_>,
    work: Work<'_>,
    wait: Duration,
) -> Result<(), MigrateError> {
    let fail = |source| MigrateError::database(step.title, step.role, source);
    let mut patience = Patience::new(wait);
    let mut timeout = LOCK_TIMEOUT;
    loop {
        ddl::store::set_lock_timeout(conn, timeout)
            .await
            .map_err(fail)?;
        let done = match work {
            Work::Migration(migration, record) => conn
                .apply(record, migration)
                .await
                .map(drop)
                .map_err(unwrap_migrate_error),
            // Several statements of the simple protocol are one transaction.
            Work::Sql(sql) => sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *conn)
                .await
                .map(drop),
        };
        let error = match done {
            Ok(()) => return Ok(()),
            Err(error) if is_lock_failure(&error) => error,
            Err(error) => return Err(fail(error)),
        };
        let (blockers, vacuum) = match step.table {
            Some(table) => catalog::holders(conn, table).await.map_err(fail)?,
            None => (Vec::new(), false),
        };
        tracing::debug!(step = step.title, ?blockers, %error, "waiting for a lock");
        if !patience.pause().await {
            return Err(MigrateError::LockTimeout {
                step: step.title.to_owned(),
                waited: wait,
                blockers,
            });
        }
        // Autovacuum gives way to whoever has waited for deadlock_timeout, so to nobody who never
        // waits that long.
        timeout = if vacuum {
            catalog::deadlock_timeout(conn).await.map_err(fail)? + LOCK_TIMEOUT
        } else {
            LOCK_TIMEOUT
        };
    }
}

/// The server's answer inside sqlx's error, so that it can be told apart by its SQLSTATE.
pub(super) fn unwrap_migrate_error(error: sqlx::migrate::MigrateError) -> sqlx::Error {
    use sqlx::migrate::MigrateError as Sqlx;
    match error {
        Sqlx::Execute(source) | Sqlx::ExecuteMigration(source, _) => source,
        other => sqlx::Error::Migrate(Box::new(other)),
    }
}
