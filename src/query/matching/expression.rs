//! Expressions over the events of a match: what a predicate compares, and what a measure tells.
//!
//! A field of the event at hand is as much an expression as one of another event, so that both sides of
//! a comparison are written alike.

use serde_json::{Map, Value as Wire};

use super::pattern::Building;
use crate::model::{
    Error, Result,
    field::Field,
    path::Path,
    time::Timestamp,
    value::{Json, JsonType, marked_time},
    wire::{field, known_keys, list, object, shown, text, whole},
};

/// An expression over the events of a match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expression {
    /// A field of the event at hand: its place among the fields that are read.
    Field(u32),
    /// A constant.
    Literal(Literal),
    /// A field of an event so many before, or after, the event at hand.
    Offset(u32, i64),
    /// A field of the n-th event of a variable, or of all, from the first.
    First(u32, Option<u32>, u32),
    /// The same from the last.
    Last(u32, Option<u32>, u32),
    /// An aggregate over the events of a variable, or of all.
    Aggregate(Aggregation, Option<u32>, Option<u32>),
    /// Arithmetic.
    Arithmetic(Arithmetic, Vec<Self>),
    /// The variable that the event at hand is mapped to.
    Classifier,
    /// The number of the match in its partition.
    MatchNumber,
}

/// A constant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Literal {
    /// JSON null.
    Null,
    /// A boolean.
    Boolean(bool),
    /// A number, as digits.
    Number(String),
    /// Text.
    Text(String),
    /// A point in time.
    Time(Timestamp),
}

/// What an aggregate computes, of numbers but for counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregation {
    /// How many there are.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Avg,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

/// An operation on numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// a + b + …
    Add,
    /// a - b - …
    Sub,
    /// a · b · …
    Mul,
    /// a / b / …; missing where a divisor is 0.
    Div,
    /// A point in time as milliseconds since 1970.
    EpochMs,
}

impl Expression {
    /// Whether it looks at how other events were mapped.
    pub fn looks_at_path(&self) -> bool {
        match self {
            Self::Field(_) | Self::Literal(_) | Self::Offset(..) => false,
            Self::Arithmetic(_, args) => args.iter().any(Self::looks_at_path),
            _ => true,
        }
    }

    /// Whether it looks at nothing but the event at hand.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Field(_) | Self::Literal(_))
    }
}

/// The deepest nesting, of predicates and of expressions.
pub const MAX_DEPTH: usize = 32;

/// Parses an expression.
///
/// # Errors
/// The path of what is wrong.
pub fn expression(
    wire: &Wire,
    path: &Path<'_>,
    building: &mut Building<'_>,
    depth: usize,
) -> Result<Expression> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(path, "is nested deeper than 32 levels"));
    }
    if wire.is_string() {
        return Ok(Expression::Field(field_of(wire, path, building)?));
    }
    let members = object(wire, path, "a field, or an expression")?;
    let Some(kind) = [
        "literal",
        "prev",
        "next",
        "first",
        "last",
        "agg",
        "op",
        "classifier",
        "matchNumber",
    ]
    .into_iter()
    .find(|kind| members.contains_key(*kind)) else {
        return Err(Error::invalid(
            path,
            "must have literal, prev, next, first, last, agg, op, classifier or matchNumber",
        ));
    };
    let here = path.key(kind);
    let value = &members[kind];
    let known: &[&str] = match kind {
        "prev" | "next" => &["prev", "next", "offset"],
        "first" | "last" => &["first", "last", "of", "offset"],
        "agg" => &["agg", "field", "of"],
        "op" => &["op", "args"],
        only => &[only],
    };
    known_keys(members, path, known)?;
    match kind {
        "literal" => literal(value, &here).map(Expression::Literal),
        "prev" | "next" => {
            let field = field_of(value, &here, building)?;
            let offset = i64::from(offset(members, path)?.unwrap_or(1));
            let sign = if kind == "prev" { -1 } else { 1 };
            Ok(Expression::Offset(field, sign * offset))
        }
        "first" | "last" => {
            let field = field_of(value, &here, building)?;
            let of = variable(members, path, building)?;
            let offset = offset(members, path)?.unwrap_or(0);
            Ok(match kind {
                "first" => Expression::First(field, of, offset),
                // The last event of all so far is the event at hand.
                _ if of.is_none() && offset == 0 => Expression::Field(field),
                _ => Expression::Last(field, of, offset),
            })
        }
        "agg" => aggregate(members, path, building),
        "op" => arithmetic(members, path, building, depth),
        _ => match (value, kind) {
            (Wire::Bool(true), "classifier") => Ok(Expression::Classifier),
            (Wire::Bool(true), _) => Ok(Expression::MatchNumber),
            _ => Err(Error::invalid(here, "must be true")),
        },
    }
}

