//! Facets: several pipelines over the same rows, each a column of rows as JSON.

use super::block::{Block, Compiler};
use crate::model::field::{Column as EventColumn, Field};
use crate::query::pipeline::{Column, Pipeline, Row, Step};
use crate::sql::writer::{Bind, Writer};

/// Arguments are counted by a byte, and two make a member.
const MEMBERS: usize = 50;

impl Compiler {
    pub(super) fn facets<'p>(
        &mut self,
        w: &mut Writer<'_>,
        before: &'p [Step],
        facets: &'p [(Column, Pipeline)],
        token: bool,
    ) {
        // What is small is made once. Events are read by each facet for itself, which then reads no
        // more of them than it needs.
        let once = before
            .iter()
            .any(|step| !matches!(step, Step::Match(_) | Step::Project(_) | Step::Bucket(..)));
        let mut shared = None;
        if once {
            let blocks = self.blocks(before, None);
            if let Some((last, rest)) = blocks.split_last() {
                w.sql("WITH f AS (");
                self.block(w, last, rest);
                w.sql(") ");
                let mut behind = self.blocks([], Some(last.behind()));
                shared = behind.pop().map(|block| Block {
                    from: Some("f"),
                    ..block
                });
            }
        }
        w.sql("SELECT ");
        for (i, (column, pipeline)) in facets.iter().enumerate() {
            w.sql(if i > 0 { ", (" } else { "(" });
            w.sql("SELECT coalesce(jsonb_agg(r.o), '[]'::jsonb) FROM (");
            let blocks = match &shared {
                Some(shared) => self.blocks(&pipeline.steps, Some(shared.clone())),
                None => self.blocks(before.iter().chain(&pipeline.steps), None),
            };
            self.result_of(w, &blocks, &pipeline.row, &|w| {
                object(w, &pipeline.row);
                w.sql(" AS o");
            });
            w.sql(") AS r) AS ").ident(&column.sql);
        }
        if token {
            w.sql(", (SELECT pg_current_snapshot()::text)");
        }
    }
}

/// A row as a JSON object.
fn object(w: &mut Writer<'_>, row: &Row) {
    let event = EventColumn::EVENT.iter().filter(|_| row.event);
    let event = event.map(|column| (column.name().to_owned(), Field::Column(*column)));
    let own = (row.columns.iter()).filter_map(|c| Some((c.name.clone()?, c.field())));
    let members: Vec<(String, Field)> = event.chain(own).collect();
    if members.is_empty() {
        w.sql("'{}'::jsonb");
    }
    w.join(members.chunks(MEMBERS), " || ", |w, members| {
        w.sql("jsonb_build_object(")
            .join(members, ", ", |w, (name, field)| {
                w.typed(Bind::Text(name.clone()), "text")
                    .sql(", ")
                    .json_value(field);
            });
        w.sql(")");
    });
}
