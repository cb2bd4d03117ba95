//! A filter that no event can satisfy is answered without the database; an arm that none can satisfy
//! is left out.

use super::{Change, Rule, conjuncts};
use crate::plan::{Facts, Logical, is_contradiction, logical::is_false, normal};
use crate::query::Condition;

pub struct Contradiction;

/// Trying each arm with all that stands beside it is quadratic.
const MOST_ARMS: usize = 32;

impl Rule for Contradiction {
    fn name(&self) -> &'static str {
        "contradiction"
    }

    fn apply(&self, plan: &Logical, _: &Facts<'_>) -> Option<Change> {
        let filter = &plan.query.filter;
        if is_false(filter) {
            return None;
        }
        if is_contradiction(filter) {
            return Change::of_filter(
                plan,
                Condition::Or(Vec::new()),
                "no event can satisfy the filter: the database is not asked for events",
            );
        }
        let arms = conjuncts(filter);
        let possible = arms.iter().enumerate().map(|(i, arm)| match arm {
            Condition::Or(choices) if choices.len() <= MOST_ARMS => {
                let beside = arms.iter().enumerate().filter(|(j, _)| *j != i);
                let beside: Vec<_> = beside.map(|(_, arm)| arm.clone()).collect();
                let choices = choices.iter().filter(|choice| {
                    let all = beside.iter().cloned().chain([(*choice).clone()]);
                    !is_contradiction(&Condition::And(all.collect()))
                });
                normal::any(choices.cloned())
            }
            arm => arm.clone(),
        });
        Change::of_filter(
            plan,
            normal::all(possible),
            "no event can satisfy what was left out",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use serde_json::json;

    #[test]
    fn an_impossible_filter_is_false() {
        golden(
            &Contradiction,
            &json!({ "filter": { "eventTypes": ["A"], "where": { "field": "type", "op": "eq", "value": "B" } } }),
            r#"filter type = "A" and type = "B""#,
            "filter false",
        );
    }

    #[test]
    fn an_impossible_arm_goes() {
        golden(
            &Contradiction,
            &json!({ "filter": { "eventTypes": ["A"], "where": { "or": [
                { "field": "type", "op": "startsWith", "value": "B." },
                { "field": "tags.x", "op": "eq", "value": "1" },
                { "field": "tags.x", "op": "eq", "value": "2" }
            ] } } }),
            r#"filter type = "A" and (type starts with "B." or tags.x = "1" or tags.x = "2")"#,
            r#"filter type = "A" and (tags.x = "1" or tags.x = "2")"#,
        );
    }
}
