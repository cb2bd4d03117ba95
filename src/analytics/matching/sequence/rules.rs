//! What must hold between the events of a match: times, and what is absent.

use crate::analytics::matching::Events;
use crate::query::matching::{Gap, Sequence};

/// Where the absent steps of a sequence occur, as far as the partition was read.
pub struct Absences {
    /// For each absent step, the positions of its events.
    found: Vec<Vec<u32>>,
}

/// Why an event may not extend a partial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too soon for this one, and so for those after it.
    TooSoon,
    /// For this one and all before it, for ever.
    Over,
    /// For this one; others may do.
    ThisOne,
}

/// A partial, as the rules see it: the positions of its first and its last event.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The first event.
    pub first: u32,
    /// The last event.
    pub last: u32,
}

impl Absences {
    /// Nothing was read yet.
    pub fn of(sequence: &Sequence) -> Self {
        Self {
            found: vec![Vec::new(); sequence.absent.len()],
        }
    }

    /// An event was read, and has been used.
    pub fn read(&mut self, sequence: &Sequence, position: u32, mask: u64) {
        for (absent, found) in sequence.absent.iter().zip(&mut self.found) {
            if mask >> absent.bit & 1 == 1 {
                found.push(position);
            }
        }
    }

    /// Whether `next` may extend a partial to `stage`, from 1.
    pub fn may_extend(
        &self,
        sequence: &Sequence,
        events: Events<'_>,
        partial: Ends,
        next: u32,
        stage: usize,
    ) -> Result<(), Refusal> {
        self.may_follow(sequence, events, partial, next, stage)?;
        if stage + 1 == sequence.stages.len()
            && !self.may_end(sequence, events, partial.first, next)
        {
            return Err(Refusal::ThisOne);
        }
        Ok(())
    }

    /// The same, but for what must not come before a whole match. In `partial`, `first` may be any
    /// event that is not before the first.
    pub fn may_follow(
        &self,
        sequence: &Sequence,
        events: Events<'_>,
        partial: Ends,
        next: u32,
        stage: usize,
    ) -> Result<(), Refusal> {
        let at = |position: u32| events.times[position as usize];
        let gap = sequence.stages[stage].gap;
        let passed = at(next).saturating_sub(at(partial.last));
        if passed < gap.min {
            return Err(Refusal::TooSoon);
        }
        if passed > gap.max {
            return Err(Refusal::Over);
        }
        if let Some(span) = sequence.max_span
            && at(next).saturating_sub(at(partial.first)) > span
        {
            return Err(Refusal::Over);
        }
        for (absent, found) in sequence.absent.iter().zip(&self.found) {
            if absent.before != stage {
                continue;
            }
            if absent.gap == Gap::ANY {
                let seen = match found.last() {
                    Some(x) if *x >= next => found.partition_point(|x| *x < next),
                    _ => found.len(),
                };
                if seen > 0 && found[seen - 1] > partial.last {
                    return Err(Refusal::Over);
                }
            } else if occurs(found, events, partial.last, Some(next), absent.gap) {
                return Err(Refusal::ThisOne);
            }
        }
        Ok(())
    }

    /// Whether nothing that must not come before a match came before one of these ends.
    pub fn may_end(&self, sequence: &Sequence, events: Events<'_>, first: u32, last: u32) -> bool {
        let from = sequence.max_span.map_or(i64::MIN, |span| {
            events.times[last as usize].saturating_sub(span)
        });
        sequence
            .absent
            .iter()
            .zip(&self.found)
            .all(|(absent, found)| {
                if absent.before > 0 {
                    return true;
                }
                let before = found.partition_point(|x| *x < first);
                before == 0 || events.times[found[before - 1] as usize] < from
            })
    }

    /// Where nothing that must not come after a match came: until when it still could. The whole
    /// partition has been read.
    pub fn trailing(&self, sequence: &Sequence, events: Events<'_>, ends: Ends) -> Option<i64> {
        let mut latest = i64::MIN;
        for (absent, found) in sequence.absent.iter().zip(&self.found) {
            if absent.before < sequence.stages.len() {
                continue;
            }
            let at = |position: u32| events.times[position as usize];
            let span = sequence
                .max_span
                .map_or(i64::MAX, |span| at(ends.first).saturating_add(span));
            let until = at(ends.last).saturating_add(absent.gap.max).min(span);
            let window = Gap {
                min: absent.gap.min,
                max: until.saturating_sub(at(ends.last)),
            };
            if occurs(found, events, ends.last, None, window) {
                return None;
            }
            latest = latest.max(until);
        }
        Some(latest)
    }
}

/// Whether one of `found` stands behind `after` and before `before`, within a span since `after`.
fn occurs(found: &[u32], events: Events<'_>, after: u32, before: Option<u32>, gap: Gap) -> bool {
    let at = events.times[after as usize];
    let (from, to) = (at.saturating_add(gap.min), at.saturating_add(gap.max));
    let i = found.partition_point(|x| *x <= after || events.times[*x as usize] < from);
    found
        .get(i)
        .is_some_and(|x| events.times[*x as usize] <= to && before.is_none_or(|before| *x < before))
}
