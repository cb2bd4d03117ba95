//! Predicates that look at other events than the one at hand.
//!
//! What concerns one event alone is left to the server, as one bit for each largest such part. The
//! matcher evaluates the rest. Negation is pushed down first, by the laws that hold in three-valued
//! logic too, so that false and unknown need not be told apart.

use serde_json::{Map, Value as Wire};

use super::expression::{Expression, MAX_DEPTH, expression};
use super::pattern::Building;
use crate::model::{
    Error, Result,
    path::Path,
    wire::{known_keys, list, object, text},
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
    /// A bit of the event that an expression reads a field of.
    BitOf(Expression, u32),
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

impl Predicate {
    /// Whether it looks at how other events were mapped.
    pub fn looks_at_path(&self) -> bool {
        match self {
            Self::Bit(_) => false,
            Self::And(all) | Self::Or(all) => all.iter().any(Self::looks_at_path),
            Self::Compare(left, _, right) => left.looks_at_path() || right.looks_at_path(),
            Self::BitOf(of, _) => of.looks_at_path(),
        }
    }
}

/// A predicate while its largest parts are gathered that concern one event alone.
pub enum Part {
    /// For the server.
    Sql(Condition),
    /// For the matcher.
    Ours(Predicate),
    /// For the server, at the event that an expression reads a field of.
    SqlOf(Expression, Condition),
    /// Of several.
    Joined {
        /// Whether all must hold, or one.
        all: bool,
        /// Which.
        parts: Vec<Part>,
    },
}

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
            Self::Ours(_) | Self::SqlOf(..) => Condition::always(),
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
            Self::SqlOf(of, condition) => Predicate::BitOf(of, bit(condition)?),
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
            let field = ["prev", "next", "first", "last"]
                .into_iter()
                .find_map(|kind| members["left"].get(kind));
            let (Some(field), Some(literal)) = (field, members["right"].get("literal")) else {
                return Err(Error::Unsupported {
                    path: op_path.to_string(),
                    what: "a regular expression is PostgreSQL's to judge, which sees one event: the left side must be a field of an event, the right side a literal".into(),
                });
            };
            let condition = serde_json::json!({ "field": field, "op": wire, "value": literal });
            let scope = building.scope;
            let condition = Condition::parse(&condition, path, &|name| scope.field(name))?;
            return Ok(Part::SqlOf(left, signed(condition, positive)));
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
