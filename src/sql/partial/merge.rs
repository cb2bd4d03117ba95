//! What all slices gave, merged by the server into the groups of the whole.
//!
//! Sums are added as `numeric`, and what PostgreSQL divides at the end is divided here in its way: the
//! answer is that of one statement, to the last digit.

use super::state::{Columns, whole_type};
use super::{Merge, Partial, Typed, keys};
use crate::model::{Result, time::Timestamp};
use crate::query::{Aggregate, EventQuery, Function, Grouping};
use crate::sql::select::{Over, Purpose, Statement, Target, compile_over};
use crate::sql::writer::{Bind, Writer};

/// What all slices gave.
#[derive(Clone, Debug)]
pub struct Merged {
    /// One array for each column.
    pub columns: Vec<Bind>,
    /// What they hold.
    pub merge: Merge,
}

/// One contribution for each group, out of several.
pub fn compacted(grouping: &Grouping, target: &Target, contributions: &Merged) -> Partial {
    let mut w = Writer::new(&target.table);
    let mut places = 0..contributions.columns.len();
    // The place of the next column that was given.
    let mut next = || places.next().unwrap_or_default();
    let mut columns = Columns::new(&mut w);
    for (_, kind) in keys(grouping) {
        let place = next();
        columns.add(Typed::of(kind), |w| {
            w.given(place);
        });
    }
    for aggregate in &grouping.aggregates {
        for (function, typed) in parts(aggregate) {
            let place = next();
            columns.add(typed, |w| {
                w.sql(function).sql("(").given(place);
                w.sql(if typed == Typed::Text {
                    " COLLATE \"C\")"
                } else {
                    ")"
                });
            });
        }
    }
    columns.add(Typed::Integer, |w| {
        w.number(0);
    });
    let types = columns.types;
    w.sql(" FROM ").unnested(contributions);
    w.group_by_place(grouping.key_columns().len());
    let (sql, binds) = w.finish();
    Partial { sql, binds, types }
}

/// How the parts of an aggregate's state merge, in the order of its contribution.
fn parts(aggregate: &Aggregate) -> Vec<(&'static str, Typed)> {
    match aggregate.function {
        Function::Avg => vec![("sum", Typed::Integer), ("sum", Typed::Numeric)],
        Function::Stddev | Function::Variance => vec![
            ("sum", Typed::Integer),
            ("sum", Typed::Numeric),
            ("sum", Typed::Numeric),
        ],
        Function::Min => vec![("min", whole_type(aggregate))],
        Function::Max => vec![("max", whole_type(aggregate))],
        _ => vec![("sum", whole_type(aggregate))],
    }
}

/// The statement that the groups of the whole come from.
///
/// # Errors
/// As [`compile`](crate::sql::compile).
pub fn merged(
    query: &EventQuery,
    target: &Target,
    purpose: Purpose,
    merged: &Merged,
    clock: Timestamp,
) -> Result<Statement> {
    let over = Over {
        merged: Some(merged),
        clock: Some(clock),
        ..Over::default()
    };
    compile_over(query, target, purpose, &over)
}

impl Writer<'_> {
    /// What was given, as relation `p`.
    fn unnested(&mut self, merged: &Merged) -> &mut Self {
        self.sql("unnest(");
        self.join(&merged.columns, ", ", |w, column| {
            w.bind(column.clone());
        });
        self.sql(") AS p(");
        self.join(0..merged.columns.len(), ", ", |w, place| {
            w.sql("s").number(place as u64);
        });
        self.sql(")")
    }

    /// The groups of the whole, out of what the slices gave: columns c1, c2 and so on.
    pub fn merged_groups(&mut self, grouping: &Grouping, merged: &Merged) -> &mut Self {
        let keys = grouping.key_columns().len();
        let mut given = 0..merged.columns.len();
        // The place of the next column that the slices gave.
        let mut next = || given.next().unwrap_or_default();
        let order = merged.columns.len().saturating_sub(1);
        self.sql("SELECT ");
        for column in 0..keys {
            let place = next();
            self.sql(if column == 0 { "" } else { ", " }).given(place);
            self.sql(" AS ").output_name(column);
        }
        for (aggregate, column) in grouping.aggregates.iter().zip(keys..) {
            self.sql(if column == 0 { "" } else { ", " });
            match merged.merge {
                Merge::Apart => {
                    let place = next();
                    self.given(place);
                }
                Merge::States => self.merged_states(aggregate, &mut next, order),
            }
            self.sql(" AS ").output_name(column);
        }
        self.sql(" FROM ").unnested(merged);
        if merged.merge == Merge::States {
            self.group_by_place(keys);
        }
        self
    }

    /// A column that the slices gave.
    fn given(&mut self, place: usize) -> &mut Self {
        self.sql("p.s").number(place as u64)
    }

    fn given_sum(&mut self, place: usize) -> &mut Self {
        self.sql("sum(").given(place).sql(")")
    }

    /// The aggregate, as PostgreSQL computes it from the same sums (`numeric.c`).
    fn merged_states(
        &mut self,
        aggregate: &Aggregate,
        next: &mut impl FnMut() -> usize,
        order: usize,
    ) {
        match aggregate.function {
            Function::Count => {
                self.given_sum(next()).sql("::int8");
            }
            Function::Avg => {
                let (count, sum) = (next(), next());
                self.given_sum(sum).sql(" / NULLIF(");
                self.given_sum(count).sql(", 0)");
            }
            Function::Stddev | Function::Variance => {
                let (count, sum, squares) = (next(), next(), next());
                self.spread(aggregate.function, count, sum, squares);
            }
            Function::First | Function::Last => {
                let (count, value) = (next(), next());
                let backwards = aggregate.function == Function::Last;
                self.sql("(array_agg(").given(value).sql(" ORDER BY ");
                self.given(order).sql(if backwards { " DESC" } else { "" });
                self.sql(") FILTER (WHERE ").given(count).sql(" > 0))[1]");
            }
            Function::Min | Function::Max => {
                let value = next();
                self.sql(if aggregate.function == Function::Min {
                    "min("
                } else {
                    "max("
                });
                self.given(value);
                if whole_type(aggregate) == Typed::Text {
                    self.sql(" COLLATE \"C\"");
                }
                self.sql(")");
            }
            // A sum; the rest has no states.
            _ => {
                self.given_sum(next());
            }
        }
    }

    /// The sample variance `(n Σx² - (Σx)²) / (n (n - 1))`, or its root, to the digits that the server
    /// gives: those of the quotient.
    fn spread(&mut self, function: Function, count: usize, sum: usize, squares: usize) {
        let above = |w: &mut Self| {
            w.sql("(").given_sum(count).sql(" * ").given_sum(squares);
            w.sql(" - ")
                .given_sum(sum)
                .sql(" * ")
                .given_sum(sum)
                .sql(")");
        };
        let variance = |w: &mut Self| {
            above(w);
            w.sql(" / (").given_sum(count).sql(" * (");
            w.given_sum(count).sql(" - 1))");
        };
        self.sql("CASE WHEN ")
            .given_sum(count)
            .sql(" > 1 THEN CASE WHEN ");
        above(self);
        self.sql(" <= 0 THEN 0 ELSE ");
        if function == Function::Stddev {
            // With digits to spare first: rounded twice, the last one could be another.
            self.sql("round(sqrt(round(");
            variance(self);
            self.sql(", scale(");
            variance(self);
            self.sql(") + 20)), scale(");
            variance(self);
            self.sql("))");
        } else {
            variance(self);
        }
        self.sql(" END END");
    }
}
