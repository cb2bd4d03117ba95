//! Golden tests: each construct and the SQL it becomes.

use serde_json::{Value as Wire, json};

mod groups;
mod partial;
mod pipeline;

use super::{Bind, Purpose, Statement, Target, compile};
use crate::model::table::{ColumnNames, TableNames};
use crate::query::{Cursor, EventQuery, KeyValue};

const EVENT: &str = r#"SELECT e."event_id", e."event_type", e."timestamp", e."tags", e."metadata", e."data" FROM "public"."events" AS e"#;

fn parse(query: &Wire) -> crate::model::Result<EventQuery> {
    EventQuery::parse(query, &crate::model::catalog::Catalog::default())
}

fn target(code_point_collation: bool) -> Target {
    Target {
        table: TableNames {
            schema: "public".into(),
            name: "events".into(),
            columns: ColumnNames::default(),
        },
        code_point_collation,
        stand_in: None,
    }
}

fn compiled(query: &Wire, purpose: Purpose) -> Statement {
    compile(&parse(query).unwrap(), &target(true), purpose).unwrap()
}

/// The WHERE clause of a condition, and its values.
fn filtered(condition: &Wire) -> (String, Wire) {
    let shown = compiled(&json!({ "filter": { "where": condition } }), Purpose::Show);
    let clause = shown
        .sql
        .strip_prefix(EVENT)
        .unwrap()
        .strip_prefix(" WHERE ")
        .unwrap()
        .to_owned();
    (clause, shown.binds.iter().map(Bind::to_json).collect())
}

fn leaf(field: &str, op: &str, value: &Wire) -> Wire {
    json!({ "field": field, "op": op, "value": value })
}

macro_rules! golden {
    ($name:ident: $condition:expr => $sql:expr, $binds:tt) => {
        #[test]
        fn $name() {
            let (sql, binds) = filtered(&$condition);
            assert_eq!(sql, $sql);
            assert_eq!(binds, json!($binds));
        }
    };
}

