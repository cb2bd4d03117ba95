//! What the tests of the rules share: a query's plan as text before and after one rule.

use serde_json::Value as Wire;

use super::{RULES, Rule};
use crate::model::{
    catalog::Catalog,
    path::Path,
    table::{ColumnNames, TableNames},
    time::Timestamp,
};
use crate::plan::{
    Facts, Index, Indexes, Logical, index_field, index_predicate, normal::normal,
    optimizer::optimize_by,
};
use crate::query::{Condition, EventQuery};
use crate::sql::Target;

pub fn condition(wire: &Wire) -> Condition {
    Condition::parse(wire, &Path::Root, &crate::model::field::Field::parse).unwrap()
}

pub fn target() -> Target {
    Target {
        table: TableNames::default(),
        code_point_collation: true,
        stand_in: None,
    }
}

pub fn query(wire: &Wire) -> EventQuery {
    EventQuery::parse(wire, &Catalog::default()).unwrap()
}

fn plan(wire: &Wire) -> Logical {
    let mut plan = Logical::of(query(wire));
    plan.query.filter = normal(&plan.query.filter);
    plan
}

/// The parts of a query's plan that the rule changes, before and after it.
pub fn golden(rule: &dyn Rule, query: &Wire, before: &str, after: &str) {
    let target = target();
    golden_with(
        rule,
        query,
        &Facts {
            target: &target,
            indexes: None,
        },
        before,
        after,
    );
}

/// The same with other facts.
pub fn golden_with(rule: &dyn Rule, wire: &Wire, facts: &Facts<'_>, before: &str, after: &str) {
    let plan = plan(wire);
    let change = rule
        .apply(&plan, facts)
        .expect("the rule has something to say");
    assert_eq!(plan.lines_beside(&change.plan), before);
    assert_eq!(change.plan.lines_beside(&plan), after);
    // Once is enough.
    assert!(
        rule.apply(&change.plan, facts)
            .is_none_or(|again| again.plan == change.plan)
    );
    // What it made is taken: the answer's form is the same.
    let optimized = optimize_by(&[rule], &query(wire), facts);
    assert_eq!(optimized.plan, change.plan);
}

/// The rule leaves the query alone.
pub fn unchanged(rule: &dyn Rule, query: &Wire) {
    let target = target();
    unchanged_with(
        rule,
        query,
        &Facts {
            target: &target,
            indexes: None,
        },
    );
}

/// The same with other facts.
pub fn unchanged_with(rule: &dyn Rule, query: &Wire, facts: &Facts<'_>) {
    let plan = plan(query);
    if let Some(change) = rule.apply(&plan, facts) {
        assert_eq!(change.plan.lines(), plan.lines());
        assert_eq!(change.plan, plan);
    }
}

#[test]
fn rules_have_names_of_their_own() {
    let mut names: Vec<_> = RULES.iter().map(|rule| rule.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
}

/// An index, as the catalog would show it.
pub fn index(name: &str, method: &str, columns: &[&str], predicate: Option<&str>) -> Index {
    let names = ColumnNames::default();
    Index {
        name: name.to_owned(),
        method: method.to_owned(),
        unique: false,
        columns: columns
            .iter()
            .map(|text| index_field(text, &names))
            .collect(),
        predicate: predicate.map_or_else(Vec::new, |text| index_predicate(text, &names)),
        predicate_text: predicate.map(str::to_owned),
    }
}

/// With these indexes, read on 1 June 2026.
pub fn indexed(list: Vec<Index>, test: impl FnOnce(&Facts<'_>)) {
    let indexes = Indexes {
        list,
        read_at: Timestamp::parse("2026-06-01").unwrap(),
        rows: None,
        statistics: Vec::new(),
    };
    let target = target();
    test(&Facts {
        target: &target,
        indexes: Some(&indexes),
    });
}
