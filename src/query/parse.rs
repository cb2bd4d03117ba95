//! The whole query.

use std::hash::{Hash, Hasher};

use serde_json::{Map, Value as Wire};
use xxhash_rust::xxh3::Xxh3;

use super::condition::Condition;
use super::filter;
use super::group::Grouping;
use super::hints::Hints;
use super::join::{self, Join, table_name};
use super::matching::Matching;
use super::order::{self, OrderBy, total_order};
use super::scope::{Scope, Source};
use super::select::{self, Selected};
use super::since::Since;
use super::window::Window;
use crate::model::{
    Error, Result,
    catalog::Catalog,
    field::{Column, Field, Relation},
    path::Path,
    snapshot::Snapshot,
    wire::{known_keys, list, object, text, whole},
};

/// A checked query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// The caller's name for it.
    pub id: Option<String>,
    /// The table it reads.
    pub from: Source,
    /// What a row must satisfy.
    pub filter: Condition,
    /// What is joined.
    pub joins: Vec<Join>,
    /// The columns of a row; `None` for whole rows of the table it reads.
    pub select: Option<Vec<Selected>>,
    /// How rows are gathered, where they are.
    pub grouping: Option<Grouping>,
    /// The time it looks at. Fixed bounds are in the filter too.
    pub window: Option<Window>,
    /// As the caller wrote it; empty for the default.
    pub order_by: Vec<OrderBy>,
    /// The most rows.
    pub limit: Option<u64>,
    /// Rows left out at the start.
    pub offset: Option<u64>,
    /// A cursor's text.
    pub after: Option<String>,
    /// Only what was not seen.
    pub since: Option<Since>,
    /// How to run it.
    pub hints: Hints,
    /// The sequence or the pattern that it matches, where it does.
    pub matching: Option<Matching>,
}

const KEYS: [&str; 19] = [
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
    "since",
    "pattern",
    "sequence",
    "hints",
];

impl EventQuery {
    /// The tables that a query names beside the event table, for the catalog to look up. What is
    /// malformed names none: [`EventQuery::parse`] says so.
    pub fn tables(wire: &Wire, catalog: &Catalog) -> Vec<String> {
        let joined = wire.get("joins").and_then(Wire::as_array);
        let joined = joined
            .into_iter()
            .flatten()
            .filter_map(|join| join.get("table"));
        wire.get("from")
            .into_iter()
            .chain(joined)
            .filter_map(|name| table_name(name, &Path::Root).ok())
            .filter(|name| !catalog.is_events(name))
            .map(str::to_owned)
            .collect()
    }

