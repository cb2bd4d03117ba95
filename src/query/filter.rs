//! The event filter: shorthands for the conditions that almost every query has.

use serde_json::{Map, Value as Wire};

use super::condition::{CompareOp, Condition, MatchKind, Test};
use super::operand::{time, uuid};
use super::scope::{Scope, Source};
use crate::model::{
    Error, Result,
    field::{Column, Field},
    path::Path,
    value::Value,
    wire::{known_keys, list, object, shown, text},
};

/// Shorthands for one tag each.
const TAG_LISTS: [(&str, &str); 5] = [
    ("issueIds", "issueId"),
    ("prIds", "prId"),
    ("userIds", "userId"),
    ("providers", "provider"),
    ("platforms", "platform"),
];
const KEYS: [&str; 12] = [
    "eventIds",
    "eventTypes",
    "issueIds",
    "prIds",
    "userIds",
    "providers",
    "platforms",
    "tags",
    "startTime",
    "endTime",
    "where",
    "anyOf",
];

/// Parses a filter of the event table that stands alone.
///
/// # Errors
/// INVALID_QUERY or UNKNOWN_FIELD with the path of what is wrong.
pub fn event_filter(wire: &Wire, path: &Path<'_>) -> Result<Condition> {
    parse(wire, path, &Scope::of(Source::Events))
}

/// Parses a filter into the conjunction that it means. `{}` is true for every event.
pub fn parse(wire: &Wire, path: &Path<'_>, scope: &Scope) -> Result<Condition> {
    let members = object(wire, path, "an event filter")?;
    known_keys(members, path, &KEYS)?;
    let mut all = Vec::new();
    if !scope.reads_events()
        && let Some(key) = members.keys().find(|key| *key != "where")
    {
        return Err(Error::invalid(
            path.key(key),
            "is for events: a filter of another table has only where",
        ));
    }
    if let Some(ids) = members.get("eventIds") {
        let here = path.key("eventIds");
        let ids: Result<Vec<_>> = list(ids, &here, "ids")?
            .iter()
            .enumerate()
            .map(|(i, id)| uuid(id, &here.index(i)).map(Value::Uuid))
            .collect();
        all.push(one_of(Field::Column(Column::Id), ids?));
    }
    if let Some(types) = members.get("eventTypes") {
        all.push(event_types(types, &path.key("eventTypes"))?);
    }
    for (member, tag) in TAG_LISTS {
        if let Some(values) = members.get(member) {
            all.push(one_of(
                Field::Tag(tag.to_owned()),
                texts(values, &path.key(member))?,
            ));
        }
    }
    if let Some(tags) = members.get("tags") {
        all.extend(tag_values(tags, &path.key("tags"))?);
    }
    all.extend(time_range(members, path)?);
    if let Some(condition) = members.get("where") {
        all.push(Condition::parse(condition, &path.key("where"), &|name| {
            scope.field(name)
        })?);
    }
    if let Some(items) = members.get("anyOf") {
        let here = path.key("anyOf");
        let arms: Result<Vec<_>> = list(items, &here, "query items")?
            .iter()
            .enumerate()
            .map(|(i, item)| query_item(item, &here.index(i)))
            .collect();
        all.push(Condition::Or(arms?));
    }
    Ok(Condition::And(all))
}

/// Equality with one value, or membership in several.
fn one_of(field: Field, mut values: Vec<Value>) -> Condition {
    let test = if values.len() == 1 {
        Test::Compare(CompareOp::Eq, values.swap_remove(0))
    } else {
        Test::In {
            values,
            negated: false,
        }
    };
    Condition::leaf(field, test)
}

fn texts(wire: &Wire, path: &Path<'_>) -> Result<Vec<Value>> {
    list(wire, path, "strings")?
        .iter()
        .enumerate()
        .map(|(i, v)| Ok(Value::Text(text(v, &path.index(i))?.to_owned())))
        .collect()
}

