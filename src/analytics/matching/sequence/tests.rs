//! The machines against one that is nothing but the words of their documentation, over random events.

use super::find;
use crate::analytics::matching::Events;
use crate::query::matching::{Absent, Conditions, Gap, MatchMode, Part, Sequence, Until};

/// xorshift64*, seeded: a failure can be had again.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.next(100) < percent
    }
}

/// Whether an event with `bit` stands strictly between two positions, within a time.
fn between(events: Events<'_>, bit: u32, after: i64, before: i64, from: i64, to: i64) -> bool {
    (after + 1..before).any(|i| {
        let i = usize::try_from(i).unwrap();
        events.masks[i] >> bit & 1 == 1 && (from..=to).contains(&events.times[i])
    })
}

fn time(events: Events<'_>, i: i64) -> i64 {
    events.times[usize::try_from(i).unwrap()]
}

/// Whether `next` may be the event of a stage behind these.
fn fits(sequence: &Sequence, events: Events<'_>, partial: &[i64], next: i64) -> bool {
    let (stage, last) = (partial.len(), *partial.last().unwrap());
    let passed = time(events, next) - time(events, last);
    let Part { gap, .. } = sequence.stages[stage];
    let span = sequence.max_span.unwrap_or(i64::MAX);
    passed >= gap.min
        && passed <= gap.max
        && time(events, next) - time(events, partial[0]) <= span
        && sequence.absent.iter().all(|a| {
            let at = time(events, last);
            let to = at.saturating_add(a.gap.max);
            a.before != stage || !between(events, a.bit, last, next, at + a.gap.min, to)
        })
}

/// Whether nothing comes before that must not.
fn clear_before(sequence: &Sequence, events: Events<'_>, all: &[i64]) -> bool {
    let from = sequence
        .max_span
        .map_or(i64::MIN, |span| time(events, all[all.len() - 1]) - span);
    sequence
        .absent
        .iter()
        .all(|a| a.before != 0 || !between(events, a.bit, -1, all[0], from, i64::MAX))
}

/// Whether nothing comes after that must not; then, whether it still may.
fn clear_after(sequence: &Sequence, events: Events<'_>, all: &[i64], end: i64) -> Option<bool> {
    let (first, last) = (time(events, all[0]), time(events, all[all.len() - 1]));
    let mut open = false;
    for a in &sequence.absent {
        if a.before < sequence.stages.len() {
            continue;
        }
        let to = last
            .saturating_add(a.gap.max)
            .min(sequence.max_span.map_or(i64::MAX, |span| first + span));
        let n = i64::try_from(events.times.len()).unwrap();
        if between(events, a.bit, all[all.len() - 1], n, last + a.gap.min, to) {
            return None;
        }
        open |= to >= end;
    }
    Some(open)
}

fn reference(sequence: &Sequence, events: Events<'_>, end: i64) -> Vec<(Vec<i64>, bool)> {
    let stages = sequence.stages.len();
    let mut found = Vec::new();
    let mut offer = |all: &[i64]| {
        if let Some(open) = clear_after(sequence, events, all, end) {
            found.push((all.to_vec(), open));
        }
    };
    let is = |bit: u32, i: i64| events.masks[usize::try_from(i).unwrap()] >> bit & 1 == 1;
    let n = i64::try_from(events.times.len()).unwrap();
    if sequence.mode == MatchMode::All {
        let mut partials: Vec<Vec<i64>> = vec![Vec::new()];
        for stage in 0..stages {
            let mut longer = Vec::new();
            for partial in &partials {
                for i in partial.last().map_or(0, |last| last + 1)..n {
                    let ended = sequence.until.is_some_and(|u| {
                        partial
                            .last()
                            .is_some_and(|l| between(events, u.bit, *l, i, i64::MIN, i64::MAX))
                    });
                    if is(sequence.stages[stage].bit, i)
                        && !ended
                        && (stage == 0 || fits(sequence, events, partial, i))
                    {
                        longer.push([partial.as_slice(), &[i]].concat());
                    }
                }
            }
            partials = longer;
        }
        partials.retain(|all| clear_before(sequence, events, all));
        for all in &partials {
            offer(all);
        }
        return found;
    }
    let latest = sequence.mode == MatchMode::Latest;
    let mut pending: Vec<Vec<Vec<i64>>> = vec![Vec::new(); stages];
    for i in 0..n {
        for stage in (0..stages).rev() {
            if !is(sequence.stages[stage].bit, i) {
                continue;
            }
            let mut longer = vec![i];
            if stage > 0 {
                let ok = |partial: &Vec<i64>| {
                    let all = [partial.as_slice(), &[i]].concat();
                    fits(sequence, events, partial, i)
                        && (stage + 1 < stages || clear_before(sequence, events, &all))
                };
                let before = &mut pending[stage - 1];
                let chosen = if latest {
                    before.iter().rposition(ok)
                } else {
                    before.iter().position(ok)
                };
                let Some(chosen) = chosen else { continue };
                longer = [before[chosen].as_slice(), &[i]].concat();
                if latest {
                    before.drain(..=chosen);
                } else {
                    before.drain(chosen..);
                }
                // Those before the first that fits stay, though they may never fit.
            }
            if stage + 1 < stages {
                pending[stage].push(longer);
            } else if stages > 1 || clear_before(sequence, events, &longer) {
                offer(&longer);
            }
        }
        if sequence.until.is_some_and(|u| is(u.bit, i)) {
            for partials in &mut pending {
                partials.retain(|p| p[p.len() - 1] == i);
            }
        }
    }
    found
}

