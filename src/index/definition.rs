//! A definition as the caller writes it, checked as far as it can be without the server.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value as Wire};

use super::storage;
use crate::model::{
    Error, Result,
    catalog::Catalog,
    duration::duration,
    field::{Column, Field, Kind},
    path::Path,
    table::{TableNames, identifier_problem, quote_ident},
    wire::{boolean, field, known_keys, list, object, text},
};
use crate::query::Condition;
use crate::sql::{Called, check_expression, index_expression, index_predicate};

/// How an index is organised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Ordered.
    Btree,
    /// Equality alone.
    Hash,
    /// Many keys a row.
    Gin,
    /// Generalised search trees.
    Gist,
    /// Ranges of blocks.
    Brin,
}

impl Method {
    /// The name in the API and in the catalog.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Btree => "btree",
            Self::Hash => "hash",
            Self::Gin => "gin",
            Self::Gist => "gist",
            Self::Brin => "brin",
        }
    }

    /// The method of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::Btree, Self::Hash, Self::Gin, Self::Gist, Self::Brin]
            .into_iter()
            .find(|method| method.name() == name)
    }
}

/// A key of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// A column, or an expression in its own parentheses.
    pub sql: String,
    /// `COLLATE`, operator class, direction and place of nulls, as they follow it.
    pub suffix: String,
    /// The operator class, where one is named.
    pub operator_class: Option<String>,
    /// Where it stands in the definition.
    pub path: String,
}

/// A cut-off that maintenance moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// How much of the log is in the index.
    pub keep: Duration,
    /// How often it is moved.
    pub refresh_every: Duration,
}

/// A checked definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The index's name.
    pub name: String,
    /// Its method.
    pub method: Method,
    /// Whether it keeps duplicates out.
    pub unique: bool,
    /// Its keys.
    pub keys: Vec<Key>,
    /// Columns kept beside them, quoted.
    pub include: Vec<String>,
    /// Its predicate without the rolling part.
    pub predicate: Option<String>,
    /// Its cut-off.
    pub rolling: Option<Rolling>,
    /// Storage parameters, as they stand in WITH.
    pub storage: Vec<(&'static str, String)>,
    /// Functions of the caller's SQL, with where they stand.
    pub functions: BTreeSet<(Called, String)>,
    /// As the caller wrote it: kept in the index's comment, for whoever rebuilds it.
    pub wire: Wire,
}

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
const COLUMN_KEYS: [&str; 5] = ["field", "expression", "direction", "nulls", "operatorClass"];
/// PostgreSQL's own limit.
const MOST_KEYS: usize = 32;
/// Names of half-built indexes: no caller's index may look like one.
pub const RESERVED: &str = "tamma~";

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

    /// The statement's end: from the table on. `cutoff` is the literal of a rolling index.
    pub fn body(&self, table: &TableNames, cutoff: Option<&str>) -> String {
        let keys: Vec<_> = (self.keys.iter())
            .map(|key| format!("{}{}", key.sql, key.suffix))
            .collect();
        super::store::index_body(
            self.method.name(),
            &keys,
            &self.include,
            &self.storage,
            self.predicate_at(table, cutoff).as_deref(),
        )
    }

    /// The whole predicate.
    pub fn predicate_at(&self, table: &TableNames, cutoff: Option<&str>) -> Option<String> {
        let rolling = cutoff.map(|at| {
            format!(
                "{} >= {}::timestamptz",
                quote_ident(table.columns.of(Column::Timestamp)),
                crate::sql::quote_literal(at)
            )
        });
        match (&self.predicate, rolling) {
            (Some(own), Some(rolling)) => Some(format!("({own}) AND ({rolling})")),
            (Some(own), None) => Some(own.clone()),
            (None, rolling) => rolling,
        }
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

/// A name that an index can have.
///
/// # Errors
/// INVALID_QUERY at `path`.
pub fn checked_name<'a>(name: &'a str, path: &str) -> Result<&'a str> {
    if let Some(problem) = identifier_problem(name) {
        return Err(Error::invalid(path, problem));
    }
    if name.starts_with(RESERVED) {
        return Err(Error::invalid(
            path,
            "begins as the names of half-built indexes do",
        ));
    }
    Ok(name)
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

