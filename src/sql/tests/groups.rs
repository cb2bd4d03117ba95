//! Groups, aggregates, buckets, joins and other tables.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::{compiled, target};
use crate::model::{
    catalog::{Catalog, Table, TableColumn},
    field::Holds,
};
use crate::query::EventQuery;
use crate::sql::{Purpose, compile};

/// The SQL of a query over all events.
fn sql(members: Wire) -> String {
    let mut query = members;
    query["filter"] = json!({});
    compiled(&query, Purpose::Show).sql
}

/// The SQL inside of `FROM ( … ) AS g`.
fn inside(members: Wire) -> String {
    let sql = sql(members);
    let (_, rest) = sql.split_once(" FROM (").unwrap();
    rest.rsplit_once(") AS g").unwrap().0.to_owned()
}

#[test]
fn groups_are_a_relation_with_the_rest_of_the_query_around_it() {
    assert_eq!(
        sql(
            json!({ "groupBy": ["type", "data.path"], "aggregates": [{ "fn": "count" }],
            "having": { "field": "count", "op": "gt", "value": 1 },
            "orderBy": [{ "field": "count", "direction": "desc" }], "limit": 3 })
        ),
        concat!(
            r#"SELECT g.c1 AS "type", g.c2 AS "data.path", g.c3 AS "count" FROM "#,
            r#"(SELECT e."event_type" AS c1, NULLIF(e."data"->'path', 'null'::jsonb) AS c2, count(*) AS c3 "#,
            r#"FROM "public"."events" AS e GROUP BY 1, 2) AS g "#,
            r#"WHERE (to_jsonb(g.c3) > $1 AND jsonb_typeof(to_jsonb(g.c3)) = 'number') "#,
            r#"ORDER BY to_jsonb(g.c3) DESC, g.c1 COLLATE "C", g.c2 LIMIT 3"#
        )
    );
}

