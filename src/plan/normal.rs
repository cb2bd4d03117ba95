//! The form of a condition that rules start from: negation at the leaves, no nesting without need,
//! nothing said twice, constants folded. It is no rewrite that a caller need hear of.
//!
//! By the laws that hold in three-valued logic too. What is left stands in a positive place, where
//! false and unknown both leave the row out.

use std::collections::HashSet;

use crate::query::{CompareOp, Condition, Leaf, Test};

/// The condition in this form.
pub fn normal(condition: &Condition) -> Condition {
    signed(condition, true)
}

fn signed(condition: &Condition, positive: bool) -> Condition {
    match condition {
        Condition::Not(inner) => signed(inner, !positive),
        Condition::And(arms) if positive => all(arms.iter().map(|arm| signed(arm, true))),
        Condition::And(arms) => any(arms.iter().map(|arm| signed(arm, false))),
        Condition::Or(arms) if positive => any(arms.iter().map(|arm| signed(arm, true))),
        Condition::Or(arms) => all(arms.iter().map(|arm| signed(arm, false))),
        Condition::Leaf(leaf) if positive => said_once(leaf),
        Condition::Leaf(leaf) => negated(leaf),
    }
}

/// A list without its repetitions.
fn said_once(leaf: &Leaf) -> Condition {
    if let Test::In { values, negated } = &leaf.test {
        let mut seen = HashSet::new();
        let values = values.iter().filter(|value| seen.insert(*value));
        let test = Test::In {
            values: values.cloned().collect(),
            negated: *negated,
        };
        return Condition::leaf(leaf.field.clone(), test);
    }
    Condition::Leaf(leaf.clone())
}

fn negated(leaf: &Leaf) -> Condition {
    let with = |test| Condition::leaf(leaf.field.clone(), test);
    match &leaf.test {
        Test::Compare(op, value) => with(Test::Compare(op.negated(), value.clone())),
        Test::In { values, negated } => said_once(&Leaf {
            field: leaf.field.clone(),
            test: Test::In {
                values: values.clone(),
                negated: !negated,
            },
        }),
        Test::Exists(expected) => with(Test::Exists(!expected)),
        Test::Between(low, high) => Condition::Or(vec![
            with(Test::Compare(CompareOp::Lt, low.clone())),
            with(Test::Compare(CompareOp::Gt, high.clone())),
        ]),
        Test::Match(..) | Test::Contains(_) => {
            Condition::Not(Box::new(Condition::Leaf(leaf.clone())))
        }
    }
}

/// All of them; one that is false decides.
pub fn all(arms: impl IntoIterator<Item = Condition>) -> Condition {
    match gathered(arms, true) {
        Some(mut arms) if arms.len() == 1 => arms.remove(0),
        Some(arms) => Condition::And(arms),
        None => Condition::Or(Vec::new()),
    }
}

/// Any of them; one that is true decides.
pub fn any(arms: impl IntoIterator<Item = Condition>) -> Condition {
    match gathered(arms, false) {
        Some(mut arms) if arms.len() == 1 => arms.remove(0),
        Some(arms) => Condition::Or(arms),
        None => Condition::always(),
    }
}

/// The arms of a conjunction, or of a disjunction, each once; `None` where one of them decides.
fn gathered(
    arms: impl IntoIterator<Item = Condition>,
    conjunction: bool,
) -> Option<Vec<Condition>> {
    let mut flat = Vec::new();
    for arm in arms {
        match arm {
            Condition::And(inner) if conjunction => flat.extend(inner),
            Condition::Or(inner) if !conjunction => flat.extend(inner),
            Condition::Or(inner) | Condition::And(inner) if inner.is_empty() => return None,
            arm => flat.push(arm),
        }
    }
    let mut seen = HashSet::new();
    let first: Vec<bool> = flat.iter().map(|arm| seen.insert(arm)).collect();
    let mut first = first.into_iter();
    flat.retain(|_| first.next().unwrap_or(true));
    Some(flat)
}

#[cfg(test)]
mod tests {
    use super::normal;
    use crate::plan::rules::tests::condition;
    use crate::plan::text;
    use serde_json::{Value, json};

    fn shown(wire: &Value) -> String {
        text::condition(&normal(&condition(wire)))
    }

    #[test]
    fn negation_goes_to_the_leaves_and_nesting_goes() {
        assert_eq!(
            shown(&json!({ "not": { "or": [
                { "field": "data.n", "op": "gt", "value": 5 },
                { "not": { "and": [{ "field": "type", "op": "eq", "value": "A" }, { "field": "tags.x", "op": "exists" }] } },
                { "field": "data.s", "op": "regex", "value": "x" }
            ] } })),
            r#"data.n <= 5 and type = "A" and tags.x exists and not data.s matches "x""#
        );
        assert_eq!(
            shown(&json!({ "not": { "field": "data.n", "op": "between", "value": [1, 2] } })),
            "data.n < 1 or data.n > 2"
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let leaf = json!({ "field": "type", "op": "in", "value": ["A", "B", "A"] });
        assert_eq!(
            shown(&json!({ "and": [leaf, { "and": [leaf] }] })),
            r#"type in ["A", "B"]"#
        );
    }
}
