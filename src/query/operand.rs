//! What a field is compared with, checked against the field's kind.

use serde_json::Value as Wire;
use uuid::Uuid;

use crate::model::{
    Error, Result,
    field::{Field, Kind},
    path::Path,
    time::Timestamp,
    value::{Json, Value, marked_integer, marked_time},
    wire::{shown, storable, text},
};

/// One operand of a comparison with `field`.
pub fn operand(wire: &Wire, field: &Field, path: &Path<'_>) -> Result<Value> {
    match field.kind() {
        Kind::Text => Ok(Value::Text(text(wire, path)?.to_owned())),
        Kind::Uuid => uuid(wire, path).map(Value::Uuid),
        Kind::Time => time(wire, path).map(Value::Time),
        Kind::Json => json(wire, path).map(Value::Json),
    }
}

/// A UUID's text, in any case.
pub fn uuid(wire: &Wire, path: &Path<'_>) -> Result<Uuid> {
    let text = text(wire, path)?;
    // Braces and the 32-digit form are other notations: an id is compared as it is written.
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(id),
        _ => Err(Error::invalid(
            path,
            "must be a UUID such as 0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70",
        )),
    }
}

/// A `Date`, or ISO 8601 text with a zone.
pub fn time(wire: &Wire, path: &Path<'_>) -> Result<Timestamp> {
    let text = match (marked_time(wire), wire) {
        (Some(iso), _) => iso,
        (None, Wire::String(text)) => text,
        _ => {
            return Err(Error::invalid(
                path,
                format!("must be a Date or ISO 8601 text, not {}", shown(wire)),
            ));
        }
    };
    Timestamp::parse(text).map_err(|why| Error::invalid(path, why))
}

/// Any JSON value.
pub fn json(wire: &Wire, path: &Path<'_>) -> Result<Json> {
    check_storable(wire, path, 0)?;
    Ok(Json::of(wire))
}

/// The deepest operand taken. Far below what PostgreSQL's own parser and ours recurse to.
const MAX_DEPTH: usize = 64;

fn check_storable(wire: &Wire, path: &Path<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(path, "is nested deeper than 64 levels"));
    }
    match wire {
        Wire::String(text) => storable(text, path),
        Wire::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, item)| check_storable(item, &path.index(i), depth + 1)),
        Wire::Object(_) if marked_time(wire).is_some() => Ok(()),
        Wire::Object(_) if marked_integer(wire).is_some() => {
            if marked_integer(wire).is_some_and(is_integer) {
                return Ok(());
            }
            Err(Error::invalid(
                path,
                "is a bigint of more than 1,000 digits",
            ))
        }
        Wire::Object(members) => members.iter().try_for_each(|(key, value)| {
            storable(key, path)?;
            check_storable(value, &path.key(key), depth + 1)
        }),
        Wire::Null | Wire::Bool(_) | Wire::Number(_) => Ok(()),
    }
}

/// Digits, with a sign or without: what a `bigint` prints as, and no way to write other JSON.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.len() <= 1000 && digits.bytes().all(|b| b.is_ascii_digit())
}