#[test]
fn every_function() {
    let number =
        r#"CASE WHEN jsonb_typeof(e."data"->'n') = 'number' THEN (e."data"->'n')::numeric END"#;
    let value = r#"NULLIF(e."data"->'n', 'null'::jsonb)"#;
    for (function, expected) in [
        ("count", format!("count({value})")),
        ("countDistinct", format!("count(DISTINCT {value})")),
        ("approxCountDistinct", format!("count(DISTINCT {value})")),
        ("sum", format!("sum({number})")),
        ("avg", format!("avg({number})")),
        ("min", format!("min({number})")),
        ("max", format!("max({number})")),
        ("stddev", format!("stddev_samp({number})")),
        ("variance", format!("var_samp({number})")),
        (
            "median",
            format!("percentile_cont(($1::float8)) WITHIN GROUP (ORDER BY ({number})::float8)"),
        ),
        ("mode", format!("mode() WITHIN GROUP (ORDER BY ({value}))")),
        (
            "first",
            r#"(array_agg(e."data"->'n' ORDER BY e."timestamp", e."event_id"))[1]"#.to_owned(),
        ),
        (
            "last",
            r#"(array_agg(e."data"->'n' ORDER BY e."timestamp" DESC, e."event_id" DESC))[1]"#
                .to_owned(),
        ),
    ] {
        assert_eq!(
            inside(json!({ "aggregates": [{ "fn": function, "field": "data.n" }] })),
            format!(r#"SELECT {expected} AS c1 FROM "public"."events" AS e"#),
            "{function}"
        );
    }
}

#[test]
fn columns_have_functions_of_their_own() {
    for (field, function, expected) in [
        ("type", "min", r#"min((e."event_type") COLLATE "C")"#),
        ("id", "max", r#"max((e."event_id")::text COLLATE "C")"#),
        ("timestamp", "max", r#"max(e."timestamp")"#),
        ("type", "sum", "sum(NULL::numeric)"),
        (
            "tags.repo",
            "mode",
            r#"mode() WITHIN GROUP (ORDER BY (e."tags"->>'repo') COLLATE "C")"#,
        ),
        ("tags.repo", "count", r#"count(e."tags"->>'repo')"#),
    ] {
        let found = inside(json!({ "aggregates": [{ "fn": function, "field": field }] }));
        assert!(
            found.starts_with(&format!("SELECT {expected} AS c1")),
            "{found}"
        );
    }
}

#[test]
fn a_filter_of_an_aggregate() {
    assert_eq!(
        inside(
            json!({ "aggregates": [{ "fn": "count", "where": { "field": "type", "op": "eq", "value": "A" } }] })
        ),
        r#"SELECT count(*) FILTER (WHERE (e."event_type" = $1)) AS c1 FROM "public"."events" AS e"#
    );
}

#[test]
fn buckets() {
    for (bucket, expected) in [
        (
            json!({ "interval": "15 minutes", "timeZone": "Asia/Kathmandu" }),
            r#"date_bin(interval '900000000 microseconds', e."timestamp", timestamptz '2000-01-03Z')"#,
        ),
        (
            json!({ "interval": "1 week", "timeZone": "Europe/Berlin" }),
            r#"(date_bin(interval '604800000000 microseconds', ((e."timestamp") AT TIME ZONE ($1::text)), timestamp '2000-01-03') AT TIME ZONE ($2::text))"#,
        ),
        (
            json!({ "interval": "1 day", "origin": "2024-01-01T06:00:00Z" }),
            r#"date_bin(interval '86400000000 microseconds', e."timestamp", ($1::timestamptz))"#,
        ),
        (
            json!({ "interval": "1 quarter" }),
            concat!(
                r#"((timestamp '2000-01-01' + make_interval(months => (floor((("#,
                r#"(extract(year FROM ((e."timestamp") AT TIME ZONE 'UTC'))::int * 12 + extract(month FROM ((e."timestamp") AT TIME ZONE 'UTC'))::int)"#,
                r#" - (extract(year FROM timestamp '2000-01-01')::int * 12 + extract(month FROM timestamp '2000-01-01')::int))"#,
                r#") / 3::numeric)::int * 3))) AT TIME ZONE 'UTC')"#
            ),
        ),
    ] {
        assert_eq!(
            inside(json!({ "timeBucket": bucket })),
            format!(r#"SELECT {expected} AS c1 FROM "public"."events" AS e GROUP BY 1"#)
        );
    }
}

#[test]
fn a_window_that_ends_now_begins_with_its_bucket() {
    assert_eq!(
        inside(
            json!({ "timeWindow": { "last": "2 hours" } , "timeBucket": { "interval": "1 hour" } })
        ),
        concat!(
            r#"SELECT date_bin(interval '3600000000 microseconds', e."timestamp", timestamptz '2000-01-03Z') AS c1 FROM "public"."events" AS e"#,
            r#" WHERE e."timestamp" >= date_bin(interval '3600000000 microseconds', now() - interval '7200000000 microseconds', timestamptz '2000-01-03Z')"#,
            r#" AND e."timestamp" < now() GROUP BY 1"#
        )
    );
}

#[test]
fn events_joined_with_events() {
    assert_eq!(
        sql(json!({ "select": ["id", "later.data.x"],
            "joins": [{ "table": "events", "alias": "later", "type": "left", "on": { "tags.issueId": "tags.issueId" }, "within": "1 day" }] })),
        concat!(
            r#"SELECT e."event_id" AS "id", j1."data"->'x' AS "later.data.x" FROM "public"."events" AS e "#,
            r#"LEFT JOIN "public"."events" AS j1 ON (e."tags"->>'issueId' = j1."tags"->>'issueId'"#,
            r#" AND j1."timestamp" >= e."timestamp" AND j1."timestamp" <= e."timestamp" + interval '86400000000 microseconds')"#
        )
    );
}

#[test]
fn another_table_by_its_catalog() {
    let column = |name: &str, holds| TableColumn {
        name: name.into(),
        holds,
        nullable: false,
    };
    let issues = Table {
        schema: "ops".into(),
        name: "issues".into(),
        columns: vec![
            column("id", Holds::Other),
            column("state", Holds::Text),
            column("payload", Holds::Jsonb),
        ],
        primary_key: vec!["id".into()],
    };
    let mut catalog = Catalog::default();
    catalog
        .tables
        .insert("ops.issues".into(), Some(Arc::new(issues)));
    let sql = |query: &Wire| {
        let query = EventQuery::parse(query, &catalog).unwrap();
        compile(&query, &target(true), Purpose::Show).unwrap().sql
    };
    assert_eq!(
        sql(
            &json!({ "filter": { "where": { "field": "state", "op": "eq", "value": "open" } }, "from": "ops.issues", "limit": 2 })
        ),
        concat!(
            r#"SELECT to_jsonb(e."id") AS "id", e."state" AS "state", e."payload" AS "payload" FROM "ops"."issues" AS e"#,
            r#" WHERE (e."state" = $1) ORDER BY (to_jsonb(e."id")) LIMIT 2"#
        )
    );
    // A tag and a number meet as text.
    assert!(
        sql(&json!({ "filter": {}, "joins": [{ "table": "ops.issues", "on": { "tags.issueId": "id" } }] }))
            .ends_with(r#" JOIN "ops"."issues" AS j1 ON (e."tags"->>'issueId' = (to_jsonb(j1."id"))#>>'{}')"#)
    );
    let unknown = EventQuery::parse(
        &json!({ "filter": {}, "from": "ops.issues", "select": ["nope"] }),
        &catalog,
    );
    assert_eq!(unknown.unwrap_err().code(), "UNKNOWN_FIELD");
}
