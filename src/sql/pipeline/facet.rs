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
        (first, before): (Option<&Block<'p>>, &'p [Step]),
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
            let blocks = self.blocks(before, first.cloned());
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
                None => self.blocks(before.iter().chain(&pipeline.steps), first.cloned()),
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
pub fn object(w: &mut Writer<'_>, row: &Row) {
    let event = EventColumn::EVENT.iter().filter(|_| row.event);
    let event = event.map(|column| (column.name().to_owned(), Field::Column(*column)));
    let own = (row.columns.iter()).filter_map(|c| Some((c.name.clone()?, c.field())));
    w.object_of(event.chain(own), |w, field| {
        w.json_value(&field);
    });
}

impl Writer<'_> {
    /// A JSON object of these members.
    pub fn object_of<T>(
        &mut self,
        members: impl IntoIterator<Item = (String, T)>,
        value: impl Fn(&mut Self, T),
    ) -> &mut Self {
        let mut place = 0;
        for (name, of) in members {
            self.sql(match place % MEMBERS {
                0 if place == 0 => "jsonb_build_object(",
                0 => ") || jsonb_build_object(",
                _ => ", ",
            });
            self.typed(Bind::Text(name), "text").sql(", ");
            value(self, of);
            place += 1;
        }
        self.sql(if place == 0 { "'{}'::jsonb" } else { ")" })
    }
}
