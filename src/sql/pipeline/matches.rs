//! Matches as rows: what the matcher found comes as one value, and the events come from the table,
//! by their ids, only where a stage reads them.

use super::block::{Block, Compiler};
use super::facet::object;
use crate::model::field::Column;
use crate::query::matching::Matching;
use crate::query::pipeline::{MatchPart, MatchStage, Row, Step};
use crate::sql::field::EVENTS;
use crate::sql::select::Target;
use crate::sql::writer::{Bind, Writer};

/// What is read in the place of the event table: the rows of a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct EventSource {
    /// A SELECT.
    pub sql: String,
    /// Its values.
    pub binds: Vec<Bind>,
}

/// The name of such rows in a statement.
pub const SOURCE: &str = "b";

/// The value that the matches are bound to: of all values the first.
pub fn placeholder() -> Bind {
    Bind::Jsons(Vec::new())
}

/// The events that a stage gets, where more than conditions says which.
pub fn event_source(stage: &MatchStage, target: &Target) -> Option<EventSource> {
    let mut compiler = Compiler {
        code_point_collation: target.code_point_collation,
        rules: Vec::new(),
    };
    let plain = |step: &Step| matches!(step, Step::Match(_));
    if stage.before.iter().all(plain) {
        return None;
    }
    let blocks = compiler.blocks(&stage.before, None);
    let (last, before) = blocks.split_last()?;
    let mut w = Writer::new(&target.table);
    compiler.block(&mut w, last, before);
    let (sql, binds) = w.finish();
    Some(EventSource { sql, binds })
}

/// The rows of a match, as the first block of what comes behind it.
pub fn first(stage: &MatchStage) -> Block<'_> {
    let columns = stage.columns.iter().map(|(_, column)| column);
    let columns = columns.chain([&stage.place]);
    let columns = columns.map(|column| column.sql.as_str()).collect();
    Block {
        matched: Some(stage),
        ..Block::new(false, columns, None)
    }
}

impl Writer<'_> {
    /// A SELECT of the matches that are bound, each a list of what the matcher tells of it.
    pub fn found_matches(&mut self, stage: &MatchStage) -> &mut Self {
        self.sql("SELECT ");
        for (part, column) in &stage.columns {
            self.match_part(&stage.matching, *part);
            self.sql(" AS ").ident(&column.sql).sql(", ");
        }
        self.sql("m.n::numeric AS ").ident(&stage.place.sql);
        // The first of all values, however many facets read it.
        self.sql(" FROM unnest($1::jsonb[]) WITH ORDINALITY AS m(v, n)")
    }

    fn match_part(&mut self, matching: &Matching, part: MatchPart) -> &mut Self {
        match (matching, part) {
            (Matching::Sequence(sequence), MatchPart::Key) => self.members(&sequence.key, "m.v->0"),
            (Matching::Sequence(sequence), MatchPart::Steps) => {
                let steps = sequence.names.iter().map(|(name, from, to)| {
                    let range = format!("i.n > {from} AND i.n <= {to}");
                    (name.clone(), range)
                });
                self.object_of(steps, |w, range| {
                    w.events_of("m.v->1", &range);
                })
            }
            (Matching::Sequence(_), MatchPart::StartedAt) => self.sql("(m.v->>2)::timestamptz"),
            (Matching::Sequence(_), MatchPart::EndedAt) => self.sql("(m.v->>3)::timestamptz"),
            (Matching::Sequence(_), MatchPart::DurationMs) => self.sql("(m.v->4)::numeric"),
            (Matching::Sequence(_), MatchPart::Open) => self.sql("m.v->5"),
            (Matching::Sequence(_), MatchPart::Events) => self.events_of("m.v->1", "true"),
            (Matching::Pattern(pattern), MatchPart::Key) => self.members(&pattern.key, "m.v->0"),
            (Matching::Pattern(_), MatchPart::MatchNumber) => self.sql("(m.v->>1)::numeric"),
            (Matching::Pattern(_), MatchPart::Matched) => {
                self.sql("to_jsonb(m.v->1 <> 'null'::jsonb)")
            }
            (Matching::Pattern(_), MatchPart::At) => {
                self.sql("(").events_of("m.v->2", "true").sql("->0)")
            }
            (Matching::Pattern(_), MatchPart::Events) => self.events_of("m.v->3", "true"),
            (Matching::Pattern(pattern), MatchPart::Classifiers) => {
                let names = pattern.variables.iter().map(|variable| &variable.name);
                let names: serde_json::Value = names.cloned().collect();
                self.sql("(SELECT coalesce(jsonb_agg(")
                    .typed(Bind::Json(names.to_string()), "jsonb")
                    .sql("->i.d::int ORDER BY i.n), '[]'::jsonb) FROM jsonb_array_elements_text(m.v->4) WITH ORDINALITY AS i(d, n))")
            }
            (Matching::Pattern(pattern), MatchPart::Measures) => {
                let names: Vec<String> = pattern.measures.iter().map(|(n, _)| n.clone()).collect();
                self.members(&names, "m.v->5")
            }
            (Matching::Pattern(pattern), MatchPart::RowMeasures) => {
                let names: Vec<String> = pattern.measures.iter().map(|(n, _)| n.clone()).collect();
                self.sql("(SELECT coalesce(jsonb_agg(")
                    .members(&names, "i.d")
                    .sql(" ORDER BY i.n), '[]'::jsonb) FROM jsonb_array_elements(m.v->6) WITH ORDINALITY AS i(d, n))")
            }
            (_, MatchPart::DurationMs) => self.sql("(m.v->7)::numeric"),
            // No match has such a part: see the parser of the stage.
            _ => self.sql("NULL::jsonb"),
        }
    }

    /// An object of names and the elements of a list, in the same order.
    fn members(&mut self, names: &[String], list: &str) -> &mut Self {
        let members = names.iter().zip(0_u64..);
        let members = members.map(|(name, place)| (name.clone(), place));
        self.object_of(members, |w, place| {
            w.sql(list).sql("->").number(place);
        })
    }

    /// The events whose ids a list has, in its order, as JSON.
    fn events_of(&mut self, ids: &str, which: &str) -> &mut Self {
        let table = self.table.quoted();
        let event = Row::events();
        self.sql("(SELECT coalesce(jsonb_agg(");
        object(self, &event);
        self.sql(" ORDER BY i.n), '[]'::jsonb) FROM jsonb_array_elements_text(")
            .sql(ids)
            .sql(") WITH ORDINALITY AS i(d, n) JOIN ")
            .sql(&table)
            .sql(" AS e ON ")
            .event_column(EVENTS, Column::Id)
            .sql(" = i.d::uuid WHERE ")
            .sql(which)
            .sql(")")
    }
}
