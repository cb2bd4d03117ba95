//! Which indexes a workload could use, from our own syntax trees: equality fields, then the order,
//! then one range; containment; a literal that recurs as a partial index; time that follows the
//! table's own order as BRIN.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Wire, json};
use xxhash_rust::xxh3::xxh3_64;

use super::definition::{Definition, Method};
use super::manage::columns;
use super::workload::Question;
use crate::model::{
    field::{Column, Field, Kind, Step},
    table::TableNames,
    value::Value,
};
use crate::query::{
    CompareOp, Condition, EventQuery, MatchKind, NullsOrder, SortDirection, Source, Test, Window,
};

/// More are not weighed.
const MOST: usize = 80;
/// Arms of one OR that are looked into.
const MOST_ARMS: usize = 8;
/// Keys of a candidate.
const MOST_KEYS: usize = 5;

/// What is known of the data, as far as candidates depend on it.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// How well time follows the table's own order, from -1 to 1.
    pub time_correlation: f64,
    /// The share of events that have a field, by its path; 1 where it is not known.
    pub present: BTreeMap<String, f64>,
}

/// An index that could be built.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As `createIndex` takes it.
    pub wire: Wire,
    /// The same, checked.
    pub definition: Definition,
    /// Its end, from the table on: what tells candidates apart.
    pub body: String,
    /// Questions that it could serve, by their places.
    pub questions: BTreeSet<usize>,
    /// The path of its first key; empty where that is a whole column's content.
    pub first: String,
    /// Whether it holds events of a literal only, which must be common to be worth that.
    pub literal: bool,
}

/// A key in the making.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    path: String,
    wire: Wire,
}

/// What one conjunction asks of an index.
#[derive(Clone, Debug, Default)]
struct Asked {
    equal: Vec<Part>,
    listed: Vec<Part>,
    ranges: Vec<Part>,
    contained: Vec<&'static str>,
    /// Conditions with literals that could be a partial index's predicate, and the key each spares.
    literals: Vec<(Part, Wire)>,
    order: Vec<Part>,
    /// Group keys that are whole columns.
    groups: Vec<Part>,
    /// Whole columns that are all that is read beside the conditions.
    output: Option<Vec<Part>>,
}

/// The field of a key's path, without its direction and collation.
fn field_of(path: &str) -> &str {
    path.split(' ').next().unwrap_or_default()
}

/// The path of a field of the event table.
pub fn path_of(field: &Field) -> Option<String> {
    Some(match field {
        Field::Column(column) => column.name().to_owned(),
        Field::Tag(key) => format!("tags.{key}"),
        Field::Path(column, steps) => {
            let mut path = column.name().to_owned();
            for step in steps {
                match step {
                    Step::Index(at) => path.push_str(&["[", &at.to_string(), "]"].concat()),
                    Step::Key(key)
                        if !key.is_empty() && !key.contains(['.', '[', ']', '"', '\\']) =>
                    {
                        path.push('.');
                        path.push_str(key);
                    }
                    Step::Key(key) => path.push_str(&["[", &json!(key).to_string(), "]"].concat()),
                }
            }
            path
        }
        _ => return None,
    })
}

impl Part {
    fn of(field: &Field) -> Option<Self> {
        let path = path_of(field)?;
        Some(Self {
            wire: json!({ "field": path }),
            path,
        })
    }

    /// The text of a field as ranges compare it: by code point.
    fn by_code_point(field: &Field, table: &TableNames) -> Option<Self> {
        let path = format!("{} C", path_of(field)?);
        let expression = crate::sql::text_expression(field, table);
        Some(Self {
            wire: json!({ "expression": expression }),
            path,
        })
    }

    fn is_plain(&self) -> bool {
        is_plain(&self.path)
    }
}

/// Whether a path is a whole column.
fn is_plain(path: &str) -> bool {
    Column::EVENT.iter().any(|c| c.name() == path) || path == "createdAt"
}

