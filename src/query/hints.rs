//! Hints: how the caller would like a query to be run.

use std::{fmt, time::Duration};

use serde_json::Value as Wire;

use super::freshness::Freshness;
use crate::model::{
    Error, Result,
    duration::duration,
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

/// Which server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFrom {
    /// The one that is written to.
    #[default]
    Primary,
    /// Any replica, however far behind.
    Replica,
    /// A replica that is at most this far behind.
    ReplicaWithin(Duration),
}

impl fmt::Display for ReadFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::Replica => f.write_str("replica"),
            Self::ReplicaWithin(most) => write!(f, "replica within {} ms", most.as_millis()),
        }
    }
}

impl ReadFrom {
    fn parse(wire: &Wire, path: &Path<'_>) -> Result<Self> {
        match wire.as_str() {
            Some("primary") => return Ok(Self::Primary),
            Some("replica") => return Ok(Self::Replica),
            _ => {}
        }
        let one_of = "'primary', 'replica' or { replicaWithin }";
        let members = object(wire, path, one_of)?;
        known_keys(members, path, &["replicaWithin"])?;
        let most = (members.get("replicaWithin"))
            .ok_or_else(|| Error::invalid(path, format!("must be {one_of}")))?;
        duration(most, &path.key("replicaWithin")).map(Self::ReplicaWithin)
    }
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
    /// Indexes to be used where that can be.
    pub use_index: Vec<String>,
    /// Indexes to be used, or the query fails.
    pub force_index: Vec<String>,
    /// Whether several connections answer; `None` where that is left to the client.
    pub parallel: Option<bool>,
    /// How many at most.
    pub workers: Option<u64>,
    /// How the cache may answer; `None` where it may not.
    pub cache: Option<Freshness>,
    /// Which server answers.
    pub read_from: ReadFrom,
    /// Asked for and not acted on, unless the run says otherwise: the hint, its value in words.
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
    /// The path of what is wrong.
    pub fn parse(wire: &Wire, path: &Path<'_>) -> Result<Self> {
        let members = object(wire, path, "an object of hints")?;
        known_keys(members, path, &KEYS)?;
        let mut hints = Self::default();
        for (key, value) in members {
            let here = path.key(key);
            match key.as_str() {
                "timeout" => hints.timeout = Some(whole(value, &here)?),
                "batchSize" => hints.batch_size = Some(positive(value, &here)?),
                "workers" => hints.workers = Some(positive(value, &here)?),
                "parallel" => hints.parallel = Some(boolean(value, &here)?),
                "priority" => {
                    hints.priority = match text(value, &here)? {
                        "low" => Priority::Low,
                        "normal" => Priority::Normal,
                        "high" => Priority::High,
                        _ => return Err(Error::invalid(here, "must be 'low', 'normal' or 'high'")),
                    };
                }
                "useIndex" => hints.use_index = names(value, &here)?,
                "forceIndex" => hints.force_index = names(value, &here)?,
                "cache" => hints.cache = Freshness::parse(value, &here)?,
                _ => {
                    hints.read_from = ReadFrom::parse(value, &here)?;
                    if hints.read_from != ReadFrom::Primary {
                        let asked = hints.read_from.to_string();
                        hints.declined.push(("readFrom", asked));
                    }
                }
            }
        }
        Ok(hints)
    }

    /// Whether indexes are asked for.
    pub const fn name_indexes(&self) -> bool {
        !(self.use_index.is_empty() && self.force_index.is_empty())
    }
}

/// More names than any plan has scans: each is looked up and judged by itself.
const MOST_NAMES: usize = 32;

/// Names of indexes; one that repeats counts once.
fn names(wire: &Wire, path: &Path<'_>) -> Result<Vec<String>> {
    let items = list(wire, path, "index names")?;
    if items.len() > MOST_NAMES {
        return Err(Error::invalid(
            path,
            format!("names more than {MOST_NAMES} indexes"),
        ));
    }
    let mut names: Vec<String> = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let here = path.index(i);
        let name = text(item, &here)?;
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn positive(wire: &Wire, path: &Path<'_>) -> Result<u64> {
    match whole(wire, path)? {
        0 => Err(Error::invalid(path, "must be at least 1")),
        n => Ok(n),
    }
}
