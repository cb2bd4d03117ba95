//! How fresh a cached answer has to be.

use std::time::Duration;

use serde_json::Value as Wire;

use crate::model::{
    Error, Result,
    duration::duration,
    path::Path,
    wire::{known_keys, list, object, text},
};

/// The `cache` hint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// What the answer must have seen; `None` where that is left to the client's options.
    pub consistency: Option<Consistency>,
    /// How long the entry is kept. Says nothing about freshness.
    pub ttl: Option<Duration>,
    /// Names to invalidate by.
    pub tags: Vec<String>,
}

/// What an answer must have seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// All that had been committed when it was asked for.
    Strict,
    /// All that had been committed so long before; the client's own bound where `None`.
    Bounded(Option<Duration>),
    /// What a token has seen.
    Session(String),
}

const KEYS: [&str; 5] = ["ttl", "consistency", "maxStaleness", "token", "tags"];

impl Freshness {
    /// Parses the hint; `None` for `false`.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(wire: &Wire, path: &Path<'_>) -> Result<Option<Self>> {
        match wire {
            Wire::Bool(false) => return Ok(None),
            Wire::Bool(true) => return Ok(Some(Self::default())),
            _ => {}
        }
        let members = object(wire, path, "true, false or an object of wishes")?;
        known_keys(members, path, &KEYS)?;
        let span = |key: &'static str| {
            let found = members.get(key);
            found.map(|w| duration(w, &path.key(key))).transpose()
        };
        let staleness = span("maxStaleness")?;
        let token = members.get("token");
        let token = token
            .map(|w| text(w, &path.key("token")).map(str::to_owned))
            .transpose()?;
        let named = members.get("consistency");
        let named = named
            .map(|w| text(w, &path.key("consistency")))
            .transpose()?;
        let refuse = |key: &'static str, problem: &'static str| {
            Err(Error::invalid(path.key(key), problem.to_owned()))
        };
        let consistency = match (named, staleness, token) {
            (Some("strict") | None, None, None) => named.map(|_| Consistency::Strict),
            (Some("bounded") | None, staleness, None) => Some(Consistency::Bounded(staleness)),
            (Some("session") | None, None, Some(token)) => Some(Consistency::Session(token)),
            (Some("session"), _, None) => {
                return refuse("token", "is missing: session consistency is with a token");
            }
            (Some("strict" | "session"), Some(_), _) | (None, Some(_), Some(_)) => {
                return refuse("maxStaleness", "goes with bounded consistency alone");
            }
            (Some("strict" | "bounded"), _, Some(_)) => {
                return refuse("token", "goes with session consistency alone");
            }
            (Some(_), _, _) => {
                return refuse("consistency", "must be 'strict', 'bounded' or 'session'");
            }
        };
        let mut tags = Vec::new();
        if let Some(wire) = members.get("tags") {
            let here = path.key("tags");
            for (i, tag) in list(wire, &here, "names")?.iter().enumerate() {
                tags.push(text(tag, &here.index(i))?.to_owned());
            }
        }
        Ok(Some(Self {
            consistency,
            ttl: span("ttl")?,
            tags,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parsed(wire: &Wire) -> Result<Option<Freshness>> {
        Freshness::parse(wire, &Path::Root.key("cache"))
    }

    #[test]
    fn what_is_asked_for() {
        let asked = |wire: Wire| parsed(&wire).unwrap().map(|f| f.consistency);
        let second = Some(Duration::from_secs(1));
        assert_eq!(asked(json!(false)), None);
        assert_eq!(asked(json!(true)), Some(None));
        assert_eq!(asked(json!({})), Some(None));
        assert_eq!(
            asked(json!({ "maxStaleness": 1000 })),
            Some(Some(Consistency::Bounded(second)))
        );
        assert_eq!(
            asked(json!({ "consistency": "strict", "ttl": "1 hour" })),
            Some(Some(Consistency::Strict))
        );
        assert_eq!(
            asked(json!({ "token": "x" })),
            Some(Some(Consistency::Session("x".into())))
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused_at_its_path() {
        for (wire, path) in [
            (json!(5), "cache"),
            (json!({ "ttl": 0 }), "cache.ttl"),
            (json!({ "consistency": "weak" }), "cache.consistency"),
            (json!({ "consistency": "session" }), "cache.token"),
            (
                json!({ "consistency": "strict", "token": "x" }),
                "cache.token",
            ),
            (
                json!({ "consistency": "strict", "maxStaleness": 5 }),
                "cache.maxStaleness",
            ),
            (
                json!({ "maxStaleness": 5, "token": "x" }),
                "cache.maxStaleness",
            ),
            (json!({ "tags": [1] }), "cache.tags[0]"),
            (json!({ "age": 1 }), "cache.age"),
        ] {
            assert_eq!(parsed(&wire).unwrap_err().path(), Some(path), "{wire}");
        }
    }
}
