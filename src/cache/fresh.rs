//! What one answer must have seen.

use std::time::{Duration, Instant};

use super::answer::Answer;
use crate::exec::Engine;
use crate::model::{Result, path::Path, snapshot::Seen, token::Token};

/// What one answer must have seen.
#[derive(Clone, Debug)]
pub enum Needed {
    /// All that had been committed when it was asked for.
    Strict,
    /// All that had been committed so long before.
    Bounded(Duration),
    /// What a token has seen.
    Session(Seen),
}

impl Needed {
    /// What a token asks for.
    ///
    /// # Errors
    /// INVALID_QUERY where it is no token, or one of another database.
    pub fn of_token(token: &str, engine: &Engine) -> Result<Self> {
        let root = Path::Root;
        let hints = root.key("hints");
        let cache = hints.key("cache");
        let path = cache.key("token");
        let token = Token::parse(token, &path)?;
        token.check_origin(engine.pool.origin(), path)?;
        Ok(Self::Session(token.seen))
    }

    /// Whether a kept answer will do for one who asked at `asked`.
    ///
    /// The check that it rests on must have *begun* after the call: one that was already on its way may
    /// have taken its snapshot before a write that the caller knows of.
    pub fn is_met_by(&self, answer: &Answer, asked: Instant) -> bool {
        if answer.checked > asked {
            return true;
        }
        match self {
            Self::Strict => false,
            Self::Bounded(bound) => answer.checked.elapsed() <= *bound,
            Self::Session(seen) => {
                (answer.stamp.as_ref()).is_some_and(|stamp| seen.is_within(&stamp.snapshot))
            }
        }
    }

    /// Whether an answer that will do now has little time left.
    pub fn is_nearly_over(&self, answer: &Answer) -> bool {
        match self {
            Self::Bounded(bound) => answer.checked.elapsed() > *bound / 4 * 3,
            Self::Strict | Self::Session(_) => false,
        }
    }

    /// Whether an answer without a stamp, of which only the age is known, can ever do.
    pub const fn allows_inexact(&self) -> bool {
        matches!(self, Self::Bounded(_))
    }

    /// Its name in the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Bounded(_) => "bounded",
            Self::Session(_) => "session",
        }
    }
}
