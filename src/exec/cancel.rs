//! Stopping a statement on the server, and nothing else.
//!
//! `pg_cancel_backend` runs on a connection of its own, outside the pool's limit. A connection is
//! used again only after the cancel has *answered* and the cancelled statement has been drained to
//! ReadyForQuery; a cancel that is not awaited hits later statements.

use std::{pin::pin, time::Duration};

use sqlx::{ConnectOptions, Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

use super::catalog;
use super::connection::Connection;

/// The longest wait for a server to answer a cancel; then the connection is dropped instead.
const PATIENCE: Duration = Duration::from_secs(2);
/// A cancel can arrive as the error of a ping, once, when it came just too late for its statement.
const PINGS: usize = 4;
/// A cancel comes too early for a statement that was still waiting to be sent: the next one follows.
const AGAIN: Duration = Duration::from_millis(30);

/// A cancelled statement leaves its transaction open, and failed.
async fn end_transaction(connection: &mut Connection) -> bool {
    !connection.in_transaction || connection.roll_back().await.is_ok()
}

/// One lazy connection for cancels, shared by all statements of a client.
pub struct Canceller {
    options: PgConnectOptions,
    control: Mutex<Option<PgConnection>>,
}

impl Canceller {
    /// Connects to nothing yet.
    pub fn new(options: PgConnectOptions) -> Self {
        Self {
            options,
            control: Mutex::const_new(None),
        }
    }

    /// Stops what runs on a connection and brings it back in step. False where that failed: the
    /// connection must be closed.
    pub async fn stop(&self, connection: &mut Connection) -> bool {
        // Another client's statement may be running there by now. The pooler stops what a client leaves.
        if connection.pooled {
            return false;
        }
        timeout(PATIENCE, self.stop_and_drain(connection))
            .await
            .unwrap_or(false)
    }

    async fn stop_and_drain(&self, connection: &mut Connection) -> bool {
        if self.cancel(connection.pid).await.is_err() {
            return false;
        }
        for _ in 0..PINGS {
            match self.drain(connection).await {
                Ok(()) => return end_transaction(connection).await,
                Err(sqlx::Error::Database(_)) => {}
                Err(_) => return false,
            }
        }
        false
    }

    /// Waits for ReadyForQuery, and cancels again while it does not come.
    async fn drain(&self, connection: &mut Connection) -> Result<(), sqlx::Error> {
        let pid = connection.pid;
        let mut ping = pin!(connection.driver.ping());
        loop {
            tokio::select! {
                biased;
                answer = &mut ping => return answer,
                () = sleep(AGAIN) => self.cancel(pid).await?,
            }
        }
    }

    /// Asks the server to cancel what a backend runs, and waits until it has.
    pub async fn cancel(&self, pid: i32) -> Result<(), sqlx::Error> {
        let mut control = self.control.lock().await;
        let mut driver = match control.take() {
            Some(driver) => driver,
            None => self.options.connect().await?,
        };
        // Kept only where it answered: after an error it may be gone.
        sqlx::query(catalog::CANCEL)
            .bind(pid)
            .execute(&mut driver)
            .await?;
        *control = Some(driver);
        Ok(())
    }

    /// Closes the connection for cancels.
    pub async fn close(&self) {
        if let Some(driver) = self.control.lock().await.take() {
            let _ = driver.close().await;
        }
    }
}
