//! From where a match can be reached: for each position, the instructions from which the rows that
//! follow lead to a match. Read backwards, that is a deterministic automaton over masks, built as far
//! as the rows need it: one step a row, however the pattern is written.

use std::collections::HashMap;

use super::program::{Program, Step};
use crate::model::{Error, Result};

/// For each position of a partition, a set of instructions. The automaton is kept from one partition
/// to the next.
pub struct Reach {
    /// How many words a set has, and how many instructions there are.
    words: usize,
    steps: usize,
    /// The sets, one after the other.
    sets: Vec<u64>,
    known: HashMap<Box<[u64]>, u32>,
    /// By set and mask, the set before.
    dense: Vec<u32>,
    sparse: HashMap<(u32, u64), u32>,
    /// By set and instruction, where the preferred way to a match takes its next row.
    rows: Vec<u32>,
    /// The set of each position, the one behind the last row among them.
    at: Vec<u32>,
}

/// Masks with more variables than this are told apart by a table of those seen.
const DENSE: u32 = 10;
/// Words of sets that are kept; more states are one set for each position.
const MAX_WORDS: usize = 1 << 20;
/// Words of sets without the automaton.
const MAX_PLAIN: usize = 1 << 26;
const UNKNOWN: u32 = u32::MAX;
/// No match is reached from there.
pub const NOWHERE: u32 = u32::MAX - 1;

impl Reach {
    /// Nothing was read yet.
    pub fn new(program: &Program) -> Self {
        Self {
            words: program.steps.len().div_ceil(64),
            steps: program.steps.len(),
            sets: Vec::new(),
            known: HashMap::new(),
            dense: Vec::new(),
            sparse: HashMap::new(),
            rows: Vec::new(),
            at: Vec::new(),
        }
    }

    /// Whether a match is reached from an instruction at a position.
    pub fn has(&self, position: usize, step: u32) -> bool {
        self.set_has(self.at[position], step)
    }

    /// How many sets are kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.sets.len() / self.words
    }

    fn set_has(&self, set: u32, step: u32) -> bool {
        let set = set as usize * self.words;
        self.sets[set + step as usize / 64] >> (step % 64) & 1 == 1
    }

    /// From an instruction at a position, the one that takes the next row, or accepts, on the preferred
    /// way to a match; [`NOWHERE`] where none is reached.
    pub fn next_row(&mut self, program: &Program, position: usize, step: u32) -> u32 {
        let set = self.at[position];
        let cell = set as usize * self.steps + step as usize;
        match self.rows.get(cell) {
            Some(known) if *known != UNKNOWN => *known,
            known => {
                let is_kept = known.is_some();
                let found = self.look(program, set, step);
                if is_kept {
                    self.rows[cell] = found;
                }
                found
            }
        }
    }

    fn look(&self, program: &Program, set: u32, mut step: u32) -> u32 {
        if !self.set_has(set, step) {
            return NOWHERE;
        }
        loop {
            step = match program.steps[step as usize] {
                Step::Split(first, second) => {
                    if self.set_has(set, first) {
                        first
                    } else {
                        second
                    }
                }
                Step::Start(next) | Step::End(next) => next,
                Step::Row { .. } | Step::Accept => return step,
            };
        }
    }

    /// Reads a partition backwards. For each of the `n` rows, `accepted` has the variables that it may
    /// be mapped to, of so many, as bits.
    ///
    /// # Errors
    /// MATCH_LIMIT where too much would have to be kept.
    pub fn read(
        &mut self,
        program: &Program,
        n: usize,
        variables: u32,
        accepted: impl Fn(usize) -> u64,
    ) -> Result<()> {
        if self.sets.len() > MAX_WORDS {
            *self = Self::new(program);
        }
        self.at.clear();
        self.at.resize(n + 1, 0);
        let mut state = self.close(program, vec![0; self.words], n == 0, true)?;
        self.at[n] = state;
        let symbols = if variables <= DENSE {
            1_usize << variables
        } else {
            0
        };
        self.grow(symbols);
        for i in (1..n).rev() {
            let mask = accepted(i);
            // As many as there are variables.
            let cell = state as usize * symbols + usize::try_from(mask).unwrap_or(0);
            state = match self.dense.get(cell) {
                Some(known) if symbols > 0 && *known != UNKNOWN => *known,
                _ => self.step(program, state, mask, symbols)?,
            };
            self.at[i] = state;
        }
        if n > 0 {
            // The anchor of the start holds here alone.
            self.at[0] = self.before(program, self.at[1], accepted(0), true)?;
            self.grow(symbols);
        }
        Ok(())
    }

    #[cold]
    fn step(&mut self, program: &Program, state: u32, mask: u64, symbols: usize) -> Result<u32> {
        if symbols == 0
            && let Some(known) = self.sparse.get(&(state, mask))
        {
            return Ok(*known);
        }
        let next = self.before(program, state, mask, false)?;
        if self.sets.len() > MAX_WORDS {
            return Ok(next);
        }
        if symbols == 0 {
            self.sparse.insert((state, mask), next);
        } else {
            let cell = state as usize * symbols + usize::try_from(mask).unwrap_or(0);
            self.grow(symbols);
            self.dense[cell] = next;
        }
        Ok(next)
    }

    /// Makes room in the tables for the sets that there are.
    fn grow(&mut self, symbols: usize) {
        let sets = self.sets.len() / self.words;
        if self.sets.len() <= MAX_WORDS {
            self.dense.resize(sets * symbols, UNKNOWN);
            self.rows.resize(sets * self.steps, UNKNOWN);
        }
    }

    /// The set before a row, where the one behind it is known.
    fn before(&mut self, program: &Program, behind: u32, mask: u64, is_start: bool) -> Result<u32> {
        let mut set = vec![0_u64; self.words];
        for (i, step) in program.steps.iter().enumerate() {
            if let Step::Row { variable, next, .. } = step
                && mask >> variable & 1 == 1
                && self.set_has(behind, *next)
            {
                set[i / 64] |= 1 << (i % 64);
            }
        }
        self.close(program, set, is_start, false)
    }

    /// Adds what leads to the set without a row.
    fn close(
        &mut self,
        program: &Program,
        mut set: Vec<u64>,
        is_start: bool,
        is_end: bool,
    ) -> Result<u32> {
        for at in &program.order {
            let has = |step: u32| set[step as usize / 64] >> (step % 64) & 1 == 1;
            let reached = match program.steps[*at as usize] {
                Step::Split(first, second) => has(first) || has(second),
                Step::Start(next) => is_start && has(next),
                Step::End(next) => is_end && has(next),
                Step::Accept => true,
                Step::Row { .. } => continue,
            };
            if reached {
                set[*at as usize / 64] |= 1 << (at % 64);
            }
        }
        if let Some(known) = self.known.get(set.as_slice()) {
            return Ok(*known);
        }
        if self.sets.len() + self.words > MAX_PLAIN {
            return Err(Error::MatchLimit(
                "the pattern needs more than 512 MB for the events of one key: make it smaller, or partition by more fields".into(),
            ));
        }
        let index = u32::try_from(self.sets.len() / self.words).unwrap_or(NOWHERE - 1);
        self.sets.extend_from_slice(&set);
        if self.sets.len() <= MAX_WORDS {
            self.known.insert(set.into_boxed_slice(), index);
        }
        Ok(index)
    }
}
