//! Matching sequences in one partition.
//!
//! A *partial* is a match of the first steps. The partials of a stage stand in the order in which they
//! got there, which is also that of their first events. An event extends one partial of the stage
//! before its own: the latest that it may extend, or the first, and those that the choice passes
//! over (before the latest, or behind the first) are gone with it. This is the state machine of EQL,
//! which keeps one partial a stage, made to hold where the latest may not be extended yet (`gap.min`)
//! or not any more while an older one may.

mod all;
mod one;
mod plain;
mod rules;
#[cfg(test)]
pub mod tests;

use super::Events;
use crate::model::Result;
use crate::query::matching::{MatchMode, Sequence};

/// Takes a match: the positions of its events, and until when what is absent behind it could still come.
pub type Sink<'s> = &'s mut dyn FnMut(&[u32], Option<i64>) -> Result<()>;

/// Finds the matches of a partition.
///
/// # Errors
/// Those of the sink, and MATCH_LIMIT where too much would have to be kept.
pub fn find(sequence: &Sequence, events: Events<'_>, sink: Sink<'_>) -> Result<()> {
    if plain::is_plain(sequence) {
        return plain::find(sequence, events, sink);
    }
    match sequence.mode {
        MatchMode::All => all::find(sequence, events, sink),
        MatchMode::Latest => one::find::<true>(sequence, events, sink),
        MatchMode::First => one::find::<false>(sequence, events, sink),
    }
}
