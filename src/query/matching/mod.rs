//! Sequences and patterns: what is asked of the order of events.

mod cohort;
mod expression;
mod pattern;
mod predicate;
mod sequence;
mod syntax;

use serde_json::{Map, Value as Wire};

use super::condition::Condition;
use super::filter;
use super::scope::Scope;
use crate::model::{
    Error, Result,
    field::Field,
    path::Path,
    wire::{field, text},
};

pub use cohort::{Funnel, FunnelMode, Retention};
pub use expression::{Aggregation, Arithmetic, Expression, Literal};
pub use pattern::{Pattern, Rows, Skip, Variable};
pub use predicate::{Comparison, Predicate};
pub use sequence::{Absent, Conditions, Gap, MatchMode, Part, Sequence, Until};
pub use syntax::{Node, parse as parse_pattern};

/// What a query matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// Steps in time order.
    Sequence(Sequence),
    /// A pattern of rows.
    Pattern(Pattern),
    /// How far keys get; no query's, but one of analytics.
    Funnel(Funnel),
    /// When keys come back; no query's either.
    Retention(Retention),
}

/// What does not go with a sequence or a pattern.
const ALONE: [&str; 12] = [
    "select",
    "selectAs",
    "joins",
    "groupBy",
    "aggregates",
    "timeBucket",
    "having",
    "orderBy",
    "after",
    "since",
    "pattern",
    "sequence",
];

impl Matching {
    /// The member of a query that it came from.
    pub const fn member(&self) -> &'static str {
        match self {
            Self::Sequence(_) => "sequence",
            Self::Pattern(_) => "pattern",
            Self::Funnel(_) => "funnel",
            Self::Retention(_) => "retention",
        }
    }

    /// Parses the `sequence` or the `pattern` of a query; `None` where it has neither.
    ///
    /// # Errors
    /// The path of what is wrong, or of what does not go with it.
    pub fn parse(
        members: &Map<String, Wire>,
        root: &Path<'_>,
        scope: &Scope,
    ) -> Result<Option<Self>> {
        let Some(kind) = ["sequence", "pattern"]
            .into_iter()
            .find(|kind| members.contains_key(*kind))
        else {
            return Ok(None);
        };
        let path = root.key(kind);
        if let Some(other) = ALONE
            .iter()
            .find(|other| **other != kind && members.contains_key(**other))
        {
            let why = if *other == "after" {
                format!("does not go with {kind}: matches are continued by offset")
            } else if *other == "since" {
                format!("does not go with {kind}: a match may begin with older events")
            } else {
                format!("does not go with {kind}: use a pipeline to work on its matches")
            };
            return Err(Error::invalid(root.key(other), why));
        }
        if !scope.reads_events() {
            let why = format!("does not go with {kind}, which is for events");
            return Err(Error::invalid(root.key("from"), why));
        }
        let wire = &members[kind];
        match kind {
            "sequence" => Sequence::parse(wire, &path, scope).map(|s| Some(Self::Sequence(s))),
            _ => Pattern::parse(wire, &path, scope).map(|p| Some(Self::Pattern(p))),
        }
    }
}

/// An event filter, or a condition.
fn either(wire: &Wire, path: &Path<'_>, scope: &Scope) -> Result<Condition> {
    match wire.as_object() {
        Some(members) if Condition::is_condition(members) => {
            Condition::parse(wire, path, &|name| scope.field(name))
        }
        _ => filter::parse(wire, path, scope),
    }
}

/// The fields of `by`, each under its own name. Repeated fields collapse.
fn key_fields(wire: &Wire, path: &Path<'_>, scope: &Scope) -> Result<Vec<(String, Field)>> {
    let items = wire
        .as_array()
        .ok_or_else(|| Error::invalid(path, "must be a list of fields"))?;
    let mut fields: Vec<(String, Field)> = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let here = path.index(i);
        let name = text(item, &here)?;
        let field = field(item, &here, |name| scope.field(name))?;
        if !fields.iter().any(|(known, _)| known == name) {
            fields.push((name.to_owned(), field));
        }
    }
    if fields.len() > 16 {
        return Err(Error::invalid(path, "has more than 16 fields"));
    }
    Ok(fields)
}
