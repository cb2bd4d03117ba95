//! Conditions: leaves that test one field, joined by and, or and not.

use serde_json::{Map, Value as Wire};

use super::operand::{json, operand};
use crate::model::{
    Error, Result,
    field::{Field, FieldError, Kind},
    path::Path,
    value::{Json, Value},
    wire::{boolean, field, instead, known_keys, list, object, text},
};

/// What the names in a condition stand for.
pub type Names<'a> = &'a dyn Fn(&str) -> Result<Field, FieldError>;

/// A test of events in three-valued logic: a missing value makes a leaf unknown, and only events
/// for which the whole is true are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// All hold. Of none: true.
    And(Vec<Self>),
    /// At least one holds. Of none: false.
    Or(Vec<Self>),
    /// The other way round; unknown stays unknown.
    Not(Box<Self>),
    /// One test of one field.
    Leaf(Leaf),
}

/// One test of one field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leaf {
    /// What is tested.
    pub field: Field,
    /// The test.
    pub test: Test,
}

/// The operators of the API, with operands checked against the field's kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Test {
    /// `eq`, `ne`, `lt`, `lte`, `gt`, `gte`.
    Compare(CompareOp, Value),
    /// `in` and `notIn`.
    In {
        /// At least one, all of the field's kind.
        values: Vec<Value>,
        /// `notIn`.
        negated: bool,
    },
    /// From the first to the second, inclusive.
    Between(Value, Value),
    /// A test of text by a pattern.
    Match(MatchKind, String),
    /// JSON containment.
    Contains(Json),
    /// Whether there is a value, JSON null included.
    Exists(bool),
}

/// An order or equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Lte,
    /// `>`
    Gt,
    /// `>=`
    Gte,
}

impl CompareOp {
    /// The operator that holds where this one does not, both sides known.
    pub const fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Lt => Self::Gte,
            Self::Gte => Self::Lt,
            Self::Gt => Self::Lte,
            Self::Lte => Self::Gt,
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            _ => return None,
        })
    }
}

/// How a pattern is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchKind {
    /// PostgreSQL's LIKE.
    Like,
    /// PostgreSQL's ILIKE.
    Ilike,
    /// A literal prefix.
    StartsWith,
    /// PostgreSQL's advanced regular expressions.
    Regex,
}

impl Condition {
    /// True for every event.
    pub const fn always() -> Self {
        Self::And(Vec::new())
    }

    /// Whether it is nothing but [`Condition::always`], however often.
    pub fn is_always(&self) -> bool {
        matches!(self, Self::And(all) if all.iter().all(Self::is_always))
    }

    /// One test.
    pub const fn leaf(field: Field, test: Test) -> Self {
        Self::Leaf(Leaf { field, test })
    }

    /// Whether an object is a condition and not an event filter.
    pub fn is_condition(members: &Map<String, Wire>) -> bool {
        ["field", "op", "and", "or", "not"]
            .iter()
            .any(|k| members.contains_key(*k))
    }

    /// Parses a condition as the API writes it.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(wire: &Wire, path: &Path<'_>, names: Names<'_>) -> Result<Self> {
        parse(wire, path, names, 0)
    }
}

/// The deepest nesting of and, or and not.
const MAX_DEPTH: usize = 64;
const LEAF_KEYS: [&str; 3] = ["field", "op", "value"];
const OPERATORS: &str = "eq, ne, lt, lte, gt, gte, in, notIn, between, like, ilike, startsWith, regex, exists, contains";

fn parse(wire: &Wire, path: &Path<'_>, names: Names<'_>, depth: usize) -> Result<Condition> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(path, "is nested deeper than 64 levels"));
    }
    let members = object(wire, path, "a condition")?;
    for (key, join) in [
        ("and", Condition::And as fn(Vec<Condition>) -> Condition),
        ("or", Condition::Or),
    ] {
        if let Some(arms) = members.get(key) {
            known_keys(members, path, &[key])?;
            let here = path.key(key);
            let arms = list(arms, &here, "conditions")?;
            let parsed: Result<Vec<_>> = arms
                .iter()
                .enumerate()
                .map(|(i, arm)| parse(arm, &here.index(i), names, depth + 1))
                .collect();
            return Ok(join(parsed?));
        }
    }
    if let Some(inner) = members.get("not") {
        known_keys(members, path, &["not"])?;
        return Ok(Condition::Not(Box::new(parse(
            inner,
            &path.key("not"),
            names,
            depth + 1,
        )?)));
    }
    known_keys(members, path, &LEAF_KEYS)?;
    parse_leaf(members, path, names)
}

