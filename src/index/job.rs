//! A piece of work under way: how far it is, and how it is told to stop.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use serde_json::{Value as Wire, json};
use tokio::sync::watch;

use crate::model::Error;

/// Why work is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its caller asked.
    Cancelled,
    /// The client was closed.
    Closed,
}

impl Stop {
    /// What the caller is told.
    pub const fn error(self) -> Error {
        match self {
            Self::Cancelled => Error::Cancelled,
            Self::Closed => Error::Closed,
        }
    }
}

/// How far work has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// So much is done.
    pub done: u64,
    /// Of so much, where that is known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: &'static str,
    /// What is going on.
    pub phase: String,
}

/// A piece of work.
pub struct Job {
    started: Instant,
    progress: Mutex<Progress>,
    stop: watch::Sender<Option<Stop>>,
}

impl Default for Job {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            progress: Mutex::new(Progress {
                unit: "steps",
                phase: "waiting".to_owned(),
                ..Progress::default()
            }),
            stop: watch::Sender::new(None),
        }
    }
}

impl Job {
    /// Asks it to stop. The first reason counts.
    pub fn stop(&self, why: Stop) {
        self.stop.send_if_modified(|state| {
            let first = state.is_none();
            state.get_or_insert(why);
            first
        });
    }

    /// Why it is to stop, if it is.
    pub fn is_stopped(&self) -> Option<Stop> {
        *self.stop.borrow()
    }

    /// An error where it is to stop.
    ///
    /// # Errors
    /// QUERY_CANCELLED or CLOSED.
    pub fn check(&self) -> Result<(), Error> {
        self.is_stopped().map_or(Ok(()), |stop| Err(stop.error()))
    }

    /// Waits until it is to stop.
    pub async fn stopped(&self) -> Stop {
        let mut watching = self.stop.subscribe();
        loop {
            if let Some(stop) = *watching.borrow_and_update() {
                return stop;
            }
            if watching.changed().await.is_err() {
                // The sender lives as long as the job does.
                return Stop::Cancelled;
            }
        }
    }

    /// Notes how far it is.
    pub fn set(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// Notes what is going on.
    pub fn phase(&self, phase: impl Into<String>) {
        self.set(Progress {
            unit: "steps",
            phase: phase.into(),
            ..Progress::default()
        });
    }

    /// As `Progress` of the API.
    pub fn to_json(&self) -> Wire {
        let progress = (self.progress.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        json!({
            "done": progress.done,
            "total": progress.total,
            "unit": progress.unit,
            "phase": progress.phase,
            "elapsed": self.started.elapsed().as_secs_f64() * 1000.0,
        })
    }
}
