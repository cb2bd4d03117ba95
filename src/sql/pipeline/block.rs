//! Blocks: a SELECT each.

use std::borrow::Cow;

use super::push::below;
use crate::model::catalog::Catalog;
use crate::model::field::{Column as EventColumn, Field, Foreign, Holds};
use crate::query::pipeline::{Row, Step, is_double, selected};
use crate::query::{Condition, EventQuery, Grouping, OrderBy};
use crate::sql::field::EVENTS;
use crate::sql::keyset::sort_keys;
use crate::sql::writer::{Bind, Writer};

/// What is known while blocks are written.
pub struct Compiler {
    /// Whether the database's own collation orders text by code point.
    pub code_point_collation: bool,
    /// What was moved.
    pub rules: Vec<[String; 4]>,
}

/// A SELECT.
#[derive(Clone)]
pub struct Block<'p> {
    /// Which rows of the block before it takes.
    pub conditions: Vec<Cow<'p, Condition>>,
    /// What it computes of them.
    pub step: Option<&'p Step>,
    /// The first rows that it leaves out, and how many it gives then.
    pub offset: Option<u64>,
    pub limit: Option<u64>,
    /// The order in which it counts them.
    pub order: &'p [OrderBy],
    /// Whether it gets events, and which columns beside.
    pub event: bool,
    pub columns: Vec<&'p str>,
    /// Where the first block reads: the events, or a table expression.
    pub from: Option<&'static str>,
}

impl<'p> Block<'p> {
    const fn is_cut(&self) -> bool {
        self.limit.is_some() || self.offset.is_some()
    }

    /// What comes out of it, as an empty block.
    pub fn behind(&self) -> Self {
        let (mut event, mut columns) = (self.event, self.columns.clone());
        match self.step {
            Some(Step::Bucket(_, _, column) | Step::Window(_, column)) => columns.push(&column.sql),
            Some(Step::Outliers {
                score, expected, ..
            }) => columns.extend([score.sql.as_str(), expected.sql.as_str()]),
            Some(Step::Project(made)) => {
                event = false;
                columns = made.iter().map(|(_, column)| column.sql.as_str()).collect();
            }
            Some(Step::Group {
                keys, aggregates, ..
            }) => {
                event = false;
                columns = (keys.iter().map(|(_, column)| column.sql.as_str()))
                    .chain(aggregates.iter().map(|(_, column)| column.sql.as_str()))
                    .collect();
            }
            _ => {}
        }
        Self::new(event, columns, None)
    }

    /// An empty block over rows of these columns.
    pub const fn new(event: bool, columns: Vec<&'p str>, from: Option<&'static str>) -> Self {
        Self {
            conditions: Vec::new(),
            step: None,
            offset: None,
            limit: None,
            order: &[],
            event,
            columns,
            from,
        }
    }
}

