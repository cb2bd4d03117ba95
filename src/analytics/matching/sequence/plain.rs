//! The latest partial of each stage, where one is all that is needed: a few bits and positions, and no
//! allocation for an event.

use super::Sink;
use crate::analytics::matching::Events;
use crate::model::Result;
use crate::query::matching::{Gap, MatchMode, Sequence};

/// Bits of masks for which stages are looked up.
const TABULATED: usize = 12;

/// Whether a sequence needs no more: of two partials at a stage the later may always be extended where
/// the earlier may.
pub fn is_plain(sequence: &Sequence) -> bool {
    let last = sequence.stages.len();
    sequence.mode == MatchMode::Latest
        && last <= 64
        && sequence.stages.iter().all(|stage| stage.gap.min == 0)
        && (sequence.absent.iter()).all(|a| a.before > 0 && a.before < last && a.gap == Gap::ANY)
}

/// By the bits of an event: the stages that it may be of, and those before which it must not come.
struct Bits<'s> {
    sequence: &'s Sequence,
    table: Vec<(u64, u64)>,
}

impl<'s> Bits<'s> {
    fn new(sequence: &'s Sequence) -> Self {
        let until = sequence.until.map(|until| until.bit);
        let stages = sequence.stages.iter().map(|stage| stage.bit);
        let absent = sequence.absent.iter().map(|absent| absent.bit);
        let bits = stages.chain(absent).chain(until).max().unwrap_or(0) as usize + 1;
        let mut new = Self {
            sequence,
            table: Vec::new(),
        };
        if bits <= TABULATED {
            new.table = (0..1_u64 << bits).map(|mask| new.compute(mask)).collect();
        }
        new
    }

    fn compute(&self, mask: u64) -> (u64, u64) {
        let is = |bit: u32| mask >> bit & 1;
        let stages = (0..).zip(&self.sequence.stages);
        let stages = stages.fold(0, |all, (i, stage)| all | is(stage.bit) << i);
        // What it ends are partials of the stage before.
        let absent = self.sequence.absent.iter();
        let ended = absent.fold(0, |all, a| all | is(a.bit) << (a.before - 1));
        match self.sequence.until {
            Some(until) if is(until.bit) == 1 => (stages, u64::MAX),
            _ => (stages, ended),
        }
    }

    fn of(&self, mask: u64) -> (u64, u64) {
        match self.table.len().checked_sub(1) {
            // Below 2^12.
            Some(last) => self.table[usize::try_from(mask).unwrap_or(usize::MAX) & last],
            None => self.compute(mask),
        }
    }
}

/// Finds the matches.
///
/// # Errors
/// Those of the sink.
pub fn find(sequence: &Sequence, events: Events<'_>, sink: Sink<'_>) -> Result<()> {
    let n = sequence.stages.len();
    let span = sequence.max_span.unwrap_or(i64::MAX);
    let bits = Bits::new(sequence);
    // By stage, the positions of its partial; those stages that have one, as bits.
    let mut partials = vec![0_u32; n * n];
    let mut live = 0_u64;
    for ((position, mask), time) in (0_u32..).zip(events.masks).zip(events.times) {
        events.go_on(position as usize)?;
        let (stages, ended) = bits.of(*mask);
        let mut active = stages & (live << 1 | 1);
        let mut arrived = 0_u64;
        while active != 0 {
            let stage = 63 - active.leading_zeros() as usize;
            active &= !(1 << stage);
            if stage > 0 {
                let from = (stage - 1) * n;
                live &= !(1 << (stage - 1));
                let at = |i: usize| events.times[partials[from + i] as usize];
                if time.saturating_sub(at(0)) > span
                    || time.saturating_sub(at(stage - 1)) > sequence.stages[stage].gap.max
                {
                    // Nor will it be extended by what comes later.
                    continue;
                }
                partials.copy_within(from..from + stage, stage * n);
            }
            partials[stage * n + stage] = position;
            if stage + 1 == n {
                sink(&partials[stage * n..], None)?;
            } else {
                arrived |= 1 << stage;
            }
        }
        live = (live & !ended) | arrived;
    }
    Ok(())
}
