//! Equality of a tag that no index is on, where one is on all tags: `tags @> '{"key": "value"}'` finds
//! the events in it. A text may also be that of a number or a boolean, which containment tells from a
//! string, so that the equality itself is tested too.

use super::{Change, Rule};
use crate::model::{
    field::{Column, Field},
    value::Value,
};
use crate::plan::{Facts, Logical, text};
use crate::query::{CompareOp, Condition, Leaf, Source, Test};

pub struct TagContainment;

impl Rule for TagContainment {
    fn name(&self) -> &'static str {
        "tag-containment"
    }

    fn apply(&self, plan: &Logical, facts: &Facts<'_>) -> Option<Change> {
        let query = &plan.query;
        if query.from != Source::Events || !query.joins.is_empty() {
            return None;
        }
        let indexes = facts.indexes?;
        let mut tags = Vec::new();
        tags_of(&query.filter, &mut tags);
        tags.retain(|tag| {
            let is_on_it = |field: &Option<Field>| field.as_ref() == Some(*tag);
            !plan.access.contained.contains(tag)
                && !indexes.list.iter().any(|i| {
                    i.columns.first().is_some_and(is_on_it) && i.covers(query, indexes.read_at)
                })
        });
        let first = tags.first()?;
        let gin = indexes.list.iter().find(|index| {
            index.method == "gin"
                && index.columns.contains(&Some(Field::Column(Column::Tags)))
                && index.covers(query, indexes.read_at)
        })?;
        let reason = format!(
            "{} holds all tags, and no index is on {}",
            gin.name,
            text::field(first)
        );
        let tags: Vec<_> = tags.into_iter().cloned().collect();
        let mut plan = plan.clone();
        plan.access.contained.extend(tags);
        Some(Change { plan, reason })
    }
}

/// Tags that must equal a text.
fn tags_of<'c>(condition: &'c Condition, tags: &mut Vec<&'c Field>) {
    match condition {
        Condition::And(arms) | Condition::Or(arms) => {
            for arm in arms {
                tags_of(arm, tags);
            }
        }
        Condition::Leaf(Leaf {
            field: field @ Field::Tag(_),
            test: Test::Compare(CompareOp::Eq, Value::Text(_)),
        }) if !tags.contains(&field) => tags.push(field),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden_with, index, indexed, unchanged_with};
    use super::*;
    use serde_json::json;

    #[test]
    fn the_index_on_all_tags_serves_where_none_is_on_this_one() {
        let query = json!({ "filter": { "issueIds": ["42"], "tags": { "repo": "x" } } });
        let gin = index("idx_tags", "gin", &["tags"], None);
        let issue = index(
            "idx_issue",
            "btree",
            &["(tags ->> 'issueId'::text)"],
            Some("((tags ->> 'issueId'::text) IS NOT NULL)"),
        );
        indexed(vec![gin, issue.clone()], |facts| {
            golden_with(
                &TagContainment,
                &query,
                facts,
                "nothing",
                "tags.repo by containment",
            );
        });
        indexed(vec![issue], |facts| {
            unchanged_with(&TagContainment, &query, facts);
        });
    }
}
