//! One match for each group of candidates that overlap: the latest partial wins, or the first.

use std::collections::VecDeque;

use super::Sink;
use super::rules::{Absences, Ends, Refusal};
use crate::analytics::matching::Events;
use crate::model::{Error, Result};
use crate::query::matching::{Gap, Sequence};

/// An event of a partial, and the event before it.
#[derive(Clone, Copy)]
struct Node {
    position: u32,
    first: u32,
    before: u32,
}

/// Events that are kept for partials: more would not fit into memory.
const MAX_NODES: usize = 1 << 26;

struct Machine<'a, 's> {
    sequence: &'a Sequence,
    events: Events<'a>,
    sink: Sink<'s>,
    nodes: Vec<Node>,
    /// The partials of each stage but the last, by their last nodes.
    stages: Vec<VecDeque<u32>>,
    /// Whether one partial is enough at a stage: the others could never be chosen.
    single: Vec<bool>,
    absences: Absences,
    /// Complete, but for what must not come after it.
    candidates: Vec<u32>,
    positions: Vec<u32>,
}

/// Finds the matches; `LATEST` or else the first.
///
/// # Errors
/// Those of the sink; MATCH_LIMIT.
pub fn find<const LATEST: bool>(
    sequence: &Sequence,
    events: Events<'_>,
    sink: Sink<'_>,
) -> Result<()> {
    let last = sequence.stages.len() - 1;
    let mut machine = Machine {
        sequence,
        events,
        sink,
        nodes: Vec::new(),
        stages: vec![VecDeque::new(); last],
        single: (1..=last)
            .map(|next| is_single::<LATEST>(sequence, next))
            .collect(),
        absences: Absences::of(sequence),
        candidates: Vec::new(),
        positions: Vec::new(),
    };
    let until = sequence.until.map_or(0, |until| 1_u64 << until.bit);
    let watched = (sequence.absent.iter()).fold(sequence.required() | until, |bits, absent| {
        bits | 1 << absent.bit
    });
    for (position, mask) in (0_u32..).zip(events.masks) {
        events.go_on(position as usize)?;
        if mask & watched == 0 {
            continue;
        }
        for stage in (1..=last).rev() {
            if mask >> sequence.stages[stage].bit & 1 == 1 {
                machine.extend::<LATEST>(stage, position)?;
            }
        }
        if mask >> sequence.stages[0].bit & 1 == 1 {
            machine.begin::<LATEST>(position)?;
        }
        if mask & until != 0 {
            machine.end_partials(position);
        }
        machine.absences.read(sequence, position, *mask);
    }
    machine.finish()
}

/// Whether of two partials at a stage the one that would be chosen may always be extended where the
/// other may. Then the other need not be kept.
fn is_single<const LATEST: bool>(sequence: &Sequence, next: usize) -> bool {
    let absent = |before: usize| sequence.absent.iter().filter(move |a| a.before == before);
    let gap = sequence.stages[next].gap;
    if LATEST {
        gap.min == 0 && absent(0).next().is_none() && absent(next).all(|a| a.gap == Gap::ANY)
    } else {
        let bounded = sequence.stages[next..].iter().any(|s| s.gap.max < i64::MAX);
        // What ends the first may be what begins the second.
        sequence.max_span.is_none()
            && sequence.until.is_none()
            && !bounded
            && sequence
                .absent
                .iter()
                .all(|a| a.before == 0 || a.before == sequence.stages.len())
    }
}

impl Machine<'_, '_> {
    fn ends(&self, node: u32) -> Ends {
        let Node {
            position, first, ..
        } = self.nodes[node as usize];
        Ends {
            first,
            last: position,
        }
    }

    /// An event begins a partial.
    fn begin<const LATEST: bool>(&mut self, position: u32) -> Result<()> {
        let node = Node {
            position,
            first: position,
            before: u32::MAX,
        };
        if self.stages.is_empty()
            && !(self.absences).may_end(self.sequence, self.events, position, position)
        {
            return Ok(());
        }
        self.arrive::<LATEST>(0, node)
    }

