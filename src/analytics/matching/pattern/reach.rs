//! From where a match can be reached: for each position, the instructions from which the rows that
//! follow lead to a match. Read backwards, that is a deterministic automaton over masks, built as far
//! as the rows need it: one step a row, however the pattern is written.

use std::collections::HashMap;

use super::program::{Program, Step};
use crate::model::{Error, Result};

/// For each position, a set of instructions.
pub struct Reach {
    /// The sets, one after the other.
    sets: Vec<u64>,
    /// How many words a set has.
    words: usize,
    /// The set of each position, the one behind the last row among them.
    at: Vec<u32>,
}

/// Masks with more variables than this are told apart by a table of those seen.
const DENSE: u32 = 10;
/// Words of sets that are kept; more states are one set for each position.
const MAX_WORDS: usize = 1 << 22;
/// Words of sets without the automaton.
const MAX_PLAIN: usize = 1 << 26;
const UNKNOWN: u32 = u32::MAX;

/// What is known of the rows: for each, the variables that it may be mapped to, as bits.
pub struct Rows<'a> {
    /// By position.
    pub masks: &'a [u64],
    /// How many variables there are.
    pub variables: u32,
}

impl Reach {
    /// Whether a match is reached from an instruction at a position.
    pub fn has(&self, position: usize, step: u32) -> bool {
        let set = self.at[position] as usize * self.words;
        self.sets[set + step as usize / 64] >> (step % 64) & 1 == 1
    }

    /// Reads the rows backwards.
    ///
    /// # Errors
    /// MATCH_LIMIT where too much would have to be kept.
    pub fn of(program: &Program, rows: &Rows<'_>) -> Result<Self> {
        let words = program.steps.len().div_ceil(64);
        let n = rows.masks.len();
        let mut builder = Builder {
            program,
            words,
            sets: Vec::new(),
            known: HashMap::new(),
        };
        let mut at = vec![0; n + 1];
        at[n] = builder.end(n == 0)?;
        if rows.variables <= DENSE {
            dense(&mut builder, rows, &mut at)?;
        } else {
            sparse(&mut builder, rows, &mut at)?;
        }
        if n > 0 {
            // The anchor of the start holds here alone.
            at[0] = builder.before(at[1], rows.masks[0], true)?;
        }
        Ok(Self {
            sets: builder.sets,
            words,
            at,
        })
    }
}

fn dense(builder: &mut Builder<'_>, rows: &Rows<'_>, at: &mut [u32]) -> Result<()> {
    let symbols = 1_usize << rows.variables;
    let mut table = vec![UNKNOWN; symbols * (builder.count() + 1)];
    let mut state = at[rows.masks.len()];
    for i in (1..rows.masks.len()).rev() {
        let mask = rows.masks[i];
        // As many as there are variables.
        let cell = state as usize * symbols + usize::try_from(mask).unwrap_or(0);
        let mut next = table[cell];
        if next == UNKNOWN {
            next = builder.before(state, mask, false)?;
            table[cell] = next;
            table.resize(symbols * (builder.count() + 1), UNKNOWN);
        }
        at[i] = next;
        state = next;
    }
    Ok(())
}

fn sparse(builder: &mut Builder<'_>, rows: &Rows<'_>, at: &mut [u32]) -> Result<()> {
    let mut table: HashMap<(u32, u64), u32> = HashMap::new();
    let mut state = at[rows.masks.len()];
    for i in (1..rows.masks.len()).rev() {
        let mask = rows.masks[i];
        let next = if let Some(next) = table.get(&(state, mask)) {
            *next
        } else {
            let next = builder.before(state, mask, false)?;
            table.insert((state, mask), next);
            next
        };
        at[i] = next;
        state = next;
    }
    Ok(())
}

struct Builder<'p> {
    program: &'p Program,
    words: usize,
    sets: Vec<u64>,
    known: HashMap<Box<[u64]>, u32>,
}

impl Builder<'_> {
    fn count(&self) -> usize {
        self.sets.len() / self.words
    }

    /// The set behind the last row.
    fn end(&mut self, is_start: bool) -> Result<u32> {
        let set = vec![0; self.words];
        self.close(set, is_start, true)
    }

    /// The set before a row, where the one behind it is known.
    fn before(&mut self, behind: u32, mask: u64, is_start: bool) -> Result<u32> {
        let mut set = vec![0_u64; self.words];
        let at = behind as usize * self.words;
        let known = &self.sets[at..at + self.words];
        for (i, step) in self.program.steps.iter().enumerate() {
            if let Step::Row { variable, next, .. } = step
                && mask >> variable & 1 == 1
                && known[*next as usize / 64] >> (next % 64) & 1 == 1
            {
                set[i / 64] |= 1 << (i % 64);
            }
        }
        self.close(set, is_start, false)
    }

    /// Adds what leads to the set without a row.
    fn close(&mut self, mut set: Vec<u64>, is_start: bool, is_end: bool) -> Result<u32> {
        for at in &self.program.order {
            let has = |step: u32| set[step as usize / 64] >> (step % 64) & 1 == 1;
            let reached = match self.program.steps[*at as usize] {
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
        let index = u32::try_from(self.count()).unwrap_or(UNKNOWN - 1);
        self.sets.extend_from_slice(&set);
        if self.sets.len() <= MAX_WORDS {
            self.known.insert(set.into_boxed_slice(), index);
        }
        Ok(index)
    }
}
