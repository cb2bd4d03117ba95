//! Stages that look at the order of events: the rows behind them are matches.

use serde_json::Value as Wire;

use super::Parser;
use crate::model::{Error, Result, field::Holds, path::Path};
use crate::query::{
    OrderBy,
    matching::{Matching, Pattern, Rows, Sequence},
    pipeline::{
        row::{Column, Row},
        step::{MatchPart, MatchStage},
    },
    scope::Scope,
};

impl Parser {
    /// `sequence` or `pattern`: the stages so far say which events it looks at.
    pub fn matched(&mut self, name: &str, part: &Wire, path: &Path<'_>) -> Result<()> {
        if self.inside {
            return Err(Error::Unsupported {
                path: path.to_string(),
                what: "a facet works on rows that are there: put this stage before the facet"
                    .into(),
            });
        }
        if !self.row.event {
            return Err(Error::invalid(
                path,
                "looks for events: put it before the stages that make other rows of them",
            ));
        }
        let scope = Scope::of_row(self.row.clone());
        let matching = if name == "sequence" {
            Matching::Sequence(Sequence::parse(part, path, &scope)?)
        } else {
            Matching::Pattern(Pattern::parse(part, path, &scope)?)
        };
        let parts = parts(&matching);
        let columns: Vec<(MatchPart, Column)> = (parts.into_iter())
            .map(|part| (part, self.column(Some(part.name()), part.holds())))
            .collect();
        let place = Column {
            nullable: false,
            ..self.column(None, Holds::Number)
        };
        self.row = Row {
            event: false,
            columns: columns.iter().map(|(_, column)| column.clone()).collect(),
            keys: vec![place.field()],
            natural: vec![OrderBy::ascending(place.field())],
            order: vec![OrderBy::ascending(place.field())],
            grouped: false,
        };
        self.times = (None, None);
        self.bucket = None;
        self.matched = Some(MatchStage {
            before: std::mem::take(&mut self.steps),
            matching,
            columns,
            place,
        });
        Ok(())
    }
}

/// What a match is made of, in the order of its members.
fn parts(matching: &Matching) -> Vec<MatchPart> {
    use MatchPart as P;
    match matching {
        Matching::Sequence(sequence) => {
            let mut parts = vec![P::Key, P::Steps, P::Events, P::StartedAt, P::EndedAt];
            parts.push(P::DurationMs);
            parts.extend(sequence.can_be_open().then_some(P::Open));
            parts
        }
        Matching::Pattern(pattern) => {
            let mut parts = vec![P::Key, P::MatchNumber, P::Matched, P::At, P::Events];
            parts.extend([P::Classifiers, P::Measures]);
            parts.extend((pattern.rows != Rows::One).then_some(P::RowMeasures));
            parts.push(P::DurationMs);
            parts
        }
        // No stages of a pipeline.
        Matching::Funnel(_) | Matching::Retention(_) => Vec::new(),
    }
}
