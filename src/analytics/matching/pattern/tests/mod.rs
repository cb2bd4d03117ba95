//! Patterns against matches that were derived by hand, and against a matcher that is nothing but the
//! definition of preference: it tries everything in order.

mod definition;
mod derived;
mod random;

use super::{Matcher, Table, Value};
use crate::analytics::matching::Events;
use crate::query::Condition;
use crate::query::matching::{Conditions, Node, Pattern, Predicate, Rows, Skip, Variable};

type Row = (u32, bool);
/// The number, the first row, and the rows of a match.
type Told = (Option<u64>, usize, Vec<Row>);

fn pattern(node: Node, names: &[&str]) -> Pattern {
    let variables = (0_u32..).zip(names).map(|(v, name)| Variable {
        name: (*name).to_owned(),
        predicate: Some(Predicate::Bit(v)),
        bound: Some(v),
    });
    Pattern {
        key: Vec::new(),
        by: Vec::new(),
        node,
        variables: variables.collect(),
        conditions: Conditions(
            names
                .iter()
                .map(|_| (Condition::always(), Vec::new()))
                .collect(),
        ),
        fields: Vec::new(),
        within: None,
        relevant: false,
        skip: Skip::PastLast,
        measures: Vec::new(),
        rows: Rows::One,
        show_empty: true,
    }
}

fn find(
    pattern: &Pattern,
    masks: &[u64],
    times: &[i64],
    values: &[Value],
) -> Result<Vec<Told>, String> {
    let matcher = Matcher::new(pattern).map_err(|e| e.to_string())?;
    let table = Table {
        events: Events {
            watch: None,
            times,
            masks,
        },
        values,
        width: usize::from(!values.is_empty()),
    };
    let mut told = Vec::new();
    let found = matcher.find(table, &mut matcher.reach(), &mut |found| {
        told.push((found.number, found.start, found.rows.to_vec()));
        Ok(())
    });
    found.map_err(|e| e.to_string())?;
    Ok(told)
}
