//! Whether any event can satisfy a filter.
//!
//! Sound and not complete. Each field that a conjunction constrains is narrowed to an interval,
//! a finite set, or nothing; a disjunction is contradictory where all its arms are. What is not
//! understood constrains nothing.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::order::{different_types, equal, order};
use crate::model::{field::Field, value::Value};
use crate::query::{CompareOp, Condition, Leaf, MatchKind, Test};

/// Whether the condition holds for no event whatever.
pub fn is_contradiction(condition: &Condition) -> bool {
    let mut narrowed = BTreeMap::new();
    !satisfiable(condition, true, &mut narrowed)
}

/// What may still be the value of one field.
#[derive(Default, Clone)]
struct Domain<'q> {
    /// The values left, where they are finitely many.
    among: Option<Vec<&'q Value>>,
    excluded: Vec<&'q Value>,
    prefixes: Vec<&'q str>,
    low: Option<Bound<'q>>,
    high: Option<Bound<'q>>,
    exists: Option<bool>,
}

#[derive(Clone, Copy)]
struct Bound<'q> {
    value: &'q Value,
    inclusive: bool,
}

type Domains<'q> = BTreeMap<&'q Field, Domain<'q>>;

/// Narrows `domains` by a condition that has to hold; false where nothing is left.
fn satisfiable<'q>(condition: &'q Condition, positive: bool, domains: &mut Domains<'q>) -> bool {
    match condition {
        Condition::Not(inner) => satisfiable(inner, !positive, domains),
        Condition::And(arms) if positive => all_satisfiable(arms, true, domains),
        Condition::Or(arms) if !positive => all_satisfiable(arms, false, domains),
        // One arm is enough; each is tried with what the others of the conjunction left.
        Condition::And(arms) | Condition::Or(arms) => arms
            .iter()
            .any(|arm| satisfiable(arm, positive, &mut domains.clone())),
        Condition::Leaf(leaf) => {
            let domain = domains.entry(&leaf.field).or_default();
            domain.narrow(leaf, positive);
            domain.possible()
        }
    }
}

/// Disjunctions come last: each of their arms is tried with all that the others leave.
fn all_satisfiable<'q>(arms: &'q [Condition], positive: bool, domains: &mut Domains<'q>) -> bool {
    let (later, first): (Vec<_>, Vec<_>) =
        arms.iter().partition(|arm| is_disjunction(arm, positive));
    first
        .into_iter()
        .chain(later)
        .all(|arm| satisfiable(arm, positive, domains))
}

fn is_disjunction(condition: &Condition, positive: bool) -> bool {
    match condition {
        Condition::Not(inner) => is_disjunction(inner, !positive),
        Condition::Or(_) => positive,
        Condition::And(_) => !positive,
        Condition::Leaf(_) => false,
    }
}

impl<'q> Domain<'q> {
    fn narrow(&mut self, leaf: &'q Leaf, positive: bool) {
        match &leaf.test {
            Test::Exists(expected) => {
                let expected = *expected == positive;
                if self.exists == Some(!expected) {
                    self.among = Some(Vec::new());
                }
                self.exists = Some(expected);
                return;
            }
            Test::Compare(op, value) => {
                self.compare(if positive { *op } else { op.negated() }, value);
            }
            Test::In { values, negated } if *negated == positive => self.excluded.extend(values),
            Test::In { values, .. } => self.keep(values.iter().collect()),
            Test::Between(low, high) if positive => {
                self.compare(CompareOp::Gte, low);
                self.compare(CompareOp::Lte, high);
            }
            Test::Match(MatchKind::StartsWith, prefix) if positive => self.prefixes.push(prefix),
            Test::Between(..) | Test::Match(..) | Test::Contains(_) => {}
        }
        // Every test but `exists` is unknown of a missing value.
        if self.exists == Some(false) {
            self.among = Some(Vec::new());
        }
        self.exists = Some(true);
    }

