//! Aggregated rows, and the rows of empty buckets between them.

use super::bucket::Time;
use super::field::EVENTS;
use super::writer::{Bind, Writer};
use crate::model::field::Column;
use crate::query::{Bucket, EventQuery, Fill, Grouping, Window};

impl Writer<'_> {
    /// The aggregated rows of a query, as a relation: columns c1, c2 and so on.
    pub fn aggregated(&mut self, query: &EventQuery, grouping: &Grouping) -> &mut Self {
        match &grouping.bucket {
            Some(
                bucket @ Bucket {
                    fill: Some(fill), ..
                },
            ) => self.filled(query, grouping, bucket, *fill),
            _ => self.groups(query, grouping),
        }
    }

    fn groups(&mut self, query: &EventQuery, grouping: &Grouping) -> &mut Self {
        if let Some(merged) = self.merged {
            return self.merged_groups(grouping, merged);
        }
        self.sql("SELECT ");
        let mut column = 0;
        let mut next = |w: &mut Self| {
            w.sql(" AS ").output_name(column);
            column += 1;
        };
        let width = grouping.columns().len();
        let mut separate = Separator(width);
        if let Some(bucket) = &grouping.bucket {
            self.bucket_start(bucket, &|w| {
                w.event_column(EVENTS, Column::Timestamp);
            });
            next(self);
            separate.after(self);
        }
        for key in &grouping.keys {
            self.value(&key.field);
            next(self);
            separate.after(self);
        }
        for aggregate in &grouping.aggregates {
            self.aggregate(aggregate);
            next(self);
            separate.after(self);
        }
        self.relations(query).row_filter(query);
        let keys = grouping.key_columns().len();
        if keys > 0 {
            // By place: an expression with a bind in it would not be the same expression twice.
            self.sql(" GROUP BY ").join(1..=keys, ", ", |w, place| {
                w.number(place as u64);
            });
        }
        self
    }

    /// Every bucket of the window for every group seen in it.
    ///
    /// `a` has the groups numbered, so that rows meet by a hash join and not by comparing keys of
    /// which any may be NULL. `f` has a row for each bucket and group; `p` counts the buckets with
    /// events up to it, `n` those from it on: rows of the same `p` share the bucket before, rows of
    /// the same `n` the one behind.
    fn filled(
        &mut self,
        query: &EventQuery,
        grouping: &Grouping,
        bucket: &Bucket,
        fill: Fill,
    ) -> &mut Self {
        let keys = grouping.keys.len();
        let width = grouping.columns().len();
        self.sql("WITH a AS (SELECT i.*, ");
        if keys == 0 {
            self.sql("1");
        } else {
            self.sql("dense_rank() OVER (ORDER BY ");
            self.join(1..=keys, ", ", |w, column| {
                w.sql("i.").output_name(column);
            });
            self.sql(")");
        }
        self.sql(" AS k FROM (")
            .groups(query, grouping)
            .sql(") AS i), ");
        // A day that a zone's clocks skip begins with the next one.
        let distinct = if bucket.zone.is_some() {
            "DISTINCT "
        } else {
            ""
        };
        self.sql("s AS (SELECT ").sql(distinct);
        self.instant(bucket, &|w| {
            w.sql("edge");
        });
        self.sql(" AS c1 FROM ");
        self.edges(query, bucket).sql(" AS x(edge)), ");
        self.sql("k AS (");
        if keys == 0 {
            self.sql("SELECT 1 AS k");
        } else {
            self.sql("SELECT DISTINCT k");
            for column in 1..=keys {
                self.sql(", ").output_name(column);
            }
            self.sql(" FROM a");
        }
        self.sql("), f AS (SELECT s.c1, k.k");
        for column in 1..=keys {
            self.sql(", k.").output_name(column);
        }
        for column in keys + 1..width {
            self.sql(", a.").output_name(column);
        }
        self.sql(", a.c1 AS seen");
        self.sql(", count(a.c1) OVER (PARTITION BY k.k ORDER BY s.c1) AS p");
        self.sql(", count(a.c1) OVER (PARTITION BY k.k ORDER BY s.c1 DESC) AS n");
        self.sql(" FROM k CROSS JOIN s LEFT JOIN a ON a.k = k.k AND a.c1 = s.c1)");
        self.sql(" SELECT c1");
        for column in 1..=keys {
            self.sql(", ").output_name(column);
        }
        for (aggregate, column) in grouping.aggregates.iter().zip(keys + 1..) {
            self.sql(", CASE WHEN seen IS NOT NULL THEN ")
                .output_name(column)
                .sql(" ELSE ");
            let fill = if aggregate.counts() {
                Filler::Zero
            } else {
                Filler::of(fill, aggregate.kind().1)
            };
            self.filler(fill, column)
                .sql(" END AS ")
                .output_name(column);
        }
        self.sql(" FROM f")
    }

    /// The edges of all buckets of the window.
    fn edges(&mut self, query: &EventQuery, bucket: &Bucket) -> &mut Self {
        match query.window {
            Some(Window::Between(Some(from), Some(to))) => {
                let from: Time<'_> = &|w| {
                    w.typed(Bind::Time(from), "timestamptz");
                };
                let end: Time<'_> = &|w| {
                    w.typed(Bind::Time(to), "timestamptz");
                    w.sql(" - ").interval(1);
                };
                self.bucket_edges(bucket, from, end)
            }
            Some(Window::Last(length)) => {
                let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
                let from: Time<'_> = &|w| {
                    w.clock().sql(" - ").interval(micros);
                };
                let end: Time<'_> = &|w| {
                    w.clock().sql(" - ").interval(1);
                };
                self.bucket_edges(bucket, from, end)
            }
            // `Bucket::parse` refuses a fill without both ends.
            _ => self.sql("generate_series(1, 0)"),
        }
    }

    fn filler(&mut self, fill: Filler, column: usize) -> &mut Self {
        let before = " OVER (PARTITION BY k, p ORDER BY c1)";
        let behind = " OVER (PARTITION BY k, n ORDER BY c1 DESC)";
        let first = |w: &mut Self, window: &str| {
            w.sql("first_value(")
                .output_name(column)
                .sql(")")
                .sql(window);
        };
        match fill {
            Filler::Null => self.sql("NULL"),
            Filler::Zero => self.sql("0"),
            Filler::Previous => {
                first(self, before);
                self
            }
            Filler::Linear => {
                self.sql("CASE WHEN p > 0 AND n > 0 THEN ");
                first(self, before);
                self.sql(" + (");
                first(self, behind);
                self.sql(" - ");
                first(self, before);
                self.sql(") * extract(epoch FROM c1 - first_value(c1)")
                    .sql(before);
                self.sql(") / extract(epoch FROM first_value(c1)")
                    .sql(behind);
                self.sql(" - first_value(c1)").sql(before).sql(") END")
            }
        }
    }
}

/// What an aggregate of an empty bucket is.
#[derive(Clone, Copy)]
enum Filler {
    Null,
    Zero,
    Previous,
    Linear,
}

impl Filler {
    const fn of(fill: Fill, is_number: bool) -> Self {
        match fill {
            Fill::Previous => Self::Previous,
            Fill::Zero if is_number => Self::Zero,
            Fill::Linear if is_number => Self::Linear,
            Fill::Null | Fill::Zero | Fill::Linear => Self::Null,
        }
    }
}

/// Writes a comma behind all but the last of so many.
struct Separator(usize);

impl Separator {
    fn after(&mut self, w: &mut Writer<'_>) {
        self.0 -= 1;
        if self.0 > 0 {
            w.sql(", ");
        }
    }
}
