//! One fingerprint: its sample, its plans and its latest runs.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value as Wire;

use super::facts::Facts;
use super::measure::MOST;
use crate::exec::Sample;
use crate::sql::explain::Plan;

/// Plans of a fingerprint that are remembered.
const PLANS: usize = 8;
/// A plan that nothing hints at having changed is looked at this often.
const UNHURRIED: Duration = Duration::from_secs(30);
/// Runs by which a shift of latency shows.
const LATE: usize = 12;

/// A plan that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Of its shape.
    pub hash: String,
    /// Its indexes.
    pub indexes: Vec<String>,
    /// Its tables.
    pub tables: Vec<String>,
    /// Whether it reads a whole table to leave rows out: an index might have served.
    pub filters_by_scan: bool,
}

impl Seen {
    /// What is remembered of a plan.
    pub fn of(plan: &Plan) -> Self {
        let told = plan.to_json();
        let texts = |value: &Wire| -> Vec<String> {
            let items = value.as_array().into_iter().flatten();
            items
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        let mut seen = Self {
            hash: told["planHash"].as_str().unwrap_or_default().to_owned(),
            indexes: texts(&told["indexesUsed"]),
            tables: Vec::new(),
            filters_by_scan: false,
        };
        seen.walk(&told["steps"]);
        seen
    }

    fn walk(&mut self, steps: &Wire) {
        for step in steps.as_array().into_iter().flatten() {
            if let Some(table) = step["relation"].as_str()
                && !self.tables.iter().any(|known| known == table)
            {
                self.tables.push(table.to_owned());
            }
            self.filters_by_scan |= step["operation"]
                .as_str()
                .is_some_and(|o| o.ends_with("Seq Scan"))
                && step["condition"].is_string();
            self.walk(&step["children"]);
        }
    }
}

/// A plan that a fingerprint is kept on.
#[derive(Clone, Debug)]
pub struct Pin {
    /// Which.
    pub hash: String,
    /// By which settings.
    pub rung: usize,
}

/// A fingerprint that is followed.
pub struct Known {
    /// What is explained.
    pub sample: Sample,
    /// When the sample was taken.
    pub taken: Instant,
    /// When it ran last.
    pub last_run: Instant,
    /// Runs.
    pub runs: u64,
    /// Where it is kept.
    pub pin: Option<Pin>,
    /// The change whose runs are being collected.
    pub measured: Option<u64>,
    plans: Vec<Seen>,
    current: Option<usize>,
    /// When its plan was last seen to be the current one.
    pub confirmed: Option<Instant>,
    /// Runs since.
    pub fresh: u64,
    shifted: bool,
    /// What its plan depended on when it was last looked at.
    pub facts: Option<Arc<Facts>>,
    /// When each of the latest runs began, and its microseconds.
    latest: VecDeque<(Instant, u32)>,
}

impl Known {
    /// Of a first sample.
    pub fn new(sample: Sample) -> Self {
        let now = Instant::now();
        Self {
            sample,
            taken: now,
            last_run: now,
            runs: 0,
            pin: None,
            measured: None,
            plans: Vec::new(),
            current: None,
            confirmed: None,
            fresh: 0,
            shifted: false,
            facts: None,
            latest: VecDeque::new(),
        }
    }

    /// Another sample: its values may have another plan, which is then no change of mind.
    pub fn renew(&mut self, sample: Sample) {
        self.sample = sample;
        self.taken = Instant::now();
        self.current = None;
        self.confirmed = None;
    }

    /// Counts a run.
    pub fn ran(&mut self, started: Instant, micros: u32) {
        self.last_run = started;
        self.runs += 1;
        self.fresh += 1;
        if self.latest.len() >= MOST {
            self.latest.pop_front();
        }
        self.latest.push_back((started, micros));
        if self.runs.is_multiple_of(LATE as u64) && self.latest.len() >= 3 * LATE {
            self.shifted |= self.has_shifted();
        }
    }

    /// Whether the latest runs took twice as long as those before, by their medians.
    fn has_shifted(&self) -> bool {
        let median = |mut of: Vec<u32>| {
            of.sort_unstable();
            of.get(of.len() / 2).copied().unwrap_or(0)
        };
        let at = self.latest.len() - LATE;
        let times =
            |range: &mut dyn Iterator<Item = &(Instant, u32)>| range.map(|(_, d)| *d).collect();
        let before = median(times(&mut self.latest.iter().take(at)));
        let late = median(times(&mut self.latest.iter().skip(at)));
        late > before.saturating_mul(2)
    }

    /// Whether its plan should be looked at, and how soon: more is sooner. `changed`: what plans
    /// depend on is not what it was.
    pub fn is_due(&self, changed: bool, asked: bool) -> Option<u64> {
        let never = self.confirmed.is_none();
        let waited = self.confirmed.is_none_or(|at| at.elapsed() >= UNHURRIED);
        let active = self.fresh > 0 || self.pin.is_some();
        let due = never
            || ((changed || asked || self.shifted) && (active || asked))
            || (waited && active);
        let hurry = u64::from(self.shifted || self.pin.is_some()) * 1_000_000_000;
        due.then_some(hurry + self.runs)
    }

    /// Its plan, as it was last seen.
    pub fn current(&self) -> Option<&Seen> {
        self.plans.get(self.current?)
    }

    /// Of all plans that were seen.
    pub fn hashes(&self) -> Vec<String> {
        self.plans.iter().map(|plan| plan.hash.clone()).collect()
    }

    /// A plan that was seen.
    pub fn seen(&self, hash: &str) -> Option<&Seen> {
        self.plans.iter().find(|plan| plan.hash == hash)
    }

    /// Notes the plan that it has now, and gives the one that it had, where that is another.
    pub fn note(&mut self, plan: Seen) -> Option<Seen> {
        self.fresh = 0;
        self.shifted = false;
        let before = self.current().filter(|had| had.hash != plan.hash).cloned();
        let at = if let Some(at) = self.plans.iter().position(|seen| seen.hash == plan.hash) {
            self.plans[at] = plan;
            at
        } else {
            if self.plans.len() >= PLANS {
                // Not one that somebody chose.
                let kept = self.pin.as_ref().map(|pin| pin.hash.clone());
                let goes = self
                    .plans
                    .iter()
                    .position(|p| Some(&p.hash) != kept.as_ref());
                self.plans.remove(goes.unwrap_or(0));
            }
            self.plans.push(plan);
            self.plans.len() - 1
        };
        self.current = Some(at);
        before
    }

    /// The runs that surely had the plan of before, for a change that was noticed just now. Those
    /// since it was last confirmed may have had either.
    pub fn take_before(&mut self) -> Vec<u32> {
        let until = self.confirmed;
        let runs = std::mem::take(&mut self.latest);
        let sure = runs
            .iter()
            .filter(|(at, _)| until.is_none_or(|until| *at <= until));
        sure.map(|(_, micros)| *micros).collect()
    }

    /// Forgets its runs.
    pub fn forget_runs(&mut self) {
        self.latest.clear();
        self.measured = None;
        self.runs = 0;
    }
}
