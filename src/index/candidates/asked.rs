//! What a query asks of indexes, whatever they may be: the keys that its conditions, order and groups
//! could be served by.

use std::collections::BTreeSet;

use serde_json::{Value as Wire, json};

use super::super::workload::Question;
use super::part::{Part, field_of};
use crate::model::{
    field::{Column, Field, Kind},
    table::TableNames,
    value::Value,
};
use crate::query::{
    CompareOp, Condition, EventQuery, MatchKind, NullsOrder, SortDirection, Source, Test, Window,
};

/// Arms of one OR that are looked into.
const MOST_ARMS: usize = 8;

/// What one conjunction asks of an index.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) equal: Vec<Part>,
    pub(super) listed: Vec<Part>,
    pub(super) ranges: Vec<Part>,
    pub(super) contained: Vec<&'static str>,
    /// Conditions with literals that could be a partial index's predicate, and the key each spares.
    pub(super) literals: Vec<(Part, Wire)>,
    pub(super) order: Vec<Part>,
    /// Group keys that are whole columns.
    pub(super) groups: Vec<Part>,
    /// Whole columns that are all that is read beside the conditions.
    pub(super) output: Option<Vec<Part>>,
}

impl Asked {
    /// What an index that serves it could begin with.
    pub(super) fn paths(&self) -> Vec<String> {
        let keys = self.equal.iter().chain(&self.listed).chain(&self.ranges);
        let more = self.order.iter().take(1).chain(&self.groups);
        keys.chain(more)
            .map(|part| field_of(&part.path).to_owned())
            .collect()
    }

    fn condition(&mut self, condition: &Condition, table: &TableNames, arms: &mut Vec<Condition>) {
        match condition {
            Condition::And(all) => all.iter().for_each(|one| self.condition(one, table, arms)),
            Condition::Or(some) if some.len() == 1 => self.condition(&some[0], table, arms),
            Condition::Or(some) => arms.extend(some.iter().take(MOST_ARMS).cloned()),
            Condition::Not(_) => {}
            Condition::Leaf(leaf) => self.leaf(&leaf.field, &leaf.test, table),
        }
    }

    fn leaf(&mut self, field: &Field, test: &Test, table: &TableNames) {
        let Some(part) = Part::of(field) else {
            return;
        };
        let range = |value: &Value| match value {
            Value::Time(_) | Value::Uuid(_) => Some(part.clone()),
            Value::Json(json) if json.as_text().is_none() => Some(part.clone()),
            Value::Text(_) | Value::Json(_) => Part::by_code_point(field, table),
        };
        match test {
            Test::Compare(CompareOp::Eq, value) => {
                if let (Value::Text(text), true) = (value, is_text(field)) {
                    let condition = json!({ "field": part.path, "op": "eq", "value": text });
                    self.literals.push((part.clone(), condition));
                }
                self.equal.push(part);
            }
            Test::Compare(CompareOp::Ne, _) => {}
            Test::Compare(_, value) | Test::Between(value, _) => self.ranges.extend(range(value)),
            Test::In {
                values,
                negated: false,
            } => {
                let texts: Vec<_> = values
                    .iter()
                    .filter_map(|value| match value {
                        Value::Text(one) => Some(one),
                        _ => None,
                    })
                    .collect();
                if texts.len() == values.len() && texts.len() <= 8 && is_text(field) {
                    let condition = json!({ "field": part.path, "op": "in", "value": texts });
                    self.literals.push((part.clone(), condition));
                }
                if values.len() == 1 {
                    self.equal.push(part);
                } else {
                    self.listed.push(part);
                }
            }
            Test::Match(MatchKind::StartsWith, _) => {
                self.ranges.extend(Part::by_code_point(field, table));
            }
            Test::Contains(_) => {
                let column = match field {
                    Field::Column(column) => column.name(),
                    // Of a path: the column's own index does not serve it.
                    _ => return,
                };
                self.contained.push(column);
            }
            Test::In { .. } | Test::Match(..) | Test::Exists(_) => {}
        }
    }
}

fn is_text(field: &Field) -> bool {
    matches!(field, Field::Column(Column::Type) | Field::Tag(_))
}

/// What a query asks of indexes: one conjunction, or one for each arm of its OR.
pub(super) fn asked(query: &EventQuery, table: &TableNames) -> Vec<Asked> {
    if query.from != Source::Events {
        return Vec::new();
    }
    let mut base = Asked::default();
    let mut arms = Vec::new();
    base.condition(&query.filter, table, &mut arms);
    if let Some(Window::Last(_)) = query.window {
        base.ranges
            .extend(Part::of(&Field::Column(Column::Timestamp)));
    }
    if let Some(grouping) = &query.grouping {
        let keys = grouping.keys.iter().filter_map(|key| Part::of(&key.field));
        base.groups = keys.filter(Part::is_plain).collect();
        if grouping.bucket.is_some() {
            (base.groups).extend(Part::of(&Field::Column(Column::Timestamp)));
        }
        let plain = grouping.aggregates.iter().map(|a| match &a.field {
            None => Some(None),
            Some(field) => Part::of(field).filter(Part::is_plain).map(Some),
        });
        base.output = plain
            .collect::<Option<Vec<_>>>()
            .map(|parts| parts.into_iter().flatten().collect())
            .filter(|_| base.groups.len() >= grouping.keys.len());
    } else {
        if query.is_paged() || !query.order_by.is_empty() {
            base.order = order(query, table);
        }
        base.output = query.select.as_ref().and_then(|selected| {
            let parts = selected.iter();
            parts
                .map(|s| Part::of(&s.field).filter(Part::is_plain))
                .collect()
        });
    }
    let mut all = vec![base.clone()];
    for arm in arms {
        let mut one = Asked {
            order: base.order.clone(),
            ..base.clone()
        };
        // An OR inside an arm of an OR is not looked into.
        one.condition(&arm, table, &mut Vec::new());
        all.push(one);
    }
    all
}

fn order(query: &EventQuery, table: &TableNames) -> Vec<Part> {
    let mut parts = Vec::new();
    for key in query.order() {
        let part = match key.field.kind() {
            Kind::Text => Part::by_code_point(&key.field, table),
            Kind::Json if !matches!(key.field, Field::Column(_)) => Part::of(&key.field),
            Kind::Json => None,
            Kind::Uuid | Kind::Time => Part::of(&key.field),
        };
        let Some(mut part) = part else {
            break;
        };
        let descending = key.direction == SortDirection::Desc;
        if descending {
            part.wire["direction"] = "desc".into();
            part.path.push_str(" desc");
        }
        let first = key.nulls.map(|nulls| nulls == NullsOrder::First);
        if key.field.nullable() && first.is_some_and(|first| first != descending) {
            part.wire["nulls"] = if descending { "last" } else { "first" }.into();
            part.path.push_str(" nulls");
        }
        parts.push(part);
    }
    parts
}

/// The fields whose presence decides on partial indexes: tags that questions compare.
pub fn sparse_fields(questions: &[Question], table: &TableNames) -> Vec<Field> {
    let mut seen = BTreeSet::new();
    for question in questions {
        for one in asked(&question.query, table) {
            let parts = one.equal.into_iter().chain(one.listed).chain(one.ranges);
            for part in parts {
                if let Ok(field @ (Field::Tag(_) | Field::Path(..))) = Field::parse(&part.path) {
                    seen.insert(field);
                }
            }
        }
    }
    seen.into_iter().take(50).collect()
}
