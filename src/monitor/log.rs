//! The log of runs in the database, written in the background.
//!
//! A batch that cannot be written is dropped: what is kept in memory goes on being exact, and a
//! log is worth no retry that could pile up. While writing fails, attempts become rarer, and the
//! reason stands in the health report.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use super::Monitor;
use super::store;
use crate::exec::{Ended, Engine, fault};
use crate::model::{Error, table::TableNames};

/// A run waits about this long to be logged.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest pause after failures.
const RARELY: Duration = Duration::from_mins(5);
/// The longest that a batch may take, and what is left of a client that closes.
const PATIENCE: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(1);
/// How often old rows are swept out and indexes noted.
const UPKEEP: Duration = Duration::from_hours(1);

/// How logging goes.
#[derive(Default)]
pub struct LogState {
    /// Rows that were written.
    pub written: u64,
    /// Batches that could not be written.
    pub failures: u64,
    /// Why the last batch could not be written; `None` where it was, or there was none.
    pub problem: Option<String>,
    upkept: Option<Instant>,
}

/// What a failure means to whoever reads the health report.
fn problem(error: sqlx::Error) -> String {
    let told = match fault(error) {
        Error::Database { sql_state, .. } if sql_state == "42P01" => {
            "its tables are missing: migrate() makes them, or says what has to be restored"
                .to_owned()
        }
        Error::Database { sql_state, .. } if sql_state == "42501" => {
            "the role may not write its tables".to_owned()
        }
        Error::Timeout(_) => "the server took too long".to_owned(),
        Error::Database { sql_state, message } => format!("{message} ({sql_state})"),
        other => other.to_string(),
    };
    format!("queries are not logged: {told}")
}

impl Monitor {
    /// Writes in the background for as long as the client is there.
    pub fn keep_logging(monitor: &Arc<Self>, engine: &Arc<Engine>) {
        if monitor.options.persist {
            tokio::spawn(work(Arc::downgrade(monitor), Arc::downgrade(engine)));
        }
    }

    fn log_state<T>(&self, change: impl FnOnce(&mut LogState) -> T) -> T {
        change(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why runs are not logged, where they are not.
    pub fn log_problem(&self) -> Option<String> {
        self.log_state(|state| state.problem.clone())
    }

    /// Rows written, and batches that could not be.
    pub fn logged(&self) -> (u64, u64) {
        self.log_state(|state| (state.written, state.failures))
    }

    /// Writes what waits, sweeps out what is old and notes the indexes. Whether that worked stands
    /// in the health report.
    pub async fn flush(&self, engine: &Engine) {
        // A client that is closed has written what it had.
        if self.options.persist && !engine.pool.is_closed() {
            self.write(engine, true, PATIENCE).await;
        }
    }

    /// Writes what waits when the client closes, unless there is no hope.
    pub async fn finish(&self, engine: &Engine) {
        let hopeless = self.log_problem().is_some();
        let lost = self.state().server_lost;
        if self.options.persist && !hopeless && !lost {
            self.write(engine, false, GOODBYE).await;
        }
    }

    /// True where it worked, or there was nothing to do.
    async fn write(&self, engine: &Engine, upkeep: bool, patience: Duration) -> bool {
        // One at a time: who asked for a flush wants to find all rows when it is over.
        let _writing = self.writing.lock().await;
        let runs = self.state().buffer.take();
        if runs.is_empty() && !upkeep {
            return true;
        }
        let table = engine.target().table.clone();
        let work = async {
            let mut driver = store::connect(&engine.config.server).await?;
            let done = self.attempt(&mut driver, &table, &runs, upkeep).await;
            store::close(driver).await;
            done
        };
        let failed = match timeout(patience, work).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(problem(error)),
            Err(_) => Some(format!(
                "queries are not logged: the server took longer than {} s",
                patience.as_secs()
            )),
        };
        let worked = failed.is_none();
        let (before, after) = self.log_state(|state| {
            if worked {
                state.written += runs.len() as u64;
            } else {
                state.failures += 1;
            }
            let before = std::mem::replace(&mut state.problem, failed);
            (before, state.problem.clone())
        });
        if let (None, Some(problem)) = (&before, &after) {
            tracing::warn!(target: "tamma_events::monitor", client = engine.number, "{problem}");
        }
        if !worked {
            self.state().buffer.dropped += runs.len() as u64;
        }
        worked
    }

    async fn attempt(
        &self,
        driver: &mut PgConnection,
        table: &TableNames,
        runs: &[Ended],
        upkeep: bool,
    ) -> Result<(), sqlx::Error> {
        if !runs.is_empty() {
            let indexes: Vec<_> = runs.iter().map(|run| self.plans.indexes(run)).collect();
            store::log(driver, table, runs, &indexes).await?;
        }
        if upkeep {
            store::sweep(driver, table, self.options.retention).await?;
            store::note_indexes(driver, table).await?;
            self.log_state(|state| state.upkept = Some(Instant::now()));
        }
        Ok(())
    }
}

async fn work(monitor: Weak<Monitor>, engine: Weak<Engine>) {
    let mut pause = INTERVAL;
    loop {
        sleep(pause).await;
        let (Some(monitor), Some(engine)) = (monitor.upgrade(), engine.upgrade()) else {
            return;
        };
        if engine.pool.is_closed() {
            return;
        }
        // A client that asks nothing writes nothing, and sweeps nothing.
        if !monitor.state().buffer.waits() {
            continue;
        }
        let due = monitor.log_state(|state| state.upkept.is_none_or(|at| at.elapsed() > UPKEEP));
        let worked = monitor.write(&engine, due, PATIENCE).await;
        pause = if worked {
            INTERVAL
        } else {
            (pause * 2).min(RARELY)
        };
    }
}
