//! A kept answer: its rows as they go out, and what is known of when they were true.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::splice::{Leaders, Part};
use super::stamp::Stamp;
use super::states::States;
use super::worth::Gain;
use crate::exec::{Batch, Kept};
use crate::query::KeyValue;

/// The rows of an answer.
#[derive(Debug)]
pub struct Body {
    /// Whole batches, in order.
    pub batches: Vec<Arc<Part>>,
    /// The last one up to its last row.
    pub tail: Arc<Part>,
    /// How many rows.
    pub rows: u64,
    /// The last row's place in the order, where rows are left behind it.
    pub cursor: Option<Vec<KeyValue>>,
    /// The ids of its rows and of the one behind them, where new rows can be merged into it.
    pub kept: Option<Vec<Uuid>>,
    /// What is kept of each group, where it is grouped and what is new can be added.
    pub states: Option<States>,
    /// What the strategy that made it brings it up to date with.
    pub again: Option<Arc<dyn Kept>>,
    /// The groups that come first, where the answer is cut.
    pub leaders: Option<Leaders>,
}

/// An answer. It never changes: a newer one takes its place.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its rows.
    pub body: Arc<Body>,
    /// What it has seen; `None` where that can't be told, and only its age counts.
    pub stamp: Option<Stamp>,
    /// The snapshot of the token.
    pub seen: String,
    /// When the last statement that it rests on was sent.
    pub checked: Instant,
    /// How long reading it anew took.
    pub cost: Duration,
    /// What keeping it, and those that it took the place of, has saved.
    pub gain: Arc<Gain>,
    /// When it is forgotten.
    pub expires: Option<Instant>,
    /// Names to forget it by.
    pub tags: Arc<[String]>,
}

impl Body {
    /// Bytes of its JSON.
    pub fn bytes(&self) -> usize {
        self.batches
            .iter()
            .map(|part| part.json.len())
            .sum::<usize>()
            + self.tail.json.len()
    }

    /// Its batches but the last, as they are sent.
    pub fn batches(&self) -> impl Iterator<Item = Batch> {
        self.batches.iter().map(|part| Batch {
            json: Vec::new(),
            rows: Some(Arc::clone(&part.json)),
            last: false,
        })
    }

    /// The last batch. `end` is ASCII.
    pub fn last(&self, end: &[u8]) -> Batch {
        Batch {
            rows: Some(Arc::clone(&self.tail.json)),
            ..Batch::ended(Vec::with_capacity(end.len() + 16), end)
        }
    }
}

impl Answer {
    /// Bytes of memory, within a few percent.
    pub fn weight(&self) -> u64 {
        // What the allocator and the table that holds it add to each.
        const OVERHEAD: usize = 160;
        let parts = self.body.batches.iter().chain([&self.body.tail]);
        let bytes: usize = parts.map(|part| part.weight()).sum();
        // Buffers of all sizes come and go, and what lies between them is lost for a while: a quarter, as
        // scripts/cache-memory.mjs measures it.
        let body = bytes + bytes / 4 + self.body.batches.len() * 64;
        let kept = self.body.kept.as_ref().map_or(0, |k| k.capacity() * 16);
        let states = self.body.states.as_ref().map_or(0, States::weight)
            + self.body.leaders.as_ref().map_or(0, Leaders::weight);
        let again = self.body.again.as_ref().map_or(0, |again| again.weight());
        let tags: usize = self.tags.iter().map(|t| t.capacity() + 24).sum();
        let stamp = self.stamp.as_ref().map_or(0, Stamp::weight) + self.seen.capacity();
        (body
            + kept
            + states
            + again
            + tags
            + stamp
            + size_of::<Self>()
            + size_of::<Body>()
            + OVERHEAD) as u64
    }

    /// Whether its time is over.
    pub fn is_expired(&self) -> bool {
        self.expires.is_some_and(|at| at <= Instant::now())
    }

    /// Whether it has seen what another has not, and so may not be replaced by it.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        match (&self.stamp, &other.stamp) {
            (Some(own), Some(others)) => own.is_newer_than(others),
            _ => false,
        }
    }

    /// The same rows, found true again.
    pub fn confirmed(&self, stamp: Stamp, checked: Instant) -> Self {
        Self {
            seen: stamp.snapshot.to_string(),
            stamp: Some(stamp),
            checked,
            ..self.clone()
        }
    }
}
