//! Hints: how the caller would like a query to be run.

use serde_json::Value as Wire;

use crate::model::{
    Error, Result,
    path::Path,
    wire::{boolean, known_keys, list, object, text, whole},
};

/// How soon a query that has to wait is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// After the others.
    Low,
    /// As most are.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// The hints of a query that this version acts on, and those that it has to decline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Milliseconds; `Some(0)` asks for the cap.
    pub timeout: Option<u64>,
    /// Rows of a batch in `executeBatches`.
    pub batch_size: Option<u64>,
    /// Which of the queries that wait is run first.
    pub priority: Priority,
    /// Asked for and not acted on: the hint, its value in words.
    pub declined: Vec<(&'static str, String)>,
}

const KEYS: [&str; 9] = [
    "useIndex",
    "forceIndex",
    "parallel",
    "workers",
    "cache",
    "timeout",
    "batchSize",
    "readFrom",
    "priority",
];

impl Hints {
    /// Parses the `hints` member of a query.
    ///
    /// # Errors
    /// The path of what is wrong; UNSUPPORTED for `forceIndex`, which must never be ignored.
    pub fn parse(wire: &Wire, path: &Path<'_>) -> Result<Self> {
        let members = object(wire, path, "an object of hints")?;
        known_keys(members, path, &KEYS)?;
        let mut hints = Self::default();
        for (key, value) in members {
            let here = path.key(key);
            match key.as_str() {
                "timeout" => hints.timeout = Some(whole(value, &here)?),
                "batchSize" => hints.batch_size = Some(positive(value, &here)?),
                "workers" => drop(positive(value, &here)?),
                "parallel" => {
                    if boolean(value, &here)? {
                        hints.declined.push(("parallel", "true".to_owned()));
                    }
                }
                "priority" => {
                    hints.priority = match text(value, &here)? {
                        "low" => Priority::Low,
                        "normal" => Priority::Normal,
                        "high" => Priority::High,
                        _ => return Err(Error::invalid(here, "must be 'low', 'normal' or 'high'")),
                    };
                }
                "useIndex" => {
                    for (i, name) in list(value, &here, "index names")?.iter().enumerate() {
                        hints
                            .declined
                            .push(("useIndex", text(name, &here.index(i))?.to_owned()));
                    }
                }
                "forceIndex" => {
                    return Err(Error::Unsupported {
                        path: here.to_string(),
                        what: "this version cannot prove that an index is used".into(),
                    });
                }
                "cache" => {
                    if !matches!(value, Wire::Bool(false)) {
                        hints.declined.push(("cache", "on".to_owned()));
                    }
                }
                _ => {
                    if value.as_str() != Some("primary") {
                        hints.declined.push((
                            "readFrom",
                            value.as_str().unwrap_or("replicaWithin").to_owned(),
                        ));
                    }
                }
            }
        }
        Ok(hints)
    }
}

fn positive(wire: &Wire, path: &Path<'_>) -> Result<u64> {
    match whole(wire, path)? {
        0 => Err(Error::invalid(path, "must be at least 1")),
        n => Ok(n),
    }
}
