//! A definition as the caller writes it, read member by member: each fault with its path.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value as Wire};

use super::super::storage;
use super::parts::Parts;
use super::{Definition, Method, Rolling, checked_name};
use crate::model::{
    Error, Result,
    catalog::Catalog,
    duration::duration,
    field::Field,
    path::Path,
    table::{TableNames, quote_ident},
    wire::{boolean, field, known_keys, list, object, text},
};

const KEYS: [&str; 10] = [
    "name",
    "table",
    "columns",
    "include",
    "type",
    "unique",
    "partial",
    "where",
    "rolling",
    "storageParams",
];

impl Definition {
    /// Checks a definition.
    ///
    /// # Errors
    /// INVALID_QUERY, UNKNOWN_FIELD, UNKNOWN_TABLE or INDEX_INVALID, with the path.
    pub fn parse(wire: &Wire, table: &TableNames, columns: &[String]) -> Result<Self> {
        let root = Path::Root;
        let members = object(wire, &root, "a definition of an index")?;
        known_keys(members, &root, &KEYS)?;
        let name = name(members, &root)?;
        check_table(members, &root, table)?;
        let here = root.key("type");
        let method = match members.get("type").map(|w| text(w, &here)).transpose()? {
            None => return Err(Error::invalid(here, "is missing")),
            Some(given) => Method::of_name(given).ok_or_else(|| {
                Error::invalid(here, "must be 'btree', 'hash', 'gin', 'gist' or 'brin'")
            })?,
        };
        let mut parts = Parts {
            table,
            columns,
            functions: BTreeSet::new(),
        };
        let keys = parts.keys(members, &root, method)?;
        let here = root.key("unique");
        let unique = members
            .get("unique")
            .map_or(Ok(false), |w| boolean(w, &here))?;
        if unique && method != Method::Btree {
            return Err(Error::invalid(here, "is for btree indexes"));
        }
        let include = include(members, &root, table, method)?;
        let predicate = parts.predicate(members, &root)?;
        let rolling = rolling(members, &root)?;
        if unique && rolling.is_some() {
            return Err(Error::invalid(
                root.key("rolling"),
                "does not go with unique: what is cut off would no longer be compared",
            ));
        }
        let storage = match members.get("storageParams") {
            None => Vec::new(),
            Some(wire) => storage::parse(wire, &root.key("storageParams"), method)?,
        };
        Ok(Self {
            name,
            method,
            unique,
            keys,
            include,
            predicate,
            rolling,
            storage,
            functions: parts.functions,
            wire: wire.clone(),
        })
    }
}

fn name(members: &Map<String, Wire>, root: &Path<'_>) -> Result<String> {
    let here = root.key("name");
    let name = text(
        members
            .get("name")
            .ok_or_else(|| Error::invalid(here, "is missing"))?,
        &here,
    )?;
    checked_name(name, "name").map(str::to_owned)
}

fn check_table(members: &Map<String, Wire>, root: &Path<'_>, table: &TableNames) -> Result<()> {
    let here = root.key("table");
    let given = text(
        members
            .get("table")
            .ok_or_else(|| Error::invalid(here, "is missing"))?,
        &here,
    )?;
    let known = Catalog {
        events: table.clone(),
        ..Catalog::default()
    };
    if known.is_events(given) {
        return Ok(());
    }
    Err(Error::NoSuchTable {
        path: here.to_string(),
        table: given.to_owned(),
    })
}

fn include(
    members: &Map<String, Wire>,
    root: &Path<'_>,
    table: &TableNames,
    method: Method,
) -> Result<Vec<String>> {
    let here = root.key("include");
    let Some(wire) = members.get("include") else {
        return Ok(Vec::new());
    };
    if !matches!(method, Method::Btree | Method::Gist) {
        return Err(Error::invalid(here, "is for btree and gist indexes"));
    }
    let fields = list(wire, &here, "fields")?.iter().enumerate();
    fields
        .map(|(i, wire)| {
            let place = here.index(i);
            match field(wire, &place, Field::parse)? {
                Field::Column(column) => Ok(quote_ident(table.columns.of(column))),
                _ => Err(Error::invalid(
                    place,
                    "is a path: PostgreSQL includes whole columns only",
                )),
            }
        })
        .collect()
}

fn rolling(members: &Map<String, Wire>, root: &Path<'_>) -> Result<Option<Rolling>> {
    let Some(wire) = members.get("rolling") else {
        return Ok(None);
    };
    let here = root.key("rolling");
    let members = object(
        wire,
        &here,
        "such as { field: 'timestamp', keep: '7 days' }",
    )?;
    known_keys(members, &here, &["field", "keep", "refreshEvery"])?;
    if members.get("field").and_then(Wire::as_str) != Some("timestamp") {
        return Err(Error::invalid(here.key("field"), "must be 'timestamp'"));
    }
    let keep = duration(
        members
            .get("keep")
            .ok_or_else(|| Error::invalid(here.key("keep"), "is missing"))?,
        &here.key("keep"),
    )?;
    let refresh_every = match members.get("refreshEvery") {
        Some(wire) => duration(wire, &here.key("refreshEvery"))?,
        // A quarter more than what is asked for is in it at most.
        None => (keep / 4).max(Duration::from_mins(1)),
    };
    Ok(Some(Rolling {
        keep,
        refresh_every,
    }))
}