struct Parts<'a> {
    table: &'a TableNames,
    columns: &'a [String],
    functions: BTreeSet<(Called, String)>,
}

impl Parts<'_> {
    fn expression(&mut self, sql: &str, path: &Path<'_>) -> Result<String> {
        let path = path.to_string();
        let checked = check_expression(sql, self.columns, &path)?;
        let named = checked.functions.into_iter();
        self.functions
            .extend(named.map(|called| (called, path.clone())));
        Ok(checked.sql)
    }

    fn keys(
        &mut self,
        members: &Map<String, Wire>,
        root: &Path<'_>,
        method: Method,
    ) -> Result<Vec<Key>> {
        let here = root.key("columns");
        let items = list(
            members
                .get("columns")
                .ok_or_else(|| Error::invalid(here, "is missing"))?,
            &here,
            "columns",
        )?;
        let most = if method == Method::Hash { 1 } else { MOST_KEYS };
        if items.len() > most {
            return Err(Error::invalid(
                here,
                format!(
                    "has more than the {most} that a {} index takes",
                    method.name()
                ),
            ));
        }
        items
            .iter()
            .enumerate()
            .map(|(i, wire)| self.key(wire, &here.index(i), method))
            .collect()
    }

    fn key(&mut self, wire: &Wire, path: &Path<'_>, method: Method) -> Result<Key> {
        let members = object(wire, path, "a column such as { field: 'tags.issueId' }")?;
        known_keys(members, path, &COLUMN_KEYS)?;
        let sql = match (members.get("field"), members.get("expression")) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    path.key("expression"),
                    "does not go with field",
                ));
            }
            (None, None) => {
                return Err(Error::invalid(path, "must have a field or an expression"));
            }
            (Some(wire), None) => {
                let parsed = field(wire, &path.key("field"), Field::parse)?;
                if method == Method::Gin && parsed.kind() != Kind::Json {
                    return Err(Error::invalid(
                        path.key("field"),
                        "is no JSON, which a gin index is for here: use a btree index",
                    ));
                }
                index_expression(&parsed, self.table)
            }
            (None, Some(wire)) => {
                let here = path.key("expression");
                let sql = self.expression(text(wire, &here)?, &here)?;
                if sql.starts_with('(') {
                    sql
                } else {
                    format!("({sql})")
                }
            }
        };
        let mut suffix = String::new();
        let here = path.key("operatorClass");
        let operator_class = match members.get("operatorClass") {
            None => None,
            Some(wire) => {
                let name = text(wire, &here)?;
                if let Some(problem) = identifier_problem(name) {
                    return Err(Error::invalid(here, problem));
                }
                suffix.push(' ');
                suffix.push_str(&quote_ident(name));
                Some(name.to_owned())
            }
        };
        for (key, options) in [
            ("direction", [("asc", " ASC"), ("desc", " DESC")]),
            (
                "nulls",
                [("first", " NULLS FIRST"), ("last", " NULLS LAST")],
            ),
        ] {
            let here = path.key(key);
            let Some(wire) = members.get(key) else {
                continue;
            };
            let given = text(wire, &here)?;
            let Some((_, sql)) = options.iter().find(|(name, _)| *name == given) else {
                let [(a, _), (b, _)] = options;
                return Err(Error::invalid(here, format!("must be '{a}' or '{b}'")));
            };
            if method != Method::Btree {
                return Err(Error::invalid(here, "is for btree indexes"));
            }
            suffix.push_str(sql);
        }
        Ok(Key {
            sql,
            suffix,
            operator_class,
            path: path.to_string(),
        })
    }

    fn predicate(
        &mut self,
        members: &Map<String, Wire>,
        root: &Path<'_>,
    ) -> Result<Option<String>> {
        let (wire, here) = match (members.get("where"), members.get("partial")) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(
                    root.key("partial"),
                    "is the older name of where: give one of them",
                ));
            }
            (Some(wire), None) => (wire, root.key("where")),
            (None, Some(wire)) => {
                let here = root.key("partial");
                text(wire, &here)?;
                (wire, here)
            }
            (None, None) => return Ok(None),
        };
        if let Some(sql) = wire.as_str() {
            return self.expression(sql, &here).map(Some);
        }
        let condition = Condition::parse(wire, &here, &Field::parse)?;
        Ok(Some(index_predicate(&condition, self.table)))
    }
}