impl Asked {
    /// What an index that serves it could begin with.
    fn paths(&self) -> Vec<String> {
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
fn asked(query: &EventQuery, table: &TableNames) -> Vec<Asked> {
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

struct Making<'a> {
    table: &'a TableNames,
    data: &'a Data,
    made: BTreeMap<String, Candidate>,
    question: usize,
}

/// The candidates of a workload. Heavier questions come first where there are too many.
pub fn candidates(questions: &[Question], table: &TableNames, data: &Data) -> Vec<Candidate> {
    let mut making = Making {
        table,
        data,
        made: BTreeMap::new(),
        question: 0,
    };
    for (place, question) in questions.iter().enumerate() {
        making.question = place;
        for one in asked(&question.query, table) {
            making.of(&one);
        }
    }
    // What was thought of for one question may serve others that ask by the same first key.
    for (place, question) in questions.iter().enumerate() {
        let paths: BTreeSet<String> = asked(&question.query, table)
            .iter()
            .flat_map(Asked::paths)
            .collect();
        for candidate in making.made.values_mut() {
            if paths.contains(&candidate.first) {
                candidate.questions.insert(place);
            }
        }
    }
    let weight = |candidate: &Candidate| -> f64 {
        candidate
            .questions
            .iter()
            .map(|q| questions[*q].weight)
            .sum()
    };
    let mut all: Vec<_> = making.made.into_values().collect();
    all.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.body.cmp(&b.body)));
    all.truncate(MOST);
    all
}

