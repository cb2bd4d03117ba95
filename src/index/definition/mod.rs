//! A definition of an index, checked as far as it can be without the server, and the SQL it stands
//! for.

mod parse;
mod parts;

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value as Wire;

use crate::model::{
    Error, Result,
    field::Column,
    table::{TableNames, identifier_problem, quote_ident},
};
use crate::sql::Called;

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

/// Names of half-built indexes: no caller's index may look like one.
pub const RESERVED: &str = "tamma~";

impl Definition {
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
