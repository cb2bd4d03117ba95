//! Funnels and retention, counted key by key.

use std::{collections::BTreeMap, ops::Range};

use serde_json::{Value as Wire, json};
use uuid::Uuid;

use super::Events;
use super::answer::{Matches, Texts, ascii};
use super::kept::{Found, TakeUp};
use super::partition::Partition;
use crate::model::{Result, time::Timestamp};
use crate::query::matching::{Funnel, FunnelMode, Retention};

/// How far keys got.
pub struct Funnels<'q> {
    funnel: &'q Funnel,
    found: Counts,
}

/// How many keys got how far.
#[derive(Debug, Default)]
pub struct Counts {
    /// By step, the keys that got there.
    counts: Vec<u64>,
    /// By step, the times since the step before, in microseconds.
    passed: Vec<Vec<i64>>,
}

impl Counts {
    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        let passed = self.passed.iter().map(|passed| passed.capacity() * 8 + 24);
        passed.sum::<usize>() + self.counts.capacity() * 8
    }

    fn add(&mut self, others: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&others.counts) {
            *count += more;
        }
        for (passed, more) in self.passed.iter_mut().zip(&others.passed) {
            passed.extend(more);
        }
    }

    fn remove(&mut self, others: &Self) {
        for (count, fewer) in self.counts.iter_mut().zip(&others.counts) {
            *count = count.saturating_sub(*fewer);
        }
        for (passed, fewer) in self.passed.iter_mut().zip(&others.passed) {
            let mut fewer = fewer.clone();
            passed.sort_unstable();
            fewer.sort_unstable();
            let mut gone = fewer.into_iter().peekable();
            // Of two sorted lists, each value goes once for each time that it is to go.
            passed.retain(|time| gone.next_if_eq(time).is_none());
        }
    }
}

impl<'q> Funnels<'q> {
    /// No key was seen.
    pub fn new(funnel: &'q Funnel) -> Self {
        Self {
            found: Counts {
                counts: vec![0; funnel.steps.len()],
                passed: vec![Vec::new(); funnel.steps.len()],
            },
            funnel,
        }
    }
}

/// The times of the longest chain of steps, as ClickHouse's `windowFunnel` finds it: the window opens
/// at an event of the first step, and each event takes the chain before its step further.
pub fn longest_chain(funnel: &Funnel, events: Events<'_>) -> Vec<i64> {
    let n = funnel.steps.len();
    // By step, the chain that got there last: it is the one with the latest beginning.
    let mut chains: Vec<Vec<i64>> = vec![Vec::new(); n];
    for (time, mask) in events.times.iter().zip(events.masks) {
        let is = |step: usize| mask >> funnel.steps[step] & 1 == 1;
        let reached = chains.iter().rposition(|chain| !chain.is_empty());
        let interrupted = match funnel.mode {
            FunnelMode::Default | FunnelMode::StrictIncrease => false,
            FunnelMode::StrictOrder => reached.is_some_and(|last| !is(last + 1)),
            FunnelMode::StrictDeduplication => (0..n).any(|s| is(s) && !chains[s].is_empty()),
        };
        if interrupted {
            break;
        }
        for step in (0..n).rev().filter(|step| is(*step)) {
            if step == 0 {
                chains[0] = vec![*time];
                continue;
            }
            let (before, here) = chains.split_at_mut(step);
            let before = &before[step - 1];
            let in_time = before
                .first()
                .is_some_and(|first| time - first <= funnel.window);
            let later = funnel.mode != FunnelMode::StrictIncrease
                || before.last().is_some_and(|last| time > last);
            if in_time && later {
                here[0].clone_from(before);
                here[0].push(*time);
            }
        }
        if !chains[n - 1].is_empty() {
            break;
        }
    }
    let longest = chains.into_iter().rev().find(|chain| !chain.is_empty());
    longest.unwrap_or_default()
}

