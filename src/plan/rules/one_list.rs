//! Alternatives for one field become one list: the server hashes a list, or looks each value up in an
//! index, where it would try alternatives one by one. Two lists that must both hold are intersected,
//! and values that another test of the field excludes are left out.

use std::collections::{HashMap, HashSet};

use super::{Change, Rule, rewritten};
use crate::model::{field::Field, value::Value};
use crate::plan::{Facts, Logical, order::decide};
use crate::query::{CompareOp, Condition, Leaf, Test};

pub struct OneList;

impl Rule for OneList {
    fn name(&self) -> &'static str {
        "one-list"
    }

    fn apply(&self, plan: &Logical, _: &Facts<'_>) -> Option<Change> {
        let merge = |arms, all| if all { narrowed(arms) } else { merged(arms) };
        Change::of_filter(
            plan,
            rewritten(&plan.query.filter, &merge),
            "one list of values is looked up at once, where alternatives are tried one by one",
        )
    }
}

/// The values that a test leaves, where they are listed.
fn listed(arm: &Condition) -> Option<(&Field, &[Value])> {
    match arm {
        Condition::Leaf(Leaf { field, test }) => match test {
            Test::Compare(CompareOp::Eq, value) => Some((field, std::slice::from_ref(value))),
            Test::In {
                values,
                negated: false,
            } => Some((field, values)),
            _ => None,
        },
        _ => None,
    }
}

fn list(field: &Field, mut values: Vec<Value>) -> Condition {
    let test = match values.len() {
        0 => return Condition::Or(Vec::new()),
        1 => Test::Compare(CompareOp::Eq, values.remove(0)),
        _ => Test::In {
            values,
            negated: false,
        },
    };
    Condition::leaf(field.clone(), test)
}

/// The arms of a disjunction, with one list for each field.
fn merged(arms: Vec<Condition>) -> Vec<Condition> {
    let mut places: HashMap<Field, usize> = HashMap::new();
    let mut lists: Vec<Vec<Value>> = Vec::new();
    let mut out = Vec::with_capacity(arms.len());
    for arm in arms {
        let Some((field, values)) = listed(&arm) else {
            out.push(arm);
            continue;
        };
        if let Some(place) = places.get(field) {
            lists[*place].extend_from_slice(values);
        } else {
            places.insert(field.clone(), lists.len());
            lists.push(values.to_vec());
            out.push(arm);
        }
    }
    for arm in &mut out {
        if let Some((field, values)) = listed(arm)
            && let Some(place) = places.get(field)
            && lists[*place].len() > values.len()
        {
            let mut seen = HashSet::new();
            let mut values = std::mem::take(&mut lists[*place]);
            values.retain(|value| seen.insert(value.clone()));
            *arm = list(&field.clone(), values);
        }
    }
    out
}

/// The arms of a conjunction: where a field's values are listed, what else is said of it and can be
/// decided here is decided.
fn narrowed(arms: Vec<Condition>) -> Vec<Condition> {
    let Some(place) = arms.iter().position(|arm| {
        listed(arm).is_some_and(|(field, values)| {
            let others = arms.iter().filter(|other| !std::ptr::eq(*other, arm));
            values.len() <= 1000
                && others
                    .into_iter()
                    .any(|other| decidable(other, field, values))
        })
    }) else {
        return arms;
    };
    let Some((field, values)) = listed(&arms[place]) else {
        return arms;
    };
    let (field, mut values) = (field.clone(), values.to_vec());
    let mut out = Vec::with_capacity(arms.len());
    // Another arm may list the same field, of values that could not be decided.
    let mut kept = 0;
    for (i, arm) in arms.into_iter().enumerate() {
        if i == place {
            kept = out.len();
            out.push(arm);
        } else if let Condition::Leaf(leaf) = &arm
            && decidable(&arm, &field, &values)
        {
            values.retain(|value| decide(value, &leaf.test) == Some(true));
        } else {
            out.push(arm);
        }
    }
    out[kept] = list(&field, values);
    out
}

/// Whether a condition is a test of this field that can be decided for each of these values.
fn decidable(condition: &Condition, field: &Field, values: &[Value]) -> bool {
    matches!(condition, Condition::Leaf(leaf) if leaf.field == *field
        && values.iter().all(|value| decide(value, &leaf.test).is_some()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{condition, golden, unchanged};
    use super::*;
    use crate::plan::text;
    use serde_json::json;

    #[test]
    fn alternatives_become_a_list() {
        golden(
            &OneList,
            &json!({ "filter": { "where": { "or": [
                { "field": "tags.x", "op": "eq", "value": "1" },
                { "field": "type", "op": "eq", "value": "A" },
                { "field": "tags.x", "op": "in", "value": ["2", "1"] }
            ] } } }),
            r#"filter tags.x = "1" or type = "A" or tags.x in ["2", "1"]"#,
            r#"filter tags.x in ["1", "2"] or type = "A""#,
        );
    }

    #[test]
    fn two_lists_leave_what_they_share() {
        golden(
            &OneList,
            &json!({ "filter": { "eventTypes": ["A.X", "B.X", "A.Y"], "where": { "and": [
                { "field": "type", "op": "startsWith", "value": "A." },
                { "field": "type", "op": "ne", "value": "A.Y" }
            ] } } }),
            r#"filter type in ["A.X", "B.X", "A.Y"] and type starts with "A." and type <> "A.Y""#,
            r#"filter type = "A.X""#,
        );
    }

    #[test]
    fn a_list_is_narrowed_where_it_stands() {
        let arms = [
            json!({ "field": "data.x", "op": "eq", "value": { "a": 1 } }),
            json!({ "field": "data.x", "op": "in", "value": [{ "b": 1 }, 5] }),
            json!({ "field": "data.x", "op": "ne", "value": { "b": 1 } }),
        ];
        let arms = narrowed(arms.iter().map(condition).collect());
        assert_eq!(
            arms.iter().map(text::condition).collect::<Vec<_>>(),
            [r#"data.x = {"a":1}"#, "data.x = 5"]
        );
    }

    #[test]
    fn what_only_the_database_can_tell_is_left_to_it() {
        unchanged(
            &OneList,
            &json!({ "filter": { "where": { "and": [
                { "field": "data.n", "op": "eq", "value": 9_007_199_254_740_993_u64 },
                { "field": "data.n", "op": "lte", "value": 9_007_199_254_740_992.0 },
                { "field": "data.o", "op": "eq", "value": { "a": 1 } },
                { "field": "data.o", "op": "ne", "value": { "a": 1.0 } }
            ] } } }),
        );
    }
}
