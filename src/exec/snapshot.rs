//! One state of the database, seen from several connections.

use sqlx::{Row, postgres::PgRow};

use super::catalog;
use super::connection::Connection;
use super::sql_text;
use super::stop::Stop;
use crate::model::{Error, time::Timestamp};

/// The name of a snapshot that a transaction exported. It can be adopted while that transaction is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotName(String);

/// What a transaction that exported its snapshot knows of it.
#[derive(Clone, Debug)]
pub struct Exported {
    /// By which others adopt it.
    pub name: SnapshotName,
    /// The time of the transaction, which `now()` gives in it.
    pub clock: Timestamp,
    /// Which transactions it sees, as tokens have it.
    pub seen: String,
}

impl SnapshotName {
    /// The name as a server gives it, such as `00000003-0000001B-1`.
    fn of(text: String) -> Result<Self, Stop> {
        let plain = |c: char| c.is_ascii_hexdigit() || c == '-';
        if text.is_empty() || !text.chars().all(plain) {
            return Err(Stop::Ours(Error::Internal(
                "the server gave no name of a snapshot".into(),
            )));
        }
        Ok(Self(text))
    }
}

impl Connection {
    /// Begins a transaction that reads one state throughout, and lets others see the same.
    pub async fn begin_exporting(&mut self) -> Result<Exported, Stop> {
        self.in_transaction = true;
        let rows = sqlx::raw_sql(catalog::EXPORT)
            .fetch_all(&mut self.driver)
            .await?;
        exported(only(&rows)?)
    }

    /// Begins a transaction that reads the state of another, and gives its time. Where `alone`, one
    /// process of the server answers what is asked in it.
    ///
    /// # Errors
    /// CONNECTION_FAILED where the other transaction is over.
    pub async fn begin_adopting(
        &mut self,
        name: &SnapshotName,
        alone: bool,
    ) -> Result<Timestamp, Stop> {
        self.in_transaction = true;
        // The only statement that takes no bind, hence the check of the name.
        let rows = sqlx::raw_sql(sql_text(&catalog::adopt(&name.0, alone)))
            .fetch_all(&mut self.driver)
            .await
            .map_err(|error| match &error {
                sqlx::Error::Database(db) if is_gone(db.code().as_deref()) => {
                    Stop::Refused(Error::Connection {
                        message: "the connection that holds the snapshot is gone".to_owned(),
                        sql_state: None,
                    })
                }
                _ => Stop::Driver(error),
            })?;
        clock(only(&rows)?, 0)
    }
}

/// No such snapshot: invalid_parameter_value, undefined_object.
fn is_gone(code: Option<&str>) -> bool {
    matches!(code, Some("22023" | "42704" | "55000"))
}

fn only(rows: &[PgRow]) -> Result<&PgRow, Stop> {
    rows.first()
        .ok_or_else(|| Stop::Ours(Error::Internal("the server gave no snapshot".into())))
}

fn exported(row: &PgRow) -> Result<Exported, Stop> {
    Ok(Exported {
        name: SnapshotName::of(row.try_get(0)?)?,
        clock: clock(row, 1)?,
        seen: row.try_get(2)?,
    })
}

fn clock(row: &PgRow, column: usize) -> Result<Timestamp, Stop> {
    let micros: String = row.try_get(column)?;
    (micros.parse().map(Timestamp::from_micros))
        .map_err(|_| Stop::Ours(Error::Internal("the server gave no time".into())))
}
