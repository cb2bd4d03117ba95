//! Golden tests: what stages become, and what of them goes where around a match.

use serde_json::{Value as Wire, json};

use super::{EVENT, target};
use crate::query::pipeline::Pipeline;
use crate::sql::{Bind, Compiled, Purpose, event_source, pipeline};

const IS_ABOVE: &str = r#"(e."data"->'n' > $1 AND jsonb_typeof(e."data"->'n') = 'number')"#;
const NUMBER: &str =
    r#"CASE WHEN jsonb_typeof(e."data"->'n') = 'number' THEN (e."data"->'n')::numeric END"#;

fn above() -> Wire {
    json!({ "match": { "field": "data.n", "op": "gt", "value": 1 } })
}

fn count_by_type() -> Wire {
    json!({ "group": { "by": ["type"], "aggregates": [{ "fn": "count" }] } })
}

fn sequence() -> Wire {
    let steps = json!([{ "as": "a", "where": { "eventTypes": ["A"] } }, { "where": { "eventTypes": ["B"] } }]);
    json!({ "sequence": { "by": ["tags.k"], "steps": steps } })
}

fn compiled(stages: &Wire) -> Compiled {
    let parsed = Pipeline::parse(stages).unwrap();
    pipeline(&parsed, &target(true), Purpose::Show).unwrap()
}

/// The SQL, with what makes JSON of an event left out.
fn sql(stages: &Wire) -> String {
    const BEGIN: &str = "jsonb_build_object((";
    const END: &str = r#"NULLIF(e."data", 'null'::jsonb))"#;
    let mut sql = compiled(stages).statement.sql;
    while let Some(to) = sql.find(END) {
        let from = sql[..to].rfind(BEGIN).unwrap();
        sql.replace_range(from..to + END.len(), "event");
    }
    sql
}