    fn compare(&mut self, op: CompareOp, value: &'q Value) {
        let bound = |inclusive| Some(Bound { value, inclusive });
        match op {
            CompareOp::Eq => self.keep(vec![value]),
            CompareOp::Ne => self.excluded.push(value),
            CompareOp::Gt | CompareOp::Gte => {
                let new = bound(op == CompareOp::Gte);
                self.low = tighter(self.low, new, Ordering::Greater, &mut self.among);
            }
            CompareOp::Lt | CompareOp::Lte => {
                let new = bound(op == CompareOp::Lte);
                self.high = tighter(self.high, new, Ordering::Less, &mut self.among);
            }
        }
    }

    fn keep(&mut self, values: Vec<&'q Value>) {
        self.among = Some(match self.among.take() {
            None => values,
            // Long lists are the database's work: it hashes them.
            Some(before) if before.len() * values.len() > 10_000 => before,
            Some(before) => before
                .into_iter()
                .filter(|v| values.iter().any(|w| equal(v, w) != Some(false)))
                .collect(),
        });
    }

    fn possible(&self) -> bool {
        if let (Some(low), Some(high)) = (self.low, self.high) {
            match order(low.value, high.value) {
                Some(Ordering::Greater) => return false,
                Some(Ordering::Equal) if !(low.inclusive && high.inclusive) => return false,
                _ => {}
            }
            // Bounds of two JSON types: a value is of one type.
            if different_types(low.value, high.value) {
                return false;
            }
        }
        // Two prefixes of one text begin alike.
        let alike = |a: &&str, b: &&str| a.starts_with(*b) || b.starts_with(*a);
        let prefixes = &self.prefixes;
        if prefixes
            .iter()
            .any(|a| prefixes.iter().any(|b| !alike(a, b)))
        {
            return false;
        }
        let Some(among) = &self.among else {
            return true;
        };
        if among.len() * self.excluded.len() > 10_000 {
            return true;
        }
        among.iter().any(|value| {
            let excluded = self.excluded.iter().any(|e| equal(value, e) == Some(true));
            !excluded
                && self.prefixes.iter().all(|prefix| begins(value, prefix))
                && within(value, self.low, Ordering::Greater)
                && within(value, self.high, Ordering::Less)
        })
    }
}

/// Whether a value can begin with a prefix; true where that is not known.
fn begins(value: &Value, prefix: &str) -> bool {
    match value {
        Value::Text(text) => text.starts_with(prefix),
        Value::Json(json) => json.as_text().is_some_and(|text| text.starts_with(prefix)),
        Value::Uuid(_) | Value::Time(_) => true,
    }
}

/// The narrower of two bounds on the same side. Bounds of different JSON types exclude each other.
fn tighter<'q>(
    old: Option<Bound<'q>>,
    new: Option<Bound<'q>>,
    narrower: Ordering,
    among: &mut Option<Vec<&'q Value>>,
) -> Option<Bound<'q>> {
    let (Some(a), Some(b)) = (old, new) else {
        return new.or(old);
    };
    if different_types(a.value, b.value) {
        *among = Some(Vec::new());
        return old;
    }
    match order(b.value, a.value) {
        Some(o) if o == narrower => new,
        Some(Ordering::Equal) if !b.inclusive => new,
        _ => old,
    }
}

