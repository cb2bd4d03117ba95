//! What a slice contributes to each group: columns of one statement, whole aggregates or the states
//! that they are made of.
//!
//! Which states an aggregate has decides what the server can merge, so their order here is the one that
//! [`merge`](super::merge) reads them in.

use super::{Merge, Partial, Typed, keys};
use crate::model::{
    Result,
    field::{Field, Kind},
};
use crate::query::{Aggregate, EventQuery, Function, Grouping};
use crate::sql::select::{Page, Target};
use crate::sql::writer::Writer;

/// Whether two parts of a group make up its aggregate.
pub const fn has_states(aggregate: &Aggregate) -> bool {
    !matches!(
        aggregate.function,
        Function::CountDistinct | Function::Percentile(_) | Function::Mode
    )
}

/// The contributions of all events, or of those of another relation, by the server's own clock.
///
/// # Errors
/// INVALID_QUERY at `after` for a cursor that is not this query's.
pub fn states(
    query: &EventQuery,
    grouping: &Grouping,
    target: &Target,
    (merge, stand_in): (Merge, Option<&'static str>),
) -> Result<Partial> {
    let page = Page::of(query, query.identity(&target.table.quoted()))?;
    let mut w = Writer::new(&target.table);
    w.frozen_clock = page.clock;
    w.stand_in = stand_in;
    let types = w.contributions(grouping, merge, 0);
    w.relations(query).row_filter(query);
    w.group_by_place(grouping.key_columns().len());
    let (sql, binds) = w.finish();
    Ok(Partial { sql, binds, types })
}

/// The columns of a slice's statement, as they are written.
pub struct Columns<'w, 'a> {
    w: &'w mut Writer<'a>,
    pub types: Vec<Typed>,
}

impl<'w, 'a> Columns<'w, 'a> {
    pub fn new(w: &'w mut Writer<'a>) -> Self {
        w.sql("SELECT ");
        Self {
            w,
            types: Vec::new(),
        }
    }

    pub fn add(&mut self, typed: Typed, write: impl FnOnce(&mut Writer<'a>)) {
        self.w.sql(if self.types.is_empty() { "(" } else { ", (" });
        write(self.w);
        self.w.sql(")").sql(typed.name());
        self.types.push(typed);
    }

    fn contribution(&mut self, aggregate: &Aggregate, merge: Merge) {
        if merge == Merge::Apart {
            return self.add(whole_type(aggregate), |w| {
                w.aggregate(aggregate);
            });
        }
        let count = |columns: &mut Self, field: Option<&Field>| {
            columns.add(Typed::Integer, |w| match field {
                // Which of them are numbers is cheaper to tell than the numbers are to read.
                Some(field) if field.kind() == Kind::Json => {
                    w.sql("count(*) FILTER (WHERE jsonb_typeof(").field(field);
                    w.sql(") = 'number'");
                    if let Some(filter) = aggregate.filter.as_ref().filter(|f| !f.is_always()) {
                        w.sql(" AND ").condition(filter);
                    }
                    w.sql(")");
                }
                Some(field) => {
                    w.sql("count(").numbers(field).sql(")").only(aggregate);
                }
                None => {
                    w.sql("count(*)").only(aggregate);
                }
            });
        };
        let sum = |columns: &mut Self, field: &Field, squared: bool| {
            columns.add(Typed::Numeric, |w| {
                w.sql("sum(").numbers(field);
                if squared {
                    w.sql(" * ").numbers(field);
                }
                w.sql(")").only(aggregate);
            });
        };
        match (aggregate.function, &aggregate.field) {
            (Function::Avg, Some(field)) => {
                count(self, Some(field));
                sum(self, field, false);
            }
            (Function::Stddev | Function::Variance, Some(field)) => {
                count(self, Some(field));
                sum(self, field, false);
                sum(self, field, true);
            }
            (Function::First | Function::Last, _) => {
                // Whether there is an event at all: its value can be missing.
                count(self, None);
                self.add(whole_type(aggregate), |w| {
                    w.aggregate(aggregate);
                });
            }
            _ => self.add(whole_type(aggregate), |w| {
                w.aggregate(aggregate);
            }),
        }
    }
}

/// The type of the aggregate itself.
pub fn whole_type(aggregate: &Aggregate) -> Typed {
    match aggregate.function {
        Function::Count | Function::CountDistinct => Typed::Integer,
        Function::Percentile(_) => Typed::Float,
        Function::Sum | Function::Avg | Function::Stddev | Function::Variance => Typed::Numeric,
        Function::Min | Function::Max => match aggregate.kind() {
            (_, true) => Typed::Numeric,
            (kind, false) => Typed::of(kind),
        },
        Function::Mode | Function::First | Function::Last => Typed::of(aggregate.kind().0),
    }
}

impl Writer<'_> {
    /// The columns of a statement of contributions.
    pub fn contributions(&mut self, grouping: &Grouping, merge: Merge, number: u64) -> Vec<Typed> {
        let mut columns = Columns::new(self);
        for (value, kind) in keys(grouping) {
            columns.add(Typed::of(kind), value);
        }
        for aggregate in &grouping.aggregates {
            columns.contribution(aggregate, merge);
        }
        // Behind the keys, which are grouped by their place: a constant.
        if merge == Merge::States {
            columns.add(Typed::Integer, |w| {
                w.number(number);
            });
        }
        columns.types
    }
}
