//! A partial index is used where PostgreSQL sees that its predicate holds. It does not see it through
//! bound values in a plan that serves many, nor through the clock: what follows from the query is said
//! once more, by the constants of the index.

use super::{Change, Rule};
use crate::model::field::{Column, Field};
use crate::plan::{Facts, Logical};
use crate::query::{Condition, Source};

pub struct PartialIndex;

impl Rule for PartialIndex {
    fn name(&self) -> &'static str {
        "partial-index"
    }

    fn apply(&self, plan: &Logical, facts: &Facts<'_>) -> Option<Change> {
        let query = &plan.query;
        let indexes = facts.indexes?;
        if query.from != Source::Events || !plan.access.literals.is_empty() {
            return None;
        }
        let mut tested = Vec::new();
        fields_of(&query.filter, &mut tested);
        if query.window.is_some() {
            tested.push(Field::Column(Column::Timestamp));
        }
        let found = indexes.list.iter().find(|index| {
            index.constants().next().is_some()
                && index.covers(query, indexes.read_at)
                && index
                    .columns
                    .first()
                    .is_some_and(|first| first.as_ref().is_some_and(|field| tested.contains(field)))
        })?;
        let literals: Vec<Condition> = found.constants().cloned().collect();
        let mut plan = plan.clone();
        plan.access.literals = literals;
        Some(Change {
            plan,
            reason: format!(
                "so that {} can be used, whose predicate follows from the query",
                found.name
            ),
        })
    }
}

fn fields_of(condition: &Condition, fields: &mut Vec<Field>) {
    match condition {
        Condition::And(arms) => {
            for arm in arms {
                fields_of(arm, fields);
            }
        }
        Condition::Leaf(leaf) => fields.push(leaf.field.clone()),
        Condition::Or(_) | Condition::Not(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden_with, index, indexed, unchanged_with};
    use super::*;
    use serde_json::json;

    const ROLLING: &str = "(\"timestamp\" >= '2026-01-01 00:00:00+00'::timestamp with time zone)";

    #[test]
    fn what_follows_is_said_in_the_index_s_own_words() {
        let rolling = || {
            vec![index(
                "idx_recent",
                "btree",
                &["(tags ->> 'issueId'::text)", "\"timestamp\""],
                Some(ROLLING),
            )]
        };
        let since = |at: &str| json!({ "filter": { "issueIds": ["1"], "startTime": at } });
        indexed(rolling(), |facts| {
            golden_with(
                &PartialIndex,
                &since("2026-02-01"),
                facts,
                "nothing",
                "said in full: timestamp >= 2026-01-01T00:00:00.000Z",
            );
            unchanged_with(&PartialIndex, &since("2025-12-31"), facts);
        });
        // The clock was at 2026-06-01 when the indexes were read.
        let last = |length: &str| json!({ "filter": { "issueIds": ["1"] }, "timeWindow": { "last": length } });
        indexed(rolling(), |facts| {
            golden_with(
                &PartialIndex,
                &last("7 days"),
                facts,
                "nothing",
                "said in full: timestamp >= 2026-01-01T00:00:00.000Z",
            );
            unchanged_with(&PartialIndex, &last("151 days"), facts);
        });
    }

    #[test]
    fn types_of_a_predicate() {
        let partial = || {
            vec![index(
                "idx_done",
                "btree",
                &["event_type"],
                Some("(event_type = ANY (ARRAY['A'::text, 'B'::text]))"),
            )]
        };
        let types = |types: &[&str]| json!({ "filter": { "eventTypes": types } });
        indexed(partial(), |facts| {
            golden_with(
                &PartialIndex,
                &types(&["B"]),
                facts,
                "nothing",
                r#"said in full: type in ["A", "B"]"#,
            );
            unchanged_with(&PartialIndex, &types(&["B", "C"]), facts);
        });
    }
}
