//! A query on its way to SQL, and the text by which people follow its rewrites.

use std::fmt::Write;

use super::text;
use crate::query::{Condition, EventQuery, NullsOrder, OrderBy, SortDirection};
use crate::sql::Access;

/// A query and what the rules decided of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Logical {
    /// The query, rewritten.
    pub query: EventQuery,
    /// How it is read.
    pub access: Access,
}

impl Logical {
    /// A query that no rule has seen.
    pub fn of(query: EventQuery) -> Self {
        Self {
            query,
            access: Access::default(),
        }
    }

    /// Whether no row can satisfy it, and none is needed for an answer.
    pub fn is_empty(&self) -> bool {
        is_false(&self.query.filter) && self.query.needs_rows()
    }

    /// The plan, a line for each of its parts; parts that say nothing are left out.
    pub fn lines(&self) -> Vec<String> {
        let query = &self.query;
        let mut lines = Vec::new();
        if !query.filter.is_always() {
            lines.push(format!("filter {}", text::condition(&query.filter)));
        }
        if let Some(grouping) = &query.grouping {
            let names: Vec<_> = grouping.keys.iter().map(|key| key.name.as_str()).collect();
            if !names.is_empty() {
                lines.push(format!("group by {}", names.join(", ")));
            }
            for aggregate in &grouping.aggregates {
                let mut line = format!("{} = {}", aggregate.name, text::function(aggregate));
                if let Some(filter) = &aggregate.filter {
                    let _ = write!(line, " where {}", text::condition(filter));
                }
                lines.push(line);
            }
            if let Some(having) = grouping.having.as_ref().filter(|h| !h.is_always()) {
                lines.push(format!("having {}", text::condition(having)));
            }
        }
        let order: Vec<_> = query.order().iter().map(sort_key).collect();
        if !order.is_empty() {
            lines.push(format!("order by {}", order.join(", ")));
        }
        lines.extend(query.limit.map(|n| format!("limit {n}")));
        lines.extend(query.offset.map(|n| format!("offset {n}")));
        lines.extend(text::access(&self.access));
        lines
    }

    /// The lines of this plan that are not in another.
    pub fn lines_beside(&self, other: &Self) -> String {
        let others = other.lines();
        let mut mine = self.lines();
        mine.retain(|line| !others.contains(line));
        if mine.is_empty() {
            "nothing".to_owned()
        } else {
            mine.join("; ")
        }
    }
}

/// Whether a condition is the constant false, as [`Logical`] plans write it.
pub const fn is_false(condition: &Condition) -> bool {
    matches!(condition, Condition::Or(arms) if arms.is_empty())
}

fn sort_key(key: &OrderBy) -> String {
    let mut text = text::field(&key.field);
    if key.direction == SortDirection::Desc {
        text.push_str(" desc");
    }
    match key.nulls {
        Some(NullsOrder::First) => text.push_str(" nulls first"),
        Some(NullsOrder::Last) => text.push_str(" nulls last"),
        None => {}
    }
    text
}