    /// The path of the regular expression in a query, or of the filter where there are several:
    /// only the server can judge them, and it does not say which one it refused.
    pub fn regex_path(wire: &Wire) -> Option<String> {
        let mut found = Vec::new();
        find_regex(wire, &Path::Root, &mut found);
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
    pub fn parse(wire: &Wire, catalog: &Catalog) -> Result<Self> {
        let root = Path::Root;
        let members = object(wire, &root, "a query")?;
        known_keys(members, &root, &KEYS)?;
        let from = match members.get("from") {
            None => Source::Events,
            Some(wire) => {
                let here = root.key("from");
                join::source(table_name(wire, &here)?, &here, catalog)?
            }
        };
        let mut scope = Scope::of(from.clone());
        let matching = Matching::parse(members, &root, &scope)?;
        let joins = join::parse(members, &root, catalog, &mut scope)?;
        let filter = members
            .get("filter")
            .ok_or_else(|| Error::invalid("filter", "is missing; {} filters nothing"))?;
        let mut filter = filter::parse(filter, &root.key("filter"), &scope)?;
        let window = window(members, &root, &scope)?;
        if let Some(bounds) = window.as_ref().and_then(Window::condition) {
            filter = if filter.is_always() {
                bounds
            } else {
                Condition::And(vec![filter, bounds])
            };
        }
        let grouping = Grouping::parse(members, &root, &scope, window.as_ref())?;
        let select = match &grouping {
            Some(grouping) => {
                check_grouped_select(members, &root, grouping)?;
                None
            }
            None => select::parse(members, &root, &scope)?,
        };
        let order_by = members.get("orderBy").map_or(Ok(Vec::new()), |wire| {
            order::parse(wire, &root.key("orderBy"), &|name| match &grouping {
                Some(grouping) => grouping.field(name),
                // A name that `select` gave wins over a column, as in SQL.
                None => match select.iter().flatten().find(|s| s.name == name) {
                    Some(selected) => Ok(selected.field.clone()),
                    None => scope.field(name),
                },
            })
        })?;
        let (since, rest) = match members.get("since") {
            None => (None, None),
            Some(_) if !scope.reads_events() => {
                return Err(Error::invalid("since", "is for events"));
            }
            Some(wire) => {
                let (since, rest) = Since::parse(wire, &root.key("since"))?;
                (Some(since), rest)
            }
        };
        let after = string(members, &root, "after")?;
        let since = since.map(|since| Since {
            goes_on: since.goes_on && after.is_none(),
            ..since
        });
        let query = Self {
            id: string(members, &root, "id")?,
            from,
            filter,
            joins,
            select,
            grouping,
            window,
            order_by,
            limit: number(members, &root, "limit")?,
            offset: number(members, &root, "offset")?,
            after: after.or(rest),
            since,
            hints: members.get("hints").map_or(Ok(Hints::default()), |h| {
                Hints::parse(h, &root.key("hints"))
            })?,
            matching,
        };
        query.check()?;
        Ok(query)
    }

    fn check(&self) -> Result<()> {
        if self.id.as_deref() == Some("") {
            return Err(Error::invalid("id", "is empty"));
        }
        if self.since.is_some() && self.offset.is_some() {
            return Err(Error::invalid(
                "offset",
                "does not go with since: the token of an answer says where the next one begins",
            ));
        }
        if self.since.is_some()
            && self.limit.is_some()
            && !self.names_unknown()
            && !self.can_continue()
        {
            return Err(Error::invalid(
                "limit",
                "does not go with since where a table has no primary key: what is left out could not be asked for",
            ));
        }
        if self.after.is_some() && self.offset.is_some() {
            return Err(Error::invalid(
                "after",
                "does not go with offset: a cursor says where to begin",
            ));
        }
        if self.after.is_some() && !self.names_unknown() && !self.can_continue() {
            return Err(Error::invalid(
                "after",
                "needs rows that can be told apart, and a table here has no primary key",
            ));
        }
        Ok(())
    }

    /// The query as it looks at the events that a snapshot sees, and at no later ones.
    pub fn upto(&self, now: Option<Snapshot>) -> Self {
        let mut frozen = self.clone();
        if let Some(since) = &mut frozen.since {
            since.upto = now;
        }
        frozen
    }

    /// Whether rows must come in a total order: they are cut, or continued.
    pub const fn is_paged(&self) -> bool {
        self.limit.is_some() || self.offset.is_some() || self.after.is_some()
    }

    /// Whether a page can be continued: its rows can be told apart.
    pub fn can_continue(&self) -> bool {
        self.ties().is_some()
    }

    /// Whether there is a table in it that was not looked up: what only its catalog can tell is
    /// judged once it was.
    fn names_unknown(&self) -> bool {
        let joined = self.joins.iter().map(|join| &join.source);
        std::iter::once(&self.from)
            .chain(joined)
            .any(|source| !source.is_known())
    }

    /// Whether it gives no rows where no row satisfies its filter.
    pub fn needs_rows(&self) -> bool {
        let Some(grouping) = &self.grouping else {
            return true;
        };
        let nothing = matches!(self.window, Some(Window::Between(Some(a), Some(b))) if a == b);
        !grouping.makes_rows() || (nothing && !grouping.is_whole())
    }

    /// The order that rows come in, made total where rows are cut or continued.
    pub fn order(&self) -> Vec<OrderBy> {
        let in_time = (self.grouping.as_ref()).is_some_and(|grouping| grouping.bucket.is_some());
        if self.is_paged() || (in_time && self.order_by.is_empty()) {
            self.total_order()
        } else {
            self.order_by.clone()
        }
    }

    /// Without keys (timestamp, id), or the groups; else the caller's keys, and behind them what
    /// tells rows apart.
    fn total_order(&self) -> Vec<OrderBy> {
        let ties = self.ties().unwrap_or_default();
        let by_time = OrderBy::ascending(Field::Column(Column::Timestamp));
        if self.order_by.is_empty() && self.grouping.is_none() && self.from == Source::Events {
            return total_order(&[by_time], &ties);
        }
        total_order(&self.order_by, &ties)
    }

    /// The fields that tell rows apart; `None` where a table has no primary key.
    fn ties(&self) -> Option<Vec<Field>> {
        if let Some(grouping) = &self.grouping {
            let columns = grouping.key_columns().into_iter();
            return Some(columns.map(|column| Field::Output(column.output)).collect());
        }
        let joined = self.joins.iter().map(|join| (&join.source, join.left));
        let mut ties = Vec::new();
        for (relation, (source, optional)) in
            (0..).zip(std::iter::once((&self.from, false)).chain(joined))
        {
            ties.extend(source.key(Relation(relation), optional)?);
        }
        Some(ties)
    }

    /// What a cursor of this query must have come from: the same tables, constants, groups and
    /// order. Limit, selection and hints may change between pages.
    pub fn identity(&self, table: &str) -> u64 {
        let mut hasher = Xxh3::new();
        (table, &self.from, &self.filter, &self.joins).hash(&mut hasher);
        (&self.grouping, &self.window, self.total_order()).hash(&mut hasher);
        self.since.hash(&mut hasher);
        hasher.finish()
    }
}

fn window(members: &Map<String, Wire>, root: &Path<'_>, scope: &Scope) -> Result<Option<Window>> {
    match members.get("timeWindow") {
        None => Ok(None),
        Some(_) if !scope.reads_events() => Err(Error::invalid("timeWindow", "is for events")),
        Some(wire) => Window::parse(wire, &root.key("timeWindow")).map(Some),
    }
}

/// With groups, `select` may only repeat their fields.
fn check_grouped_select(
    members: &Map<String, Wire>,
    root: &Path<'_>,
    grouping: &Grouping,
) -> Result<()> {
    let columns = grouping.key_columns();
    for part in ["select", "selectAs"] {
        let Some(wire) = members.get(part) else {
            continue;
        };
        let path = root.key(part);
        for (i, item) in list(wire, &path, "fields")?.iter().enumerate() {
            let place = path.index(i);
            let (here, name, field) = match item.as_array().map(Vec::as_slice) {
                Some([Wire::String(name), field]) if part == "selectAs" => {
                    let here = path.key(name);
                    (here, name.as_str(), text(field, &here)?)
                }
                _ => (place, text(item, &place)?, text(item, &place)?),
            };
            if name != field || !columns.iter().any(|column| column.name == name) {
                return Err(Error::invalid(
                    here,
                    "is no group: with groups or aggregates, select may only repeat group fields",
                ));
            }
        }
    }
    Ok(())
}

fn number(members: &Map<String, Wire>, root: &Path<'_>, key: &str) -> Result<Option<u64>> {
    members
        .get(key)
        .map(|wire| whole(wire, &root.key(key)))
        .transpose()
}

fn string(members: &Map<String, Wire>, root: &Path<'_>, key: &str) -> Result<Option<String>> {
    members
        .get(key)
        .map(|wire| text(wire, &root.key(key)).map(str::to_owned))
        .transpose()
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
