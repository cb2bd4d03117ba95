//! Joins: of other tables, and of the event table with itself.

use std::time::Duration;

use serde_json::{Map, Value as Wire};

use super::scope::{Scope, Source};
use crate::model::{
    Error, Result,
    catalog::Catalog,
    duration::duration,
    field::{Field, Relation},
    path::Path,
    table::identifier_problem,
    wire::{field, known_keys, list, object, text},
};

/// A joined relation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Join {
    /// What is joined.
    pub source: Source,
    /// Whether rows without a partner are kept.
    pub left: bool,
    /// Pairs that must be equal: a field of what is before, a field of what is joined.
    pub on: Vec<(Field, Field)>,
    /// Of events joined with events: how long after this event the joined one may be.
    pub within: Option<Duration>,
}

const KEYS: [&str; 5] = ["table", "alias", "type", "on", "within"];
const MAX_JOINS: usize = 16;

/// Parses `joins`; each adds its relation to the scope.
pub fn parse(
    members: &Map<String, Wire>,
    root: &Path<'_>,
    catalog: &Catalog,
    scope: &mut Scope,
) -> Result<Vec<Join>> {
    let Some(wire) = members.get("joins") else {
        return Ok(Vec::new());
    };
    let path = root.key("joins");
    let items = list(wire, &path, "joins")?;
    if items.len() > MAX_JOINS {
        return Err(Error::invalid(path, "has more than 16 joins"));
    }
    items
        .iter()
        .enumerate()
        .map(|(i, item)| parse_one(item, &path.index(i), catalog, scope))
        .collect()
}

fn parse_one(wire: &Wire, path: &Path<'_>, catalog: &Catalog, scope: &mut Scope) -> Result<Join> {
    let members = object(
        wire,
        path,
        "a join such as { table: 'issues', on: { 'tags.issueId': 'id' } }",
    )?;
    known_keys(members, path, &KEYS)?;
    let (name, source) = table(members, path, catalog)?;
    let alias = match members.get("alias") {
        Some(wire) => text(wire, &path.key("alias"))?,
        None => name.rsplit_once('.').map_or(name, |(_, bare)| bare),
    };
    if alias.is_empty() || scope.is_taken(alias) {
        return Err(Error::invalid(
            path.key("alias"),
            "is empty, the alias of another join, or a field: give one that is free",
        ));
    }
    let left = match members.get("type") {
        None => false,
        Some(Wire::String(kind)) if kind == "inner" => false,
        Some(Wire::String(kind)) if kind == "left" => true,
        Some(_) => {
            return Err(Error::invalid(
                path.key("type"),
                "must be 'inner' or 'left'",
            ));
        }
    };
    let within = match members.get("within") {
        None => None,
        Some(_) if source != Source::Events || !scope.reads_events() => {
            return Err(Error::invalid(
                path.key("within"),
                "is for joins of the event table with itself",
            ));
        }
        Some(wire) => Some(duration(wire, &path.key("within"))?),
    };
    let before = scope.clone();
    scope.join(alias.to_owned(), source.clone(), left);
    let relation = Relation(u32::try_from(scope.joined()).unwrap_or(u32::MAX));
    let here = path.key("on");
    let pairs = members
        .get("on")
        .ok_or_else(|| Error::invalid(here, "is missing: name the pairs that must be equal"))?;
    let pairs = object(pairs, &here, "an object of fields and columns")?;
    if pairs.is_empty() {
        return Err(Error::invalid(
            here,
            "is empty: every row would meet every other",
        ));
    }
    let on: Result<Vec<_>> = pairs
        .iter()
        .map(|(ours, theirs)| {
            let here = here.key(ours);
            let ours = field(&Wire::String(ours.clone()), &here, |name| {
                before.field(name)
            })?;
            let theirs = field(theirs, &here, |name| source.field(relation, name, left))?;
            Ok((ours, theirs))
        })
        .collect();
    Ok(Join {
        on: on?,
        source,
        left,
        within,
    })
}

fn table<'w>(
    members: &'w Map<String, Wire>,
    path: &Path<'_>,
    catalog: &Catalog,
) -> Result<(&'w str, Source)> {
    let here = path.key("table");
    let wire = members
        .get("table")
        .ok_or_else(|| Error::invalid(here, "is missing"))?;
    let name = table_name(wire, &here)?;
    Ok((name, source(name, &here, catalog)?))
}

/// The name of a table, with its schema or without.
pub fn table_name<'w>(wire: &'w Wire, path: &Path<'_>) -> Result<&'w str> {
    let name = text(wire, path)?;
    let (schema, bare) = name.split_once('.').unwrap_or(("public", name));
    match identifier_problem(schema).or_else(|| identifier_problem(bare)) {
        Some(problem) => Err(Error::invalid(
            path,
            format!("is no table's name: it {problem}"),
        )),
        None => Ok(name),
    }
}

/// What a table's name stands for.
pub fn source(name: &str, path: &Path<'_>, catalog: &Catalog) -> Result<Source> {
    Source::of(name, catalog).ok_or_else(|| Error::NoSuchTable {
        path: path.to_string(),
        table: name.to_owned(),
    })
}
