//! Which indexes a workload could use, from our own syntax trees: equality fields, then the order,
//! then one range; containment; a literal that recurs as a partial index; time that follows the
//! table's own order as BRIN.

mod asked;
mod making;
mod part;
mod recurring;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Wire;

use self::asked::{Asked, asked};
use self::making::Making;
use self::recurring::Recurring;
use super::definition::Definition;
use super::workload::Question;
use crate::model::table::TableNames;
pub use asked::sparse_fields;
pub use part::path_of;

/// More are not weighed.
const MOST: usize = 120;

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
}

/// The candidates of a workload. Where there are too many, each question keeps some.
pub fn candidates(questions: &[Question], table: &TableNames, data: &Data) -> Vec<Candidate> {
    let all_asked: Vec<_> = questions.iter().map(|q| asked(&q.query, table)).collect();
    let mut making = Making {
        table,
        data,
        recurring: &Recurring::of(&all_asked),
        made: BTreeMap::new(),
        question: 0,
    };
    for (place, several) in all_asked.iter().enumerate() {
        making.question = place;
        for one in several {
            making.of(one);
        }
    }
    let mut made = making.made;
    // What was thought of for one question may serve others that ask by the same first key.
    for (place, several) in all_asked.iter().enumerate() {
        let paths: BTreeSet<String> = several.iter().flat_map(Asked::paths).collect();
        for candidate in made.values_mut() {
            if paths.contains(&candidate.first) {
                candidate.questions.insert(place);
            }
        }
    }
    most(questions, made.into_values().collect())
}

/// As many as are weighed: of each question in turn, those first that serve the most.
fn most(questions: &[Question], mut all: Vec<Candidate>) -> Vec<Candidate> {
    let weight = |candidate: &Candidate| -> f64 {
        candidate
            .questions
            .iter()
            .map(|q| questions[*q].weight)
            .sum()
    };
    all.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then(a.body.cmp(&b.body)));
    if all.len() <= MOST {
        return all;
    }
    let mut kept = BTreeSet::new();
    let own = |question: usize| {
        let own = all.iter().enumerate();
        own.filter(move |(_, one)| one.questions.contains(&question))
            .map(|(place, _)| place)
    };
    let mut turns: Vec<_> = (0..questions.len()).map(own).collect();
    'full: loop {
        let before = kept.len();
        for turn in &mut turns {
            if kept.len() == MOST {
                break 'full;
            }
            kept.extend(turn.find(|place| !kept.contains(place)));
        }
        if kept.len() == before {
            break;
        }
    }
    let mut place = 0;
    all.retain(|_| {
        place += 1;
        kept.contains(&(place - 1))
    });
    all
}
