//! Every combination that is a match.
//!
//! Between two events of a match the rules look at nothing but the two, so the events that may stand
//! before another at a stage are a range of those of the stage before. A match is a path through these
//! ranges, walked backwards from its last event; events that no path leads to are never entered.

use super::Sink;
use super::rules::{Absences, Ends, Refusal};
use crate::analytics::matching::Events;
use crate::model::{Error, Result};
use crate::query::matching::Sequence;

/// An event at a stage.
#[derive(Clone, Copy)]
struct Node {
    position: u32,
    /// The last event before it that ends partial matches: what is before that may not be joined.
    bound: u32,
    /// No path to it, nor to one before it at its stage, begins later than this.
    latest_first: u32,
}

/// Steps that lead to no match before the search is given up.
const MAX_STEPS: u64 = 100_000_000;
const NONE: u32 = u32::MAX;

struct Search<'a, 's> {
    sequence: &'a Sequence,
    events: Events<'a>,
    sink: Sink<'s>,
    stages: Vec<Vec<Node>>,
    absences: Absences,
    steps: u64,
    /// How many steps were taken in all.
    looked: usize,
}

/// Finds all matches.
///
/// # Errors
/// Those of the sink; MATCH_LIMIT.
pub fn find(sequence: &Sequence, events: Events<'_>, sink: Sink<'_>) -> Result<()> {
    let last = sequence.stages.len() - 1;
    let until = sequence.until.map_or(0, |until| 1_u64 << until.bit);
    let mut search = Search {
        sequence,
        events,
        sink,
        stages: vec![Vec::new(); last + 1],
        absences: Absences::of(sequence),
        steps: 0,
        looked: 0,
    };
    let mut bound = NONE;
    let open = sequence.can_be_open();
    for (position, mask) in (0_u32..).zip(events.masks) {
        events.go_on(position as usize)?;
        for stage in (0..=last).rev() {
            if mask >> sequence.stages[stage].bit & 1 == 0 {
                continue;
            }
            let Some(node) = search.node(stage, position, bound) else {
                continue;
            };
            search.stages[stage].push(node);
            if stage == last && !open {
                search.matches(node, false)?;
            }
        }
        if mask & until != 0 {
            bound = position;
        }
        search.absences.read(sequence, position, *mask);
    }
    if open {
        for node in std::mem::take(&mut search.stages[last]) {
            search.matches(node, true)?;
        }
    }
    Ok(())
}

impl Search<'_, '_> {
    /// An event at a stage, where a path leads to it.
    fn node(&self, stage: usize, position: u32, bound: u32) -> Option<Node> {
        let node = Node {
            position,
            bound,
            latest_first: position,
        };
        if stage == 0 {
            return Some(node);
        }
        let before = &self.stages[stage - 1];
        let mut i = self.behind(stage, node);
        while i > 0 {
            i -= 1;
            match self.may_stand_before(stage, before[i], node) {
                Ok(()) => {
                    let latest = before[i].latest_first;
                    let known = self.stages[stage].last().map_or(0, |n| n.latest_first);
                    return Some(Node {
                        latest_first: latest.max(known),
                        ..node
                    });
                }
                Err(Refusal::Over) => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// Whether one event may stand before another at a stage, whatever is before the two.
    fn may_stand_before(&self, stage: usize, before: Node, next: Node) -> Result<(), Refusal> {
        if next.bound != NONE && next.bound > before.position {
            return Err(Refusal::Over);
        }
        let ends = Ends {
            first: before.latest_first,
            last: before.position,
        };
        self.absences
            .may_follow(self.sequence, self.events, ends, next.position, stage)
    }

    /// All matches that end with an event of the last stage. At the end the whole partition has been
    /// read, and what must not come after them is looked for.
    fn matches(&mut self, last: Node, at_end: bool) -> Result<()> {
        let depth = self.stages.len();
        // The node at each stage from the last, and the next to try before it.
        let mut path = vec![(last, self.behind(depth - 1, last))];
        let mut positions = vec![0; depth];
        positions[depth - 1] = last.position;
        loop {
            let entered = path.len();
            let Some((node, next)) = path.last_mut() else {
                return Ok(());
            };
            let (node, stage) = (*node, depth - entered);
            if stage == 0 {
                path.pop();
                self.offer(&positions, at_end)?;
                continue;
            }
            if *next == 0 {
                path.pop();
                continue;
            }
            *next -= 1;
            let before = self.stages[stage - 1][*next];
            self.step()?;
            let allowed = match self.may_stand_before(stage, before, node) {
                Ok(()) => self.is_within(before.latest_first, last.position),
                Err(Refusal::Over) => {
                    path.pop();
                    continue;
                }
                Err(_) => false,
            };
            if allowed {
                positions[stage - 1] = before.position;
                let behind = self.behind(stage - 1, before);
                path.push((before, behind));
            }
        }
    }

    /// How many nodes of the stage before could stand before a node.
    fn behind(&self, stage: usize, node: Node) -> usize {
        if stage == 0 {
            return 0;
        }
        let at = |position: u32| self.events.times[position as usize];
        let latest = at(node.position).saturating_sub(self.sequence.stages[stage].gap.min);
        self.stages[stage - 1]
            .partition_point(|b| b.position < node.position && at(b.position) <= latest)
    }

    fn is_within(&self, first: u32, last: u32) -> bool {
        let at = |position: u32| self.events.times[position as usize];
        self.sequence
            .max_span
            .is_none_or(|span| at(last).saturating_sub(at(first)) <= span)
    }

    fn offer(&mut self, positions: &[u32], at_end: bool) -> Result<()> {
        let (first, last) = (positions[0], positions[positions.len() - 1]);
        if !self.is_within(first, last)
            || !self
                .absences
                .may_end(self.sequence, self.events, first, last)
        {
            return Ok(());
        }
        let mut until = None;
        if at_end {
            let ends = Ends { first, last };
            until = (self.absences).trailing(self.sequence, self.events, ends);
            if until.is_none() {
                return Ok(());
            }
        }
        self.steps = self.steps.saturating_sub(positions.len() as u64 * 4);
        (self.sink)(positions, until)
    }

    fn step(&mut self) -> Result<()> {
        self.steps += 1;
        self.looked += 1;
        self.events.go_on(self.looked)?;
        if self.steps > MAX_STEPS {
            return Err(Error::MatchLimit(
                "too many combinations of events come close to a match: give the sequence a shorter maxSpan, or keys".into(),
            ));
        }
        Ok(())
    }
}