impl Compiler {
    /// The blocks of steps over events, or over `first`.
    pub fn blocks<'p>(
        &mut self,
        steps: impl IntoIterator<Item = &'p Step>,
        first: Option<Block<'p>>,
    ) -> Vec<Block<'p>> {
        let mut done: Vec<Block<'p>> = Vec::new();
        let mut open = first.unwrap_or_else(|| Block::new(true, Vec::new(), None));
        for step in steps {
            match step {
                Step::Match(condition) => {
                    if open.is_cut() {
                        close(&mut done, &mut open);
                    }
                    match open.step {
                        None => open.conditions.push(Cow::Borrowed(condition)),
                        Some(computed) => {
                            let (below, above) = below(condition, computed);
                            if !below.is_empty() {
                                self.moved(computed, below.len());
                                open.conditions.extend(below.into_iter().map(Cow::Owned));
                            }
                            if !above.is_empty() {
                                close(&mut done, &mut open);
                                open.conditions.extend(above.into_iter().map(Cow::Owned));
                            }
                        }
                    }
                }
                Step::Limit(count, order) => {
                    let same = !open.is_cut() || open.order == order.as_slice();
                    if open.step.is_some() || !same {
                        close(&mut done, &mut open);
                    }
                    open.limit = Some(open.limit.map_or(*count, |limit| limit.min(*count)));
                    open.order = order;
                }
                Step::Offset(count, order) => {
                    let same = open.offset.is_none() || open.order == order.as_slice();
                    if open.step.is_some() || open.limit.is_some() || !same {
                        close(&mut done, &mut open);
                    }
                    open.offset = Some(open.offset.unwrap_or(0).saturating_add(*count));
                    open.order = order;
                }
                step => {
                    if open.step.is_some() || open.is_cut() {
                        close(&mut done, &mut open);
                    }
                    open.step = Some(step);
                }
            }
        }
        done.push(open);
        done
    }

    fn moved(&mut self, over: &Step, count: usize) {
        let what = match over {
            Step::Group { .. } => "group",
            _ => "project",
        };
        self.rules.push([
            "predicate pushdown".to_owned(),
            format!("{count} condition(s) behind the {what}"),
            format!("the same before the {what}"),
            format!("they read only what the {what} hands through: fewer rows get that far"),
        ]);
    }

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

    fn group(&self, w: &mut Writer<'_>, step: &Step, block: &Block<'_>, before: &[Block<'_>]) {
        let Step::Group {
            keys, aggregates, ..
        } = step
        else {
            return;
        };
        w.sql("SELECT ");
        w.join(keys, ", ", |w, (field, column)| {
            grouped(w, field);
            w.sql(" AS ").ident(&column.sql);
        });
        w.sql(if keys.is_empty() || aggregates.is_empty() {
            ""
        } else {
            ", "
        });
        w.join(aggregates, ", ", |w, (aggregate, column)| {
            // A cast would cut a double's digits: its JSON has them all.
            if is_double(aggregate) {
                w.sql("to_jsonb(").aggregate(aggregate).sql(")::numeric");
            } else {
                w.aggregate(aggregate);
            }
            w.sql(" AS ").ident(&column.sql);
        });
        self.input(w, block, before);
        if !keys.is_empty() {
            w.sql(" GROUP BY ").join(1..=keys.len(), ", ", |w, place| {
                w.number(place as u64);
            });
        }
    }

    /// Groups of events in time, with rows for empty buckets: as queries have them.
    fn filled(w: &mut Writer<'_>, block: &Block<'_>) {
        let Some(Step::Group {
            keys,
            aggregates,
            filled: Some((bucket, window)),
        }) = block.step
        else {
            return;
        };
        let everything = serde_json::json!({ "filter": {} });
        let Ok(mut query) = EventQuery::parse(&everything, &Catalog::default()) else {
            return;
        };
        let conditions = block.conditions.iter().map(|c| c.as_ref().clone());
        query.filter = Condition::And(conditions.collect());
        query.window = Some(*window);
        let grouping = Grouping {
            bucket: Some(bucket.clone()),
            keys: selected(&keys[1..]),
            aggregates: aggregates.iter().map(|(a, _)| a.clone()).collect(),
            having: None,
        };
        w.sql("SELECT ");
        let columns = keys.iter().map(|(_, column)| (column, false));
        let computed = (aggregates.iter()).map(|(a, column)| (column, is_double(a)));
        w.join(
            columns.chain(computed).enumerate(),
            ", ",
            |w, (place, (column, double))| {
                w.sql(if double { "to_jsonb(" } else { "" }).output(place);
                w.sql(if double { ")::numeric AS " } else { " AS " })
                    .ident(&column.sql);
            },
        );
        w.sql(" FROM (").aggregated(&query, &grouping).sql(") AS g");
    }
}

fn close<'p>(done: &mut Vec<Block<'p>>, open: &mut Block<'p>) {
    let next = open.behind();
    done.push(std::mem::replace(open, next));
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

/// A group's value: JSON null and missing are one group. A number of SQL stays one.
fn grouped(w: &mut Writer<'_>, field: &Field) {
    match field {
        Field::Foreign(foreign) if is_number(foreign) => {
            w.column(foreign.relation, &foreign.column);
        }
        field => {
            w.value(field);
        }
    }
}

/// Whether a column is a number of SQL.
pub fn is_number(foreign: &Foreign) -> bool {
    foreign.holds == Holds::Number && foreign.steps.is_empty()
}
