//! Searching for a match whose predicates look at how events were mapped, or that must end in time.
//!
//! The ways are tried in the order of preference, on a stack of its own. What a predicate can know of
//! the way so far is in the registers: an instruction that was entered at a row with the same
//! registers and led to no match will not lead to one now.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
};

use xxhash_rust::xxh3::xxh3_128;

use super::Matcher;
use super::context::Table;
use super::program::Step;
use super::reach::Reach;
use crate::model::{Error, Result};

/// A way that was not taken yet.
#[derive(Clone, Copy)]
struct Choice {
    step: u32,
    taken: u32,
}

/// A search through one partition.
pub struct Search<'a> {
    matcher: &'a Matcher<'a>,
    table: Table<'a>,
    reach: &'a Reach,
    accepted: &'a [u64],
    choices: Vec<Choice>,
    /// The registers behind each row taken, one after the other.
    registers: Vec<u64>,
    failed: HashSet<u128, BuildHasherDefault<Hashed>>,
    bytes: Vec<u8>,
    steps: u64,
    /// Ways that were taken back from since the last start, and whether they were ever so many that
    /// states that failed are worth remembering.
    taken_back: u32,
    remembers: bool,
}

/// States that led to no match, and steps of one partition.
const MAX_FAILED: usize = 1 << 22;
const MAX_STEPS: u64 = 1 << 30;

/// So many ways may be taken back from before it is worth remembering which failed.
const MANY: u32 = if cfg!(test) { 1 } else { 32 };

/// Keys that are hashes already.
#[derive(Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    #[allow(clippy::cast_possible_truncation)] // Half of a hash is a hash.
    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

impl<'a> Search<'a> {
    /// Nothing was searched yet.
    pub fn new(
        matcher: &'a Matcher<'a>,
        table: Table<'a>,
        reach: &'a Reach,
        accepted: &'a [u64],
    ) -> Self {
        Self {
            matcher,
            table,
            reach,
            accepted,
            choices: Vec::new(),
            registers: Vec::new(),
            failed: HashSet::default(),
            bytes: Vec::new(),
            steps: 0,
            taken_back: 0,
            remembers: false,
        }
    }

    /// Whether a match may begin at a row, as far as the sets know.
    pub fn may_begin(&self, row: usize, entry: u32) -> bool {
        self.reach.has(row, entry)
    }

    /// Searches for a match that begins at a row; its rows go to `path`.
    ///
    /// # Errors
    /// MATCH_LIMIT
    pub fn from(&mut self, start: usize, number: u64, path: &mut Vec<(u32, bool)>) -> Result<bool> {
        let matcher = self.matcher;
        let plan = &matcher.predicates;
        self.choices.clear();
        self.registers.clear();
        self.taken_back = 0;
        plan.begin(&mut self.registers);
        // A match of the last row has changed what `matchNumber` is, and what is in time depends on
        // the start.
        if matcher.pattern.within.is_some() {
            self.forget();
        }
        let mut at = matcher.program.entry;
        loop {
            self.steps += 1;
            self.table
                .events
                .go_on(usize::try_from(self.steps).unwrap_or(0))?;
            if self.steps > MAX_STEPS {
                return Err(too_much());
            }
            let row = start + path.len();
            let goes_on = match matcher.program.steps[at as usize] {
                Step::Accept => {
                    self.forget();
                    return Ok(true);
                }
                Step::Split(first, second) => {
                    let (a, b) = (self.reach.has(row, first), self.reach.has(row, second));
                    if a && b {
                        self.choices.push(Choice {
                            step: second,
                            taken: u32::try_from(path.len()).unwrap_or(u32::MAX),
                        });
                    }
                    at = if a { first } else { second };
                    a || b
                }
                Step::Start(next) | Step::End(next) => {
                    at = next;
                    true
                }
                Step::Row {
                    variable,
                    excluded,
                    next,
                } => {
                    let taken = self.take(start, row, variable, next, number)?;
                    if taken {
                        path.push((variable, excluded));
                        at = next;
                    }
                    taken
                }
            };
            if goes_on {
                continue;
            }
            let Some(choice) = self.choices.pop() else {
                return Ok(false);
            };
            self.taken_back += 1;
            self.remembers |= self.taken_back > MANY;
            path.truncate(choice.taken as usize);
            self.registers
                .truncate((choice.taken as usize + 1) * plan.width);
            at = choice.step;
        }
    }

    /// Whether a row may be mapped to a variable here, and has not led to nothing before.
    fn take(
        &mut self,
        start: usize,
        row: usize,
        variable: u32,
        next: u32,
        number: u64,
    ) -> Result<bool> {
        let matcher = self.matcher;
        let times = self.table.events.times;
        if row >= self.accepted.len()
            || self.accepted[row] >> variable & 1 == 0
            || !self.reach.has(row + 1, next)
        {
            return Ok(false);
        }
        if let Some(within) = matcher.pattern.within
            && times[row].saturating_sub(times[start]) > within
        {
            return Ok(false);
        }
        let width = matcher.predicates.width;
        let before = self.registers.len();
        self.registers.extend_from_within(before - width..);
        let taken = &mut self.registers[before..];
        matcher.predicates.take(taken, self.table, row, variable);
        if matcher.on_path[variable as usize]
            && let Some(predicate) = &matcher.pattern.variables[variable as usize].predicate
            && !matcher
                .context(self.table, &self.registers[before..], row, variable, number)
                .holds(predicate)
        {
            self.registers.truncate(before);
            return Ok(false);
        }
        if self.remembers
            && matcher.program.joins[next as usize]
            && !self.is_new(row + 1, next, before)?
        {
            self.registers.truncate(before);
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether an instruction is entered at a row with these registers for the first time.
    fn is_new(&mut self, row: usize, step: u32, registers: usize) -> Result<bool> {
        self.bytes.clear();
        self.bytes.extend_from_slice(&row.to_le_bytes());
        self.bytes.extend_from_slice(&step.to_le_bytes());
        for word in &self.registers[registers..] {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        if self.failed.len() >= MAX_FAILED {
            return Err(too_much());
        }
        Ok(self.failed.insert(xxh3_128(&self.bytes)))
    }

    fn forget(&mut self) {
        if self.failed.capacity() > 1 << 12 {
            self.failed = HashSet::default();
        } else {
            self.failed.clear();
        }
    }
}

fn too_much() -> Error {
    Error::MatchLimit(
        "the pattern's predicates leave too many ways to match the events of one key: make it stricter, give it a within, or partition by more fields".into(),
    )
}
