//! What is asked of a group's own fields is asked of its events: the others are then neither read nor
//! gathered, and in filled buckets no rows are made for their groups.

use super::{Change, Rule, conjuncts};
use crate::model::{
    field::{Field, Kind},
    value::{JsonType, Value},
};
use crate::plan::{Facts, Logical, normal};
use crate::query::{CompareOp, Condition, Grouping, Leaf, Test};

pub struct HavingToFilter;

impl Rule for HavingToFilter {
    fn name(&self) -> &'static str {
        "having-to-filter"
    }

    fn apply(&self, plan: &Logical, _: &Facts<'_>) -> Option<Change> {
        let grouping = plan.query.grouping.as_ref()?;
        let having = normal::normal(grouping.having.as_ref()?);
        let (mut moved, mut kept) = (Vec::new(), Vec::new());
        for arm in conjuncts(&having) {
            match of_events(arm, grouping) {
                Some(condition) => moved.push(condition),
                None => kept.push(arm.clone()),
            }
        }
        if moved.is_empty() || having.is_always() {
            return None;
        }
        let mut plan = plan.clone();
        if let Some(grouping) = &mut plan.query.grouping {
            grouping.having = (!kept.is_empty()).then(|| normal::all(kept));
        }
        let filter = std::mem::replace(&mut plan.query.filter, Condition::always());
        plan.query.filter = normal::all([filter].into_iter().chain(moved));
        Some(Change {
            plan,
            reason: "the events of groups that are not wanted need not be read".to_owned(),
        })
    }
}

/// The condition on a group's keys as one on its events; `None` where it is about anything else.
fn of_events(condition: &Condition, grouping: &Grouping) -> Option<Condition> {
    let each = |arms: &[Condition]| {
        let arms = arms.iter().map(|arm| of_events(arm, grouping));
        arms.collect::<Option<Vec<_>>>()
    };
    match condition {
        Condition::And(arms) => Some(Condition::And(each(arms)?)),
        Condition::Or(arms) => Some(Condition::Or(each(arms)?)),
        Condition::Not(inner) => Some(Condition::Not(Box::new(of_events(inner, grouping)?))),
        Condition::Leaf(leaf) => {
            let field = key(&leaf.field, grouping)?;
            (field.kind() != Kind::Json || spares_null(leaf))
                .then(|| Condition::leaf(field.clone(), leaf.test.clone()))
        }
    }
}

fn key<'g>(field: &Field, grouping: &'g Grouping) -> Option<&'g Field> {
    let Field::Output(output) = field else {
        return None;
    };
    let place = output
        .column
        .checked_sub(usize::from(grouping.bucket.is_some()))?;
    grouping.keys.get(place).map(|key| &key.field)
}

/// Whether a test says of JSON null what it says of a missing value: they share a group.
fn spares_null(leaf: &Leaf) -> bool {
    let is_null = |value: &Value| matches!(value, Value::Json(json) if json.kind == JsonType::Null);
    match &leaf.test {
        Test::Compare(CompareOp::Ne, _) | Test::Exists(_) | Test::Contains(_) => false,
        Test::Compare(_, value) => !is_null(value),
        Test::In { values, negated } => !negated && !values.iter().any(is_null),
        Test::Between(low, high) => !is_null(low) && !is_null(high),
        Test::Match(..) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, unchanged};
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_asked_of_keys_moves() {
        golden(
            &HavingToFilter,
            &json!({ "filter": { "eventTypes": ["A"] }, "groupBy": ["tags.repo"], "aggregates": [{ "fn": "count" }],
                "having": { "and": [
                    { "field": "tags.repo", "op": "in", "value": ["x", "y"] },
                    { "field": "count", "op": "gt", "value": 5 }
                ] } }),
            r#"filter type = "A"; having column 1 in ["x", "y"] and column 2 > 5"#,
            r#"filter type = "A" and tags.repo in ["x", "y"]; having column 2 > 5"#,
        );
    }

    #[test]
    fn json_null_is_in_the_group_of_what_is_missing() {
        for condition in [
            json!({ "field": "data.n", "op": "ne", "value": 5 }),
            json!({ "field": "data.n", "op": "exists" }),
            json!({ "or": [{ "field": "data.n", "op": "eq", "value": 5 }, { "field": "count", "op": "gt", "value": 5 }] }),
        ] {
            unchanged(
                &HavingToFilter,
                &json!({ "filter": {}, "groupBy": ["data.n"], "aggregates": [{ "fn": "count" }], "having": condition }),
            );
        }
    }
}