    /// An event extends a partial of the stage before.
    fn extend<const LATEST: bool>(&mut self, stage: usize, position: u32) -> Result<()> {
        let Some(chosen) = self.choose::<LATEST>(stage, position) else {
            return Ok(());
        };
        let partials = &mut self.stages[stage - 1];
        let before = partials[chosen];
        // What the choice passes over is gone with what it chose.
        if LATEST {
            partials.drain(..=chosen);
        } else {
            partials.clear();
        }
        let node = Node {
            position,
            first: self.nodes[before as usize].first,
            before,
        };
        self.arrive::<LATEST>(stage, node)
    }

    /// The partial before `stage` that an event extends.
    fn choose<const LATEST: bool>(&mut self, stage: usize, position: u32) -> Option<usize> {
        let may = |machine: &Self, i: usize| {
            machine.absences.may_extend(
                machine.sequence,
                machine.events,
                machine.ends(machine.stages[stage - 1][i]),
                position,
                stage,
            )
        };
        if LATEST {
            // Those that are old enough.
            let latest = self.events.times[position as usize]
                .saturating_sub(self.sequence.stages[stage].gap.min);
            let partials = &self.stages[stage - 1];
            let behind = partials.partition_point(|node| {
                self.events.times[self.nodes[*node as usize].position as usize] <= latest
            });
            for i in (0..behind).rev() {
                match may(self, i) {
                    Ok(()) => return Some(i),
                    Err(Refusal::Over) => {
                        // Nor will any of these be extended by what comes later.
                        self.stages[stage - 1].drain(..=i);
                        return None;
                    }
                    Err(_) => {}
                }
            }
            return None;
        }
        let mut i = 0;
        while i < self.stages[stage - 1].len() {
            match may(self, i) {
                Ok(()) => return Some(i),
                Err(Refusal::TooSoon) => return None,
                Err(Refusal::Over) => {
                    self.stages[stage - 1].drain(..=i);
                    i = 0;
                }
                Err(Refusal::ThisOne) => i += 1,
            }
        }
        None
    }

    /// A partial gets to a stage.
    fn arrive<const LATEST: bool>(&mut self, stage: usize, node: Node) -> Result<()> {
        let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        if stage == self.stages.len() {
            self.nodes.push(node);
            return self.complete(index);
        }
        let partials = &mut self.stages[stage];
        if self.single[stage] && !partials.is_empty() {
            if !LATEST {
                return Ok(());
            }
            partials.clear();
        }
        // Nothing is kept: the nodes of what has gone need not be.
        if stage == 0 && self.candidates.is_empty() && self.stages.iter().all(VecDeque::is_empty) {
            self.nodes.clear();
        }
        let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        if self.nodes.len() >= MAX_NODES {
            return Err(Error::MatchLimit(
                "the partial matches of one key are more than 67,108,864 events: give the sequence a maxSpan, or keys".into(),
            ));
        }
        self.nodes.push(node);
        self.stages[stage].push_back(index);
        Ok(())
    }

    fn complete(&mut self, node: u32) -> Result<()> {
        if self.sequence.can_be_open() {
            self.candidates.push(node);
            return Ok(());
        }
        self.emit(node, None)
    }

    fn emit(&mut self, node: u32, until: Option<i64>) -> Result<()> {
        self.positions.clear();
        let mut at = node;
        while let Some(Node {
            position, before, ..
        }) = self.nodes.get(at as usize)
        {
            self.positions.push(*position);
            at = *before;
        }
        self.positions.reverse();
        (self.sink)(&self.positions, until)
    }

    /// Every partial ends that the event follows.
    fn end_partials(&mut self, position: u32) {
        let nodes = &self.nodes;
        for partials in &mut self.stages {
            partials.retain(|node| nodes[*node as usize].position == position);
        }
    }

    fn finish(mut self) -> Result<()> {
        for (i, node) in std::mem::take(&mut self.candidates).into_iter().enumerate() {
            self.events.go_on(i)?;
            let ends = self.ends(node);
            let trailing = (self.absences).trailing(self.sequence, self.events, ends);
            if let Some(until) = trailing {
                self.emit(node, Some(until))?;
            }
        }
        Ok(())
    }
}
