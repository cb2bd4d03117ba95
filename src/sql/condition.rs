//! Conditions as SQL.
//!
//! Negation is pushed down to the leaves first, by the laws that hold in three-valued logic too.
//! Then every leaf stands in a positive place, where false and unknown are the same (the row is
//! left out), and each can be written in the form that an index serves: `x > $1 AND
//! jsonb_typeof(x) = 'number'` rather than a CASE around it.
//!
//! JSON compares jsonb with jsonb and tests the type beside it, so that no cast can fail on mixed
//! data, in whatever order the server evaluates the two.

use super::field::EVENTS;
use super::writer::{Bind, Writer};
use crate::model::{
    field::{Column, Field, Kind},
    value::{JsonType, Value, write_text},
};
use crate::query::{CompareOp, Condition, Leaf, MatchKind, Test};

impl Writer<'_> {
    /// The condition, for a WHERE clause.
    pub fn condition(&mut self, condition: &Condition) -> &mut Self {
        self.signed(condition, true)
    }

    /// The condition, or its negation where `positive` is false.
    fn signed(&mut self, condition: &Condition, positive: bool) -> &mut Self {
        match condition {
            Condition::Not(inner) => self.signed(inner, !positive),
            Condition::Leaf(leaf) => self.leaf(leaf, positive),
            Condition::And(arms) => self.arms(arms, positive, positive),
            Condition::Or(arms) => self.arms(arms, !positive, positive),
        }
    }

    fn arms(&mut self, arms: &[Condition], all: bool, positive: bool) -> &mut Self {
        match arms {
            [] => self.sql(if all { "true" } else { "false" }),
            [only] => self.signed(only, positive),
            _ => {
                let separator = if all { " AND " } else { " OR " };
                self.sql("(").join(arms, separator, |w, arm| {
                    w.signed(arm, positive);
                });
                self.sql(")")
            }
        }
    }

    fn leaf(&mut self, leaf: &Leaf, positive: bool) -> &mut Self {
        let field = &leaf.field;
        match &leaf.test {
            Test::Compare(CompareOp::Eq, Value::Text(text))
                if positive && self.access.contained.contains(field) =>
            {
                self.contained(field, text)
            }
            Test::Compare(op, value) => {
                self.compare(field, if positive { *op } else { op.negated() }, value)
            }
            Test::In { values, negated } => self.membership(field, values, *negated == positive),
            Test::Between(low, high) if positive => {
                self.sql("(")
                    .compare(field, CompareOp::Gte, low)
                    .sql(" AND ");
                self.compare(field, CompareOp::Lte, high).sql(")")
            }
            Test::Between(low, high) => {
                self.sql("(").compare(field, CompareOp::Lt, low).sql(" OR ");
                self.compare(field, CompareOp::Gt, high).sql(")")
            }
            Test::Match(kind, pattern) => self.matches(field, *kind, pattern, positive),
            Test::Contains(json) => {
                let (open, close) = if positive {
                    ("(", ")")
                } else {
                    ("(NOT (", "))")
                };
                self.sql(open)
                    .field(field)
                    .sql(" @> ")
                    .bind(Bind::Json(json.text.clone()))
                    .sql(close)
            }
            Test::Exists(expected) => {
                let test = if *expected == positive {
                    " IS NOT NULL)"
                } else {
                    " IS NULL)"
                };
                self.sql("((").field(field).sql(")").sql(test)
            }
        }
    }

    /// Equality of a tag, for an index on all tags.
    ///
    /// A tag's text is that of its string, or of a number or boolean that is written so; containment
    /// tells these apart. What begins as a list or an object is left to the equality alone.
    fn contained(&mut self, field: &Field, text: &str) -> &mut Self {
        let value = Value::Text(text.to_owned());
        let Field::Tag(key) = field else {
            return self.compare(field, CompareOp::Eq, &value);
        };
        let mut members = Vec::new();
        if !text.starts_with(['{', '[']) {
            let mut string = String::new();
            write_text(text, &mut string);
            members.push(string);
            let bare: Option<serde_json::Value> = serde_json::from_str(text).ok();
            if bare.is_some_and(|bare| bare.is_number() || bare.is_boolean())
                && text.trim() == text
                && !text.contains(['e', 'E']) | matches!(text, "true" | "false")
            {
                members.push(text.to_owned());
            }
        }
        if members.is_empty() {
            return self.compare(field, CompareOp::Eq, &value);
        }
        let mut name = String::new();
        write_text(key, &mut name);
        self.sql("((").join(members, " OR ", |w, member| {
            w.event_column(EVENTS, Column::Tags)
                .sql(" @> ")
                .bind(Bind::Json(format!("{{{name}:{member}}}")));
        });
        self.sql(") AND ")
            .compare(field, CompareOp::Eq, &value)
            .sql(")")
    }

    fn compare(&mut self, field: &Field, op: CompareOp, value: &Value) -> &mut Self {
        let operator = operator(op);
        let ordered = !matches!(op, CompareOp::Eq | CompareOp::Ne);
        match value {
            Value::Json(json) if ordered => {
                self.sql("(");
                match json.as_text() {
                    Some(text) => self
                        .sql("(")
                        .field_text(field)
                        .sql(") COLLATE \"C\"")
                        .sql(operator)
                        .bind(Bind::Text(text)),
                    None => self.field(field).sql(operator).bind(Bind::from(value)),
                };
                self.sql(" AND ").of_type(field, json.kind).sql(")")
            }
            Value::Text(_) if ordered => self
                .sql("((")
                .field(field)
                .sql(") COLLATE \"C\"")
                .sql(operator)
                .bind(Bind::from(value))
                .sql(")"),
            _ => self
                .sql("(")
                .field(field)
                .sql(operator)
                .bind(Bind::from(value))
                .sql(")"),
        }
    }

    /// `in` where `negated` is false.
    fn membership(&mut self, field: &Field, values: &[Value], negated: bool) -> &mut Self {
        let quantified = if negated { " <> ALL(" } else { " = ANY(" };
        self.sql("(")
            .field(field)
            .sql(quantified)
            .bind(array(values))
            .sql("))")
    }

    fn matches(
        &mut self,
        field: &Field,
        kind: MatchKind,
        pattern: &str,
        positive: bool,
    ) -> &mut Self {
        self.sql("(");
        if kind == MatchKind::StartsWith && field.kind() == Kind::Text && positive {
            self.prefix_range(field, pattern);
        } else {
            let (not, operator) = match (kind, positive) {
                (MatchKind::Like, true) => ("", " LIKE "),
                (MatchKind::Like, false) => ("", " NOT LIKE "),
                (MatchKind::Ilike, true) => ("", " ILIKE "),
                (MatchKind::Ilike, false) => ("", " NOT ILIKE "),
                (MatchKind::Regex, true) => ("", " ~ "),
                (MatchKind::Regex, false) => ("", " !~ "),
                (MatchKind::StartsWith, true) => ("", " ^@ "),
                (MatchKind::StartsWith, false) => ("NOT ", " ^@ "),
            };
            self.sql(not)
                .sql("(")
                .field_text(field)
                .sql(")")
                .sql(operator)
                .bind(Bind::Text(pattern.to_owned()));
        }
        if field.kind() == Kind::Json {
            self.sql(" AND ").of_type(field, JsonType::String);
        }
        self.sql(")")
    }

    /// A literal prefix as a range by code point, which any btree on the text serves.
    fn prefix_range(&mut self, field: &Field, prefix: &str) -> &mut Self {
        let text = |w: &mut Self| {
            w.sql("(").field(field).sql(") COLLATE \"C\"");
        };
        text(self);
        self.sql(" >= ").bind(Bind::Text(prefix.to_owned()));
        if let Some(end) = prefix_end(prefix) {
            self.sql(" AND ");
            text(self);
            self.sql(" < ").bind(Bind::Text(end));
        }
        self
    }

    fn of_type(&mut self, field: &Field, kind: JsonType) -> &mut Self {
        self.sql("jsonb_typeof(")
            .field(field)
            .sql(") = '")
            .sql(kind.name())
            .sql("'")
    }
}