/// Exact types, and prefixes such as `CODE.*`, which is all that begins with `CODE.`.
fn event_types(wire: &Wire, path: &Path<'_>) -> Result<Condition> {
    let field = || Field::Column(Column::Type);
    let (mut exact, mut arms) = (Vec::new(), Vec::new());
    for (i, item) in list(wire, path, "event types")?.iter().enumerate() {
        let here = path.index(i);
        let name = text(item, &here)?;
        match name.strip_suffix('*') {
            Some(prefix) if prefix.len() > 1 && prefix.ends_with('.') && !prefix.contains('*') => {
                arms.push(Condition::leaf(
                    field(),
                    Test::Match(MatchKind::StartsWith, prefix.to_owned()),
                ));
            }
            None if !name.contains('*') => exact.push(Value::Text(name.to_owned())),
            _ => {
                return Err(Error::invalid(
                    here,
                    "must be an exact type, or a prefix that ends in '.*' such as 'CODE.*'",
                ));
            }
        }
    }
    if !exact.is_empty() {
        arms.push(one_of(field(), exact));
    }
    Ok(if arms.len() == 1 {
        arms.swap_remove(0)
    } else {
        Condition::Or(arms)
    })
}

fn tag_values(wire: &Wire, path: &Path<'_>) -> Result<Vec<Condition>> {
    let members = object(wire, path, "an object of tags")?;
    members
        .iter()
        .map(|(key, value)| {
            let here = path.key(key);
            if key.is_empty() || key.contains('\0') {
                return Err(Error::invalid(
                    here,
                    "is not a tag's key: it is empty or contains U+0000",
                ));
            }
            let values = match value {
                Wire::String(_) => vec![Value::Text(text(value, &here)?.to_owned())],
                Wire::Array(_) => texts(value, &here)?,
                _ => {
                    return Err(Error::invalid(
                        here,
                        format!(
                            "must be a string or a list of strings, not {}",
                            shown(value)
                        ),
                    ));
                }
            };
            Ok(one_of(Field::Tag(key.clone()), values))
        })
        .collect()
}

/// `startTime` inclusive, `endTime` exclusive.
fn time_range(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Vec<Condition>> {
    let bound = |key: &'static str| {
        members
            .get(key)
            .map(|wire| time(wire, &path.key(key)))
            .transpose()
    };
    let (start, end) = (bound("startTime")?, bound("endTime")?);
    if let (Some(start), Some(end)) = (start, end)
        && start > end
    {
        return Err(Error::invalid(path.key("startTime"), "is after endTime"));
    }
    let leaf = |op, at| {
        Condition::leaf(
            Field::Column(Column::Timestamp),
            Test::Compare(op, Value::Time(at)),
        )
    };
    Ok([
        start.map(|at| leaf(CompareOp::Gte, at)),
        end.map(|at| leaf(CompareOp::Lt, at)),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// One item of a DCB query: any of its types and all of its tags.
fn query_item(wire: &Wire, path: &Path<'_>) -> Result<Condition> {
    let members = object(wire, path, "a query item")?;
    known_keys(members, path, &["types", "tags"])?;
    let mut all = Vec::new();
    if let Some(types) = members.get("types") {
        let here = path.key("types");
        let types = texts(types, &here)?;
        if let Some(i) = types
            .iter()
            .position(|t| matches!(t, Value::Text(t) if t.ends_with(".*")))
        {
            return Err(Error::invalid(
                here.index(i),
                "must be an exact type: prefixes are for eventTypes",
            ));
        }
        all.push(one_of(Field::Column(Column::Type), types));
    }
    if let Some(tags) = members.get("tags") {
        let here = path.key("tags");
        for (i, tag) in list(tags, &here, "tags")?.iter().enumerate() {
            let here = here.index(i);
            let (key, value) = text(tag, &here)?
                .split_once(':')
                .filter(|(key, _)| !key.is_empty())
                .ok_or_else(|| {
                    Error::invalid(here, "must be a tag and its value such as 'issueId:42'")
                })?;
            all.push(one_of(
                Field::Tag(key.to_owned()),
                vec![Value::Text(value.to_owned())],
            ));
        }
    }
    Ok(Condition::And(all))
}
