//! From PostgreSQL's cost to milliseconds, by what this client's own runs took.
//!
//! A statement that ran often enough is its own measure: the median of its last runs. For others, runs
//! whose cost is known say what a unit of cost takes where the same kind of node does most of the work.
//! Medians throughout: one run behind a checkpoint teaches nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How far an estimate of time can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// There is none.
    None,
    /// By others of its kind, or by few runs, or by runs that differ much.
    Low,
    /// By its own runs, which agree.
    High,
}

impl Confidence {
    /// The word of the public API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::High => "high",
        }
    }
}

/// What was learned.
#[derive(Default)]
pub struct Calibration(Mutex<Learned>);

#[derive(Default)]
struct Learned {
    /// Milliseconds of the last runs, by fingerprint.
    runs: HashMap<u64, VecDeque<f64>>,
    /// Milliseconds for a unit of cost, by the kind of node that does most of the work.
    rates: HashMap<String, VecDeque<f64>>,
}

/// Runs of one statement, and rates of one kind.
const KEPT: usize = 32;
/// Statements. Where there are more, all is learned anew, which takes as long as it took.
const STATEMENTS: usize = 2048;
const ENOUGH: usize = 5;
const MANY: usize = 10;

impl Calibration {
    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of a statement took so long, without its waiting.
    pub fn ran(&self, fingerprint: u64, millis: f64) {
        let mut learned = self.learned();
        if learned.runs.len() >= STATEMENTS && !learned.runs.contains_key(&fingerprint) {
            learned.runs.clear();
        }
        keep(learned.runs.entry(fingerprint).or_default(), millis);
    }

    /// Work of this cost took so long.
    pub fn measured(&self, kind: &str, cost: f64, millis: f64) {
        // Below that it is the way there and back, whatever was done there.
        if cost >= 1.0 && millis > 0.0 {
            let mut learned = self.learned();
            keep(
                learned.rates.entry(kind.to_owned()).or_default(),
                millis / cost,
            );
        }
    }

    /// How long a statement of this cost will take, and how far that can be trusted.
    pub fn estimate(&self, fingerprint: u64, kind: &str, cost: f64) -> (Option<f64>, Confidence) {
        let own = self.learned().runs.get(&fingerprint).map(sorted);
        if let Some(own) = own.filter(|own| own.len() >= ENOUGH) {
            let middle = quantile(&own, 0.5);
            self.measured(kind, cost, middle);
            let agree = quantile(&own, 0.75) <= 2.0 * quantile(&own, 0.25);
            let confidence = if own.len() >= MANY && agree {
                Confidence::High
            } else {
                Confidence::Low
            };
            return (Some(middle), confidence);
        }
        let learned = self.learned();
        let rates = match learned.rates.get(kind) {
            Some(rates) if rates.len() >= ENOUGH => sorted(rates),
            _ => sorted(learned.rates.values().flatten()),
        };
        if rates.len() < ENOUGH {
            return (None, Confidence::None);
        }
        (Some(cost * quantile(&rates, 0.5)), Confidence::Low)
    }
}

fn keep(values: &mut VecDeque<f64>, value: f64) {
    if values.len() == KEPT {
        values.pop_front();
    }
    values.push_back(value);
}

fn sorted<'v>(values: impl IntoIterator<Item = &'v f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// Of values in order.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)] // A place among a few values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Calibration, Confidence};

    #[test]
    fn nothing_is_said_before_enough_was_seen() {
        let calibration = Calibration::default();
        for _ in 0..4 {
            calibration.ran(1, 5.0);
            assert_eq!(
                calibration.estimate(1, "Seq Scan", 100.0),
                (None, Confidence::None)
            );
        }
        calibration.ran(1, 5.0);
        assert_eq!(
            calibration.estimate(1, "Seq Scan", 100.0),
            (Some(5.0), Confidence::Low)
        );
        for _ in 0..5 {
            calibration.ran(1, 5.0);
        }
        assert_eq!(
            calibration.estimate(1, "Seq Scan", 100.0),
            (Some(5.0), Confidence::High)
        );
    }

    #[test]
    fn outliers_teach_nothing_and_runs_that_differ_are_not_trusted() {
        let calibration = Calibration::default();
        for i in 0..20 {
            calibration.ran(1, if i % 7 == 0 { 900.0 } else { 3.0 });
            calibration.ran(2, if i % 2 == 0 { 30.0 } else { 3.0 });
        }
        assert_eq!(
            calibration.estimate(1, "Sort", 10.0),
            (Some(3.0), Confidence::High)
        );
        assert_eq!(calibration.estimate(2, "Sort", 10.0).1, Confidence::Low);
    }

    #[test]
    fn others_of_the_kind_give_the_rate() {
        let calibration = Calibration::default();
        for _ in 0..5 {
            calibration.measured("Seq Scan", 1000.0, 20.0);
            calibration.measured("Index Scan", 10.0, 0.1);
        }
        assert_eq!(
            calibration.estimate(9, "Seq Scan", 500.0),
            (Some(10.0), Confidence::Low)
        );
        assert_eq!(
            calibration.estimate(9, "Index Scan", 500.0),
            (Some(5.0), Confidence::Low)
        );
    }
}
