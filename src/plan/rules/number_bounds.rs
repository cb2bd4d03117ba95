//! jsonb orders all numbers together, so that what lies between two numbers is one: the test of its
//! type, which would take the value out of its document once more, says nothing new.

use super::{Change, Rule};
use crate::plan::{Facts, Logical};
use crate::query::Condition;
use crate::sql::tells_type;

pub struct NumberBounds;

impl Rule for NumberBounds {
    fn name(&self) -> &'static str {
        "number-bounds"
    }

    fn apply(&self, plan: &Logical, _: &Facts<'_>) -> Option<Change> {
        if plan.access.bounds_tell_type || !has_bounds(&plan.query.filter) {
            return None;
        }
        let mut plan = plan.clone();
        plan.access.bounds_tell_type = true;
        Some(Change {
            plan,
            reason:
                "what jsonb sorts between two numbers is a number: its type is not tested again"
                    .to_owned(),
        })
    }
}

fn has_bounds(condition: &Condition) -> bool {
    match condition {
        Condition::And(arms) => {
            arms.iter().any(has_bounds) || (0..arms.len()).any(|i| tells_type(arms, i))
        }
        Condition::Or(arms) => arms.iter().any(has_bounds),
        Condition::Not(_) => false,
        Condition::Leaf(_) => tells_type(std::slice::from_ref(condition), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, unchanged};
    use super::*;
    use serde_json::json;

    #[test]
    fn two_bounds_tell() {
        golden(
            &NumberBounds,
            &json!({ "filter": { "where": { "field": "data.n", "op": "between", "value": [1, 2] } } }),
            "nothing",
            "numbers between two bounds are told by the bounds",
        );
        golden(
            &NumberBounds,
            &json!({ "filter": { "where": { "and": [{ "field": "data.n", "op": "gt", "value": 1 }, { "field": "data.n", "op": "lt", "value": 2 }] } } }),
            "nothing",
            "numbers between two bounds are told by the bounds",
        );
    }

    #[test]
    fn one_does_not_and_text_does_not() {
        for condition in [
            json!({ "field": "data.n", "op": "gt", "value": 1 }),
            json!({ "field": "data.n", "op": "between", "value": ["a", "b"] }),
            json!({ "and": [{ "field": "data.n", "op": "gt", "value": 1 }, { "field": "data.m", "op": "lt", "value": 2 }] }),
        ] {
            unchanged(&NumberBounds, &json!({ "filter": { "where": condition } }));
        }
    }
}
