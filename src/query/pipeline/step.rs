//! What stages come to: steps over rows, as they are compiled.

use super::computed::Expression;
use super::row::{Column, Row};
use super::window::WindowCall;
use crate::model::field::{Field, Holds};
use crate::query::matching::Matching;
use crate::query::{
    Aggregate, Bucket, Condition, Function, OrderBy, OutlierRule, Selected, Window,
};

/// A checked pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// The stage that makes matches of events, with the steps before it.
    pub matched: Option<MatchStage>,
    /// What is done, in order; behind that stage, where there is one. `sort` is no step: rows carry
    /// their order.
    pub steps: Vec<Step>,
    /// The row that comes out.
    pub row: Row,
}

impl Pipeline {
    /// Which events the rows can depend on: those that the matches at the beginning keep.
    pub fn events(&self) -> Condition {
        let first = (self.matched.as_ref()).map_or(&self.steps, |stage| &stage.before);
        let kept = first.iter().map_while(|step| match step {
            Step::Match(condition) => Some(condition.clone()),
            _ => None,
        });
        Condition::And(kept.collect())
    }

    /// Whether what comes out is the matches of its stage as they were found.
    pub fn ends_with_matches(&self) -> bool {
        let found =
            |stage: &MatchStage| self.row.order == [OrderBy::ascending(stage.place.field())];
        self.steps.is_empty() && self.matched.as_ref().is_some_and(found)
    }
}

/// A `sequence` or a `pattern`: SQL says which events it gets, the matcher finds the matches among
/// them, and SQL works on these.
#[derive(Clone, Debug)]
pub struct MatchStage {
    /// What makes the events that it looks at.
    pub before: Vec<Step>,
    /// What it looks for.
    pub matching: Matching,
    /// The columns of a match.
    pub columns: Vec<(MatchPart, Column)>,
    /// The place of a match among all of them, in the order in which they are told.
    pub place: Column,
}

/// A member of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchPart {
    /// `key`: the values that its events share.
    Key,
    /// `steps`: the events of the named steps.
    Steps,
    /// `events`
    Events,
    /// `startedAt`: the time of the first event.
    StartedAt,
    /// `endedAt`: that of the last.
    EndedAt,
    /// `durationMs`
    DurationMs,
    /// `open`: whether an event to come could still break it.
    Open,
    /// `matchNumber`
    MatchNumber,
    /// `matched`: false for an event that is in no match.
    Matched,
    /// `at`: the event where it stands.
    At,
    /// `classifiers`: the variable of each event.
    Classifiers,
    /// `measures`
    Measures,
    /// `rowMeasures`: the same at each event.
    RowMeasures,
}

impl MatchPart {
    /// The name that callers use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Steps => "steps",
            Self::Events => "events",
            Self::StartedAt => "startedAt",
            Self::EndedAt => "endedAt",
            Self::DurationMs => "durationMs",
            Self::Open => "open",
            Self::MatchNumber => "matchNumber",
            Self::Matched => "matched",
            Self::At => "at",
            Self::Classifiers => "classifiers",
            Self::Measures => "measures",
            Self::RowMeasures => "rowMeasures",
        }
    }

    /// What its column holds.
    pub const fn holds(self) -> Holds {
        match self {
            Self::StartedAt | Self::EndedAt => Holds::Time,
            Self::DurationMs | Self::MatchNumber => Holds::Number,
            _ => Holds::Jsonb,
        }
    }
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
