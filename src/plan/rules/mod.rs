//! The rules, one to a file. Each has a query of its own in `bench/rules.mjs`, on which it wins.

mod contradiction;
mod having_to_filter;
mod join_bounds;
mod one_list;
mod partial_index;
mod tag_containment;
mod tighten_ranges;
mod union_arms;

#[cfg(test)]
pub mod tests;

use super::logical::Logical;
use super::normal;
use super::optimizer::Facts;
use crate::query::Condition;

/// A named rewrite.
pub trait Rule: Sync {
    /// What `explain()` calls it.
    fn name(&self) -> &'static str;

    /// The rewritten plan, where the rule has something to say.
    fn apply(&self, plan: &Logical, facts: &Facts<'_>) -> Option<Change>;
}

/// What a rule made of a plan.
pub struct Change {
    /// The plan.
    pub plan: Logical,
    /// Why it is better.
    pub reason: String,
}

/// All rules, in the order they are tried: what simplifies conditions before what reads them.
pub const RULES: &[&dyn Rule] = &[
    &contradiction::Contradiction,
    &one_list::OneList,
    &tighten_ranges::TightenRanges,
    &having_to_filter::HavingToFilter,
    &join_bounds::JoinBounds,
    &union_arms::UnionArms,
    &tag_containment::TagContainment,
    &partial_index::PartialIndex,
];

impl Change {
    /// Another filter.
    pub fn of_filter(plan: &Logical, filter: Condition, reason: impl Into<String>) -> Option<Self> {
        (filter != plan.query.filter).then(|| {
            let mut plan = plan.clone();
            plan.query.filter = filter;
            Self {
                plan,
                reason: reason.into(),
            }
        })
    }
}

/// A condition with each of its conjunctions and disjunctions rewritten, from the inside out. The
/// function is given the arms, and whether all of them must hold.
fn rewritten(
    condition: &Condition,
    rewrite: &impl Fn(Vec<Condition>, bool) -> Vec<Condition>,
) -> Condition {
    match condition {
        Condition::And(arms) => {
            let arms = arms.iter().map(|arm| rewritten(arm, rewrite)).collect();
            normal::all(rewrite(arms, true))
        }
        Condition::Or(arms) if !arms.is_empty() => {
            let arms = arms.iter().map(|arm| rewritten(arm, rewrite)).collect();
            normal::any(rewrite(arms, false))
        }
        other => other.clone(),
    }
}

/// The arms of a conjunction; a condition that is none is its only arm.
fn conjuncts(condition: &Condition) -> &[Condition] {
    match condition {
        Condition::And(arms) => arms,
        other => std::slice::from_ref(other),
    }
}
