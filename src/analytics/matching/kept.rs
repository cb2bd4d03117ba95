//! Matches as they are kept beside an answer, to bring it up to date with: all of them, the page that was
//! sent and those around it, without the texts of their events.

use std::{any::Any, ops::Range};

use super::cohorts::{Cohorts, Counts};
use super::patterns::FoundPatterns;
use super::sequences::FoundSequences;
use crate::exec::{Kept, Outdated};

/// What was found in all keys.
#[derive(Debug)]
pub enum Found {
    /// Matches of a sequence.
    Sequences(FoundSequences),
    /// Matches of a pattern.
    Patterns(FoundPatterns),
    /// How far keys got.
    Funnels(Counts),
    /// When keys came back.
    Retained(Cohorts),
}

/// Where a row stands among the batches that were sent: which, and its bytes.
pub type Span = (u32, Range<u32>);

/// What is kept of an answer.
#[derive(Debug)]
pub struct KeptMatches {
    /// What was found.
    pub found: Found,
    /// The rows that were sent.
    pub rows: Vec<Span>,
}

impl Kept for KeptMatches {
    fn weight(&self) -> usize {
        let found = match &self.found {
            Found::Sequences(found) => found.weight(),
            Found::Patterns(found) => found.weight(),
            Found::Funnels(counts) => counts.weight(),
            Found::Retained(cohorts) => cohorts.weight(),
        };
        found + self.rows.capacity() * size_of::<Span>() + size_of::<Self>()
    }
}

/// An earlier answer, to be brought up to date.
#[derive(Clone, Copy)]
pub struct Earlier<'a> {
    /// What is kept of it.
    pub kept: &'a KeptMatches,
    batches: &'a [&'a [u8]],
}

impl<'a> Earlier<'a> {
    /// What is kept of an answer; `None` where it is another's.
    pub fn of(outdated: &Outdated<'a>) -> Option<Self> {
        let kept: &dyn Any = &**outdated.kept;
        Some(Self {
            kept: kept.downcast_ref()?,
            batches: outdated.batches,
        })
    }

    /// A row as it was sent.
    pub fn row(&self, row: usize) -> Option<&'a [u8]> {
        let (batch, bytes) = self.kept.rows.get(row)?;
        let bytes = bytes.start as usize..bytes.end as usize;
        self.batches.get(*batch as usize)?.get(bytes)
    }
}

/// What was kept of the keys that were not read again is still true.
pub struct TakeUp<'a> {
    /// What was kept.
    pub found: &'a Found,
    /// Whether a key was read again, whole.
    pub is_read: &'a dyn Fn(&[u8]) -> bool,
    /// What these keys had come to before.
    pub before: Option<Found>,
}
