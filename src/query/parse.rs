//! The whole query.

use std::hash::{Hash, Hasher};

use serde_json::{Map, Value as Wire};
use xxhash_rust::xxh3::Xxh3;

use super::condition::Condition;
use super::filter;
use super::hints::Hints;
use crate::model::{
    Error, Result,
    field::{Column, Field},
    path::Path,
    wire::{field, known_keys, list, object, text, whole},
};

/// A checked query over events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// The caller's name for it.
    pub id: Option<String>,
    /// What an event must satisfy.
    pub filter: Condition,
    /// The columns of a row; `None` for whole events.
    pub select: Option<Vec<Output>>,
    /// As the caller wrote it; empty for the default.
    pub order_by: Vec<OrderBy>,
    /// The most rows.
    pub limit: Option<u64>,
    /// Rows left out at the start.
    pub offset: Option<u64>,
    /// A cursor's text.
    pub after: Option<String>,
    /// How to run it.
    pub hints: Hints,
}

/// A column of the result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// The key in a row.
    pub name: String,
    /// What it holds.
    pub field: Field,
}

/// One key of the order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderBy {
    /// What is compared.
    pub field: Field,
    /// Which way.
    pub direction: SortDirection,
    /// Where missing values go; `None` for PostgreSQL's default, which takes them as greatest.
    pub nulls: Option<NullsOrder>,
}

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SortDirection {
    /// Smallest first.
    Asc,
    /// Greatest first.
    Desc,
}

/// Where missing values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NullsOrder {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

const KEYS: [&str; 18] = [
    "id",
    "filter",
    "from",
    "select",
    "selectAs",
    "joins",
    "groupBy",
    "aggregates",
    "timeWindow",
    "timeBucket",
    "having",
    "orderBy",
    "limit",
    "offset",
    "after",
    "pattern",
    "sequence",
    "hints",
];
/// Parts of the contract that this version declines, each by name, rather than ignore it.
const UNSUPPORTED: [&str; 9] = [
    "from",
    "joins",
    "groupBy",
    "aggregates",
    "timeWindow",
    "timeBucket",
    "having",
    "pattern",
    "sequence",
];

impl EventQuery {
    /// Parses the JSON text of a query.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn from_json(text: &str) -> Result<Self> {
        let wire: Wire = serde_json::from_str(text)
            .map_err(|e| Error::invalid("", format!("is not JSON: {e}")))?;
        Self::parse(&wire)
    }

    /// The path of the regular expression in a query's JSON text, or of the filter where there are
    /// several: only the server can judge them, and it does not say which one it refused.
    pub fn regex_path(text: &str) -> Option<String> {
        memchr::memmem::find(text.as_bytes(), b"\"regex\"")?;
        let wire: Wire = serde_json::from_str(text).ok()?;
        let mut found = Vec::new();
        find_regex(&wire, &Path::Root, &mut found);
        match found.len() {
            1 => found.pop(),
            0 => None,
            _ => Some("filter".to_owned()),
        }
    }

    /// Parses a query as the API writes it.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let members = object(wire, &root, "a query")?;
        known_keys(members, &root, &KEYS)?;
        if let Some(part) = UNSUPPORTED.iter().find(|k| members.contains_key(**k)) {
            return Err(Error::Unsupported {
                path: (*part).to_owned(),
                what: "this version has no such queries yet".into(),
            });
        }
        let filter = members
            .get("filter")
            .ok_or_else(|| Error::invalid("filter", "is missing; {} filters nothing"))?;
        let filter = filter::parse(filter, &root.key("filter"))?;
        let select = parse_select(members, &root)?;
        let order_by = members.get("orderBy").map_or(Ok(Vec::new()), |o| {
            parse_order(o, &root.key("orderBy"), select.as_deref())
        })?;
        let number = |key: &'static str| {
            members
                .get(key)
                .map(|n| whole(n, &root.key(key)))
                .transpose()
        };
        let (limit, offset) = (number("limit")?, number("offset")?);
        let string = |key: &'static str| {
            members
                .get(key)
                .map(|t| text(t, &root.key(key)).map(str::to_owned))
                .transpose()
        };
        let (id, after) = (string("id")?, string("after")?);
        if id.as_deref() == Some("") {
            return Err(Error::invalid("id", "is empty"));
        }
        if after.is_some() && offset.is_some() {
            return Err(Error::invalid(
                "after",
                "does not go with offset: a cursor says where to begin",
            ));
        }
        let hints = members.get("hints").map_or(Ok(Hints::default()), |h| {
            Hints::parse(h, &root.key("hints"))
        })?;
        Ok(Self {
            id,
            filter,
            select,
            order_by,
            limit,
            offset,
            after,
            hints,
        })
    }

    /// Whether rows must come in a total order: they are cut, or continued.
    pub const fn is_paged(&self) -> bool {
        self.limit.is_some() || self.offset.is_some() || self.after.is_some()
    }

    /// The order that rows come in, made total where rows are cut or continued.
    pub fn order(&self) -> Vec<OrderBy> {
        if self.is_paged() {
            total_order(&self.order_by)
        } else {
            self.order_by.clone()
        }
    }

    /// What a cursor of this query must have come from: the same table, constants and order.
    /// Limit, selection and hints may change between pages.
    pub fn identity(&self, table: &str) -> u64 {
        let mut hasher = Xxh3::new();
        (table, &self.filter, total_order(&self.order_by)).hash(&mut hasher);
        hasher.finish()
    }
}

