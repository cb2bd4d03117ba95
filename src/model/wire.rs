//! Reading the caller's JSON objects member by member, refusing what is not known.

use serde_json::{Map, Value as Wire};

use super::{
    Error, Result,
    field::{Field, FieldError},
    path::Path,
    value::{marked_integer, marked_time},
};

/// The members of an object; anything else is an error that names `what` was wanted.
pub fn object<'a>(
    wire: &'a Wire,
    path: &Path<'_>,
    what: &'static str,
) -> Result<&'a Map<String, Wire>> {
    wire.as_object()
        // A `Date` and a `bigint` are marked by an object.
        .filter(|_| marked_time(wire).is_none() && marked_integer(wire).is_none())
        .ok_or_else(|| Error::invalid(path, format!("must be {what}, not {}", shown(wire))))
}

/// Refuses members that are not in `known`, with the closest known name where one is close.
pub fn known_keys(members: &Map<String, Wire>, path: &Path<'_>, known: &[&str]) -> Result<()> {
    match members.keys().find(|k| !known.contains(&k.as_str())) {
        None => Ok(()),
        Some(key) => {
            let near = known
                .iter()
                .find(|k| k.eq_ignore_ascii_case(key) || near(k, key));
            let problem = match near {
                Some(meant) => format!("is not known here; did you mean {meant:?}?"),
                None => format!("is not known here; known are {}", known.join(", ")),
            };
            Err(Error::invalid(path.key(key), problem))
        }
    }
}

/// One letter more, less or other.
fn near(a: &str, b: &str) -> bool {
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same_head = a.bytes().zip(b.bytes()).take_while(|(x, y)| x == y).count();
    let same_tail = a
        .bytes()
        .rev()
        .zip(b.bytes().rev())
        .take_while(|(x, y)| x == y)
        .count();
    same_head + same_tail + 1 >= a.len().max(b.len())
}

/// The elements of a list that may not be empty.
pub fn list<'a>(wire: &'a Wire, path: &Path<'_>, of: &'static str) -> Result<&'a [Wire]> {
    let items = wire.as_array().ok_or_else(|| {
        Error::invalid(path, format!("must be a list of {of}, not {}", shown(wire)))
    })?;
    if items.is_empty() {
        return Err(Error::invalid(
            path,
            "is an empty list, which could mean everything or nothing: leave the member out, or name values",
        ));
    }
    Ok(items)
}

/// A string that PostgreSQL can store.
pub fn text<'a>(wire: &'a Wire, path: &Path<'_>) -> Result<&'a str> {
    let text = wire
        .as_str()
        .ok_or_else(|| Error::invalid(path, format!("must be a string, not {}", shown(wire))))?;
    storable(text, path)?;
    Ok(text)
}

/// Refuses U+0000.
pub fn storable(text: &str, path: &Path<'_>) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::invalid(
            path,
            "contains U+0000, which PostgreSQL cannot store",
        ));
    }
    Ok(())
}

/// `true` or `false`.
pub fn boolean(wire: &Wire, path: &Path<'_>) -> Result<bool> {
    wire.as_bool()
        .ok_or_else(|| Error::invalid(path, format!("must be true or false, not {}", shown(wire))))
}

/// A whole number from 0 to 2^53.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Checked to be whole and in range.
pub fn whole(wire: &Wire, path: &Path<'_>) -> Result<u64> {
    let value = wire.as_u64().or_else(|| {
        wire.as_f64()
            .filter(|f| f.fract() == 0.0 && *f >= 0.0)
            .map(|f| f as u64)
    });
    value.filter(|n| *n <= 1 << 53).ok_or_else(|| {
        Error::invalid(
            path,
            format!(
                "must be a whole number from 0 to 2^53{}",
                instead(wire, "a number")
            ),
        )
    })
}

/// The field that a text names, as `parse` reads names.
pub fn field(
    wire: &Wire,
    path: &Path<'_>,
    parse: impl FnOnce(&str) -> Result<Field, FieldError>,
) -> Result<Field> {
    let name = text(wire, path)?;
    parse(name).map_err(|e| match e {
        FieldError::Unknown => Error::UnknownField {
            path: path.to_string(),
            field: name.to_owned(),
        },
        FieldError::Malformed(why) => Error::invalid(path, format!("{name:?} {why}")),
    })
}

/// The end of `must be …`: what it is instead, in words, where that is not the very type that was asked for.
pub fn instead(wire: &Wire, wanted: &str) -> String {
    match shown(wire) {
        found if found == wanted => String::new(),
        found => format!(", not {found}"),
    }
}

/// A value's type in words, never the value itself.
pub fn shown(wire: &Wire) -> &'static str {
    match wire {
        Wire::Null => "null",
        Wire::Bool(_) => "a boolean",
        Wire::Number(_) => "a number",
        Wire::String(_) => "a string",
        Wire::Array(_) => "a list",
        Wire::Object(_) if marked_time(wire).is_some() => "a Date",
        Wire::Object(_) if marked_integer(wire).is_some() => "a bigint",
        Wire::Object(_) => "an object",
    }
}
