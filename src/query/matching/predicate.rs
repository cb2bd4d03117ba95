//! Predicates that look at other events than the one at hand.
//!
//! What concerns one event alone is left to the server, as one bit for each largest such part. The
//! matcher evaluates the rest. Negation is pushed down first, by the laws that hold in three-valued
//! logic too, so that false and unknown need not be told apart.

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
use crate::query::condition::{CompareOp, Condition};

/// A predicate as the matcher evaluates it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Predicate {
    /// A bit of the event's mask.
    Bit(u32),
    /// All hold.
    And(Vec<Self>),
    /// One holds.
    Or(Vec<Self>),
    /// A comparison of two expressions.
    Compare(Expression, Comparison, Expression),
}

/// How two expressions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// By order or equality.
    Op(CompareOp),
    /// PostgreSQL's LIKE, or its negation.
    Like(bool),
    /// A literal prefix, or its negation.
    StartsWith(bool),
}

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
    fn is_local(&self) -> bool {
        matches!(self, Self::Field(_) | Self::Literal(_))
    }
}

impl Predicate {
    /// Whether it looks at how other events were mapped.
    pub fn looks_at_path(&self) -> bool {
        match self {
            Self::Bit(_) => false,
            Self::And(all) | Self::Or(all) => all.iter().any(Self::looks_at_path),
            Self::Compare(left, _, right) => left.looks_at_path() || right.looks_at_path(),
        }
    }
}

/// A predicate while its largest parts are gathered that concern one event alone.
pub enum Part {
    /// For the server.
    Sql(Condition),
    /// For the matcher.
    Ours(Predicate),
    /// Of several.
    Joined {
        /// Whether all must hold, or one.
        all: bool,
        /// Which.
        parts: Vec<Part>,
    },
}

const MAX_DEPTH: usize = 32;

/// Parses a predicate, or its negation where `positive` is false.
pub fn predicate(
    wire: &Wire,
    path: &Path<'_>,
    building: &mut Building<'_>,
    positive: bool,
    depth: usize,
) -> Result<Part> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(path, "is nested deeper than 32 levels"));
    }
    let members = object(wire, path, "a predicate")?;
    for (key, all) in [("and", true), ("or", false)] {
        if let Some(arms) = members.get(key) {
            known_keys(members, path, &[key])?;
            let here = path.key(key);
            let arms = list(arms, &here, "predicates")?;
            let parts: Result<Vec<_>> = arms
                .iter()
                .enumerate()
                .map(|(i, arm)| predicate(arm, &here.index(i), building, positive, depth + 1))
                .collect();
            return Ok(joined(all == positive, parts?));
        }
    }
    if let Some(inner) = members.get("not") {
        known_keys(members, path, &["not"])?;
        return predicate(inner, &path.key("not"), building, !positive, depth + 1);
    }
    if members.contains_key("left") || members.contains_key("right") {
        return comparison(members, path, building, positive);
    }
    let scope = building.scope;
    let condition = Condition::parse(wire, path, &|name| scope.field(name))?;
    Ok(Part::Sql(signed(condition, positive)))
}

fn signed(condition: Condition, positive: bool) -> Condition {
    if positive {
        condition
    } else {
        Condition::Not(Box::new(condition))
    }
}

/// Joins parts; those for the server become one.
fn joined(all: bool, parts: Vec<Part>) -> Part {
    let (mut sql, mut others) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Sql(condition) => sql.push(condition),
            other => others.push(other),
        }
    }
    let join = |mut conditions: Vec<Condition>| match conditions.len() {
        1 => conditions.swap_remove(0),
        _ if all => Condition::And(conditions),
        _ => Condition::Or(conditions),
    };
    if others.is_empty() {
        return Part::Sql(join(sql));
    }
    if !sql.is_empty() {
        others.insert(0, Part::Sql(join(sql)));
    }
    Part::Joined { all, parts: others }
}

impl Part {
    /// What the server can know of it: it holds wherever the whole does.
    pub fn bound(&self) -> Condition {
        match self {
            Self::Sql(condition) => condition.clone(),
            Self::Ours(_) => Condition::always(),
            Self::Joined { all: true, parts } => Condition::And(
                parts
                    .iter()
                    .map(Self::bound)
                    .filter(|c| !c.is_always())
                    .collect(),
            ),
            Self::Joined { parts, .. } => {
                let bounds: Vec<_> = parts.iter().map(Self::bound).collect();
                if bounds.iter().any(Condition::is_always) {
                    return Condition::always();
                }
                Condition::Or(bounds)
            }
        }
    }

    /// As the matcher evaluates it; `bit` gives the bit of a condition.
    pub fn finish(self, bit: &mut dyn FnMut(Condition) -> Result<u32>) -> Result<Predicate> {
        Ok(match self {
            Self::Sql(condition) => Predicate::Bit(bit(condition)?),
            Self::Ours(predicate) => predicate,
            Self::Joined { all, parts } => {
                let parts: Result<Vec<_>> = parts.into_iter().map(|p| p.finish(bit)).collect();
                if all {
                    Predicate::And(parts?)
                } else {
                    Predicate::Or(parts?)
                }
            }
        })
    }
}

const OPERATORS: &str = "eq, ne, lt, lte, gt, gte, like, startsWith, regex";

fn comparison(
    members: &Map<String, Wire>,
    path: &Path<'_>,
    building: &mut Building<'_>,
    positive: bool,
) -> Result<Part> {
    known_keys(members, path, &["left", "op", "right"])?;
    let op_path = path.key("op");
    let wire = members
        .get("op")
        .ok_or_else(|| Error::invalid(op_path, format!("is missing; known are {OPERATORS}")))?;
    let name = text(wire, &op_path)?;
    let mut side = |key: &'static str| {
        let here = path.key(key);
        match members.get(key) {
            Some(wire) => expression(wire, &here, building, 0),
            None => Err(Error::invalid(here, "is missing")),
        }
    };
    let (left, right) = (side("left")?, side("right")?);
    // A field against a constant is a condition like any other.
    if left.is_local()
        && let (Some(Wire::String(name)), Some(literal)) =
            (members.get("left"), members["right"].get("literal"))
    {
        let condition = serde_json::json!({ "field": name, "op": wire, "value": literal });
        let scope = building.scope;
        let condition = Condition::parse(&condition, path, &|name| scope.field(name))?;
        return Ok(Part::Sql(signed(condition, positive)));
    }
    let op = |op: CompareOp| Comparison::Op(if positive { op } else { op.negated() });
    let op = match name {
        "eq" => op(CompareOp::Eq),
        "ne" => op(CompareOp::Ne),
        "lt" => op(CompareOp::Lt),
        "lte" => op(CompareOp::Lte),
        "gt" => op(CompareOp::Gt),
        "gte" => op(CompareOp::Gte),
        "like" => Comparison::Like(positive),
        "startsWith" => Comparison::StartsWith(positive),
        "regex" => {
            return Err(Error::Unsupported {
                path: op_path.to_string(),
                what: "a regular expression is PostgreSQL's to judge, which sees one event: write it as { field, op, value }".into(),
            });
        }
        _ => {
            return Err(Error::invalid(
                op_path,
                format!("is not an operator; known are {OPERATORS}"),
            ));
        }
    };
    Ok(Part::Ours(Predicate::Compare(left, op, right)))
}

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