fn random_gap(random: &mut Random) -> Gap {
    let min = if random.chance(50) { random.next(4) } else { 0 };
    let max = if random.chance(50) {
        i64::try_from(min + random.next(6)).unwrap()
    } else {
        i64::MAX
    };
    Gap {
        min: i64::try_from(min).unwrap(),
        max,
    }
}

fn random_sequence(random: &mut Random) -> Sequence {
    let bits = 1 + random.next(4);
    let bit = |random: &mut Random| u32::try_from(random.next(bits)).unwrap();
    let (mut stages, mut absent) = (Vec::new(), Vec::new());
    for _ in 0..=random.next(4) {
        let gap = if stages.is_empty() || random.chance(75) {
            Gap::ANY
        } else {
            random_gap(random)
        };
        if random.chance(25) {
            absent.push(Absent {
                bit: bit(random),
                before: stages.len(),
                gap,
            });
        } else {
            stages.push(Part {
                bit: bit(random),
                gap,
            });
        }
    }
    if stages.is_empty() {
        absent.clear();
        stages.push(Part {
            bit: 0,
            gap: Gap::ANY,
        });
    }
    Sequence {
        key: Vec::new(),
        conditions: Conditions::default(),
        stages,
        absent,
        max_span: random
            .chance(50)
            .then(|| i64::try_from(random.next(12)).unwrap()),
        until: random.chance(20).then(|| Until { bit: bit(random) }),
        mode: [MatchMode::Latest, MatchMode::First, MatchMode::All]
            [usize::try_from(random.next(3)).unwrap()],
        max_matches: None,
        names: Vec::new(),
    }
}

#[test]
fn machines_find_what_their_documentation_says() {
    let seed = 0x5EED_0008;
    let mut random = Random(seed);
    let mut matched = 0;
    for round in 0..20_000 {
        let sequence = random_sequence(&mut random);
        let n = random.next(if sequence.mode == MatchMode::All {
            12
        } else {
            30
        });
        let mut at = 0;
        let mut times = Vec::new();
        let masks: Vec<u64> = (0..n)
            .map(|_| {
                at += i64::try_from(random.next(3)).unwrap();
                times.push(at);
                random.next(16)
                    & if random.chance(70) {
                        1 << random.next(4)
                    } else {
                        15
                    }
            })
            .collect();
        let events = Events {
            watch: None,
            times: &times,
            masks: &masks,
        };
        let mut expected = reference(&sequence, events, at);
        let mut found = Vec::new();
        find(&sequence, events, &mut |positions, until| {
            let open = until.is_some_and(|until| until >= at);
            found.push((positions.iter().map(|p| i64::from(*p)).collect(), open));
            Ok(())
        })
        .unwrap();
        expected.sort();
        found.sort();
        assert_eq!(
            found, expected,
            "seed {seed}, round {round}: {sequence:?} in {masks:?} at {times:?}"
        );
        matched += usize::from(!found.is_empty());
    }
    assert!(matched > 5_000, "only {matched} of the rounds match");
}
