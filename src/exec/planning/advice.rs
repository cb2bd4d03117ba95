//! What would help PostgreSQL plan a query, as far as the catalog shows it.

use crate::exec::engine::Engine;
use crate::model::field::Field;
use crate::plan::{Indexes, condition_text, field_text};
use crate::query::{CompareOp, Condition, EventQuery, Leaf, Source, Test};

/// Below that a guess costs nothing.
const FEW: f32 = 10_000.0;

impl Engine {
    /// Advice on a query, whose plan reads these indexes.
    pub fn advice(&self, query: &EventQuery, used: &[String]) -> Vec<String> {
        match self.indexes() {
            Some(indexes) if query.from == Source::Events => advice(query, used, &indexes),
            _ => Vec::new(),
        }
    }
}

fn advice(query: &EventQuery, used: &[String], indexes: &Indexes) -> Vec<String> {
    let mut advice = Vec::new();
    let Some(rows) = indexes.rows else {
        advice.push(
            "the event table was never analyzed, and all estimates are guesses: run ANALYZE on it"
                .to_owned(),
        );
        return advice;
    };
    let mut equal = Vec::new();
    equalities(&query.filter, &mut equal);
    for index in indexes
        .list
        .iter()
        .filter(|index| !used.contains(&index.name))
    {
        let mut missing = index.missing(query, indexes.read_at);
        // One member short of being of use.
        let (Some(member), None) = (missing.next(), missing.next()) else {
            continue;
        };
        let serves = (index.columns.first())
            .is_some_and(|column| column.as_ref().is_some_and(|field| equal.contains(&field)));
        if serves {
            let asked = match member {
                Some(member) => condition_text(member),
                None => index.predicate_text.clone().unwrap_or_default(),
            };
            advice.push(format!(
                "the partial index {} cannot be used: it holds only events where {asked}, which does not follow from the filter; add that to the filter where it is meant",
                index.name
            ));
        }
    }
    if rows >= FEW {
        for field in equal {
            let is_on_it = |other: &Option<Field>| other.as_ref() == Some(field);
            let is_known = matches!(field, Field::Column(_))
                || indexes.statistics.contains(field)
                || indexes
                    .list
                    .iter()
                    .any(|index| index.columns.iter().any(is_on_it));
            if !is_known {
                advice.push(format!(
                    "PostgreSQL has no statistics of {0} and guesses how many events have a value: an index on it, or CREATE STATISTICS on its expression, and then ANALYZE let it know",
                    field_text(field)
                ));
            }
        }
    }
    advice
}

/// Fields that must equal something.
fn equalities<'c>(condition: &'c Condition, fields: &mut Vec<&'c Field>) {
    match condition {
        Condition::And(arms) => {
            for arm in arms {
                equalities(arm, fields);
            }
        }
        Condition::Leaf(Leaf {
            field,
            test: Test::Compare(CompareOp::Eq, _) | Test::In { negated: false, .. },
        }) if !fields.contains(&field) => fields.push(field),
        _ => {}
    }
}
