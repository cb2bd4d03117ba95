//! From what is asked to definitions: heads of equal fields, tails of order and ranges, and of each
//! the partial and the covering kinds. What comes out twice is kept once.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Wire, json};
use xxhash_rust::xxh3::xxh3_64;

use super::super::definition::{Definition, Method};
use super::super::manage::columns;
use super::asked::Asked;
use super::part::{Part, field_of};
use super::recurring::Recurring;
use super::{Candidate, Data};
use crate::model::{
    field::{Column, Field},
    table::TableNames,
};

/// Keys of a candidate.
const MOST_KEYS: usize = 5;

pub(super) struct Making<'a> {
    pub(super) table: &'a TableNames,
    pub(super) data: &'a Data,
    pub(super) recurring: &'a Recurring,
    pub(super) made: BTreeMap<String, Candidate>,
    pub(super) question: usize,
}

impl Making<'_> {
    pub(super) fn of(&mut self, asked: &Asked) {
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
        let recurring = self.recurring;
        for (part, condition) in asked
            .literals
            .iter()
            .filter(|(_, c)| recurring.is_constant(c))
        {
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
            // An index is read from either end.
            let same = |tail: &[Part]| matches!(tail, [one] if field_of(&one.path) == range.path);
            if !tails.iter().any(|tail| same(tail)) {
                tails.push(vec![range.clone()]);
            }
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
