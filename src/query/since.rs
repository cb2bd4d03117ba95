//! `since`: only the events that an earlier answer, or a write, could not see.

use std::hash::{Hash, Hasher};

use serde_json::Value as Wire;

use crate::model::{
    Error, Result,
    path::Path,
    snapshot::{Seen, Snapshot},
    token::{Origin, Token},
    wire::text,
};

/// Where a query's events begin, in terms of what was seen and not of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// What is left out.
    pub seen: Seen,
    /// The database of the token; `None` for the beginning.
    pub origin: Option<Origin>,
    /// What is looked at: later events are left to the next call. Set where the query runs; pages
    /// behind the first have it in their cursor.
    pub upto: Option<Snapshot>,
    /// Whether the token's answer was cut by a limit, and the query goes on behind that.
    pub goes_on: bool,
}

impl Hash for Since {
    /// A cursor goes on from the same beginning, under the state that it holds itself.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.seen.hash(state);
    }
}

impl Since {
    /// Reads `since`: a token, or null for the beginning. Gives also where the answer behind the token
    /// was cut by a limit: there the query goes on, before it comes to what is newer.
    ///
    /// # Errors
    /// INVALID_QUERY at `path`
    pub fn parse(wire: &Wire, path: &Path<'_>) -> Result<(Self, Option<String>)> {
        if wire.is_null() {
            let since = Self {
                seen: Seen::NOTHING,
                origin: None,
                upto: None,
                goes_on: false,
            };
            return Ok((since, None));
        }
        let Token { origin, seen, rest } = Token::parse(text(wire, path)?, path)?;
        let (seen, cursor) = match rest {
            None => (seen, None),
            Some(rest) => (rest.since, Some(rest.cursor)),
        };
        let since = Self {
            seen,
            origin: Some(origin),
            upto: None,
            goes_on: cursor.is_some(),
        };
        Ok((since, cursor))
    }

    /// Refuses what the database that the query runs on can't have seen.
    ///
    /// # Errors
    /// INVALID_QUERY at `since`
    pub fn check(&self, here: Origin, now: &Snapshot) -> Result<()> {
        if let Some(origin) = self.origin {
            origin.check(here, "since")?;
        }
        if !self.seen.is_within(now) {
            return Err(Error::invalid(
                "since",
                "is a token that is ahead of this database, which was restored to an earlier state",
            ));
        }
        Ok(())
    }
}
