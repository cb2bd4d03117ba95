//! Ids are unique, so there are as many different ones as events: nothing need be sorted.

use super::{Change, Rule};
use crate::model::field::{Column, Field};
use crate::plan::{Facts, Logical};
use crate::query::{Aggregate, Function, Source};

pub struct CountUnique;

impl Rule for CountUnique {
    fn name(&self) -> &'static str {
        "count-unique"
    }

    fn apply(&self, plan: &Logical, facts: &Facts<'_>) -> Option<Change> {
        let query = &plan.query;
        let grouping = query.grouping.as_ref()?;
        // A join repeats events.
        if query.from != Source::Events
            || !query.joins.is_empty()
            || !grouping.aggregates.iter().any(counts_ids)
        {
            return None;
        }
        let id = Some(Field::Column(Column::Id));
        let unique = facts.indexes?.list.iter().find(|index| {
            index.unique && index.predicate.is_empty() && index.columns == [id.clone()]
        })?;
        let mut plan = plan.clone();
        for aggregate in plan
            .query
            .grouping
            .iter_mut()
            .flat_map(|g| &mut g.aggregates)
        {
            if counts_ids(aggregate) {
                aggregate.function = Function::Count;
                aggregate.field = None;
            }
        }
        Some(Change {
            plan,
            reason: format!("{} holds each id once: events are counted", unique.name),
        })
    }
}

fn counts_ids(aggregate: &Aggregate) -> bool {
    aggregate.function == Function::CountDistinct
        && aggregate.field == Some(Field::Column(Column::Id))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden_with, index, indexed, unchanged};
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_counted_as_events() {
        let query = json!({ "filter": {}, "groupBy": ["type"], "aggregates": [{ "fn": "countDistinct", "field": "id", "as": "n" }] });
        indexed(
            vec![crate::plan::Index {
                unique: true,
                ..index("events_pkey", "btree", &["event_id"], None)
            }],
            |facts| {
                golden_with(
                    &CountUnique,
                    &query,
                    facts,
                    "n = countDistinct(id)",
                    "n = count()",
                );
            },
        );
        unchanged(&CountUnique, &query);
    }
}
