//! What stages come to: steps over rows, as they are compiled.

use super::computed::Expression;
use super::row::{Column, Row};
use super::window::WindowCall;
use crate::model::field::Field;
use crate::query::{
    Aggregate, Bucket, Condition, Function, OrderBy, OutlierRule, Selected, Window,
};

/// A checked pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// What is done, in order. `sort` is no step: rows carry their order.
    pub steps: Vec<Step>,
    /// The row that comes out.
    pub row: Row,
}

/// A step, with the row that it gets.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps rows.
    Match(Condition),
    /// Adds the start of the bucket of a time.
    Bucket(Bucket, Field, Column),
    /// Gathers rows.
    Group {
        /// By what, and as which columns.
        keys: Vec<(Field, Column)>,
        /// What is computed of each group.
        aggregates: Vec<(Aggregate, Column)>,
        /// Rows of empty buckets of this window: the bucket is the first key.
        filled: Option<(Bucket, Window)>,
    },
    /// Makes rows of these columns alone.
    Project(Vec<(Expression, Column)>),
    /// Adds what a window function gives.
    Window(WindowCall, Column),
    /// Keeps rows that are far from the others, and says how far.
    Outliers {
        /// The number.
        field: Field,
        /// What far means.
        rule: OutlierRule,
        /// How far.
        score: Column,
        /// From what.
        expected: Column,
    },
    /// Keeps the first rows of this order.
    Limit(u64, Vec<OrderBy>),
    /// Leaves out the first rows of this order.
    Offset(u64, Vec<OrderBy>),
    /// Several pipelines over the same rows: a column of rows each.
    Facet(Vec<(Column, Pipeline)>),
}

/// Groups as queries have them, for what fills empty buckets.
pub fn selected(keys: &[(Field, Column)]) -> Vec<Selected> {
    let selected = keys.iter().map(|(field, column)| Selected {
        name: column.name.clone().unwrap_or_default(),
        field: field.clone(),
    });
    selected.collect()
}

/// Whether an aggregate comes as a double, whose digits a cast would cut.
pub const fn is_double(aggregate: &Aggregate) -> bool {
    matches!(aggregate.function, Function::Percentile(_))
}
