//! Which literals a workload asks for again and again. A question is recorded with the values of
//! one call: an index of the events of issue 42 would serve that call and no other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Wire;

use super::asked::Asked;

/// Literals of a workload, by their field.
#[derive(Debug, Default)]
pub(super) struct Recurring {
    /// The literals of each field, with the questions that ask for each.
    asked: BTreeMap<String, BTreeMap<String, BTreeSet<usize>>>,
}

/// The field of a condition, and its literal.
fn parts(condition: &Wire) -> (String, String) {
    let field = condition["field"].as_str().unwrap_or_default();
    (field.to_owned(), condition["value"].to_string())
}

impl Recurring {
    /// Of what all questions ask.
    pub(super) fn of(all: &[Vec<Asked>]) -> Self {
        let mut recurring = Self::default();
        for (question, several) in all.iter().enumerate() {
            for (_, condition) in several.iter().flat_map(|one| &one.literals) {
                let (field, literal) = parts(condition);
                let literals = recurring.asked.entry(field).or_default();
                literals.entry(literal).or_default().insert(question);
            }
        }
        recurring
    }

    /// Whether an index may hold the events of this literal only. Types are part of the code that
    /// asks; a tag's value is so where several questions ask for it, and none for another.
    pub(super) fn is_constant(&self, condition: &Wire) -> bool {
        let (field, literal) = parts(condition);
        if field == "type" {
            return true;
        }
        let literals = self.asked.get(&field);
        literals.is_some_and(|all| all.len() == 1 && all.get(&literal).is_some_and(|q| q.len() > 1))
    }
}
