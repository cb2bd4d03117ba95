//! Read replicas: who is asked, and who answers where none of them can.
//!
//! A replica's connections are a pool of their own, opened when it is first asked and closed with the
//! client. What a replica cannot answer, or not freshly enough, the primary answers; the result says so.

mod marks;
mod run;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use sqlx::postgres::PgConnectOptions;

use self::marks::Marks;
use super::config::PoolConfig;
use super::pool::Pool;
use crate::query::ReadFrom;

pub use run::FromReplica;

/// The replicas of a client.
pub struct Replicas {
    all: Vec<Replica>,
    /// Where the next search begins.
    turn: AtomicUsize,
    /// How far the primary was.
    marks: Marks,
}

/// A server that follows the primary.
struct Replica {
    /// From 1, in the order of the options.
    number: usize,
    pool: Arc<Pool>,
    /// When it was last out of reach.
    failed: Mutex<Option<Instant>>,
}

/// A replica that could not be reached is left alone for so long.
const AWAY: Duration = Duration::from_secs(2);

impl Replicas {
    /// Connects to nothing yet. Needs a tokio runtime around it.
    pub fn new(servers: &[PgConnectOptions], config: PoolConfig) -> Self {
        let numbered = servers.iter().zip(1..);
        Self {
            all: numbered
                .map(|(server, number)| Replica {
                    number,
                    pool: Pool::new(server.clone(), config),
                    failed: Mutex::default(),
                })
                .collect(),
            turn: AtomicUsize::new(0),
            marks: Marks::default(),
        }
    }

    /// What is asked of replicas, where there are any.
    pub fn asked(&self, wish: ReadFrom) -> Option<ReadFrom> {
        (wish != ReadFrom::Primary && !self.all.is_empty()).then_some(wish)
    }

    /// All of them, each time from the next one on.
    fn in_turn(&self) -> impl Iterator<Item = &Replica> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        let (before, from) = self.all.split_at(first);
        from.iter().chain(before)
    }

    /// Closes all their connections.
    pub async fn close(&self) {
        join_all(self.all.iter().map(|replica| replica.pool.close())).await;
    }
}

impl Replica {
    fn is_away(&self) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|at| at.elapsed() < AWAY)
    }

    fn note(&self, failed: bool) {
        let at = failed.then(Instant::now);
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }
}
