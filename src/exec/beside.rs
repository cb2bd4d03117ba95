//! Connections beside the pool: for work in the background that no query waits for, and that takes none
//! of theirs. Who opens one closes it; dropped, it is gone too, without a goodbye.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::catalog;

/// A connection with a name of its own, that waits for a lock and for a statement no longer than this.
/// What it commits does not wait for the disk: what is lost is made again.
///
/// # Errors
/// Why the server could not be reached.
pub async fn open_beside(
    server: &PgConnectOptions,
    name: &str,
    lock: Duration,
    statement: Duration,
) -> Result<PgConnection, sqlx::Error> {
    let mut driver = server.clone().application_name(name).connect().await?;
    sqlx::query(catalog::SET_UP_BESIDE)
        .persistent(false)
        .bind(lock.as_millis().to_string())
        .bind(statement.as_millis().to_string())
        .execute(&mut driver)
        .await?;
    Ok(driver)
}

/// Says goodbye.
pub async fn close_beside(driver: PgConnection) {
    // Where that fails it is closed already.
    let _ = driver.close().await;
}
