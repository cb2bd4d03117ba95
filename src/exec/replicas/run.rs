//! A query that replicas are asked for first.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use serde_json::json;
use sqlx::Row;

use super::super::batch::Batch;
use super::super::catalog;
use super::super::connection::Connection;
use super::super::fault::fault;
use super::super::frame::{Frame, Strategy};
use super::super::lease::Lease;
use super::super::request::Single;
use super::super::single;
use super::super::stop::Stop;
use super::Replica;
use crate::model::{Error, Result};
use crate::query::ReadFrom;

/// One statement, by whoever of the replicas can answer it as it is wished, else by the primary.
pub struct FromReplica {
    /// What is asked.
    pub single: Single,
    /// How fresh the answer has to be.
    pub wish: ReadFrom,
}

/// The longest wait for a connection to a replica while the primary is there.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a replica under constant writing is given to come to where the primary was when asked.
const CATCHING_UP: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
];

impl Strategy for FromReplica {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        Box::pin(self.answer(frame))
    }
}

impl FromReplica {
    async fn answer(&self, frame: &Frame<'_>) -> Result<Batch> {
        // The state that is held is the primary's.
        if frame.snapshot.is_some() {
            return single::attempt(frame, &self.single).await;
        }
        let mut reasons = Vec::new();
        for replica in frame.engine.replicas.in_turn() {
            let reason = match Box::pin(self.ready(frame, replica)).await {
                Ok(lease) => {
                    self.tell(frame, Ok(replica.number));
                    match single::answer(frame, &self.single, lease).await {
                        Err(error) if !frame.has_sent() && is_the_servers(&error) => {
                            error.to_string()
                        }
                        outcome => return outcome,
                    }
                }
                Err(Unfit::Reason(reason)) => reason,
                Err(Unfit::Error(error)) => return Err(error),
            };
            reasons.push(format!("replica {} {reason}", replica.number));
        }
        self.tell(frame, Err(reasons.join("; ")));
        single::attempt(frame, &self.single).await
    }

    /// A connection to a replica that may answer.
    async fn ready(&self, frame: &Frame<'_>, replica: &Replica) -> Result<Lease, Unfit> {
        if replica.is_away() {
            return Err(Unfit::Reason("is out of reach".to_owned()));
        }
        let was_asked = AtomicBool::new(false);
        let acquired = async {
            was_asked.store(true, Ordering::Relaxed);
            (tokio::time::timeout(PATIENCE, replica.pool.acquire()).await)
                .unwrap_or_else(|_| Err(Error::PoolTimeout(millis(PATIENCE))))
        };
        let mut lease = match Box::pin(frame.lease_of(acquired)).await {
            Ok(lease) => lease,
            // What the client itself has too little of: the primary's turn comes no sooner.
            Err(error) if !was_asked.load(Ordering::Relaxed) => return Err(Unfit::Error(error)),
            Err(Error::Closed) => return Err(Unfit::Error(Error::Closed)),
            Err(Error::PoolTimeout(_)) if replica.pool.is_busy() => {
                return Err(Unfit::Reason("has no connection free".to_owned()));
            }
            Err(_) => {
                replica.note(true);
                return Err(Unfit::Reason("is out of reach".to_owned()));
            }
        };
        replica.note(false);
        if lease.connection().origin != frame.engine.pool.origin() {
            lease.release();
            return Err(Unfit::Reason("is no copy of this database".to_owned()));
        }
        match self.is_fit(frame, lease.connection()).await {
            Ok(None) => Ok(lease),
            Ok(Some(reason)) => {
                lease.release();
                Err(Unfit::Reason(reason))
            }
            Err(error) => {
                lease.settle::<()>(&Err(Stop::Driver(error)));
                replica.note(true);
                Err(Unfit::Reason("is out of reach".to_owned()))
            }
        }
    }

    /// Why a replica may not answer; `None` where it may.
    async fn is_fit(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
    ) -> Result<Option<String>, sqlx::Error> {
        let Some(replayed) = replayed(connection).await? else {
            return Ok(Some("follows no other server".to_owned()));
        };
        let ReadFrom::ReplicaWithin(most) = self.wish else {
            return Ok(None);
        };
        let marks = &frame.engine.replicas.marks;
        if marks.is_within(most, replayed, Instant::now()) {
            return Ok(None);
        }
        // What the primary says now is what the replica has to come to, or had to a while ago.
        let now = Instant::now();
        if let Ok(written) = primary_written(frame).await {
            marks.add(now, written);
            for pause in CATCHING_UP {
                tokio::time::sleep(pause).await;
                if let Some(replayed) = self::replayed(connection).await?
                    && marks.is_within(most.max(now.elapsed()), replayed, Instant::now())
                {
                    return Ok(None);
                }
            }
        }
        Ok(Some(format!(
            "may be more than {} ms behind",
            most.as_millis()
        )))
    }

    fn tell(&self, frame: &Frame<'_>, by: Result<usize, String>) {
        let value = self.wish.to_string();
        let outcome = match by {
            Ok(number) => {
                json!({ "hint": "readFrom", "value": value, "honoured": true, "how": format!("replica {number} answered") })
            }
            Err(reasons) => {
                json!({ "hint": "readFrom", "value": value, "honoured": false, "reason": reasons })
            }
        };
        frame.tell(|told| {
            told.hints.retain(|hint| hint["hint"] != "readFrom");
            told.hints.push(outcome);
        });
    }
}

/// How far a replica has come; `None` where it is none.
async fn replayed(connection: &mut Connection) -> Result<Option<i64>, sqlx::Error> {
    let row = sqlx::query(catalog::REPLAYED)
        .fetch_one(&mut connection.driver)
        .await?;
    let follows: bool = row.try_get(0)?;
    Ok(row.try_get::<Option<i64>, _>(1)?.filter(|_| follows))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

enum Unfit {
    /// The next one may be fit.
    Reason(String),
    /// No other can answer either.
    Error(Error),
}

/// How far the primary's log goes. Not by a lease of the run's own: it has one already, and waiting for
/// a second could wait for itself.
async fn primary_written(frame: &Frame<'_>) -> Result<i64> {
    let Some(mut lease) = frame.try_lease().await else {
        return Err(Error::PoolTimeout(0));
    };
    let row = sqlx::query(catalog::WRITTEN)
        .fetch_one(&mut lease.connection().driver)
        .await;
    match row {
        Ok(row) => {
            lease.release();
            row.try_get(0).map_err(fault)
        }
        Err(error) => {
            lease.settle::<()>(&Err(Stop::Driver(error)));
            Err(Error::PoolTimeout(0))
        }
    }
}

/// Whether an error says something of the server that answered and nothing of the query: it went away,
/// what it replays got in the way, or it has not come to the table yet.
fn is_the_servers(error: &Error) -> bool {
    matches!(error, Error::Connection { .. })
        || matches!(
            error.sql_state(),
            Some("40001" | "40P01" | "42P01" | "57P01" | "57P02" | "57P03")
        )
}
