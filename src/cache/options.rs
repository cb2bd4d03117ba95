//! What a cache was asked to be.

use std::time::Duration;

use serde_json::Value as Wire;

use super::fresh::Needed;
use super::redis::RedisOptions;
use crate::exec::Engine;
use crate::model::{
    Error, Result,
    duration::duration,
    path::Path,
    wire::{known_keys, object, whole},
};
use crate::query::{Consistency, Freshness};

/// The options of a cache, checked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of memory.
    pub max_memory: u64,
    /// How long an entry is kept whose query does not say.
    pub ttl: Option<Duration>,
    /// How old an answer may be whose query does not say.
    pub max_staleness: Option<Duration>,
    /// Whether entries are kept in the database too.
    pub persistent: bool,
    /// Where answers are shared with other processes.
    pub redis: Option<RedisOptions>,
}

const KEYS: [&str; 5] = [
    "maxMemoryBytes",
    "defaultTtl",
    "maxStaleness",
    "persistent",
    "redis",
];
const DEFAULT_MEMORY: u64 = 256 << 20;

impl Options {
    /// Parses the client's `cache` option.
    ///
    /// # Errors
    /// INVALID_QUERY with the option's path.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let path = root.key("cache");
        let members = object(wire, &path, "an object of options")?;
        known_keys(members, &path, &KEYS)?;
        let span = |key: &'static str| {
            let found = members.get(key);
            found.map(|w| duration(w, &path.key(key))).transpose()
        };
        let max_memory = match members.get("maxMemoryBytes") {
            None => DEFAULT_MEMORY,
            Some(wire) => whole(wire, &path.key("maxMemoryBytes"))?,
        };
        let persistent = match members.get("persistent") {
            None => false,
            Some(wire) => wire.as_bool().ok_or_else(|| {
                Error::invalid(path.key("persistent"), "must be true or false".to_owned())
            })?,
        };
        Ok(Self {
            max_memory,
            ttl: span("defaultTtl")?,
            max_staleness: span("maxStaleness")?,
            persistent,
            redis: members.get("redis").map(RedisOptions::parse).transpose()?,
        })
    }

    /// What an answer needs, the client's own bound filled in.
    ///
    /// # Errors
    /// INVALID_QUERY at the token.
    pub fn freshness(&self, asked: &Freshness, engine: &Engine) -> Result<Needed> {
        Ok(match &asked.consistency {
            Some(Consistency::Strict) => Needed::Strict,
            Some(Consistency::Bounded(bound)) => {
                (bound.or(self.max_staleness)).map_or(Needed::Strict, Needed::Bounded)
            }
            Some(Consistency::Session(token)) => Needed::of_token(token, engine)?,
            None => (self.max_staleness).map_or(Needed::Strict, Needed::Bounded),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_are_checked_by_path() {
        let path = |wire: Wire| {
            let refused = Options::parse(&wire).map(drop).unwrap_err();
            refused.path().map(str::to_owned)
        };
        assert_eq!(path(json!(true)).as_deref(), Some("cache"));
        assert_eq!(
            path(json!({ "maxMemoryBytes": -1 })).as_deref(),
            Some("cache.maxMemoryBytes")
        );
        assert_eq!(
            path(json!({ "defaultTtl": "soon" })).as_deref(),
            Some("cache.defaultTtl")
        );
        assert_eq!(
            path(json!({ "persistent": 1 })).as_deref(),
            Some("cache.persistent")
        );
        assert_eq!(path(json!({ "ttl": 1 })).as_deref(), Some("cache.ttl"));
        let options = Options::parse(&json!({ "maxStaleness": "1 second" })).unwrap();
        assert_eq!(options.max_memory, 256 << 20);
        assert_eq!(options.max_staleness, Some(Duration::from_secs(1)));
    }
}