#[test]
fn matches_and_a_limit_are_the_event_table_itself() {
    assert_eq!(
        sql(&json!([above(), { "limit": 3 }])),
        format!(r#"{EVENT} WHERE {IS_ABOVE} ORDER BY e."timestamp", e."event_id" LIMIT 3"#)
    );
}

#[test]
fn conditions_on_a_key_move_below_the_group() {
    let both = json!([{ "field": "type", "op": "eq", "value": "x" }, { "field": "count", "op": "gt", "value": 2 }]);
    let found = compiled(&json!([above(), count_by_type(), { "match": { "and": both } }]));
    assert_eq!(
        found.statement.sql,
        format!(
            r#"SELECT e."~1" AS "type", e."~2" AS "count" FROM (SELECT e."event_type" AS "~1", count(*) AS "~2" FROM "public"."events" AS e WHERE {IS_ABOVE} AND (e."event_type" = $2) GROUP BY 1) AS e WHERE (to_jsonb(e."~2") > $3 AND jsonb_typeof(to_jsonb(e."~2")) = 'number')"#
        )
    );
    assert_eq!(found.rules[0][0], "predicate pushdown");
}

#[test]
fn a_projection_carries_what_rows_are_told_apart_by() {
    assert_eq!(
        sql(&json!([
            { "project": [["t", "type"], ["half", { "op": "div", "args": ["data.n", { "literal": 2 }] }]] },
            { "match": { "field": "t", "op": "eq", "value": "x" } }
        ])),
        format!(
            r#"SELECT e."~1" AS "t", e."~2" AS "half" FROM (SELECT e."event_type" AS "~1", ({NUMBER} / NULLIF(($1::numeric), 0)) AS "~2", e."event_id" AS "~3", e."timestamp" AS "~4" FROM "public"."events" AS e WHERE (e."event_type" = $2)) AS e"#
        )
    );
}

#[test]
fn a_window_function_has_a_level_of_its_own() {
    assert_eq!(
        sql(&json!([
            count_by_type(),
            { "window": { "function": "delta", "field": "count", "orderBy": [{ "field": "type" }], "as": "d" } }
        ])),
        r#"SELECT e."~1" AS "type", e."~2" AS "count", e."~3" AS "d" FROM (SELECT e."~1", e."~2", ((e."~2")::numeric - lag((e."~2")::numeric) OVER ( ORDER BY (e."~1") COLLATE "C")) AS "~3" FROM (SELECT e."event_type" AS "~1", count(*) AS "~2" FROM "public"."events" AS e GROUP BY 1) AS e) AS e"#
    );
}

#[test]
fn facets_read_events_each_for_itself_and_groups_once() {
    let few = json!(["few", [{ "limit": 1 }]]);
    assert_eq!(
        sql(&json!([above(), { "facet": [few] }])),
        format!(
            r#"SELECT (SELECT coalesce(jsonb_agg(r.o), '[]'::jsonb) FROM (SELECT event AS o FROM "public"."events" AS e WHERE {} ORDER BY e."timestamp", e."event_id" LIMIT 1) AS r) AS "~1""#,
            IS_ABOVE.replace("$1", "$7")
        )
    );
    assert_eq!(
        sql(&json!([count_by_type(), { "facet": [few] }])),
        r#"WITH f AS (SELECT e."event_type" AS "~1", count(*) AS "~2" FROM "public"."events" AS e GROUP BY 1) SELECT (SELECT coalesce(jsonb_agg(r.o), '[]'::jsonb) FROM (SELECT jsonb_build_object(($1::text), to_jsonb((e."~1")::text), ($2::text), NULLIF(to_jsonb(e."~2"), 'null'::jsonb)) AS o FROM f AS e ORDER BY (e."~1") COLLATE "C" LIMIT 1) AS r) AS "~3""#
    );
}

#[test]
fn behind_a_match_the_first_value_is_what_was_found() {
    assert_eq!(
        sql(&json!([above(), sequence(), { "project": [["ms", "durationMs"]] }])),
        concat!(
            r#"SELECT e."~8" AS "ms" FROM (SELECT e."~6" AS "~8", e."~7" AS "~9" FROM ("#,
            r#"SELECT jsonb_build_object(($2::text), m.v->0->0) AS "~1", "#,
            r#"jsonb_build_object(($3::text), (SELECT coalesce(jsonb_agg(event ORDER BY i.n), '[]'::jsonb) FROM jsonb_array_elements_text(m.v->1) WITH ORDINALITY AS i(d, n) JOIN "public"."events" AS e ON e."event_id" = i.d::uuid WHERE i.n > 0 AND i.n <= 1)) AS "~2", "#,
            r#"(SELECT coalesce(jsonb_agg(event ORDER BY i.n), '[]'::jsonb) FROM jsonb_array_elements_text(m.v->1) WITH ORDINALITY AS i(d, n) JOIN "public"."events" AS e ON e."event_id" = i.d::uuid WHERE true) AS "~3", "#,
            r#"(m.v->>2)::timestamptz AS "~4", (m.v->>3)::timestamptz AS "~5", (m.v->4)::numeric AS "~6", m.n::numeric AS "~7" "#,
            r#"FROM unnest($1::jsonb[]) WITH ORDINALITY AS m(v, n)) AS e) AS e ORDER BY (e."~9")"#
        )
    );
}

#[test]
fn a_match_reads_events_themselves_or_what_other_stages_leave_of_them() {
    let source = |stages: &Wire| {
        let parsed = Pipeline::parse(stages).unwrap();
        event_source(parsed.matched.as_ref().unwrap(), &target(true))
    };
    assert_eq!(source(&json!([above(), sequence()])), None);
    let cut = source(&json!([above(), { "limit": 9 }, sequence()])).unwrap();
    assert_eq!(
        cut.sql,
        format!(
            r#"{} WHERE {IS_ABOVE} ORDER BY e."timestamp", e."event_id" LIMIT 9"#,
            EVENT.replace(r#"e."data" FROM"#, r#"e."data", e."created_at" FROM"#)
        )
    );
    let values: Vec<Wire> = cut.binds.iter().map(Bind::to_json).collect();
    assert_eq!(values, [json!(1)]);
}
