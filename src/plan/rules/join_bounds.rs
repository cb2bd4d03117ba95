//! Events joined within some time of an event are within some time of its bounds. PostgreSQL carries
//! equalities over a join and no inequalities: without their own bounds all events would be joined.

use super::{Change, Rule, conjuncts};
use crate::model::{
    field::{Column, Field, Relation},
    time::Timestamp,
    value::Value,
};
use crate::plan::{Facts, Logical};
use crate::query::{CompareOp, Condition, Leaf, Source, Test};

pub struct JoinBounds;

impl Rule for JoinBounds {
    fn name(&self) -> &'static str {
        "join-bounds"
    }

    fn apply(&self, plan: &Logical, _: &Facts<'_>) -> Option<Change> {
        let query = &plan.query;
        if query.from != Source::Events || query.joins.iter().all(|join| join.within.is_none()) {
            return None;
        }
        let (low, high) = bounds(conjuncts(&query.filter));
        let bounds: Vec<_> = (1..)
            .zip(&query.joins)
            .map(|(relation, join)| {
                let at = |op, at| {
                    let field = Field::Column(Column::Timestamp);
                    let field = Field::Joined(Relation(relation), Box::new(field));
                    Condition::leaf(field, Test::Compare(op, Value::Time(at)))
                };
                let Some(within) = join.within else {
                    return Condition::always();
                };
                let within = i64::try_from(within.as_micros()).ok();
                let low = low.map(|from| at(CompareOp::Gte, from));
                let high = high.and_then(|to| {
                    let end = to.as_micros().checked_add(within?)?;
                    Some(at(CompareOp::Lte, Timestamp::from_micros(end)))
                });
                Condition::And(low.into_iter().chain(high).collect())
            })
            .collect();
        if bounds.iter().all(Condition::is_always) || bounds == plan.access.join_bounds {
            return None;
        }
        let mut plan = plan.clone();
        plan.access.join_bounds = bounds;
        Some(Change {
            plan,
            reason:
                "what is joined within some time of an event lies within some time of its bounds"
                    .to_owned(),
        })
    }
}

/// The first and the last time that a conjunction lets through, where it has any.
fn bounds(arms: &[Condition]) -> (Option<Timestamp>, Option<Timestamp>) {
    let (mut low, mut high): (Option<Timestamp>, Option<Timestamp>) = (None, None);
    for arm in arms {
        let Condition::Leaf(Leaf { field, test }) = arm else {
            continue;
        };
        if *field != Field::Column(Column::Timestamp) {
            continue;
        }
        let (from, to) = match test {
            Test::Compare(CompareOp::Gt | CompareOp::Gte, Value::Time(at)) => (Some(*at), None),
            Test::Compare(CompareOp::Lt | CompareOp::Lte, Value::Time(at)) => (None, Some(*at)),
            Test::Compare(CompareOp::Eq, Value::Time(at)) => (Some(*at), Some(*at)),
            Test::Between(Value::Time(from), Value::Time(to)) => (Some(*from), Some(*to)),
            _ => (None, None),
        };
        low = low.max(from);
        high = [high, to].into_iter().flatten().min();
    }
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden;
    use super::*;
    use serde_json::json;

    #[test]
    fn the_bounds_of_an_event_bound_what_follows_it() {
        golden(
            &JoinBounds,
            &json!({ "filter": { "startTime": "2026-01-01", "endTime": "2026-01-02" },
                "joins": [{ "table": "events", "alias": "after", "on": { "tags.issueId": "tags.issueId" }, "within": "1 hour" }] }),
            "nothing",
            "join 1 where join 1.timestamp >= 2026-01-01T00:00:00.000Z and join 1.timestamp <= 2026-01-02T01:00:00.000Z",
        );
    }
}
