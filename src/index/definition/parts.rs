//! The keys and the predicate of a definition: the parts in which a caller's own SQL may stand. The
//! functions it names are gathered, since only the server knows whether an index may hold them.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Wire};

use super::{Key, Method};
use crate::model::{
    Error, Result,
    field::{Field, Kind},
    path::Path,
    table::{TableNames, identifier_problem, quote_ident},
    wire::{field, known_keys, list, object, text},
};
use crate::query::Condition;
use crate::sql::{Called, check_expression, index_expression, index_predicate};

const COLUMN_KEYS: [&str; 5] = ["field", "expression", "direction", "nulls", "operatorClass"];
/// PostgreSQL's own limit.
const MOST_KEYS: usize = 32;

pub(super) struct Parts<'a> {
    pub(super) table: &'a TableNames,
    pub(super) columns: &'a [String],
    pub(super) functions: BTreeSet<(Called, String)>,
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

    pub(super) fn keys(
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

    pub(super) fn predicate(
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