/// Whether a value can be inside a bound; true where that is not known.
fn within(value: &Value, bound: Option<Bound<'_>>, wanted: Ordering) -> bool {
    let Some(bound) = bound else { return true };
    if different_types(value, bound.value) {
        return false;
    }
    match order(value, bound.value) {
        Some(Ordering::Equal) => bound.inclusive,
        Some(o) => o == wanted,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::is_contradiction;
    use crate::{model::path::Path, query::Condition};
    use serde_json::{Value, json};

    fn impossible(condition: &Value) -> bool {
        is_contradiction(
            &Condition::parse(condition, &Path::Root, &crate::model::field::Field::parse).unwrap(),
        )
    }

    fn both(a: &Value, b: &Value) -> Value {
        json!({ "and": [a, b] })
    }

    fn leaf(field: &str, op: &str, value: &Value) -> Value {
        json!({ "field": field, "op": op, "value": value })
    }

    #[test]
    fn nothing_can_be_two_things() {
        assert!(impossible(&both(
            &leaf("type", "eq", &json!("A")),
            &leaf("type", "eq", &json!("B"))
        )));
        assert!(impossible(&both(
            &leaf("type", "in", &json!(["A", "B"])),
            &leaf("type", "in", &json!(["C"]))
        )));
        assert!(impossible(&both(
            &leaf("data.n", "eq", &json!(1)),
            &leaf("data.n", "eq", &json!("1"))
        )));
        assert!(impossible(&both(
            &leaf("data.n", "eq", &json!(1)),
            &leaf("data.n", "ne", &json!(1.0))
        )));
        assert!(impossible(&both(
            &leaf("data.n", "exists", &json!(false)),
            &leaf("data.n", "ne", &json!(5))
        )));
    }

    #[test]
    fn empty_ranges() {
        assert!(impossible(&leaf("data.n", "between", &json!([3, 1]))));
        assert!(impossible(&both(
            &leaf("data.n", "gt", &json!(1)),
            &leaf("data.n", "lte", &json!(1))
        )));
        assert!(impossible(&both(
            &leaf("data.n", "gt", &json!(1)),
            &leaf("data.n", "lt", &json!("z"))
        )));
        assert!(impossible(&both(
            &leaf("timestamp", "gte", &json!("2026-01-02")),
            &leaf("timestamp", "lt", &json!("2026-01-01"))
        )));
        assert!(impossible(
            &json!({ "not": { "or": [leaf("data.n", "lte", &json!(5)), leaf("data.n", "gte", &json!(5))] } })
        ));
        assert!(impossible(
            &json!({ "or": [leaf("data.n", "between", &json!([3, 1])), leaf("data.n", "between", &json!([9, 8]))] })
        ));
    }

    #[test]
    fn prefixes_that_exclude_each_other() {
        let release = || leaf("type", "startsWith", &json!("RELEASE."));
        assert!(impossible(&both(
            &release(),
            &leaf("type", "eq", &json!("CODE.A"))
        )));
        assert!(impossible(&both(
            &release(),
            &leaf("type", "startsWith", &json!("CODE."))
        )));
        assert!(impossible(&both(
            &json!({ "or": [release(), leaf("type", "eq", &json!("CI.A"))] }),
            &leaf("type", "eq", &json!("CODE.A"))
        )));
        assert!(impossible(&both(
            &leaf("data.s", "startsWith", &json!("x")),
            &leaf("data.s", "eq", &json!(5))
        )));
        assert!(!impossible(&both(
            &release(),
            &leaf("type", "startsWith", &json!("RELEASE.T"))
        )));
        assert!(!impossible(&both(
            &release(),
            &leaf("type", "eq", &json!("RELEASE.TAGGED"))
        )));
    }

    #[test]
    fn what_may_be_is_left_to_the_database() {
        assert!(!impossible(&both(
            &leaf("data.n", "eq", &json!(1)),
            &leaf("data.n", "eq", &json!(1.0))
        )));
        assert!(!impossible(&both(
            &leaf("data.n", "gte", &json!(1)),
            &leaf("data.n", "lte", &json!(1))
        )));
        assert!(!impossible(&both(
            &leaf("data.a", "eq", &json!(1)),
            &leaf("data.b", "eq", &json!(2))
        )));
        assert!(!impossible(
            &json!({ "or": [leaf("data.n", "between", &json!([3, 1])), leaf("data.n", "eq", &json!(1))] })
        ));
        assert!(!impossible(&both(
            &leaf("data.n", "contains", &json!([1])),
            &leaf("data.n", "contains", &json!([2]))
        )));
        assert!(!impossible(&both(
            &leaf("data.o", "eq", &json!({ "a": 1 })),
            &leaf("data.o", "eq", &json!({ "a": 1.0 }))
        )));
        assert!(!impossible(
            &json!({ "not": leaf("data.n", "between", &json!([3, 1])) })
        ));
        assert!(!impossible(&both(
            &leaf("data.n", "eq", &json!(9_007_199_254_740_993_u64)),
            &leaf("data.n", "eq", &json!(9_007_199_254_740_992.0))
        )));
    }
}
