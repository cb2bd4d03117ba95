//! Conditions that can be tested before a step instead of behind it.

use std::collections::HashMap;

use crate::model::field::{Field, Kind};
use crate::query::pipeline::{Expression, Step};
use crate::query::{Condition, Leaf};

/// The conjuncts of a condition, in terms of what the step gets where it hands their fields through;
/// and those that have to stay behind it.
pub fn below(condition: &Condition, step: &Step) -> (Vec<Condition>, Vec<Condition>) {
    let through = handed_through(step);
    let (mut below, mut above) = (Vec::new(), Vec::new());
    for conjunct in conjuncts(condition) {
        match rewritten(conjunct, &through) {
            Some(moved) if !through.is_empty() => below.push(moved),
            _ => above.push(conjunct.clone()),
        }
    }
    (below, above)
}

fn conjuncts(condition: &Condition) -> Vec<&Condition> {
    match condition {
        Condition::And(all) => all.iter().flat_map(conjuncts).collect(),
        other => vec![other],
    }
}

/// The fields of what comes out that are fields of what goes in, with the same values.
fn handed_through(step: &Step) -> HashMap<Field, Field> {
    match step {
        // JSON null is no value in a group, but one in an event: such keys are not the same.
        Step::Group {
            keys, filled: None, ..
        } => keys
            .iter()
            .filter(|(field, _)| field.kind() != Kind::Json)
            .map(|(field, column)| (column.field(), field.clone()))
            .collect(),
        Step::Project(columns) => columns
            .iter()
            .filter_map(|(expression, column)| match expression {
                Expression::Field(field) => Some((column.field(), field.clone())),
                _ => None,
            })
            .collect(),
        _ => HashMap::new(),
    }
}

fn rewritten(condition: &Condition, through: &HashMap<Field, Field>) -> Option<Condition> {
    let each = |all: &[Condition]| {
        let all = all.iter().map(|one| rewritten(one, through));
        all.collect::<Option<Vec<_>>>()
    };
    Some(match condition {
        Condition::And(all) => Condition::And(each(all)?),
        Condition::Or(all) => Condition::Or(each(all)?),
        Condition::Not(one) => Condition::Not(Box::new(rewritten(one, through)?)),
        Condition::Leaf(Leaf { field, test }) => {
            Condition::leaf(through.get(field)?.clone(), test.clone())
        }
    })
}
