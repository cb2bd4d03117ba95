//! Values compared without the database, as it would compare them; where only it can tell, that is said.

use std::cmp::Ordering;

use crate::model::value::{JsonType, Value};
use crate::query::{CompareOp, MatchKind, Test};

/// Whether a value is of another JSON type than another: then no value equals both.
pub fn different_types(a: &Value, b: &Value) -> bool {
    matches!((a, b), (Value::Json(a), Value::Json(b)) if a.kind != b.kind)
}

/// Equality where it can be told without PostgreSQL.
pub fn equal(a: &Value, b: &Value) -> Option<bool> {
    match (a, b) {
        _ if a == b => Some(true),
        _ if different_types(a, b) => Some(false),
        (Value::Json(j), Value::Json(_))
            if matches!(j.kind, JsonType::Array | JsonType::Object) =>
        {
            None
        }
        _ => order(a, b).map(|o| o == Ordering::Equal),
    }
}

/// The order of two values of a kind where it can be told without PostgreSQL. Numbers that are
/// equal as doubles are told apart by PostgreSQL alone.
pub fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Uuid(a), Value::Uuid(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        (Value::Json(a), Value::Json(b)) if a.kind == b.kind => match a.kind {
            JsonType::Null => Some(Ordering::Equal),
            JsonType::Boolean => Some(a.text.cmp(&b.text)), // false < true, as their names are
            JsonType::String => Some(a.as_text()?.cmp(&b.as_text()?)),
            JsonType::Number if a.text == b.text => Some(Ordering::Equal),
            JsonType::Number => match a
                .text
                .parse::<f64>()
                .ok()?
                .partial_cmp(&b.text.parse::<f64>().ok()?)?
            {
                Ordering::Equal if a.text.len().max(b.text.len()) > 15 => None,
                known => Some(known),
            },
            JsonType::Array | JsonType::Object => (a.text == b.text).then_some(Ordering::Equal),
        },
        _ => None,
    }
}

/// Whether a value passes a test that stands in a positive place; `None` where only PostgreSQL can
/// tell. A value of another JSON type passes no order.
pub fn decide(value: &Value, test: &Test) -> Option<bool> {
    let bound = |op: CompareOp, bound: &Value| match op {
        CompareOp::Eq => equal(value, bound),
        CompareOp::Ne => equal(value, bound).map(|same| !same),
        _ if different_types(value, bound) => Some(false),
        CompareOp::Lt => Some(order(value, bound)?.is_lt()),
        CompareOp::Lte => Some(order(value, bound)?.is_le()),
        CompareOp::Gt => Some(order(value, bound)?.is_gt()),
        CompareOp::Gte => Some(order(value, bound)?.is_ge()),
    };
    match test {
        Test::Compare(op, with) => bound(*op, with),
        Test::Between(low, high) => {
            Some(bound(CompareOp::Gte, low)? && bound(CompareOp::Lte, high)?)
        }
        Test::In { values, negated } => {
            let mut found = false;
            for other in values {
                found |= equal(value, other)?;
            }
            Some(found != *negated)
        }
        Test::Match(MatchKind::StartsWith, prefix) => match value {
            Value::Text(own) => Some(own.starts_with(prefix.as_str())),
            Value::Json(json) if json.kind == JsonType::String => {
                Some(json.as_text()?.starts_with(prefix.as_str()))
            }
            _ => None,
        },
        // A value that is compared is there.
        Test::Exists(expected) => Some(*expected),
        Test::Match(..) | Test::Contains(_) => None,
    }
}