/// Without keys (timestamp, id); else the caller's keys, and the id behind them where it is not
/// among them already. Keys behind the id decide nothing and are left out.
fn total_order(keys: &[OrderBy]) -> Vec<OrderBy> {
    let ascending = |column| OrderBy {
        field: Field::Column(column),
        direction: SortDirection::Asc,
        nulls: None,
    };
    let mut order = keys.to_vec();
    if order.is_empty() {
        order.push(ascending(Column::Timestamp));
    }
    match order
        .iter()
        .position(|key| key.field == Field::Column(Column::Id))
    {
        Some(at) => order.truncate(at + 1),
        None => order.push(ascending(Column::Id)),
    }
    order
}

fn find_regex(wire: &Wire, path: &Path<'_>, found: &mut Vec<String>) {
    match wire {
        Wire::Object(members) if members.get("op").and_then(Wire::as_str) == Some("regex") => {
            found.push(path.key("value").to_string());
        }
        Wire::Object(members) => {
            members
                .iter()
                .for_each(|(key, value)| find_regex(value, &path.key(key), found));
        }
        Wire::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(i, item)| find_regex(item, &path.index(i), found));
        }
        _ => {}
    }
}

/// PostgreSQL takes 1,664 columns, and sort keys are columns too: two of each JSON field.
const MAX_SELECTED: usize = 1000;
const MAX_SORT_KEYS: usize = 100;

/// The columns of `select`, a list of fields, and of `selectAs`, a list of names and fields.
/// Repeated fields collapse; `None` where neither is there.
fn parse_select(members: &Map<String, Wire>, root: &Path<'_>) -> Result<Option<Vec<Output>>> {
    let mut outputs: Vec<Output> = Vec::new();
    let mut add =
        |output: Output, path: &Path<'_>| match outputs.iter().find(|o| o.name == output.name) {
            None if outputs.len() == MAX_SELECTED => Err(Error::invalid(
                path,
                "is one field more than the 1,000 that can be selected",
            )),
            None => {
                outputs.push(output);
                Ok(())
            }
            Some(same) if same.field == output.field => Ok(()),
            Some(_) => Err(Error::invalid(path, "is a name that another field has")),
        };
    if let Some(wire) = members.get("select") {
        let here = root.key("select");
        for (i, item) in list(wire, &here, "fields")?.iter().enumerate() {
            let here = here.index(i);
            let output = Output {
                name: text(item, &here)?.to_owned(),
                field: field(item, &here)?,
            };
            add(output, &here)?;
        }
    }
    if let Some(wire) = members.get("selectAs") {
        let here = root.key("selectAs");
        for pair in list(wire, &here, "names and fields")? {
            let Some([Wire::String(name), wanted]) = pair.as_array().map(Vec::as_slice) else {
                return Err(Error::invalid(
                    here,
                    "must be an object of names and fields",
                ));
            };
            let here = here.key(name);
            if name.is_empty() || name.contains('\0') {
                return Err(Error::invalid(
                    here,
                    "is no name: it is empty or contains U+0000",
                ));
            }
            add(
                Output {
                    name: name.clone(),
                    field: field(wanted, &here)?,
                },
                &here,
            )?;
        }
    }
    Ok((!outputs.is_empty()).then_some(outputs))
}

fn parse_order(wire: &Wire, path: &Path<'_>, select: Option<&[Output]>) -> Result<Vec<OrderBy>> {
    let mut order: Vec<OrderBy> = Vec::new();
    for (i, item) in list(wire, path, "sort keys")?.iter().enumerate() {
        let here = path.index(i);
        let members = object(
            item,
            &here,
            "a sort key such as { field: 'timestamp', direction: 'desc' }",
        )?;
        known_keys(members, &here, &["field", "direction", "nulls"])?;
        let name = members
            .get("field")
            .ok_or_else(|| Error::invalid(here.key("field"), "is missing"))?;
        // A name that `select` gave wins over a column, as in SQL.
        let named = select.and_then(|outputs| {
            outputs
                .iter()
                .find(|o| Some(o.name.as_str()) == name.as_str())
        });
        let field =
            named.map_or_else(|| field(name, &here.key("field")), |o| Ok(o.field.clone()))?;
        let direction = match word(members.get("direction"), &here.key("direction"))? {
            None | Some("asc") => SortDirection::Asc,
            Some("desc") => SortDirection::Desc,
            Some(_) => {
                return Err(Error::invalid(
                    here.key("direction"),
                    "must be 'asc' or 'desc'",
                ));
            }
        };
        let nulls = match word(members.get("nulls"), &here.key("nulls"))? {
            None => None,
            Some("first") => Some(NullsOrder::First),
            Some("last") => Some(NullsOrder::Last),
            Some(_) => {
                return Err(Error::invalid(
                    here.key("nulls"),
                    "must be 'first' or 'last'",
                ));
            }
        };
        // A field that was a key before decides nothing.
        if !order.iter().any(|o| o.field == field) {
            if order.len() == MAX_SORT_KEYS {
                return Err(Error::invalid(
                    here,
                    "is one key more than the 100 that can be sorted by",
                ));
            }
            order.push(OrderBy {
                field,
                direction,
                nulls,
            });
        }
    }
    Ok(order)
}

fn word<'a>(wire: Option<&'a Wire>, path: &Path<'_>) -> Result<Option<&'a str>> {
    wire.map(|w| text(w, path)).transpose()
}
