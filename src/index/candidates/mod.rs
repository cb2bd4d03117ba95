//! Which indexes a workload could use, from our own syntax trees: equality fields, then the order,
//! then one range; containment; a literal that recurs as a partial index; time that follows the
//! table's own order as BRIN.

mod asked;
mod making;
mod part;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Wire;

use self::asked::{Asked, asked};
use self::making::Making;
use super::definition::Definition;
use super::workload::Question;
use crate::model::table::TableNames;
pub use asked::sparse_fields;
pub use part::path_of;

/// More are not weighed.
const MOST: usize = 80;

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
