//! A rewritten query as the API writes it.

use serde_json::{Map, Value as Wire, json};

use super::{normal::normal, text};
use crate::model::{
    field::{Field, Relation},
    value::{JsonType, Value},
};
use crate::query::{
    Aggregate, CompareOp, Condition, EventQuery, Function, Grouping, Leaf, MatchKind, Source, Test,
};

/// Puts what the rules made of `asked` into the query's own JSON; what they left alone stays as the
/// caller wrote it.
pub fn rewrite(wire: &mut Wire, asked: &EventQuery, planned: &EventQuery) {
    // A cursor goes with the filter that it was made under; and only events have an `id` of which it is
    // sure that it is there, to say `always` and `never` by.
    if asked.after.is_some() || asked.from != Source::Events {
        return;
    }
    let aliases = Aliases::of(wire);
    if normal(&asked.filter) != planned.filter {
        wire["filter"] = if planned.filter.is_always() {
            json!({})
        } else {
            json!({ "where": condition(&planned.filter, &|field| aliases.name(field)) })
        };
    }
    let (Some(before), Some(after)) = (&asked.grouping, &planned.grouping) else {
        return;
    };
    if before.having != after.having
        && let Some(members) = wire.as_object_mut()
    {
        match after.having.as_ref().filter(|having| !having.is_always()) {
            None => drop(members.remove("having")),
            Some(having) => {
                let name = |field: &Field| output_name(field, after);
                members.insert("having".to_owned(), condition(having, &name));
            }
        }
    }
    for (i, (before, after)) in before.aggregates.iter().zip(&after.aggregates).enumerate() {
        if before != after {
            aggregate(&mut wire["aggregates"][i], after);
        }
    }
}

/// The only rewrite of an aggregate is to a bare count.
fn aggregate(wire: &mut Wire, aggregate: &Aggregate) {
    if let Some(members) = wire.as_object_mut()
        && aggregate.function == Function::Count
        && aggregate.field.is_none()
    {
        members.remove("field");
        members.insert("fn".to_owned(), "count".into());
        members.insert("as".to_owned(), aggregate.name.clone().into());
    }
}

fn output_name(field: &Field, grouping: &Grouping) -> String {
    let Field::Output(output) = field else {
        return text::field(field);
    };
    let columns = grouping.columns();
    (columns.get(output.column)).map_or_else(String::new, |column| column.name.clone())
}

/// What the query calls its joined relations.
struct Aliases(Vec<String>);

impl Aliases {
    fn of(wire: &Wire) -> Self {
        let joins = wire.get("joins").and_then(Wire::as_array);
        let named = joins.into_iter().flatten().map(|join| {
            let text = |member| join.get(member).and_then(Wire::as_str);
            // Without a name of its own it goes by its table's, whatever the schema.
            let table = || text("table").map(|t| t.rsplit_once('.').map_or(t, |(_, name)| name));
            text("alias").or_else(table).unwrap_or_default().to_owned()
        });
        Self(named.collect())
    }

    fn name(&self, field: &Field) -> String {
        let within = |relation: Relation, name: String| match (relation.0 as usize).checked_sub(1) {
            Some(place) => format!("{}.{name}", self.0.get(place).map_or("", String::as_str)),
            None => name,
        };
        match field {
            Field::Joined(relation, inner) => within(*relation, text::field(inner)),
            Field::Foreign(foreign) => {
                let mut bare = foreign.clone();
                bare.relation = Relation(0);
                within(foreign.relation, text::field(&Field::Foreign(bare)))
            }
            _ => text::field(field),
        }
    }
}

fn condition(it: &Condition, name: &dyn Fn(&Field) -> String) -> Wire {
    let each =
        |arms: &[Condition]| -> Wire { arms.iter().map(|arm| condition(arm, name)).collect() };
    match it {
        // A list may not be empty: that an event has an id is true of all, and its opposite of none.
        Condition::And(arms) if arms.is_empty() => {
            json!({ "field": "id", "op": "exists", "value": true })
        }
        Condition::Or(arms) if arms.is_empty() => {
            json!({ "field": "id", "op": "exists", "value": false })
        }
        Condition::And(arms) => json!({ "and": each(arms) }),
        Condition::Or(arms) => json!({ "or": each(arms) }),
        Condition::Not(inner) => json!({ "not": condition(inner, name) }),
        Condition::Leaf(leaf) => {
            let (op, value) = test(leaf);
            json!({ "field": name(&leaf.field), "op": op, "value": value })
        }
    }
}

fn test(leaf: &Leaf) -> (&'static str, Wire) {
    match &leaf.test {
        Test::Compare(op, with) => {
            let op = match op {
                CompareOp::Eq => "eq",
                CompareOp::Ne => "ne",
                CompareOp::Lt => "lt",
                CompareOp::Lte => "lte",
                CompareOp::Gt => "gt",
                CompareOp::Gte => "gte",
            };
            (op, value(with))
        }
        Test::In { values, negated } => {
            let op = if *negated { "notIn" } else { "in" };
            (op, values.iter().map(value).collect())
        }
        Test::Between(low, high) => ("between", json!([value(low), value(high)])),
        Test::Match(kind, pattern) => {
            let op = match kind {
                MatchKind::Like => "like",
                MatchKind::Ilike => "ilike",
                MatchKind::StartsWith => "startsWith",
                MatchKind::Regex => "regex",
            };
            (op, pattern.clone().into())
        }
        Test::Contains(json) => ("contains", value(&Value::Json(json.clone()))),
        Test::Exists(expected) => ("exists", (*expected).into()),
    }
}

fn value(value: &Value) -> Wire {
    match value {
        Value::Text(text) => text.clone().into(),
        Value::Uuid(id) => id.to_string().into(),
        Value::Time(at) => at.to_string().into(),
        Value::Json(json) if is_big(json.kind, &json.text) => {
            // As `lib/wire.js` marks a bigint.
            let mut marked = Map::new();
            marked.insert("\0n".to_owned(), json.text.clone().into());
            marked.into()
        }
        Value::Json(json) => serde_json::from_str(&json.text).unwrap_or(Wire::Null),
    }
}

/// Digits of an integer that no double holds for sure.
fn is_big(kind: JsonType, text: &str) -> bool {
    kind == JsonType::Number
        && text.len() > 15
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}
