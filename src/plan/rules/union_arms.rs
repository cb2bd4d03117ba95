//! The first rows of several lists: each value of a list, or each alternative, is read by an index that
//! has its rows in the wanted order, no more of them than are wanted in all, and the server merges them.
//! In one piece it would fetch and sort all that match.
//!
//! Arms are disjoint, so no row comes twice: values of a list differ, and an alternative leaves out what
//! those before it gave.

use super::{Change, Rule, conjuncts};
use crate::model::field::{Field, Kind};
use crate::plan::{Facts, Index, Indexes, Logical, normal, text};
use crate::query::{CompareOp, Condition, EventQuery, Leaf, Source, Test};

pub struct UnionArms;

/// Each arm is a scan to begin and a heap to fill.
const MOST_ARMS: usize = 16;
/// What each arm may have to give.
const MOST_ROWS: u64 = 10_000;

impl Rule for UnionArms {
    fn name(&self) -> &'static str {
        "union-arms"
    }

    fn apply(&self, plan: &Logical, facts: &Facts<'_>) -> Option<Change> {
        let query = &plan.query;
        let indexes = facts.indexes?;
        let rows = query.limit?.checked_add(query.offset.unwrap_or(0))?;
        let is_simple = query.from == Source::Events
            && query.joins.is_empty()
            && query.grouping.is_none()
            && query.since.is_none()
            && query.matching.is_none()
            && facts.target.stand_in.is_none()
            // Who names an index has chosen how the rows are read.
            && !query.hints.name_indexes();
        if !is_simple || rows == 0 || rows > MOST_ROWS || !plan.access.arms.is_empty() {
            return None;
        }
        let first = query.order().into_iter().next()?;
        // By columns that every collation orders alike.
        if !matches!(first.field.kind(), Kind::Time | Kind::Uuid) || first.nulls.is_some() {
            return None;
        }
        let all = conjuncts(&query.filter);
        for (place, arm) in all.iter().enumerate() {
            let Some(choices) = choices(arm) else {
                continue;
            };
            let beside: Vec<_> = (all.iter().enumerate())
                .filter(|(i, _)| *i != place)
                .map(|(_, arm)| arm.clone())
                .collect();
            let mut arms = Vec::with_capacity(choices.len());
            let mut used: Vec<&str> = Vec::new();
            for choice in &choices {
                let filter = normal::all(beside.iter().cloned().chain([choice.clone()]));
                let query = EventQuery {
                    filter,
                    ..query.clone()
                };
                let Some(index) = serving(&query, &first.field, indexes) else {
                    break;
                };
                if !used.contains(&index.name.as_str()) {
                    used.push(&index.name);
                }
                arms.push(query.filter);
            }
            if arms.len() == choices.len() {
                let reason = format!(
                    "{} has the rows of each arm by {}: the first of each are merged, and not all sorted",
                    used.join(", "),
                    text::field(&first.field)
                );
                let mut plan = plan.clone();
                plan.access.arms = arms;
                return Some(Change { plan, reason });
            }
        }
        None
    }
}

/// The arms of a list or of alternatives, none of which gives another's rows.
fn choices(arm: &Condition) -> Option<Vec<Condition>> {
    match arm {
        Condition::Leaf(Leaf {
            field,
            test: Test::In {
                values,
                negated: false,
            },
        }) if field.kind() != Kind::Json && values.len() <= MOST_ARMS => Some(
            values
                .iter()
                .map(|value| {
                    let test = Test::Compare(CompareOp::Eq, value.clone());
                    Condition::leaf(field.clone(), test)
                })
                .collect(),
        ),
        Condition::Or(alternatives) if (2..=MOST_ARMS).contains(&alternatives.len()) => {
            let mut before: Vec<Condition> = Vec::new();
            let mut arms = Vec::with_capacity(alternatives.len());
            for alternative in alternatives {
                arms.push(normal::all(
                    [alternative.clone()].into_iter().chain(before.clone()),
                ));
                before.push(not_true(alternative)?);
            }
            Some(arms)
        }
        _ => None,
    }
}

/// That an equality does not hold, or is unknown.
fn not_true(alternative: &Condition) -> Option<Condition> {
    let Condition::Leaf(Leaf { field, test }) = alternative else {
        return None;
    };
    let Test::Compare(CompareOp::Eq, value) = test else {
        return None;
    };
    let other = Condition::leaf(field.clone(), Test::Compare(CompareOp::Ne, value.clone()));
    let missing = || Condition::leaf(field.clone(), Test::Exists(false));
    Some(if field.nullable() {
        normal::any([other, missing()])
    } else {
        other
    })
}

/// An index that gives a query's rows in an order that begins with a field: what stands before it in
/// the index is equal in all of them.
fn serving<'i>(query: &EventQuery, first: &Field, indexes: &'i Indexes) -> Option<&'i Index> {
    let equal: Vec<_> = (conjuncts(&query.filter).iter())
        .filter_map(|arm| match arm {
            Condition::Leaf(Leaf {
                field,
                test: Test::Compare(CompareOp::Eq, _),
            }) => Some(field),
            _ => None,
        })
        .collect();
    indexes.list.iter().find(|index| {
        let place = index
            .columns
            .iter()
            .position(|column| column.as_ref() == Some(first));
        index.method == "btree"
            && place.is_some_and(|place| {
                place > 0
                    && index.columns[..place]
                        .iter()
                        .all(|column| column.as_ref().is_some_and(|field| equal.contains(&field)))
            })
            && index.covers(query, indexes.read_at)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden_with, index, indexed, unchanged_with};
    use super::*;
    use serde_json::json;

    #[test]
    fn each_value_of_a_list_is_an_arm() {
        let by_issue = || {
            vec![index(
                "idx_issue",
                "btree",
                &["(tags ->> 'issueId'::text)", "\"timestamp\""],
                Some("((tags ->> 'issueId'::text) IS NOT NULL)"),
            )]
        };
        let query =
            json!({ "filter": { "issueIds": ["1", "2"], "eventTypes": ["A"] }, "limit": 5 });
        indexed(by_issue(), |facts| {
            golden_with(
                &UnionArms,
                &query,
                facts,
                "nothing",
                r#"arm 1: type = "A" and tags.issueId = "1"; arm 2: type = "A" and tags.issueId = "2""#,
            );
            for other in [
                json!({ "filter": { "issueIds": ["1", "2"] } }),
                json!({ "filter": { "issueIds": ["1", "2"] }, "limit": 5, "orderBy": [{ "field": "type" }] }),
                json!({ "filter": { "prIds": ["1", "2"] }, "limit": 5 }),
            ] {
                unchanged_with(&UnionArms, &other, facts);
            }
        });
    }

    #[test]
    fn alternatives_leave_out_what_came_before() {
        let both = vec![
            index(
                "idx_issue",
                "btree",
                &["(tags ->> 'issueId'::text)", "\"timestamp\""],
                None,
            ),
            index("idx_type", "btree", &["event_type", "\"timestamp\""], None),
        ];
        let query = json!({ "filter": { "where": { "or": [
            { "field": "tags.issueId", "op": "eq", "value": "1" },
            { "field": "type", "op": "eq", "value": "A" }
        ] } }, "orderBy": [{ "field": "timestamp", "direction": "desc" }], "limit": 5 });
        indexed(both, |facts| {
            golden_with(
                &UnionArms,
                &query,
                facts,
                "nothing",
                r#"arm 1: tags.issueId = "1"; arm 2: type = "A" and (tags.issueId <> "1" or tags.issueId is missing)"#,
            );
        });
    }
}