fn field_of(wire: &Wire, path: &Path<'_>, building: &mut Building<'_>) -> Result<u32> {
    let scope = building.scope;
    let field: Field = field(wire, path, |name| scope.field(name))?;
    Ok(building.field(field))
}

fn offset(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Option<u32>> {
    let Some(wire) = members.get("offset") else {
        return Ok(None);
    };
    let here = path.key("offset");
    match u32::try_from(whole(wire, &here)?) {
        Ok(offset) if offset <= 1000 => Ok(Some(offset)),
        _ => Err(Error::invalid(here, "must be at most 1,000")),
    }
}

fn variable(
    members: &Map<String, Wire>,
    path: &Path<'_>,
    building: &Building<'_>,
) -> Result<Option<u32>> {
    let Some(wire) = members.get("of") else {
        return Ok(None);
    };
    building.variable(wire, &path.key("of")).map(Some)
}

fn aggregate(
    members: &Map<String, Wire>,
    path: &Path<'_>,
    building: &mut Building<'_>,
) -> Result<Expression> {
    let here = path.key("agg");
    let function = match members["agg"].as_str() {
        Some("count") => Aggregation::Count,
        Some("sum") => Aggregation::Sum,
        Some("avg") => Aggregation::Avg,
        Some("min") => Aggregation::Min,
        Some("max") => Aggregation::Max,
        _ => {
            return Err(Error::invalid(
                here,
                "must be 'count', 'sum', 'avg', 'min' or 'max'",
            ));
        }
    };
    let of = variable(members, path, building)?;
    let field = match members.get("field") {
        Some(wire) => Some(field_of(wire, &path.key("field"), building)?),
        None if function == Aggregation::Count => None,
        None => return Err(Error::invalid(path.key("field"), "is missing")),
    };
    Ok(Expression::Aggregate(function, field, of))
}

fn arithmetic(
    members: &Map<String, Wire>,
    path: &Path<'_>,
    building: &mut Building<'_>,
    depth: usize,
) -> Result<Expression> {
    let here = path.key("op");
    let op = match members["op"].as_str() {
        Some("add") => Arithmetic::Add,
        Some("sub") => Arithmetic::Sub,
        Some("mul") => Arithmetic::Mul,
        Some("div") => Arithmetic::Div,
        Some("epochMs") => Arithmetic::EpochMs,
        _ => {
            return Err(Error::invalid(
                here,
                "must be 'add', 'sub', 'mul', 'div' or 'epochMs'",
            ));
        }
    };
    let here = path.key("args");
    let args = members
        .get("args")
        .ok_or_else(|| Error::invalid(here, "is missing"))?;
    let args = list(args, &here, "expressions")?;
    if (op == Arithmetic::EpochMs) != (args.len() == 1) && args.len() < 2 {
        return Err(Error::invalid(here, "must have two expressions at least"));
    }
    if op == Arithmetic::EpochMs && args.len() != 1 {
        return Err(Error::invalid(here, "must have one expression"));
    }
    let args: Result<Vec<_>> = args
        .iter()
        .enumerate()
        .map(|(i, arg)| expression(arg, &here.index(i), building, depth + 1))
        .collect();
    Ok(Expression::Arithmetic(op, args?))
}

fn literal(wire: &Wire, path: &Path<'_>) -> Result<Literal> {
    if let Some(iso) = marked_time(wire) {
        return Timestamp::parse(iso)
            .map(Literal::Time)
            .map_err(|why| Error::invalid(path, why));
    }
    let json = Json::of(wire);
    Ok(match (json.kind, wire) {
        (JsonType::Null, _) => Literal::Null,
        (JsonType::Boolean, _) => Literal::Boolean(wire == &Wire::Bool(true)),
        (JsonType::Number, _) => Literal::Number(json.text),
        (JsonType::String, _) => Literal::Text(text(wire, path)?.to_owned()),
        _ => {
            return Err(Error::invalid(
                path,
                format!("must be one value, not {}", shown(wire)),
            ));
        }
    })
}
