//! Values that `project` computes.

use serde_json::Value as Wire;

use super::row::Row;
use crate::model::{
    Error, Result,
    field::{Field, Foreign, Holds, Kind},
    path::Path,
    time::Timestamp,
    value::{marked_integer, marked_time},
    wire::{field, known_keys, list, object, shown, storable, text},
};

/// A value that is read or computed.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A field.
    Field(Field),
    /// A constant.
    Literal(Literal),
    /// An operator and what it is applied to.
    Call(Operator, Vec<Self>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Text.
    Text(String),
    /// A number, by its digits.
    Number(String),
    /// A point in time.
    Time(Timestamp),
    /// True or false.
    Boolean(bool),
    /// Nothing.
    Null,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A number of SQL.
    Number,
    /// Text.
    Text,
    /// A point in time.
    Time,
    /// Any JSON.
    Json,
}

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Named as in the API.
pub enum Operator {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Abs,
    Round,
    Floor,
    Ceil,
    Ln,
    Coalesce,
    Concat,
    Lower,
    Upper,
    Length,
    EpochMs,
    Duration,
}

const NAMES: [(&str, Operator, usize, usize); 17] = [
    ("add", Operator::Add, 2, 100),
    ("sub", Operator::Sub, 2, 2),
    ("mul", Operator::Mul, 2, 100),
    ("div", Operator::Div, 2, 2),
    ("mod", Operator::Mod, 2, 2),
    ("abs", Operator::Abs, 1, 1),
    ("round", Operator::Round, 1, 2),
    ("floor", Operator::Floor, 1, 1),
    ("ceil", Operator::Ceil, 1, 1),
    ("ln", Operator::Ln, 1, 1),
    ("coalesce", Operator::Coalesce, 1, 100),
    ("concat", Operator::Concat, 1, 100),
    ("lower", Operator::Lower, 1, 1),
    ("upper", Operator::Upper, 1, 1),
    ("length", Operator::Length, 1, 1),
    ("epochMs", Operator::EpochMs, 1, 1),
    ("duration", Operator::Duration, 2, 2),
];
const MAX_DEPTH: usize = 32;
/// Digits behind the point that can be rounded to.
const MAX_DIGITS: u64 = 100;

impl Expression {
    /// Parses a field path or a computed value.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(wire: &Wire, path: &Path<'_>, row: &Row) -> Result<Self> {
        parse(wire, path, row, 0)
    }

    /// What its values are.
    pub fn r#type(&self) -> Type {
        match self {
            Self::Field(field) => of_field(field),
            Self::Literal(literal) => match literal {
                Literal::Text(_) => Type::Text,
                Literal::Number(_) => Type::Number,
                Literal::Time(_) => Type::Time,
                Literal::Boolean(_) | Literal::Null => Type::Json,
            },
            Self::Call(operator, arguments) => match operator {
                Operator::Coalesce => {
                    let first = arguments.first().map_or(Type::Json, Self::r#type);
                    let same = arguments.iter().all(|argument| argument.r#type() == first);
                    if same { first } else { Type::Json }
                }
                Operator::Concat | Operator::Lower | Operator::Upper => Type::Text,
                _ => Type::Number,
            },
        }
    }
}

/// What the values of a field are.
fn of_field(field: &Field) -> Type {
    match field {
        Field::Foreign(foreign) if is_number(foreign) => Type::Number,
        field => match field.kind() {
            Kind::Text | Kind::Uuid => Type::Text,
            Kind::Time => Type::Time,
            Kind::Json => Type::Json,
        },
    }
}

fn is_number(foreign: &Foreign) -> bool {
    foreign.holds == Holds::Number && foreign.steps.is_empty()
}

fn parse(wire: &Wire, path: &Path<'_>, row: &Row, depth: usize) -> Result<Expression> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(path, "is nested deeper than 32 levels"));
    }
    if wire.is_string() {
        return field(wire, path, |name| row.field(name)).map(Expression::Field);
    }
    let members = object(
        wire,
        path,
        "a field, { literal: … } or { op: …, args: […] }",
    )?;
    if let Some(value) = members.get("literal") {
        known_keys(members, path, &["literal"])?;
        return literal(value, &path.key("literal")).map(Expression::Literal);
    }
    known_keys(members, path, &["op", "args"])?;
    let here = path.key("op");
    let name = members
        .get("op")
        .ok_or_else(|| Error::invalid(here, "is missing"))?;
    let name = text(name, &here)?;
    let Some((_, operator, least, most)) = NAMES.into_iter().find(|known| known.0 == name) else {
        let known: Vec<&str> = NAMES.iter().map(|known| known.0).collect();
        return Err(Error::invalid(
            here,
            format!("is no operator; known are {}", known.join(", ")),
        ));
    };
    let here = path.key("args");
    let items = members
        .get("args")
        .ok_or_else(|| Error::invalid(here, "is missing"))?;
    let items = list(items, &here, "values")?;
    if !(least..=most).contains(&items.len()) {
        let wanted = match (least, most) {
            (a, b) if a == b => format!("{a}"),
            (a, 100) => format!("{a} or more"),
            (a, b) => format!("{a} to {b}"),
        };
        return Err(Error::invalid(
            here,
            format!("has {} values, and {name} takes {wanted}", items.len()),
        ));
    }
    let mut arguments = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let argument = parse(item, &here.index(i), row, depth + 1)?;
        check(operator, i, &argument, &here.index(i), name)?;
        arguments.push(argument);
    }
    Ok(Expression::Call(operator, arguments))
}

/// Refuses what can never be a value that the operator reads.
fn check(
    operator: Operator,
    place: usize,
    argument: &Expression,
    path: &Path<'_>,
    name: &str,
) -> Result<()> {
    let (wanted, what): (&[Type], _) = match operator {
        Operator::Coalesce | Operator::Concat => return Ok(()),
        Operator::Round if place == 1 => {
            let digits = match argument {
                Expression::Literal(Literal::Number(digits)) => digits.parse::<u64>().ok(),
                _ => None,
            };
            return match digits.filter(|digits| *digits <= MAX_DIGITS) {
                Some(_) => Ok(()),
                None => Err(Error::invalid(
                    path,
                    "must be a literal number of digits from 0 to 100",
                )),
            };
        }
        Operator::Lower | Operator::Upper | Operator::Length => (&[Type::Text, Type::Json], "text"),
        Operator::EpochMs | Operator::Duration => (&[Type::Time], "a point in time"),
        _ => (&[Type::Number, Type::Json], "a number"),
    };
    if wanted.contains(&argument.r#type()) {
        return Ok(());
    }
    Err(Error::invalid(
        path,
        format!("is never {what}, which {name} takes"),
    ))
}

fn literal(wire: &Wire, path: &Path<'_>) -> Result<Literal> {
    if let Some(time) = marked_time(wire) {
        let time =
            Timestamp::parse(time).map_err(|_| Error::invalid(path, "is no point in time"))?;
        return Ok(Literal::Time(time));
    }
    if let Some(digits) = marked_integer(wire) {
        return Ok(Literal::Number(digits.to_owned()));
    }
    Ok(match wire {
        Wire::Null => Literal::Null,
        Wire::Bool(boolean) => Literal::Boolean(*boolean),
        Wire::Number(number) => Literal::Number(number.to_string()),
        Wire::String(string) => {
            storable(string, path)?;
            Literal::Text(string.clone())
        }
        _ => {
            return Err(Error::invalid(
                path,
                format!("must be a scalar, not {}", shown(wire)),
            ));
        }
    })
}
