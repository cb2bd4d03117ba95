//! What is known of plans: which indexes a question's plan used of those that it could see, and what
//! it cost. A plan can be had wherever the indexes are that it used, so one answer of the planner
//! serves many sets of candidates.

use super::super::search::Config;

/// An answer of the planner.
#[derive(Clone, Debug)]
struct Plan {
    seen: Config,
    used: Config,
    cost: f64,
    /// Not an answer, but what follows from one.
    concluded: bool,
}

/// What is known of a question's plans.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    plans: Vec<Plan>,
}

impl Known {
    /// Keeps an answer: with these to be seen, those were used.
    pub(super) fn learn(&mut self, seen: Config, used: Config, cost: f64) {
        self.plans.push(Plan {
            seen,
            used,
            cost,
            concluded: false,
        });
    }

    /// Keeps what an index does at most cost by itself, whatever the planner says.
    pub(super) fn conclude(&mut self, candidate: usize, cost: f64) {
        let alone = Config::from([candidate]);
        self.plans.push(Plan {
            seen: alone.clone(),
            used: alone,
            cost,
            concluded: true,
        });
    }

    /// Leaves the planner's answers.
    pub(super) fn forget_concluded(&mut self) {
        self.plans.retain(|plan| !plan.concluded);
    }

    /// The cost with exactly these, where it follows from an answer: the planner saw all of them, and
    /// what it chose is among them.
    pub(super) fn exact(&self, config: &Config) -> Option<f64> {
        let follows = |plan: &&Plan| plan.used.is_subset(config) && config.is_subset(&plan.seen);
        let found = self.plans.iter().filter(follows);
        found.map(|plan| plan.cost).min_by(f64::total_cmp)
    }

    /// What it costs at most with these.
    pub(super) fn at_most(&self, config: &Config) -> Option<f64> {
        let plans = self.plans.iter();
        let possible = plans.filter(|plan| plan.used.is_subset(config));
        possible.map(|plan| plan.cost).min_by(f64::total_cmp)
    }

    /// Whether some plan used several indexes at once.
    pub(super) fn is_joint(&self) -> bool {
        self.plans.iter().any(|plan| plan.used.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_serves_all_sets_that_lie_between_what_was_used_and_what_was_seen() {
        let set = |places: &[usize]| places.iter().copied().collect::<Config>();
        let mut known = Known::default();
        known.learn(set(&[1, 2, 3, 4]), set(&[2]), 10.0);
        assert_eq!(known.exact(&set(&[2, 3])), Some(10.0));
        assert_eq!(known.exact(&set(&[2, 5])), None);
        assert_eq!(known.at_most(&set(&[2, 5])), Some(10.0));
        assert_eq!(known.exact(&set(&[1, 3])), None);
        assert_eq!(known.at_most(&set(&[1, 3])), None);
        assert!(!known.is_joint());
        known.learn(set(&[1, 3]), set(&[1, 3]), 50.0);
        assert_eq!(known.exact(&set(&[1, 3])), Some(50.0));
        assert_eq!(known.at_most(&set(&[1, 2, 3])), Some(10.0));
        assert!(known.is_joint());
    }

    #[test]
    fn what_is_concluded_counts_until_it_is_forgotten() {
        let alone = Config::from([1]);
        let mut known = Known::default();
        known.learn(alone.clone(), alone.clone(), 10.0);
        known.conclude(1, 7.0);
        assert_eq!(known.exact(&alone), Some(7.0));
        known.forget_concluded();
        assert_eq!(known.exact(&alone), Some(10.0));
    }
}
