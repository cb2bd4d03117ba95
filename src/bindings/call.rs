//! What comes with a call: its options and its SQL as `lib/` writes them, and how its run begins.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Wire;

use super::inbox::Inbox;
use super::port::Port;
use crate::exec::{Batch, Engine, Run, RunOptions};
use crate::model;

/// The options of a call.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallOptions {
    /// Milliseconds.
    pub timeout: Option<u64>,
    /// What it is cancelled by.
    pub query_id: Option<String>,
    /// Whether explaining runs it.
    pub analyze: bool,
    /// The number of the snapshot that it reads.
    pub snapshot: Option<u64>,
}

/// The caller's own SQL.
#[derive(Deserialize)]
pub struct SqlCall {
    /// The text around the values.
    pub strings: Vec<String>,
    /// The values.
    pub values: Vec<Wire>,
}

impl CallOptions {
    /// As a run takes them.
    pub fn run(&self) -> RunOptions {
        RunOptions {
            timeout: self.timeout,
            query_id: self.query_id.clone(),
            snapshot: self.snapshot,
            ..RunOptions::default()
        }
    }
}

/// The options of a run, as `lib/run.js` writes them.
pub fn run_options(text: Option<String>) -> model::Result<RunOptions> {
    call_options(text).map(|options| options.run())
}

/// Parses the options of a call.
pub fn call_options(text: Option<String>) -> model::Result<CallOptions> {
    let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
    parsed
        .map(Option::unwrap_or_default)
        .map_err(|e| model::Error::invalid("options", e.to_string()))
}

/// Parses the caller's own SQL.
pub fn sql_call(text: &str) -> model::Result<SqlCall> {
    serde_json::from_str(text).map_err(|e| model::Error::invalid("sql", e.to_string()))
}

/// Starts a run, or puts the reason why not where its batches would come.
pub fn begin(engine: &Arc<Engine>, port: &Arc<Port>, run: model::Result<Run>) -> Arc<Inbox> {
    let (inbox, sender) = Inbox::new(port);
    match run {
        Ok(run) => port.spawn(run.execute(Arc::clone(engine), sender)),
        // An empty channel has room.
        Err(error) => drop(sender.try_send(Batch::error(&error, None))),
    }
    inbox
}
