//! The order of rows.

use serde_json::Value as Wire;

use super::condition::Names;
use crate::model::{
    Error, Result,
    field::Field,
    path::Path,
    wire::{field, known_keys, list, object, text},
};

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

const MAX_SORT_KEYS: usize = 100;

impl OrderBy {
    /// From the smallest up.
    pub const fn ascending(field: Field) -> Self {
        Self {
            field,
            direction: SortDirection::Asc,
            nulls: None,
        }
    }
}

/// The caller's keys, and behind them those of `ties` that are not among them: rows that agree in
/// all of those are the same row. Keys behind the last tie decide nothing and are left out.
pub fn total_order(keys: &[OrderBy], ties: &[Field]) -> Vec<OrderBy> {
    let mut order = keys.to_vec();
    let mut open: Vec<&Field> = ties.iter().collect();
    for (i, key) in keys.iter().enumerate() {
        open.retain(|tie| **tie != key.field);
        if open.is_empty() {
            order.truncate(i + 1);
            return order;
        }
    }
    order.extend(open.into_iter().cloned().map(OrderBy::ascending));
    order
}

/// Parses `orderBy`.
pub fn parse(wire: &Wire, path: &Path<'_>, names: Names<'_>) -> Result<Vec<OrderBy>> {
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
        let field = field(name, &here.key("field"), names)?;
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