const fn operator(op: CompareOp) -> &'static str {
    match op {
        CompareOp::Eq => " = ",
        CompareOp::Ne => " <> ",
        CompareOp::Lt => " < ",
        CompareOp::Lte => " <= ",
        CompareOp::Gt => " > ",
        CompareOp::Gte => " >= ",
    }
}

/// The least text greater than every text with this prefix; `None` where there is none.
fn prefix_end(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // The code point after it, over the gap of the surrogates, which text never holds.
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            c => char::from_u32(u32::from(c) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// The values of one `in`, which are all of one kind.
fn array(values: &[Value]) -> Bind {
    match values.first() {
        Some(Value::Uuid(_)) => Bind::Uuids(
            values
                .iter()
                .filter_map(|v| {
                    if let Value::Uuid(id) = v {
                        Some(*id)
                    } else {
                        None
                    }
                })
                .collect(),
        ),
        Some(Value::Time(_)) => Bind::Times(
            values
                .iter()
                .filter_map(|v| {
                    if let Value::Time(at) = v {
                        Some(*at)
                    } else {
                        None
                    }
                })
                .collect(),
        ),
        Some(Value::Json(_)) => Bind::Jsons(
            values
                .iter()
                .filter_map(|v| {
                    if let Value::Json(json) = v {
                        Some(json.text.clone())
                    } else {
                        None
                    }
                })
                .collect(),
        ),
        Some(Value::Text(_)) | None => Bind::Texts(
            values
                .iter()
                .filter_map(|v| {
                    if let Value::Text(text) = v {
                        Some(text.clone())
                    } else {
                        None
                    }
                })
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(prefix_end("CODE.").as_deref(), Some("CODE/"));
        assert_eq!(prefix_end("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(prefix_end("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(prefix_end("\u{10FFFF}"), None);
        assert_eq!(prefix_end(""), None);
    }
}
