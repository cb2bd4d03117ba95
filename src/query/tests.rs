//! The parser of queries, by what it refuses and where.

use serde_json::{Value as Wire, json};

use super::EventQuery;

fn parse(query: &Wire) -> crate::model::Result<EventQuery> {
    EventQuery::parse(query, &crate::model::catalog::Catalog::default())
}

fn refused(query: &Wire) -> (String, String) {
    let error = parse(query).unwrap_err();
    (
        error.code().to_owned(),
        error.path().unwrap_or_default().to_owned(),
    )
}

macro_rules! refuses {
    ($($name:ident: $query:tt => $code:literal at $path:literal;)*) => {
        $(#[test] fn $name() {
            assert_eq!(refused(&json!($query)), ($code.to_owned(), $path.to_owned()));
        })*
    };
}

refuses! {
    no_object: 5 => "INVALID_QUERY" at "";
    no_filter: {} => "INVALID_QUERY" at "filter";
    unknown_member: { "filter": {}, "limitt": 1 } => "INVALID_QUERY" at "limitt";
    unknown_filter_member: { "filter": { "eventType": ["A"] } } => "INVALID_QUERY" at "filter.eventType";
    empty_list: { "filter": { "issueIds": [] } } => "INVALID_QUERY" at "filter.issueIds";
    empty_and: { "filter": { "where": { "and": [] } } } => "INVALID_QUERY" at "filter.where.and";
    mixed_join: { "filter": { "where": { "and": [{ "field": "type", "op": "exists" }], "or": [] } } } => "INVALID_QUERY" at "filter.where.or";
    bare_star: { "filter": { "eventTypes": ["*"] } } => "INVALID_QUERY" at "filter.eventTypes[0]";
    star_inside: { "filter": { "eventTypes": ["A.B", "A.*.B"] } } => "INVALID_QUERY" at "filter.eventTypes[1]";
    prefix_in_dcb: { "filter": { "anyOf": [{ "types": ["A.*"] }] } } => "INVALID_QUERY" at "filter.anyOf[0].types[0]";
    tag_without_colon: { "filter": { "anyOf": [{ "tags": ["a:1", "b"] }] } } => "INVALID_QUERY" at "filter.anyOf[0].tags[1]";
    reversed_times: { "filter": { "startTime": "2026-01-02", "endTime": "2026-01-01" } } => "INVALID_QUERY" at "filter.startTime";
    time_without_zone: { "filter": { "endTime": "2026-01-02T00:00:00" } } => "INVALID_QUERY" at "filter.endTime";
    not_a_uuid: { "filter": { "eventIds": ["x"] } } => "INVALID_QUERY" at "filter.eventIds[0]";
    number_for_text: { "filter": { "where": { "field": "tags.n", "op": "eq", "value": 5 } } } => "INVALID_QUERY" at "filter.where.value";
    null_for_text: { "filter": { "where": { "field": "type", "op": "ne", "value": null } } } => "INVALID_QUERY" at "filter.where.value";
    unknown_operator: { "filter": { "where": { "and": [{ "field": "id", "op": "exists" }, { "field": "data.x", "op": "equals", "value": 1 }] } } } => "INVALID_QUERY" at "filter.where.and[1].op";
    unknown_field: { "filter": { "where": { "not": { "field": "tag.x", "op": "exists" } } } } => "UNKNOWN_FIELD" at "filter.where.not.field";
    contains_on_text: { "filter": { "where": { "field": "tags.x", "op": "contains", "value": "a" } } } => "INVALID_QUERY" at "filter.where.op";
    like_on_time: { "filter": { "where": { "field": "timestamp", "op": "like", "value": "2026%" } } } => "INVALID_QUERY" at "filter.where.op";
    dangling_escape: { "filter": { "where": { "field": "type", "op": "like", "value": "a\\" } } } => "INVALID_QUERY" at "filter.where.value";
    between_of_three: { "filter": { "where": { "field": "data.x", "op": "between", "value": [1, 2, 3] } } } => "INVALID_QUERY" at "filter.where.value";
    nul_in_value: { "filter": { "where": { "field": "data.x", "op": "eq", "value": { "a": ["\u{0}"] } } } } => "INVALID_QUERY" at "filter.where.value.a[0]";
    no_value: { "filter": { "where": { "field": "data.x", "op": "eq" } } } => "INVALID_QUERY" at "filter.where.value";
    name_taken: { "filter": {}, "select": ["id"], "selectAs": [["id", "type"]] } => "INVALID_QUERY" at "selectAs.id";
    nothing_selected: { "filter": {}, "select": [] } => "INVALID_QUERY" at "select";
    direction: { "filter": {}, "orderBy": [{ "field": "id", "direction": "up" }] } => "INVALID_QUERY" at "orderBy[0].direction";
    half_a_row: { "filter": {}, "limit": 1.5 } => "INVALID_QUERY" at "limit";
    after_and_offset: { "filter": {}, "after": "x", "offset": 1 } => "INVALID_QUERY" at "after";
    batch_of_none: { "filter": {}, "hints": { "batchSize": 0 } } => "INVALID_QUERY" at "hints.batchSize";
    unnamed_index: { "filter": {}, "hints": { "forceIndex": ["x", "\u{0}"] } } => "INVALID_QUERY" at "hints.forceIndex[1]";
}

#[test]
fn a_typo_is_met_with_a_suggestion() {
    let error = parse(&json!({ "filter": {}, "limitt": 1 })).unwrap_err();
    assert!(
        error.to_string().contains("did you mean \"limit\"?"),
        "{error}"
    );
}

#[test]
fn repeated_fields_collapse() {
    let query = parse(&json!({ "filter": {}, "select": ["id", "type", "id"], "orderBy": [{ "field": "type" }, { "field": "type", "direction": "desc" }] })).unwrap();
    assert_eq!(
        (query.select.map(|s| s.len()), query.order_by.len()),
        (Some(2), 1)
    );
}

#[test]
fn an_order_can_use_a_name_of_the_selection() {
    let query = parse(&json!({ "filter": {}, "selectAs": [["issue", "tags.issueId"]], "orderBy": [{ "field": "issue" }] })).unwrap();
    assert_eq!(
        query.order_by[0].field,
        crate::model::field::Field::Tag("issueId".into())
    );
}

#[test]
fn identity_is_of_constants_order_and_table_only() {
    let identity = |query: Wire, table| parse(&query).unwrap().identity(table);
    let base = || json!({ "filter": { "where": { "field": "data.x", "op": "eq", "value": { "a": 1, "b": 2 } } }, "limit": 1 });
    let same = json!({ "filter": { "where": { "field": "data.x", "op": "eq", "value": { "b": 2, "a": 1 } } }, "limit": 9, "select": ["id"] });
    assert_eq!(identity(base(), "t"), identity(same, "t"));
    assert_ne!(identity(base(), "t"), identity(base(), "u"));
    let mut other = base();
    other["filter"]["where"]["value"]["a"] = "1".into();
    assert_ne!(identity(base(), "t"), identity(other, "t"));
    let mut ordered = base();
    ordered["orderBy"] = json!([{ "field": "timestamp", "direction": "desc" }]);
    assert_ne!(identity(base(), "t"), identity(ordered, "t"));
}

#[test]
fn a_lone_regular_expression_has_a_place() {
    let query = json!({ "filter": { "where": { "and": [{ "field": "id", "op": "exists" }, { "field": "type", "op": "regex", "value": "(" }] } } });
    assert_eq!(
        EventQuery::regex_path(&query).as_deref(),
        Some("filter.where.and[1].value")
    );
    assert_eq!(EventQuery::regex_path(&json!({})), None);
}
