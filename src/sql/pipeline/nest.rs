//! Blocks as SQL: each reads from the one before it, down to the events.

use super::block::{Block, Compiler};
use crate::model::field::Column as EventColumn;
use crate::query::pipeline::{Row, Step};
use crate::sql::field::EVENTS;
use crate::sql::keyset::sort_keys;
use crate::sql::writer::{Bind, Writer};

impl Compiler {
    /// The rows that come out: the caller's columns, in order.
    pub fn result(&self, w: &mut Writer<'_>, blocks: &[Block<'_>], row: &Row, token: bool) {
        self.result_of(w, blocks, row, &|w| {
            let mut first = true;
            let mut separate = |w: &mut Writer<'_>| {
                if !std::mem::replace(&mut first, false) {
                    w.sql(", ");
                }
            };
            if row.event {
                for column in EventColumn::EVENT {
                    separate(w);
                    w.event_column(EVENTS, column);
                }
            }
            for column in row.columns.iter().filter(|c| c.name.is_some()) {
                separate(w);
                w.column(EVENTS, &column.sql);
                if let Some(name) =
                    (column.name.as_ref()).filter(|name| name.len() <= 63 && !name.contains('\0'))
                {
                    w.sql(" AS ").ident(name);
                }
            }
            if token {
                separate(w);
                w.sql("(SELECT pg_current_snapshot()::text)");
            }
        });
    }

    /// The same with a select list of the writer's own.
    pub fn result_of(
        &self,
        w: &mut Writer<'_>,
        blocks: &[Block<'_>],
        row: &Row,
        columns: &dyn Fn(&mut Writer<'_>),
    ) {
        let Some((last, before)) = blocks.split_last() else {
            return;
        };
        w.sql("SELECT ");
        columns(w);
        // What computes nothing more needs no level of its own.
        let plain = last.step.is_none() && (!last.is_cut() || last.order == row.order.as_slice());
        if plain {
            self.input(w, last, before);
            w.order_by(&sort_keys(&row.order, self.code_point_collation));
            cut(w, last);
        } else {
            w.sql(" FROM (");
            self.block(w, last, before);
            w.sql(") AS e");
            w.order_by(&sort_keys(&row.order, self.code_point_collation));
        }
    }

    /// `FROM` the blocks before, `WHERE` the conditions hold.
    pub fn input(&self, w: &mut Writer<'_>, block: &Block<'_>, before: &[Block<'_>]) {
        if let Some((last, rest)) = before.split_last() {
            w.sql(" FROM (");
            self.block(w, last, rest);
            w.sql(")");
        } else if let Some(stage) = block.matched {
            w.sql(" FROM (").found_matches(stage).sql(")");
        } else {
            let table = w.table.quoted();
            w.sql(" FROM ").sql(block.from.unwrap_or(&table));
        }
        w.sql(" AS e");
        let conditions = block.conditions.iter().filter(|c| !c.is_always());
        for (i, condition) in conditions.enumerate() {
            w.sql(if i == 0 { " WHERE " } else { " AND " })
                .condition(condition);
        }
    }

    /// All columns of the rows that a block gets.
    pub fn pass(w: &mut Writer<'_>, block: &Block<'_>) {
        let event = [
            EventColumn::Id,
            EventColumn::Type,
            EventColumn::Timestamp,
            EventColumn::Tags,
            EventColumn::Metadata,
            EventColumn::Data,
            EventColumn::CreatedAt,
        ];
        let event = event.iter().filter(|_| block.event);
        w.join(event, ", ", |w, column| {
            w.event_column(EVENTS, *column);
        });
        let open = block.event;
        for (i, column) in block.columns.iter().enumerate() {
            w.sql(if open || i > 0 { ", " } else { "" })
                .column(EVENTS, column);
        }
        if !block.event && block.columns.is_empty() {
            w.sql("1 AS \"~\"");
        }
    }

    /// A block with those before it, as a SELECT of all its columns.
    pub fn block(&self, w: &mut Writer<'_>, block: &Block<'_>, before: &[Block<'_>]) {
        match block.step {
            Some(Step::Bucket(bucket, at, column)) => {
                w.sql("SELECT ");
                Self::pass(w, block);
                w.sql(", ").bucket_start(bucket, &|w| {
                    w.field(at);
                });
                w.sql(" AS ").ident(&column.sql);
                self.input(w, block, before);
            }
            Some(Step::Project(columns)) => {
                w.sql("SELECT ");
                w.join(columns, ", ", |w, (expression, column)| {
                    w.expression(expression).sql(" AS ").ident(&column.sql);
                });
                self.input(w, block, before);
            }
            Some(Step::Window(call, column)) => self.window(w, call, column, block, before),
            Some(Step::Outliers {
                field,
                rule,
                score,
                expected,
            }) => {
                w.sql("SELECT ");
                Self::pass(w, block);
                w.sql(", to_jsonb(zs)::numeric AS ")
                    .ident(&score.sql)
                    .sql(", to_jsonb(ze::float8)::numeric AS ")
                    .ident(&expected.sql)
                    .sql(" FROM (WITH v AS (SELECT ");
                Self::pass(w, block);
                w.sql(", ").numbers(field).sql("::float8 AS zx");
                self.input(w, block, before);
                w.sql("), ").scored("v", rule.method);
                w.sql(" SELECT * FROM zo WHERE ").beyond(rule.threshold);
                w.sql(") AS e");
            }
            Some(group @ Step::Group { filled: None, .. }) => self.group(w, group, block, before),
            Some(Step::Group { .. }) => Self::filled(w, block),
            _ => {
                w.sql("SELECT ");
                Self::pass(w, block);
                self.input(w, block, before);
                if block.is_cut() {
                    w.order_by(&sort_keys(block.order, self.code_point_collation));
                }
                cut(w, block);
            }
        }
    }
}

fn cut(w: &mut Writer<'_>, block: &Block<'_>) {
    if let Some(limit) = block.limit {
        w.sql(" LIMIT ").number(limit);
    }
    if let Some(offset) = block.offset {
        w.sql(" OFFSET ")
            .bind(Bind::Integer(i64::try_from(offset).unwrap_or(i64::MAX)));
    }
}
