//! Plans in words: for `explain()`, and for the golden tests of the rules.

use std::fmt::Write;

use crate::model::{
    field::{Field, Relation, Step},
    value::Value,
};
use crate::query::{Aggregate, CompareOp, Condition, Leaf, MatchKind, Test};
use crate::sql::Access;

/// More values of a list than anybody reads.
const LISTED: usize = 6;

/// A condition.
pub fn condition(condition: &Condition) -> String {
    match condition {
        Condition::And(arms) if arms.is_empty() => "true".to_owned(),
        Condition::Or(arms) if arms.is_empty() => "false".to_owned(),
        Condition::And(arms) => joined(arms, " and "),
        Condition::Or(arms) => joined(arms, " or "),
        Condition::Not(inner) => format!("not {}", grouped(inner)),
        Condition::Leaf(test) => leaf(test),
    }
}

fn joined(arms: &[Condition], word: &str) -> String {
    let texts: Vec<_> = arms.iter().map(grouped).collect();
    texts.join(word)
}

fn grouped(inner: &Condition) -> String {
    let text = condition(inner);
    match inner {
        Condition::And(arms) | Condition::Or(arms) if arms.len() > 1 => format!("({text})"),
        _ => text,
    }
}

fn leaf(leaf: &Leaf) -> String {
    let name = field(&leaf.field);
    match &leaf.test {
        Test::Compare(op, with) => format!("{name} {} {}", operator(*op), value(with)),
        Test::In { values, negated } => {
            let not = if *negated { "not " } else { "" };
            let mut listed: Vec<_> = values.iter().take(LISTED).map(value).collect();
            if values.len() > LISTED {
                listed.push(format!("… {} in all", values.len()));
            }
            format!("{name} {not}in [{}]", listed.join(", "))
        }
        Test::Between(low, high) => format!("{name} between {} and {}", value(low), value(high)),
        Test::Match(kind, pattern) => {
            let word = match kind {
                MatchKind::Like => "like",
                MatchKind::Ilike => "ilike",
                MatchKind::StartsWith => "starts with",
                MatchKind::Regex => "matches",
            };
            format!("{name} {word} {}", quoted(pattern))
        }
        Test::Contains(json) => format!("{name} contains {}", json.text),
        Test::Exists(true) => format!("{name} exists"),
        Test::Exists(false) => format!("{name} is missing"),
    }
}

const fn operator(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => "=",
        CompareOp::Ne => "<>",
        CompareOp::Lt => "<",
        CompareOp::Lte => "<=",
        CompareOp::Gt => ">",
        CompareOp::Gte => ">=",
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Uuid(id) => id.to_string(),
        Value::Time(at) => at.to_string(),
        Value::Json(json) => json.text.clone(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    crate::model::value::write_text(text, &mut out);
    out
}

/// A field, as callers write it; those of joined relations by the relation's number.
pub fn field(field: &Field) -> String {
    match field {
        Field::Column(column) => column.name().to_owned(),
        Field::Tag(key) => format!("tags.{key}"),
        Field::Path(column, path) => format!("{}{}", column.name(), steps(path)),
        Field::Joined(relation, inner) => format!("{}.{}", alias(*relation), self::field(inner)),
        Field::Foreign(foreign) => {
            let name = format!("{}{}", foreign.column, steps(&foreign.steps));
            match foreign.relation {
                Relation(0) => name,
                joined => format!("{}.{name}", alias(joined)),
            }
        }
        Field::Output(output) => format!("column {}", output.column + 1),
    }
}

fn alias(relation: Relation) -> String {
    format!("join {}", relation.0)
}

fn steps(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        match step {
            Step::Key(key) if !key.is_empty() && !key.contains(['.', '[', ']', '"']) => {
                let _ = write!(out, ".{key}");
            }
            Step::Key(key) => {
                out.push('[');
                out.push_str(&quoted(key));
                out.push(']');
            }
            Step::Index(index) => {
                let _ = write!(out, "[{index}]");
            }
        }
    }
    out
}

/// An aggregate's function and what it reads.
pub fn function(aggregate: &Aggregate) -> String {
    let name = format!("{:?}", aggregate.function);
    let name = name.split('(').next().unwrap_or_default();
    let mut shown = name.to_owned();
    if let Some(first) = shown.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    match &aggregate.field {
        Some(read) => format!("{shown}({})", field(read)),
        None => format!("{shown}()"),
    }
}

/// What was decided beside the query.
pub fn access(access: &Access) -> Vec<String> {
    let mut lines = Vec::new();
    for (i, bounds) in access.join_bounds.iter().enumerate() {
        if !bounds.is_always() {
            lines.push(format!("join {} where {}", i + 1, condition(bounds)));
        }
    }
    for tag in &access.contained {
        lines.push(format!("{} by containment", field(tag)));
    }
    for literal in &access.literals {
        lines.push(format!("said in full: {}", condition(literal)));
    }
    for (i, arm) in access.arms.iter().enumerate() {
        lines.push(format!("arm {}: {}", i + 1, condition(arm)));
    }
    lines
}