fn parse_leaf(members: &Map<String, Wire>, path: &Path<'_>, names: Names<'_>) -> Result<Condition> {
    let name = members
        .get("field")
        .ok_or_else(|| Error::invalid(path, "must have a field, or be and, or, not"))?;
    let field = field(name, &path.key("field"), names)?;
    let op_path = path.key("op");
    let op = text(
        members
            .get("op")
            .ok_or_else(|| Error::invalid(op_path, format!("is missing; known are {OPERATORS}")))?,
        &op_path,
    )?;
    let value_path = path.key("value");
    if op == "exists" {
        let expected = members
            .get("value")
            .map_or(Ok(true), |v| boolean(v, &value_path))?;
        return Ok(Condition::leaf(field, Test::Exists(expected)));
    }
    let value = members
        .get("value")
        .ok_or_else(|| Error::invalid(value_path, format!("is missing; {op:?} needs one")))?;
    let test = if let Some(compare) = CompareOp::of_name(op) {
        Test::Compare(compare, operand(value, &field, &value_path)?)
    } else {
        match op {
            "in" | "notIn" => {
                let items = list(value, &value_path, "values")?;
                let values: Result<Vec<_>> = items
                    .iter()
                    .enumerate()
                    .map(|(i, v)| operand(v, &field, &value_path.index(i)))
                    .collect();
                Test::In {
                    values: values?,
                    negated: op == "notIn",
                }
            }
            "between" => between(value, &field, &value_path)?,
            "like" => Test::Match(MatchKind::Like, like_pattern(value, &field, op, path)?),
            "ilike" => Test::Match(MatchKind::Ilike, like_pattern(value, &field, op, path)?),
            "startsWith" => Test::Match(MatchKind::StartsWith, pattern(value, &field, op, path)?),
            "regex" => Test::Match(MatchKind::Regex, pattern(value, &field, op, path)?),
            "contains" => contains(value, &field, path)?,
            _ => {
                return Err(Error::invalid(
                    op_path,
                    format!("is not an operator; known are {OPERATORS}"),
                ));
            }
        }
    };
    Ok(Condition::leaf(field, test))
}

fn between(value: &Wire, field: &Field, path: &Path<'_>) -> Result<Test> {
    match value.as_array().map(Vec::as_slice) {
        Some([low, high]) => Ok(Test::Between(
            operand(low, field, &path.index(0))?,
            operand(high, field, &path.index(1))?,
        )),
        _ => Err(Error::invalid(
            path,
            format!("must be a list of two values{}", instead(value, "a list")),
        )),
    }
}

/// A pattern for text; fields that can never hold text are refused.
fn pattern(value: &Wire, field: &Field, op: &str, path: &Path<'_>) -> Result<String> {
    if field.kind() == Kind::Time {
        return Err(Error::invalid(
            path.key("op"),
            format!("{op} tests text, and this field is a time: use lt, gte or between"),
        ));
    }
    Ok(text(value, &path.key("value"))?.to_owned())
}

fn like_pattern(value: &Wire, field: &Field, op: &str, path: &Path<'_>) -> Result<String> {
    let pattern = pattern(value, field, op, path)?;
    // PostgreSQL would refuse it only once a row gets that far.
    if pattern.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1 {
        return Err(Error::invalid(
            path.key("value"),
            "ends with the escape character: double a backslash that is meant literally",
        ));
    }
    Ok(pattern)
}

fn contains(value: &Wire, field: &Field, path: &Path<'_>) -> Result<Test> {
    if field.kind() != Kind::Json {
        return Err(Error::invalid(
            path.key("op"),
            "contains is JSON containment and this field is not JSON: use like, startsWith or regex",
        ));
    }
    Ok(Test::Contains(json(value, &path.key("value"))?))
}
