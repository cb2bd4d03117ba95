//! An append under a condition: one transaction of three round trips. `condition.rs` says why it holds.

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, Row, SqlSafeStr, postgres::PgRow};

use super::append::Batch;
use super::condition::{AppendCondition, Lock};
use super::store;
use crate::exec::{Engine, Lease, Stop, arguments, spares_connection, sql_text};
use crate::model::{
    Error,
    snapshot::{Seen, Snapshot},
};
use crate::sql::conflict;

/// Attempts where the server broke a deadlock with someone else's transaction, or could not
/// serialize it.
const ATTEMPTS: u32 = 5;

impl Engine {
    /// Stores the events, unless there is one that the condition speaks of. Gives what the transaction
    /// had seen and which it was.
    ///
    /// Dropped in the middle, its connection is closed, and the server rolls back.
    ///
    /// # Errors
    /// APPEND_CONFLICT; INVALID_QUERY for a token of another database; UNSUPPORTED where the gate is
    /// not there.
    pub(super) async fn append_under(
        self: &Arc<Self>,
        batch: &Batch,
        condition: &AppendCondition,
        locks: &[Lock],
    ) -> Result<PgRow, Stop> {
        let mut attempt = 1;
        loop {
            let mut lease = self.pool.acquire_alive().await.map_err(Stop::Refused)?;
            let stored = self.attempt(&mut lease, batch, condition, locks).await;
            let again = matches!(&stored, Err(Stop::Driver(error)) if is_passing(error));
            match &stored {
                Ok(_) => lease.release(),
                Err(Stop::Driver(error)) if !spares_connection(error) => {
                    lease.discard();
                    self.pool.forget_idle();
                }
                Err(_) => match lease.connection().roll_back().await {
                    Ok(()) => lease.release(),
                    Err(_) => lease.discard(),
                },
            }
            if !again || attempt == ATTEMPTS {
                return stored;
            }
            tokio::time::sleep(Duration::from_millis(5 * u64::from(attempt))).await;
            attempt += 1;
        }
    }

    async fn attempt(
        &self,
        lease: &mut Lease,
        batch: &Batch,
        condition: &AppendCondition,
        locks: &[Lock],
    ) -> Result<PgRow, Stop> {
        let target = self.target();
        let connection = lease.connection();
        if let Some(after) = &condition.after {
            (after.check_origin(connection.origin, "condition.after")).map_err(Stop::Refused)?;
        }
        // Numbers and quoted names. In one message: a lock is waited for, not asked for.
        let locking = AssertSqlSafe(store::begin_under(&target.table, locks)).into_sql_str();
        let begun = sqlx::raw_sql(locking)
            .fetch_all(&mut connection.driver)
            .await
            .map_err(missing_gate)?;
        let now: String = (begun.last().map(|row| row.try_get(0)))
            .transpose()?
            .unwrap_or_default();
        let seen = condition.after.as_ref().map(|token| &token.seen);
        check_ahead(seen, &now)?;
        let unseen = seen.map(Seen::unseen);
        let (found, mut binds) = conflict(&condition.fail_if, unseen.as_deref(), &target);
        let text = store::append_unless(&target.table, &found, binds.len());
        binds.extend(batch.binds.iter().cloned());
        let values = arguments(&binds).map_err(Stop::Refused)?;
        let row = sqlx::query_with(sql_text(&text), values)
            .fetch_one(&mut connection.driver)
            .await?;
        if row.try_get::<i64, _>(2)? == 0 {
            return Err(Stop::Refused(Error::AppendConflict));
        }
        sqlx::raw_sql(store::COMMIT)
            .execute(&mut connection.driver)
            .await?;
        Ok(row)
    }
}

/// What a token has seen and the database has not is of a database that was put back.
fn check_ahead(seen: Option<&Seen>, now: &str) -> Result<(), Stop> {
    let now = Snapshot::parse(now);
    match (seen, now) {
        (None, _) => Ok(()),
        (Some(seen), Some(now)) if seen.is_within(&now) => Ok(()),
        _ => Err(Stop::Refused(Error::invalid(
            "condition.after",
            "is a token that is ahead of this database, which was restored to an earlier state",
        ))),
    }
}

/// Serialization failure, deadlock: with transactions of others.
fn is_passing(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| matches!(&*code, "40001" | "40P01"))
}

/// `undefined_function`: the table was not migrated by a version that has it.
fn missing_gate(error: sqlx::Error) -> Stop {
    if code(&error).as_deref() != Some("42883") {
        return Stop::Driver(error);
    }
    Stop::Refused(Error::Unsupported {
        path: "condition".to_owned(),
        what: "the event table has no gate that keeps other writers apart: migrate() makes it"
            .into(),
    })
}

fn code(error: &sqlx::Error) -> Option<String> {
    error
        .as_database_error()?
        .code()
        .map(std::borrow::Cow::into_owned)
}
