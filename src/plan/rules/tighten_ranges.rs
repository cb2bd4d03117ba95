//! Of several bounds on the same side of a field, the tightest is kept: the others would be tested on
//! every row, and each halves the number of rows that PostgreSQL expects.

use std::cmp::Ordering;

use super::{Change, Rule, rewritten};
use crate::model::{field::Field, value::Value};
use crate::plan::{
    Facts, Logical,
    order::{different_types, order},
};
use crate::query::{CompareOp, Condition, Leaf, Test};

pub struct TightenRanges;

impl Rule for TightenRanges {
    fn name(&self) -> &'static str {
        "tighten-ranges"
    }

    fn apply(&self, plan: &Logical, _: &Facts<'_>) -> Option<Change> {
        let tighten = |arms, all| if all { tightened(arms) } else { arms };
        Change::of_filter(
            plan,
            rewritten(&plan.query.filter, &tighten),
            "a bound that a tighter one implies is one more test of each row, and spoils the estimate",
        )
    }
}

/// The bounds that a leaf sets, each as a comparison.
fn bounds(arm: &Condition) -> Vec<(&Field, CompareOp, &Value)> {
    match arm {
        Condition::Leaf(Leaf { field, test }) => match test {
            Test::Compare(op, value) if is_order(*op) => vec![(field, *op, value)],
            Test::Between(low, high) => {
                vec![(field, CompareOp::Gte, low), (field, CompareOp::Lte, high)]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

const fn is_order(op: CompareOp) -> bool {
    !matches!(op, CompareOp::Eq | CompareOp::Ne)
}

const fn is_lower(op: CompareOp) -> bool {
    matches!(op, CompareOp::Gt | CompareOp::Gte)
}

const fn is_strict(op: CompareOp) -> bool {
    matches!(op, CompareOp::Gt | CompareOp::Lt)
}

fn tightened(arms: Vec<Condition>) -> Vec<Condition> {
    let all: Vec<_> = arms
        .iter()
        .enumerate()
        .flat_map(|(place, arm)| bounds(arm).into_iter().map(move |bound| (place, bound)))
        .collect();
    let redundant: Vec<bool> = all
        .iter()
        .enumerate()
        .map(|(i, (_, bound))| {
            all.iter()
                .enumerate()
                .any(|(j, (_, other))| i != j && implies(other, bound, j < i))
        })
        .collect();
    if !redundant.contains(&true) {
        return arms;
    }
    let mut out = Vec::with_capacity(arms.len());
    for (place, arm) in arms.iter().enumerate() {
        let own: Vec<_> = (all.iter().zip(&redundant))
            .filter(|((at, _), _)| *at == place)
            .collect();
        if own.iter().all(|(_, redundant)| !**redundant) {
            out.push(arm.clone());
            continue;
        }
        for ((_, (field, op, value)), _) in own.iter().filter(|(_, redundant)| !**redundant) {
            let test = Test::Compare(*op, (*value).clone());
            out.push(Condition::leaf((*field).clone(), test));
        }
    }
    out
}

type Bound<'c> = (&'c Field, CompareOp, &'c Value);

/// Whether what passes one bound passes another. Of two alike the earlier is kept.
fn implies(one: &Bound<'_>, other: &Bound<'_>, earlier: bool) -> bool {
    let ((field, op, value), (other_field, other_op, other_value)) = (one, other);
    if field != other_field
        || is_lower(*op) != is_lower(*other_op)
        || different_types(value, other_value)
    {
        return false;
    }
    let narrower = if is_lower(*op) {
        Ordering::Greater
    } else {
        Ordering::Less
    };
    match order(value, other_value) {
        Some(Ordering::Equal) if op == other_op => earlier,
        Some(Ordering::Equal) => is_strict(*op),
        Some(found) => found == narrower,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, unchanged};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_tightest_bounds_are_kept() {
        golden(
            &TightenRanges,
            &json!({ "filter": { "startTime": "2026-01-01", "endTime": "2026-03-01", "where": { "and": [
                { "field": "timestamp", "op": "between", "value": ["2026-01-02", "2026-03-01"] },
                { "field": "data.n", "op": "gt", "value": 1 },
                { "field": "data.n", "op": "gte", "value": 1.0 },
                { "field": "data.n", "op": "lte", "value": 9 }
            ] } } }),
            concat!(
                "filter timestamp >= 2026-01-01T00:00:00.000Z and timestamp < 2026-03-01T00:00:00.000Z",
                " and timestamp between 2026-01-02T00:00:00.000Z and 2026-03-01T00:00:00.000Z",
                " and data.n > 1 and data.n >= 1.0 and data.n <= 9"
            ),
            concat!(
                "filter timestamp < 2026-03-01T00:00:00.000Z and timestamp >= 2026-01-02T00:00:00.000Z",
                " and data.n > 1 and data.n <= 9"
            ),
        );
    }

    #[test]
    fn bounds_of_two_types_are_both_kept() {
        unchanged(
            &TightenRanges,
            &json!({ "filter": { "where": { "or": [
                { "and": [{ "field": "data.n", "op": "gt", "value": 1 }, { "field": "data.m", "op": "gt", "value": 2 }] },
                { "field": "data.n", "op": "gt", "value": 5 }
            ] } } }),
        );
    }
}
