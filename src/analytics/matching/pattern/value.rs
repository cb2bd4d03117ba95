//! Values of events, compared as the server compares them: by JSON type, without errors.

use std::cmp::Ordering;

use serde_json::Value as Wire;
use uuid::Uuid;

use crate::model::{field::Kind, time::Timestamp};
use crate::query::CompareOp;
use crate::query::matching::{Comparison, Literal};

/// A value; the matcher's own, for as long as a partition is matched.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// There is none.
    Missing,
    /// JSON null.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A whole number that 64 bits hold.
    Integer(i64),
    /// Any other number, as the nearest double.
    Float(f64),
    /// Text.
    Text(Box<str>),
    /// A point in time, in microseconds since 1970.
    Time(i64),
    /// A JSON list or object, as its text.
    Json(Box<str>),
}

impl Value {
    /// A value in the server's binary format.
    pub fn read(kind: Kind, bytes: Option<&[u8]>) -> Self {
        let Some(bytes) = bytes else {
            return Self::Missing;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_boxed_str();
        match kind {
            Kind::Text => Self::Text(text(bytes)),
            Kind::Uuid => Uuid::from_slice(bytes)
                .map_or(Self::Missing, |id| Self::Text(id.to_string().into())),
            Kind::Time => bytes.try_into().map_or(Self::Missing, |bytes| {
                Self::Time(Timestamp::from_postgres(i64::from_be_bytes(bytes)).as_micros())
            }),
            Kind::Json => Self::json(
                std::str::from_utf8(bytes.get(1..).unwrap_or_default()).unwrap_or_default(),
            ),
        }
    }

    fn json(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'"') => {
                serde_json::from_str::<String>(text).map_or(Self::Missing, |t| Self::Text(t.into()))
            }
            Some(b'-' | b'0'..=b'9') => Self::number(text),
            Some(b'[' | b'{') => Self::Json(text.into()),
            Some(b'n') => Self::Null,
            Some(b't') => Self::Boolean(true),
            Some(b'f') => Self::Boolean(false),
            _ => Self::Missing,
        }
    }

    fn number(text: &str) -> Self {
        if let Ok(integer) = text.parse() {
            return Self::Integer(integer);
        }
        let float: f64 = text.parse().unwrap_or(f64::NAN);
        Self::float(float)
    }

    fn float(float: f64) -> Self {
        if float.is_finite() {
            Self::Float(float)
        } else {
            Self::Missing
        }
    }

    /// A constant.
    pub fn of(literal: &Literal) -> Self {
        match literal {
            Literal::Null => Self::Null,
            Literal::Boolean(b) => Self::Boolean(*b),
            Literal::Number(digits) => Self::number(digits),
            Literal::Text(text) => Self::Text(text.as_str().into()),
            Literal::Time(at) => Self::Time(at.as_micros()),
        }
    }

    /// Its number, where it is one.
    #[allow(clippy::cast_precision_loss)] // A double is what arithmetic is done in.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            _ => None,
        }
    }

    /// A computed number, as a whole one where it is.
    #[allow(clippy::cast_possible_truncation)] // Checked to be whole and in range.
    pub fn computed(number: f64) -> Self {
        if number.fract() == 0.0 && number.abs() < 9e15 {
            return Self::Integer(number as i64);
        }
        Self::float(number)
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Wire {
        match self {
            Self::Missing | Self::Null => Wire::Null,
            Self::Boolean(b) => (*b).into(),
            Self::Integer(n) => (*n).into(),
            Self::Float(n) => (*n).into(),
            Self::Text(text) => (&**text).into(),
            Self::Time(at) => Timestamp::from_micros(*at).to_string().into(),
            Self::Json(text) => serde_json::from_str(text).unwrap_or(Wire::Null),
        }
    }

    /// The order of two values that have one.
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) | (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Integer(_) | Self::Float(_), Self::Integer(_) | Self::Float(_)) => {
                self.as_number()?.partial_cmp(&other.as_number()?)
            }
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Boolean(a), Self::Boolean(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Text(b)) => Some(a.cmp(&Timestamp::parse(b).ok()?.as_micros())),
            (Self::Text(a), Self::Time(b)) => Some(Timestamp::parse(a).ok()?.as_micros().cmp(b)),
            (Self::Null, Self::Null) => Some(Ordering::Equal),
            (Self::Json(a), Self::Json(b)) if a == b => Some(Ordering::Equal),
            _ => None,
        }
    }

    /// Whether a comparison holds. What is unknown does not.
    pub fn compare(&self, op: Comparison, other: &Self) -> bool {
        if matches!(self, Self::Missing) || matches!(other, Self::Missing) {
            return false;
        }
        match op {
            Comparison::Op(CompareOp::Eq) => self.order(other) == Some(Ordering::Equal),
            Comparison::Op(CompareOp::Ne) => self.order(other) != Some(Ordering::Equal),
            Comparison::Op(op) => self.order(other).is_some_and(|order| match op {
                CompareOp::Lt => order.is_lt(),
                CompareOp::Lte => order.is_le(),
                CompareOp::Gt => order.is_gt(),
                _ => order.is_ge(),
            }),
            Comparison::Like(positive) => match (self, other) {
                (Self::Text(text), Self::Text(pattern)) => like(text, pattern) == positive,
                _ => false,
            },
            Comparison::StartsWith(positive) => match (self, other) {
                (Self::Text(text), Self::Text(prefix)) => text.starts_with(&**prefix) == positive,
                _ => false,
            },
        }
    }
}