impl Making<'_> {
    fn of(&mut self, asked: &Asked) {
        let mut equal: Vec<Part> = Vec::new();
        for part in &asked.equal {
            if !equal.contains(part) {
                equal.push(part.clone());
            }
        }
        equal.sort_by(|a, b| a.path.cmp(&b.path));
        equal.truncate(3);
        let mut heads: Vec<Vec<Part>> = vec![equal.clone()];
        if equal.len() > 1 {
            heads.extend(equal.iter().map(|part| vec![part.clone()]));
            heads.extend((equal.len() > 2).then(|| equal[..2].to_vec()));
        }
        heads.push(Vec::new());
        for head in &heads {
            self.with_head(head, asked, None);
        }
        for (part, condition) in &asked.literals {
            let rest: Vec<Part> = equal.iter().filter(|p| *p != part).cloned().collect();
            self.with_head(&rest, asked, Some(condition));
        }
        for column in &asked.contained {
            let wire = json!({ "type": "gin", "columns": [{ "field": column, "operatorClass": "jsonb_path_ops" }] });
            self.add(wire, "", "");
        }
        let timed = asked.ranges.iter().any(|part| part.path == "timestamp");
        if timed && self.data.time_correlation.abs() > 0.9 {
            let wire = json!({ "type": "brin", "columns": [{ "field": "timestamp" }] });
            self.add(wire, "", "timestamp");
        }
    }

    fn with_head(&mut self, head: &[Part], asked: &Asked, condition: Option<&Wire>) {
        let mut tails: Vec<Vec<Part>> = vec![Vec::new(), asked.order.clone()];
        if let Some((last, shorter)) = asked.order.split_last()
            && field_of(&last.path) == "id"
        {
            // Ties are few: sorting them costs less than carrying the id.
            tails.push(shorter.to_vec());
        }
        for range in &asked.ranges {
            tails.push(vec![range.clone()]);
            if !asked.order.is_empty()
                && !asked.order.iter().any(|o| o.path.starts_with(&range.path))
            {
                let mut both = asked.order.clone();
                both.push(range.clone());
                tails.push(both);
            }
        }
        for listed in &asked.listed {
            tails.push(vec![listed.clone()]);
            for range in &asked.ranges {
                tails.push(vec![listed.clone(), range.clone()]);
            }
            let mut ordered = vec![listed.clone()];
            ordered.extend(asked.order.iter().cloned());
            tails.push(ordered);
        }
        if !asked.groups.is_empty() {
            tails.push(asked.groups.clone());
            let mut ranged = asked.groups.clone();
            ranged.extend(asked.ranges.iter().filter(|r| r.is_plain()).cloned());
            tails.push(ranged);
        }
        for tail in tails {
            let mut keys: Vec<Part> = Vec::new();
            for part in head.iter().chain(&tail) {
                let field = field_of(&part.path);
                if !keys.iter().any(|k| field_of(&k.path) == field) {
                    keys.push(part.clone());
                }
            }
            keys.truncate(MOST_KEYS);
            if keys.is_empty() {
                // A partial index needs a key: time, which every question can read in order.
                if condition.is_none() {
                    continue;
                }
                keys.extend(Part::of(&Field::Column(Column::Timestamp)));
            }
            self.keyed(&keys, asked, condition);
        }
    }

    fn keyed(&mut self, keys: &[Part], asked: &Asked, condition: Option<&Wire>) {
        let columns: Vec<_> = keys.iter().map(|key| key.wire.clone()).collect();
        let mut wire = json!({ "type": "btree", "columns": columns });
        if let Some(condition) = condition {
            wire["where"] = condition.clone();
        }
        let named: Vec<_> = keys.iter().map(|key| key.path.as_str()).collect();
        let mut named = named.join("_");
        if let Some(condition) = condition {
            // What it is partial by, for people who read plans.
            let of = condition["value"]
                .as_str()
                .or_else(|| condition["field"].as_str());
            named.push('_');
            named.push_str(of.unwrap_or_default());
        }
        let first = field_of(&keys[0].path).to_owned();
        self.add(wire.clone(), &named, &first);
        // Events without the field are left out, where there are many of them.
        let head = &keys[0];
        let present = self.data.present.get(&head.path).copied().unwrap_or(1.0);
        if condition.is_none() && present < 0.8 && asked.equal.contains(head) {
            let mut sparse = wire.clone();
            sparse["where"] = json!({ "field": head.path, "op": "exists", "value": true });
            self.add(sparse, &format!("{named}_present"), &first);
        }
        // Whole columns alone can be answered from the index.
        if let Some(output) = &asked.output
            && keys.iter().all(|key| key.wire.get("field").is_some())
            && keys.iter().all(|key| {
                Part::is_plain(&Part {
                    path: key.path.split(' ').next().unwrap_or_default().to_owned(),
                    wire: Wire::Null,
                })
            })
        {
            let missing: Vec<_> = (output.iter())
                .filter(|part| !keys.iter().any(|key| field_of(&key.path) == part.path))
                .filter(|part| !["tags", "data", "metadata"].contains(&part.path.as_str()))
                .map(|part| part.path.clone())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect();
            let heavy = output
                .iter()
                .any(|part| ["tags", "data", "metadata"].contains(&part.path.as_str()));
            if !missing.is_empty() && !heavy {
                wire["include"] = json!(missing);
                self.add(wire, &format!("{named}_covering"), &first);
            }
        }
    }

    /// Keeps a candidate, under a name that says what it is and cannot meet another's.
    fn add(&mut self, mut wire: Wire, named: &str, first: &str) {
        wire["table"] = self.table.name.clone().into();
        let wire_is_literal = matches!(wire["where"]["op"].as_str(), Some("eq" | "in"));
        // The name is not part of what it is.
        wire["name"] = "candidate".into();
        let Ok(definition) = Definition::parse(&wire, self.table, &columns(self.table)) else {
            return;
        };
        let body = definition.body(self.table, None);
        if let Some(known) = self.made.get_mut(&body) {
            known.questions.insert(self.question);
            return;
        }
        let name = name_of(self.table, &definition, named, &body);
        wire["name"] = name.clone().into();
        let definition = Definition {
            name,
            wire: wire.clone(),
            ..definition
        };
        self.made.insert(
            body.clone(),
            Candidate {
                wire,
                definition,
                body,
                questions: BTreeSet::from([self.question]),
                first: first.to_owned(),
                literal: wire_is_literal,
            },
        );
    }
}

fn name_of(table: &TableNames, definition: &Definition, named: &str, body: &str) -> String {
    let named = match definition.method {
        Method::Btree => named.to_owned(),
        other => format!(
            "{}_{}",
            other.name(),
            definition.keys[0].sql.replace('"', "")
        ),
    };
    let plain: String = named
        .replace("tags.", "")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .take(34)
        .collect();
    let hash = xxh3_64(body.as_bytes()) & 0xff_ffff;
    let whole = TableNames {
        name: format!("{}_{plain}", table.name),
        ..table.clone()
    };
    whole.derived("idx_", &format!("_{hash:06x}"))
}
