//! How a query can be cut into slices that are answered at the same time, and how the slices meet.

use crate::model::{
    field::{Column, Field, Kind},
    time::Timestamp,
    value::Value,
};
use crate::query::{Aggregate, CompareOp, Condition, EventQuery, Function, Source, Test, Window};
use crate::sql::{Merge, has_states};

/// What slices differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Where an event stands in the table: each slice reads its own pages, and no index is needed.
    Pages,
    /// Time, anywhere.
    Time,
    /// Time, where a bucket begins.
    Buckets,
    /// Groups, by the hash of their keys: each slice reads all events.
    Groups,
}

/// How a query is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slicing {
    /// What slices differ in.
    pub cut: Cut,
    /// How they meet.
    pub meet: Meet,
}

/// How slices meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meet {
    /// Their groups are merged.
    Groups(Merge),
    /// Their rows are passed on as they come.
    AnyOrder,
    /// Their rows, each slice's in order, are merged by their keys.
    InOrder,
}

/// How a query is cut; or why it cannot be.
pub fn slicing(query: &EventQuery) -> Result<Slicing, &'static str> {
    if query.from != Source::Events || query.joins.iter().any(|join| join.source != Source::Events)
    {
        return Err("only queries of the event table are cut");
    }
    if query.since.is_some() {
        return Err("since reads little, by an index of its own");
    }
    if query.matching.is_some() {
        return Err("matches are not cut");
    }
    let Some(grouping) = &query.grouping else {
        let order = query.order();
        if order.iter().any(|key| key.field.kind() == Kind::Json) {
            return Err("rows in the order of JSON values are not merged");
        }
        return Ok(if order.is_empty() {
            Slicing {
                cut: if reads_all(query) {
                    Cut::Pages
                } else {
                    Cut::Time
                },
                meet: Meet::AnyOrder,
            }
        } else {
            Slicing {
                cut: Cut::Time,
                meet: Meet::InOrder,
            }
        });
    };
    if grouping.aggregates.iter().all(has_states) {
        // The first and the last of a group are those of its first and last slice.
        let in_time = |one: &Aggregate| matches!(one.function, Function::First | Function::Last);
        let anywhere = reads_all(query) && !grouping.aggregates.iter().any(in_time);
        return Ok(Slicing {
            cut: if anywhere { Cut::Pages } else { Cut::Time },
            meet: Meet::Groups(Merge::States),
        });
    }
    let cut = match (&grouping.bucket, grouping.keys.is_empty()) {
        (Some(bucket), _) if bucket.zone.is_some() => {
            return Err(
                "buckets of a zone, whose clocks may go back over a beginning, are not cut by time",
            );
        }
        (Some(_), _) => Cut::Buckets,
        (None, false) => Cut::Groups,
        (None, true) => {
            return Err(
                "an exact percentile, mode or count of different values of all rows does not come from parts of them",
            );
        }
    };
    Ok(Slicing {
        cut,
        meet: Meet::Groups(Merge::Apart),
    })
}

/// Whether a query reads the whole table whatever way it is answered: an index would not help it.
fn reads_all(query: &EventQuery) -> bool {
    query.filter.is_always() && query.window.is_none() && query.joins.is_empty()
}

/// The times that a query's filter leaves, as far as its conjunction says; of a window that ends at
/// the clock, at `clock`.
pub fn times(query: &EventQuery, clock: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
    let mut times = (None, None);
    narrow(&query.filter, &mut times);
    if let Some(Window::Last(length)) = query.window {
        let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let from = Timestamp::from_micros(clock.as_micros().saturating_sub(length));
        times = (times.0.max(Some(from)), Some(clock));
    }
    times
}

