//! Templates against parsing and planning: whatever the constants, the same or nothing.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::Ready;
use crate::exec::{Config, Engine};
use crate::sql::Purpose;

fn engine() -> (tokio::runtime::Runtime, Arc<Engine>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = {
        let _inside = runtime.enter();
        Engine::new(
            Config::from_json(r#"{"url":"postgres://nobody@localhost/none"}"#).unwrap(),
            None,
        )
    };
    (runtime, engine)
}

fn same(a: &Ready, b: &Ready) -> bool {
    a.query == b.query
        && a.statement == b.statement
        && a.is_empty == b.is_empty
        && a.shape.fingerprint == b.shape.fingerprint
        && a.regex == b.regex
}

/// Plans the first, then asks for each of the others by its text; gives how many were known.
fn filled(queries: &[Wire]) -> usize {
    let (_runtime, engine) = engine();
    let purpose = Purpose::Buffered;
    let first = queries[0].to_string();
    let ready = engine.planned(&first, purpose).unwrap().unwrap();
    engine.remember(&first, purpose, ready);
    let known = queries.iter().filter(|query| {
        let text = query.to_string();
        let known = engine.known(&text, purpose);
        if let Some(known) = &known {
            let planned = engine.planned(&text, purpose);
            let planned = planned.expect("what is known is valid").unwrap();
            assert!(same(known, &planned), "{text}\n{known:#?}\n{planned:#?}");
        }
        known.is_some()
    });
    known.count()
}

#[test]
fn constants_are_filled_in() {
    let query = |issue: &str, at: &str, n: f64| {
        json!({ "filter": { "issueIds": [issue, "other"], "startTime": { "\0t": at }, "tags": { "repo": issue },
            "where": { "and": [{ "field": "data.n", "op": "gt", "value": n }, { "field": "id", "op": "ne", "value": "0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70" }] } },
            "orderBy": [{ "field": "data.n" }], "limit": 5 })
    };
    let queries = [
        query("1", "2026-01-01T00:00:00.000Z", 1.0),
        query("q\"uo\\te \u{2028}é", "1969-12-31T23:59:59.999999Z", 1e-7),
        query("probe 7919", "2026-01-01T00:00:00.000Z", 1_007_919.0),
    ];
    assert_eq!(filled(&queries), queries.len());
}

#[test]
fn what_constants_decide_is_decided_anew() {
    // A value twice in a list; a window that is empty; one that is reversed, which is refused.
    let list = |a: &str, b: &str| json!({ "filter": { "where": { "field": "type", "op": "in", "value": [a, b] } } });
    assert_eq!(filled(&[list("A", "B"), list("C", "D"), list("E", "E")]), 2);
    let window = |from: &str, to: &str| json!({ "filter": { "startTime": from, "endTime": to } });
    assert_eq!(
        filled(&[
            window("2026-01-01", "2026-01-02"),
            window("2026-01-03T00:00:00Z", "2026-01-04"),
            window("2026-01-03", "2026-01-03"),
            window("2026-01-03", "2026-01-02"),
        ]),
        2
    );
}

#[test]
fn what_is_wrong_is_not_known() {
    let one = |field: &str, value: &Wire| json!({ "filter": { "where": { "field": field, "op": "eq", "value": value } } });
    let id = "0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70";
    assert_eq!(
        filled(&[
            one("id", &json!(id)),
            one("id", &json!("x")),
            one("id", &json!(id.replace('-', "")))
        ]),
        1
    );
    assert_eq!(
        filled(&[
            one("type", &json!("A")),
            one("type", &json!("a\0b")),
            one("type", &json!(5))
        ]),
        1
    );
    assert_eq!(
        filled(&[
            one("timestamp", &json!("2026-01-01")),
            one("timestamp", &json!("2026-01-01T00:00:00")),
            one("timestamp", &json!("never"))
        ]),
        1
    );
}

#[test]
fn shapes_whose_plans_depend_on_constants_are_left_alone() {
    let both = |a: &str, b: &str| json!({ "filter": { "eventTypes": [a], "where": { "field": "type", "op": "eq", "value": b } } });
    // Known by its own text.
    assert_eq!(filled(&[both("A", "B"), both("A", "A"), both("C", "D")]), 1);
    let like = |pattern: &str| json!({ "filter": { "where": { "field": "type", "op": "like", "value": pattern } } });
    assert_eq!(filled(&[like("A%"), like("B%"), like("C\\")]), 1);
    let between = |low: u32| json!({ "filter": { "where": { "field": "data.n", "op": "between", "value": [low, 5] } } });
    assert_eq!(filled(&[between(1), between(2), between(9)]), 1);
}

#[test]
fn what_is_known_is_forgotten_with_the_rules() {
    let (_runtime, engine) = engine();
    let text = json!({ "filter": { "issueIds": ["1"] } }).to_string();
    let ready = engine.planned(&text, Purpose::Stream).unwrap().unwrap();
    engine.remember(&text, Purpose::Stream, ready);
    assert!(engine.known(&text, Purpose::Stream).is_some());
    assert!(engine.known(&text, Purpose::Buffered).is_none());
    engine.leave_out(vec!["contradiction".to_owned()]);
    assert!(engine.known(&text, Purpose::Stream).is_none());
}