impl Matches for Funnels<'_> {
    fn partition(&mut self, partition: &Partition) -> Result<()> {
        let chain = longest_chain(self.funnel, partition.events());
        for (step, time) in chain.iter().enumerate() {
            self.found.counts[step] += 1;
            if step > 0 {
                self.found.passed[step].push(time - chain[step - 1]);
            }
        }
        Ok(())
    }

    fn absorb(&mut self, others: Self) -> Result<()> {
        self.found.add(&others.found);
        Ok(())
    }

    fn take_up(&mut self, kept: &TakeUp<'_>) -> Result<()> {
        if let Found::Funnels(found) = kept.found {
            self.found.add(found);
        }
        if let Some(Found::Funnels(before)) = &kept.before {
            self.found.remove(before);
        }
        Ok(())
    }

    fn keep(&mut self, _: &Range<usize>) -> Found {
        Found::Funnels(std::mem::take(&mut self.found))
    }

    fn finish(&mut self) {}

    fn len(&self) -> usize {
        1
    }

    fn ids(&self, _: usize, _: &mut Vec<Uuid>) {}

    fn header(&self) -> String {
        r#""columns":["steps","completed","started"]"#.to_owned()
    }

    #[allow(clippy::cast_precision_loss)] // Counts of keys.
    fn write(&self, _: usize, _: &Texts, out: &mut Vec<u8>) -> Result<()> {
        let started = self.found.counts.first().copied().unwrap_or(0);
        let steps: Vec<Wire> = (self.funnel.names.iter())
            .zip(&self.found.counts)
            .zip(&self.found.passed)
            .map(|((name, count), passed)| {
                let share = if started == 0 {
                    0.0
                } else {
                    *count as f64 / started as f64
                };
                json!({
                    "as": name,
                    "count": count,
                    "conversion": share,
                    "medianTimeFromPrevious": median(passed.clone()),
                })
            })
            .collect();
        let completed = self.found.counts.last().copied().unwrap_or(0);
        out.extend_from_slice(&ascii(&json!(steps)));
        out.extend_from_slice(format!(",{completed},{started}").as_bytes());
        Ok(())
    }
}

/// The median of microseconds, in milliseconds.
#[allow(clippy::cast_precision_loss)] // Far below 2^53.
fn median(mut micros: Vec<i64>) -> Option<f64> {
    micros.sort_unstable();
    let last = micros.len().checked_sub(1)?;
    let (low, high) = (micros[last / 2], micros[last.div_ceil(2)]);
    Some((low as f64 + high as f64) / 2000.0)
}

/// When keys came back.
pub struct Retained<'q> {
    retention: &'q Retention,
    found: Cohorts,
}

/// By the beginning of its period, the size of a cohort and how many came back in each period.
#[derive(Debug, Default)]
pub struct Cohorts(BTreeMap<i64, (u64, Vec<u64>)>);

impl Cohorts {
    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        let cohorts = self
            .0
            .values()
            .map(|(_, retained)| retained.capacity() * 8 + 64);
        cohorts.sum()
    }

    fn add(&mut self, others: &Self) {
        for (cohort, (size, returned)) in &others.0 {
            let (all, retained) = self.0.entry(*cohort).or_default();
            *all += size;
            retained.resize(returned.len(), 0);
            for (count, more) in retained.iter_mut().zip(returned) {
                *count += more;
            }
        }
    }

    fn remove(&mut self, others: &Self) {
        for (cohort, (size, returned)) in &others.0 {
            if let Some((all, retained)) = self.0.get_mut(cohort) {
                *all = all.saturating_sub(*size);
                for (count, fewer) in retained.iter_mut().zip(returned) {
                    *count = count.saturating_sub(*fewer);
                }
            }
        }
        self.0.retain(|_, (size, _)| *size > 0);
    }
}

/// 2000-01-03, a Monday, in PostgreSQL's microseconds.
const ORIGIN: i64 = 2 * 86_400_000_000;

impl<'q> Retained<'q> {
    /// No key was seen.
    pub const fn new(retention: &'q Retention) -> Self {
        Self {
            retention,
            found: Cohorts(BTreeMap::new()),
        }
    }

    fn period(&self, time: i64) -> i64 {
        time.saturating_sub(ORIGIN)
            .div_euclid(self.retention.period)
    }
}

