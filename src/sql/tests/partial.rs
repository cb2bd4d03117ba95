//! Golden tests: what slices are asked, and what their groups are merged by.

use serde_json::{Value as Wire, json};

use super::{parse, target};
use crate::model::time::Timestamp;
use crate::query::EventQuery;
use crate::sql::{Merge, Merged, Purpose, Share, merged, partial, rows_of};

fn query(members: &Wire) -> EventQuery {
    let mut query = json!({ "filter": {} });
    let all = query.as_object_mut().unwrap();
    all.extend(members.as_object().unwrap().clone());
    parse(&query).unwrap()
}

const CLOCK: Timestamp = Timestamp::from_micros(0);

fn slice(members: &Wire, share: &Share, merge: Merge) -> String {
    let query = query(members);
    let grouping = query.grouping.as_ref().unwrap();
    let part = partial(&query, grouping, &target(true), (1, share), merge, CLOCK);
    part.unwrap().sql
}

#[test]
fn a_slice_of_time_gives_states() {
    let share = Share::Time {
        from: Some(CLOCK),
        to: None,
    };
    let by_type = json!({ "groupBy": ["type"], "aggregates": [{ "fn": "count" }, { "fn": "sum", "field": "data.n" }] });
    assert_eq!(
        slice(&by_type, &share, Merge::States),
        r#"SELECT (e."event_type")::text, (count(*))::int8, (sum(CASE WHEN jsonb_typeof(e."data"->'n') = 'number' THEN (e."data"->'n')::numeric END))::numeric, (1)::int8 FROM "public"."events" AS e WHERE e."timestamp" >= $1 GROUP BY 1"#
    );
}

#[test]
fn a_slice_of_groups_gives_whole_ones() {
    let share = Share::Groups { of: 3, this: 2 };
    let distinct = json!({ "groupBy": ["type", "tags.a"], "aggregates": [{ "fn": "countDistinct", "field": "id" }] });
    assert_eq!(
        slice(&distinct, &share, Merge::Apart),
        r#"SELECT (e."event_type")::text, (e."tags"->>'a')::text, (count(DISTINCT e."event_id"))::int8 FROM "public"."events" AS e WHERE (hash_record(ROW(e."event_type", e."tags"->>'a')) & 2147483647) % 3 = 2 GROUP BY 1, 2"#
    );
}

#[test]
fn the_mean_is_that_of_the_sums() {
    let query = query(&json!({ "aggregates": [{ "fn": "avg", "field": "data.n" }] }));
    let given = Merged {
        columns: Vec::new(),
        merge: Merge::States,
    };
    let whole = merged(&query, &target(true), Purpose::Show, &given, CLOCK).unwrap();
    assert_eq!(
        whole.sql,
        r#"SELECT g.c1 AS "avg_n" FROM (SELECT sum(p.s0) / NULLIF(sum(p.s0), 0) AS c1 FROM unnest() AS p()) AS g"#
    );
}

#[test]
fn a_page_of_rows_is_asked_whole_of_every_slice() {
    let share = Share::Pages {
        from: Some(7),
        to: None,
    };
    let page = query(
        &json!({ "select": ["type"], "orderBy": [{ "field": "type", "direction": "desc" }], "limit": 3, "offset": 4 }),
    );
    let (statement, keys) = rows_of(&page, &target(true), Purpose::Stream, &share, CLOCK).unwrap();
    assert_eq!(
        statement.sql,
        r#"SELECT e."event_type" AS "type", e."event_id" FROM "public"."events" AS e WHERE e.ctid >= (($1::text))::tid ORDER BY e."event_type" COLLATE "C" DESC, e."event_id" LIMIT 7"#
    );
    let places: Vec<_> = keys
        .iter()
        .map(|key| (key.column, key.descending))
        .collect();
    assert_eq!(places, [(0, true), (1, false)]);
}