golden!(text_equality: leaf("type", "eq", &json!("A.B")) => r#"(e."event_type" = $1)"#, ["A.B"]);
golden!(text_order_is_by_code_point: leaf("tags.x", "lt", &json!("b")) => r#"((e."tags"->>'x') COLLATE "C" < $1)"#, ["b"]);
golden!(text_list: leaf("tags.x", "in", &json!(["a", "b"])) => r#"(e."tags"->>'x' = ANY($1))"#, [["a", "b"]]);
golden!(prefix_is_a_range: leaf("type", "startsWith", &json!("CODE.")) =>
    r#"((e."event_type") COLLATE "C" >= $1 AND (e."event_type") COLLATE "C" < $2)"#, ["CODE.", "CODE/"]);
golden!(odd_keys_are_bound: leaf("tags.o'brien", "eq", &json!("x")) => r#"(e."tags"->>$1 = $2)"#, ["o'brien", "x"]);
golden!(json_equality: leaf("data.a.b", "eq", &json!(5)) => r#"(e."data"->'a'->'b' = $1)"#, [5]);
golden!(json_null: leaf("data.a", "eq", &json!(null)) => r#"(e."data"->'a' = $1)"#, [null]);
golden!(json_numbers_compare_with_numbers: leaf("data.n", "gte", &json!(5)) =>
    r#"(e."data"->'n' >= $1 AND jsonb_typeof(e."data"->'n') = 'number')"#, [5]);
golden!(json_strings_compare_by_code_point: leaf("data.files[0].name", "gt", &json!("m")) =>
    r#"((e."data"->'files'->0->>'name') COLLATE "C" > $1 AND jsonb_typeof(e."data"->'files'->0->'name') = 'string')"#, ["m"]);
golden!(a_scalar_is_no_list_of_one: leaf("data.files[1][0]", "eq", &json!(5)) =>
    r#"((CASE WHEN jsonb_typeof(e."data"->'files'->1) = 'array' THEN e."data"->'files'->1->0 END) = $1)"#, [5]);
golden!(json_list: leaf("data.n", "notIn", &json!([1, "1"])) => r#"(e."data"->'n' <> ALL($1))"#, [[1, "1"]]);
golden!(json_prefix_tests_the_type: leaf("data.s", "startsWith", &json!("x")) =>
    r#"((e."data"->>'s') ^@ $1 AND jsonb_typeof(e."data"->'s') = 'string')"#, ["x"]);
golden!(containment: leaf("tags", "contains", &json!({ "a": "1" })) => r#"(e."tags" @> $1)"#, [{ "a": "1" }]);
golden!(existence: leaf("data.x", "exists", &json!(false)) => r#"((e."data"->'x') IS NULL)"#, []);
golden!(id_as_text: leaf("id", "like", &json!("01%")) => r#"((e."event_id"::text) LIKE $1)"#, ["01%"]);
golden!(times: leaf("timestamp", "between", &json!(["2026-01-01", "2026-01-02T00:00:00.5Z"])) =>
    r#"((e."timestamp" >= $1) AND (e."timestamp" <= $2))"#, ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.500Z"]);
golden!(negation_goes_to_the_leaves: json!({ "not": { "or": [leaf("data.n", "gt", &json!(5)), { "not": leaf("type", "eq", &json!("A")) }, leaf("data.s", "regex", &json!("x"))] } }) =>
    r#"((e."data"->'n' <= $1 AND jsonb_typeof(e."data"->'n') = 'number') AND (e."event_type" = $2) AND ((e."data"->>'s') !~ $3 AND jsonb_typeof(e."data"->'s') = 'string'))"#, [5, "A", "x"]);
golden!(negated_range_is_two: json!({ "not": leaf("data.n", "between", &json!([1, 2])) }) =>
    r#"((e."data"->'n' < $1 AND jsonb_typeof(e."data"->'n') = 'number') OR (e."data"->'n' > $2 AND jsonb_typeof(e."data"->'n') = 'number'))"#, [1, 2]);

#[test]
fn filters_are_conjunctions() {
    let query = json!({ "filter": {
        "eventTypes": ["A.B", "CODE.*"], "issueIds": ["1"], "tags": { "repo": ["x", "y"] },
        "startTime": "2026-01-01", "anyOf": [{ "types": ["T"], "tags": ["a:b:c"] }, { "tags": ["d:"] }]
    } });
    let shown = compiled(&query, Purpose::Show);
    assert_eq!(
        shown.sql.strip_prefix(EVENT).unwrap(),
        concat!(
            r#" WHERE ((((e."event_type") COLLATE "C" >= $1 AND (e."event_type") COLLATE "C" < $2) OR (e."event_type" = $3))"#,
            r#" AND (e."tags"->>'issueId' = $4) AND (e."tags"->>'repo' = ANY($5)) AND (e."timestamp" >= $6)"#,
            r#" AND (((e."event_type" = $7) AND (e."tags"->>'a' = $8)) OR (e."tags"->>'d' = $9)))"#
        )
    );
    assert_eq!(shown.binds[7], Bind::Text("b:c".into()));
}

#[test]
fn an_empty_filter_filters_nothing() {
    assert_eq!(compiled(&json!({ "filter": {} }), Purpose::Show).sql, EVENT);
}

#[test]
fn a_page_has_a_total_order_and_one_row_more() {
    let shown = compiled(&json!({ "filter": {}, "limit": 10 }), Purpose::Show);
    assert_eq!(
        shown.sql.strip_prefix(EVENT).unwrap(),
        r#" ORDER BY e."timestamp", e."event_id" LIMIT 10"#
    );
    let run = compiled(&json!({ "filter": {}, "limit": 10 }), Purpose::Buffered);
    assert!(run.sql.ends_with(" LIMIT 11"), "{}", run.sql);
    assert!(run.sql.contains("pg_current_snapshot"));
}

#[test]
fn names_are_quoted_and_long_ones_left_out() {
    let query = json!({ "filter": {}, "selectAs": [["a\"b", "id"], ["x".repeat(64), "type"]] });
    let shown = compiled(&query, Purpose::Show);
    assert_eq!(
        shown.sql,
        r#"SELECT e."event_id" AS "a""b", e."event_type" FROM "public"."events" AS e"#
    );
}

fn after(order: &Wire, keys: Vec<KeyValue>, code_point: bool) -> String {
    let mut query = json!({ "filter": {}, "limit": 1 });
    if !order.is_null() {
        query["orderBy"] = order.clone();
    }
    let target = target(code_point);
    let identity = parse(&query).unwrap().identity(&target.table.quoted());
    query["after"] = Cursor { identity, keys }.encode().into();
    let shown = compile(&parse(&query).unwrap(), &target, Purpose::Show).unwrap();
    let clause = shown
        .sql
        .strip_prefix(EVENT)
        .unwrap()
        .strip_prefix(" WHERE ")
        .unwrap();
    clause.split(" ORDER BY ").next().unwrap().to_owned()
}

fn at() -> KeyValue {
    KeyValue::Time(crate::model::time::Timestamp::from_micros(0))
}

fn id() -> KeyValue {
    KeyValue::Uuid(uuid::Uuid::nil())
}

#[test]
fn the_next_page_is_a_row_comparison_where_it_can_be() {
    assert_eq!(
        after(&Wire::Null, vec![at(), id()], true),
        r#"(e."timestamp", e."event_id") > ($1, $2)"#
    );
}

#[test]
fn the_next_page_in_mixed_directions() {
    let order = json!([{ "field": "timestamp", "direction": "desc" }]);
    assert_eq!(
        after(&order, vec![at(), id()], true),
        r#"(e."timestamp" <= $1 AND ((e."timestamp" < $2) OR (e."timestamp" = $3 AND e."event_id" > $4)))"#
    );
}

#[test]
fn the_next_page_behind_nulls() {
    let order = json!([{ "field": "tags.x", "nulls": "first" }]);
    assert_eq!(
        after(&order, vec![KeyValue::Null, id()], true),
        r#"((((e."tags"->>'x') COLLATE "C" IS NOT NULL) OR ((e."tags"->>'x') COLLATE "C" IS NULL AND e."event_id" > $1)))"#
    );
}

#[test]
fn json_sorts_by_two_keys_where_the_collation_is_not_by_code_point() {
    let query = parse(&json!({ "filter": {}, "orderBy": [{ "field": "data.n" }] })).unwrap();
    let order = |code_point| {
        let shown = compile(&query, &target(code_point), Purpose::Show).unwrap();
        shown.sql.split(" ORDER BY ").nth(1).unwrap().to_owned()
    };
    assert_eq!(order(true), r#"(e."data"->'n')"#);
    assert_eq!(
        order(false),
        concat!(
            r#"(CASE WHEN jsonb_typeof(e."data"->'n') = 'string' THEN '""'::jsonb ELSE e."data"->'n' END), "#,
            r#"(CASE WHEN jsonb_typeof(e."data"->'n') = 'string' THEN e."data"->>'n' END) COLLATE "C""#
        )
    );
}

#[test]
fn a_cursor_of_other_keys_is_refused() {
    let query = json!({ "filter": {}, "limit": 1 });
    let target = target(true);
    let identity = parse(&query).unwrap().identity(&target.table.quoted());
    for keys in [vec![at()], vec![id(), at()], vec![KeyValue::Null, id()]] {
        let mut query = query.clone();
        query["after"] = Cursor { identity, keys }.encode().into();
        let error = compile(&parse(&query).unwrap(), &target, Purpose::Show).unwrap_err();
        assert_eq!(
            (error.code(), error.path()),
            ("INVALID_QUERY", Some("after"))
        );
    }
}
