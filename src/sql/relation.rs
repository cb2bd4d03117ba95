//! The relations of a query: the table it reads, and what is joined to it.

use super::bucket::Time;
use super::field::EVENTS;
use super::writer::{Bind, Writer};
use crate::model::field::{Column, Field, Kind, Relation};
use crate::query::{EventQuery, Join, Source, Window};

impl Writer<'_> {
    /// `FROM …`, joins included.
    pub fn relations(&mut self, query: &EventQuery) -> &mut Self {
        self.sql(" FROM ")
            .source(&query.from)
            .sql(" AS ")
            .alias(EVENTS);
        for (join, relation) in query.joins.iter().zip(1..) {
            self.join_clause(join, Relation(relation));
        }
        self
    }

    fn source(&mut self, source: &Source) -> &mut Self {
        match source {
            Source::Events => {
                if let Some(relation) = self.stand_in {
                    return self.sql(relation);
                }
                let table = self.table.quoted();
                self.sql(&table)
            }
            Source::Table(table) => self.sql(&table.quoted()),
            // As the caller wrote it: the server finds it along the search path.
            Source::Named(name) => self.join(name.splitn(2, '.'), ".", |w, part| {
                w.ident(part);
            }),
        }
    }

    fn join_clause(&mut self, join: &Join, relation: Relation) -> &mut Self {
        self.sql(if join.left { " LEFT JOIN " } else { " JOIN " })
            .source(&join.source)
            .sql(" AS ")
            .alias(relation)
            .sql(" ON (");
        self.join(&join.on, " AND ", |w, (ours, theirs)| {
            w.equal(ours, theirs);
        });
        if let Some(within) = join.within {
            let micros = u64::try_from(within.as_micros()).unwrap_or(u64::MAX);
            self.sql(" AND ")
                .event_column(relation, Column::Timestamp)
                .sql(" >= ")
                .event_column(EVENTS, Column::Timestamp)
                .sql(" AND ")
                .event_column(relation, Column::Timestamp)
                .sql(" <= ")
                .event_column(EVENTS, Column::Timestamp)
                .sql(" + ")
                .interval(micros);
        }
        let bounds = (relation.0 as usize)
            .checked_sub(1)
            .and_then(|i| self.access.join_bounds.get(i))
            .filter(|bounds| !bounds.is_always());
        if let Some(bounds) = bounds {
            self.sql(" AND ").condition(bounds);
        }
        self.sql(")")
    }

    /// Both hold the same value. JSON null joins nothing, as a missing value does.
    fn equal(&mut self, ours: &Field, theirs: &Field) -> &mut Self {
        match (ours.kind(), theirs.kind()) {
            (Kind::Json, Kind::Json) => self.value(ours).sql(" = ").field(theirs),
            (a, b) if a == b => self.field(ours).sql(" = ").field(theirs),
            // A tag and a number, say: they meet as text.
            _ => self.field_text(ours).sql(" = ").field_text(theirs),
        }
    }

    /// The field's value, with JSON null taken for a missing one.
    pub fn value(&mut self, field: &Field) -> &mut Self {
        if field.kind() == Kind::Json {
            self.sql("NULLIF(").field(field).sql(", 'null'::jsonb)")
        } else {
            self.field(field)
        }
    }

    /// `WHERE` of the rows that are read; nothing where all are wanted. Gives whether it wrote one.
    pub fn row_filter(&mut self, query: &EventQuery) -> bool {
        self.filter_after(" WHERE ", query)
    }

    /// The same behind `open`, where other conditions may stand already.
    pub fn filter_after(&mut self, mut open: &str, query: &EventQuery) -> bool {
        let before = self.position();
        if !query.filter.is_always() {
            self.sql(open).condition(&query.filter);
            open = " AND ";
        }
        let access = self.access;
        for literal in &access.literals {
            self.spelled = true;
            self.sql(open).condition(literal);
            self.spelled = false;
            open = " AND ";
        }
        if let Some(Window::Last(length)) = query.window {
            let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
            let bucket = query.grouping.as_ref().and_then(|g| g.bucket.as_ref());
            let lower: Time<'_> = &|w| {
                w.clock().sql(" - ").interval(micros);
            };
            self.sql(open)
                .event_column(EVENTS, Column::Timestamp)
                .sql(" >= ");
            match bucket {
                Some(bucket) => {
                    self.bucket_start(bucket, lower);
                }
                None => lower(self),
            }
            self.sql(" AND ")
                .event_column(EVENTS, Column::Timestamp)
                .sql(" < ")
                .clock();
        }
        if let Some(since) = &query.since {
            self.unseen(
                since,
                if self.position() > before {
                    " AND "
                } else {
                    " WHERE "
                },
            );
        }
        self.position() > before
    }

    /// A bound value in parentheses, with its type said: where the server could not infer it.
    pub fn typed(&mut self, value: Bind, r#type: &str) -> &mut Self {
        self.sql("(").bind(value).sql("::").sql(r#type).sql(")")
    }
}