impl Matches for Retained<'_> {
    fn partition(&mut self, partition: &Partition) -> Result<()> {
        let Some(first) = partition.masks.iter().position(|mask| mask & 1 == 1) else {
            return Ok(());
        };
        let cohort = self.period(partition.times[first]);
        let n = self.retention.periods;
        let mut returned = vec![false; n];
        for i in first + 1..partition.times.len() {
            if partition.masks[i] >> 1 & 1 == 1 {
                let periods = self.period(partition.times[i]) - cohort;
                if let Some(flag) = usize::try_from(periods)
                    .ok()
                    .and_then(|p| returned.get_mut(p))
                {
                    *flag = true;
                }
            }
        }
        let (size, retained) = (self.found.0.entry(cohort)).or_insert_with(|| (0, vec![0; n]));
        *size += 1;
        for (count, flag) in retained.iter_mut().zip(returned) {
            *count += u64::from(flag);
        }
        Ok(())
    }

    fn absorb(&mut self, others: Self) -> Result<()> {
        self.found.add(&others.found);
        Ok(())
    }

    fn take_up(&mut self, kept: &TakeUp<'_>) -> Result<()> {
        if let Found::Retained(found) = kept.found {
            self.found.add(found);
        }
        if let Some(Found::Retained(before)) = &kept.before {
            self.found.remove(before);
        }
        Ok(())
    }

    fn keep(&mut self, _: &Range<usize>) -> Found {
        Found::Retained(std::mem::take(&mut self.found))
    }

    fn finish(&mut self) {}

    fn len(&self) -> usize {
        1
    }

    fn ids(&self, _: usize, _: &mut Vec<Uuid>) {}

    fn header(&self) -> String {
        r#""columns":["cohorts"]"#.to_owned()
    }

    fn write(&self, _: usize, _: &Texts, out: &mut Vec<u8>) -> Result<()> {
        let cohorts = self.found.0.iter().map(|(period, (size, retained))| {
            let start = ORIGIN.saturating_add(period.saturating_mul(self.retention.period));
            let cohort = Timestamp::from_postgres(start).to_string();
            json!({ "cohort": cohort, "size": size, "retained": retained })
        });
        out.extend_from_slice(&ascii(&cohorts.collect()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::{Condition, matching::Conditions};

    /// The level that ClickHouse's documentation gives for letters, one a minute; capitals are steps.
    fn level(mode: FunnelMode, window: i64, steps: &str, events: &str) -> usize {
        let letters: Vec<char> = "ABCD".chars().collect();
        let bit = |c: char| letters.iter().position(|l| *l == c);
        let funnel = Funnel {
            names: Vec::new(),
            steps: steps
                .chars()
                .map(|c| u32::try_from(bit(c).unwrap()).unwrap())
                .collect(),
            conditions: Conditions::default(),
            window,
            mode,
            filter: Condition::always(),
        };
        // A dot after a letter: the next is at the same time.
        let (mut times, mut masks, mut now) = (Vec::new(), Vec::new(), 0);
        for c in events.chars() {
            if c == '.' {
                now -= 1;
                continue;
            }
            times.push(now);
            masks.push(bit(c).map_or(0, |bit| 1 << bit));
            now += 1;
        }
        let events = Events {
            watch: None,
            times: &times,
            masks: &masks,
        };
        longest_chain(&funnel, events).len()
    }

    #[test]
    fn levels_are_those_of_the_documentation() {
        use FunnelMode::{Default, StrictDeduplication, StrictIncrease, StrictOrder};
        assert_eq!(level(Default, 9, "ABC", "AxBxC"), 3);
        assert_eq!(level(Default, 9, "ABC", "ACB"), 2);
        assert_eq!(level(Default, 9, "ABC", "BC"), 0);
        // The window is inclusive, and opens anew at a later first step.
        assert_eq!(level(Default, 2, "AB", "AxB"), 2);
        assert_eq!(level(Default, 1, "AB", "AxB"), 1);
        assert_eq!(level(Default, 1, "ABC", "ABxxABC"), 2);
        assert_eq!(level(Default, 2, "ABC", "ABxxABC"), 3);
        // 'in the case of A->B->D->C, it stops finding A->B->C at the D and the max event level is 2'
        assert_eq!(level(StrictOrder, 9, "ABC", "ABDC"), 2);
        assert_eq!(level(StrictOrder, 9, "ABC", "xxABC"), 3);
        assert_eq!(level(StrictIncrease, 9, "AB", "A.B"), 1);
        assert_eq!(level(StrictIncrease, 9, "AB", "A.BB"), 2);
        assert_eq!(level(Default, 9, "AB", "A.B"), 2);
        assert_eq!(level(StrictDeduplication, 9, "ABC", "ABBC"), 2);
        assert_eq!(level(StrictDeduplication, 9, "ABC", "ABxC"), 3);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3000, 1000]), Some(2.0));
        assert_eq!(median(vec![5000, 1000, 2000]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