fn narrow(condition: &Condition, times: &mut (Option<Timestamp>, Option<Timestamp>)) {
    match condition {
        Condition::And(all) => all.iter().for_each(|one| narrow(one, times)),
        Condition::Leaf(leaf) if leaf.field == Field::Column(Column::Timestamp) => {
            let mut lower = |at: Timestamp| times.0 = times.0.max(Some(at));
            match &leaf.test {
                Test::Compare(CompareOp::Gte | CompareOp::Gt, Value::Time(at)) => lower(*at),
                Test::Between(Value::Time(from), Value::Time(to)) => {
                    lower(*from);
                    upper(times, *to);
                }
                Test::Compare(CompareOp::Lte | CompareOp::Lt, Value::Time(at)) => {
                    upper(times, *at);
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn upper(times: &mut (Option<Timestamp>, Option<Timestamp>), at: Timestamp) {
    times.1 = Some(times.1.map_or(at, |before| before.min(at)));
}

/// Cuts between `parts` of about the same size, of times of which the table has equally many between
/// each and the next; and where there are not enough of those, of the same length.
pub fn cuts(
    known: &[Timestamp],
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    parts: usize,
) -> Vec<Timestamp> {
    let inside: Vec<_> = (known.iter().copied())
        .filter(|at| from.is_none_or(|from| *at > from) && to.is_none_or(|to| *at < to))
        .collect();
    let mut cuts: Vec<_> = if inside.len() >= parts {
        (1..parts)
            .map(|part| inside[part * inside.len() / parts])
            .collect()
    } else {
        let (Some(first), Some(last)) = (
            from.or(known.first().copied()),
            to.or(known.last().copied()),
        ) else {
            return Vec::new();
        };
        let length = i128::from(last.as_micros()) - i128::from(first.as_micros());
        (1..parts)
            .filter_map(|part| {
                let at = i128::from(first.as_micros()) + length * part as i128 / parts as i128;
                i64::try_from(at).ok().map(Timestamp::from_micros)
            })
            .filter(|at| *at > first && *at < last)
            .collect()
    };
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Wire, json};

    use super::*;
    use crate::model::catalog::Catalog;

    fn query(wire: &Wire) -> EventQuery {
        EventQuery::parse(wire, &Catalog::default()).unwrap()
    }

    fn cut(wire: &Wire) -> Result<(Cut, Meet), &'static str> {
        slicing(&query(wire)).map(|s| (s.cut, s.meet))
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn what_merges_is_cut_anywhere_and_what_does_not_where_groups_stay_whole() {
        let count = json!([{ "fn": "count" }]);
        let median = json!([{ "fn": "median", "field": "data.n" }]);
        let by = |aggregates: &Wire, more: Wire| {
            let mut query = json!({ "filter": {}, "aggregates": aggregates });
            query
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            cut(&query)
        };
        let bucket = json!({ "timeBucket": { "interval": "1 hour" } });
        let states = Meet::Groups(Merge::States);
        assert_eq!(by(&count, json!({})), Ok((Cut::Pages, states)));
        assert_eq!(by(&count, bucket.clone()), Ok((Cut::Pages, states)));
        let some = json!({ "filter": { "startTime": "2024-01-01" } });
        assert_eq!(by(&count, some), Ok((Cut::Time, states)));
        let first = json!([{ "fn": "first", "field": "id" }]);
        assert_eq!(by(&first, json!({})), Ok((Cut::Time, states)));
        assert_eq!(
            by(&median, bucket),
            Ok((Cut::Buckets, Meet::Groups(Merge::Apart)))
        );
        assert_eq!(
            by(&median, json!({ "groupBy": ["type"] })),
            Ok((Cut::Groups, Meet::Groups(Merge::Apart)))
        );
        assert!(by(&median, json!({})).is_err());
        assert_eq!(
            cut(&json!({ "filter": {} })),
            Ok((Cut::Pages, Meet::AnyOrder))
        );
        assert_eq!(
            cut(&json!({ "filter": {}, "limit": 3 })),
            Ok((Cut::Time, Meet::InOrder))
        );
        assert!(cut(&json!({ "filter": {}, "orderBy": [{ "field": "data.n" }] })).is_err());
        assert!(
            cut(&json!({ "filter": {}, "from": "users", "aggregates": [{ "fn": "count" }] }))
                .is_err()
        );
    }

    #[test]
    fn the_filter_says_which_times_are_cut() {
        let of = |filter: Wire| times(&query(&json!({ "filter": filter })), at(0));
        let time = |text: &str| Some(Timestamp::parse(text).unwrap());
        assert_eq!(of(json!({})), (None, None));
        assert_eq!(
            of(json!({ "startTime": "2024-01-01", "endTime": "2024-02-01" })),
            (time("2024-01-01"), time("2024-02-01"))
        );
        // One arm of a disjunction says nothing.
        let leaf = json!({ "field": "timestamp", "op": "gt", "value": "2024-01-01" });
        let other = json!({ "field": "type", "op": "eq", "value": "A" });
        assert_eq!(
            of(json!({ "where": { "or": [leaf, other] } })),
            (None, None)
        );
        assert_eq!(
            of(json!({ "where": { "and": [leaf, other] } })).0,
            time("2024-01-01")
        );
    }

    #[test]
    fn cuts_are_where_the_table_has_its_events() {
        let known: Vec<_> = [0, 1, 2, 3, 4, 5, 6, 1000].map(at).into();
        assert_eq!(cuts(&known, (None, None), 2), [at(4)]);
        assert_eq!(cuts(&known, (Some(at(3)), None), 2), [at(6)]);
        // Too few are known: of the same length.
        assert_eq!(
            cuts(&known, (Some(at(100)), Some(at(500))), 4),
            [at(200), at(300), at(400)]
        );
        assert_eq!(cuts(&[], (None, None), 4), []);
        assert_eq!(cuts(&[], (Some(at(0)), Some(at(1))), 4), []);
        assert_eq!(cuts(&[at(1); 8], (None, None), 4), [at(1)]);
    }
}