/// PostgreSQL's LIKE: `%` is any text, `_` any character, a backslash takes the next as it is.
fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut wanted = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        wanted.push(match c {
            '%' => Wanted::Any,
            '_' => Wanted::One,
            '\\' => chars.next().map_or(Wanted::Char('\\'), Wanted::Char),
            c => Wanted::Char(c),
        });
    }
    // Where a mismatch goes back to: behind the last `%`, one character further on.
    let (mut t, mut w, mut back) = (0, 0, None);
    while t < text.len() {
        match wanted.get(w) {
            Some(Wanted::Any) => {
                w += 1;
                back = Some((t, w));
            }
            Some(Wanted::One) => {
                t += 1;
                w += 1;
            }
            Some(Wanted::Char(c)) if *c == text[t] => {
                t += 1;
                w += 1;
            }
            _ => match back {
                Some((from, after)) => {
                    t = from + 1;
                    w = after;
                    back = Some((t, after));
                }
                None => return false,
            },
        }
    }
    wanted[w..].iter().all(|rest| matches!(rest, Wanted::Any))
}

enum Wanted {
    Any,
    One,
    Char(char),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_is_postgresqls() {
        for (text, pattern, holds) in [
            ("abc", "a%c", true),
            ("abc", "a_c", true),
            ("abc", "b%", false),
            ("a%c", "a\\%c", true),
            ("abc", "a\\%c", false),
            ("", "%", true),
            ("", "_", false),
            ("aXbXc", "%X%c", true),
            ("é中", "__", true),
        ] {
            assert_eq!(like(text, pattern), holds, "{text} like {pattern}");
        }
    }

    #[test]
    fn values_compare_by_their_type() {
        let value = |text: &str| Value::json(text);
        let op = |op, a: &str, b: &str| value(a).compare(Comparison::Op(op), &value(b));
        assert!(op(CompareOp::Eq, "1", "1.0") && op(CompareOp::Lt, "1", "1.5"));
        assert!(!op(CompareOp::Eq, "1", "\"1\"") && op(CompareOp::Ne, "1", "\"1\""));
        assert!(!op(CompareOp::Lt, "1", "\"2\"") && !op(CompareOp::Gt, "1", "\"2\""));
        assert!(op(CompareOp::Eq, "null", "null") && op(CompareOp::Ne, "null", "0"));
        assert!(op(CompareOp::Gt, "9007199254740993", "9007199254740992"));
        assert!(!Value::Missing.compare(Comparison::Op(CompareOp::Ne), &Value::Null));
    }
}
