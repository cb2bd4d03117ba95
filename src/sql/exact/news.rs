//! What has changed since an entry was made: the events that its snapshot could not see, the buckets
//! that they fall into, and the rows that time alone has taken out of the window.

use std::time::Duration;

use super::stamp::is_of_the_clock;
use crate::model::{
    field::Column,
    snapshot::Snapshot,
    table::{TRANSACTION_ID, quote_ident},
    time::Timestamp,
};
use crate::query::{Bucket, EventQuery, Every, Window};
use crate::sql::bucket::Time;
use crate::sql::field::EVENTS;
use crate::sql::writer::{Bind, Writer};

/// How many new events are merged into an answer that took so long to read: some thousands always, and
/// up to as many as are read in half that time, at about 5 µs each. In steps, for each is a statement of
/// its own.
pub fn most_new(cost: Duration) -> u64 {
    match cost.as_millis() {
        0..200 => 5_000,
        200..800 => 20_000,
        _ => 80_000,
    }
}

impl Writer<'_> {
    /// The events that a snapshot could not see and this statement does, as relation `d`; one more
    /// than are merged, where there are more.
    pub fn news(&mut self, since: &Snapshot, most: u64) {
        let texts = |offset: fn(u64) -> u64| {
            let running = since.running().iter();
            Bind::Texts(running.map(|id| offset(*id).to_string()).collect())
        };
        self.sql("WITH s AS MATERIALIZED (SELECT pg_current_snapshot() AS s), p AS MATERIALIZED (");
        self.sql("SELECT x AS lo, lead(x) OVER (ORDER BY x) AS hi FROM (SELECT ");
        // Bounds are outside.
        self.xid(since.xmax().saturating_sub(1)).sql(" AS x");
        self.sql(" UNION ALL SELECT pg_snapshot_xmax(s) FROM s UNION ALL SELECT r FROM s, pg_snapshot_xip(s) AS r WHERE r > ");
        self.xid(since.xmax().saturating_sub(1)).sql(") AS edges");
        if !since.running().is_empty() {
            self.sql(" UNION ALL SELECT u.lo::xid8, u.hi::xid8 FROM s, unnest(");
            self.bind(texts(|id| id - 1)).sql(", ").bind(texts(|id| id));
            self.sql(", ").bind(texts(|id| id + 1));
            self.sql(") AS u(lo, x, hi) WHERE pg_visible_in_snapshot(u.x::xid8, s.s)");
        }
        let table = self.table.quoted();
        self.sql("), d AS MATERIALIZED (SELECT x.* FROM p CROSS JOIN LATERAL (SELECT * FROM ");
        self.sql(&table).sql(" AS x WHERE x.").sql(TRANSACTION_ID);
        self.sql(" > p.lo AND x.")
            .sql(TRANSACTION_ID)
            .sql(" < p.hi LIMIT ");
        self.number(most + 1).sql(") AS x)");
    }

    /// All events of the buckets that have new ones, as relation `t`: each bucket is read by the index on
    /// the time, so a late event costs no more than its own.
    pub fn touched(&mut self, query: &EventQuery, bucket: &Bucket) {
        const HOUR: u64 = 3_600_000_000;
        const DAY: u64 = 24 * HOUR;
        let table = self.table;
        let time = quote_ident(table.columns.of(Column::Timestamp));
        let starts = |w: &mut Self, relation: &'static str| {
            w.bucket_start(bucket, &|w| {
                w.sql(relation).sql(".").sql(&time);
            });
        };
        self.sql(", b AS MATERIALIZED (SELECT DISTINCT ");
        starts(self, "e");
        self.sql(" AS k FROM d AS e");
        self.row_filter(query);
        self.sql("), t AS (SELECT x.* FROM b CROSS JOIN LATERAL (SELECT * FROM ");
        self.sql(&table.quoted()).sql(" AS x WHERE x.").sql(&time);
        self.sql(" >= b.k");
        if bucket.is_local() {
            // Where the clock goes back over its beginning, a bucket is called by the second one.
            self.sql(" - ").interval(3 * HOUR);
        }
        self.sql(" AND x.").sql(&time).sql(" < b.k + ");
        // No shorter than the bucket, and longer where its zone turns the clock back.
        self.interval(match bucket.every {
            Every::Micros(length) if !bucket.is_local() => length,
            Every::Micros(length) => length.saturating_add(DAY),
            Every::Months(months) => u64::from(months).saturating_mul(31 * DAY) + DAY,
        });
        self.sql(" OFFSET 0) AS x");
        // Cut by length from points in time, a bucket is what lies between these two.
        if bucket.is_local() {
            self.sql(" WHERE ");
            starts(self, "x");
            self.sql(" = b.k");
        }
        self.sql(")");
    }

    /// Whether a row has left the window since.
    pub fn left(&mut self, query: &EventQuery, since: Timestamp) {
        let Some(Window::Last(length)) = query.window.filter(|_| is_of_the_clock(query)) else {
            self.sql("false");
            return;
        };
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        let bucket = query.grouping.as_ref().and_then(|g| g.bucket.as_ref());
        let edge = |w: &mut Self, clock: Time<'_>| {
            let lower: Time<'_> = &|w| {
                clock(w);
                w.sql(" - ").interval(micros);
            };
            if let Some(bucket) = bucket {
                w.bucket_start(bucket, lower);
            } else {
                lower(w);
            }
        };
        let then: Time<'_> = &|w| {
            w.typed(Bind::Time(since), "timestamptz");
        };
        let table = self.table.quoted();
        self.sql("EXISTS (SELECT FROM ")
            .sql(&table)
            .sql(" AS e WHERE ");
        self.event_column(EVENTS, Column::Timestamp).sql(" >= ");
        edge(self, then);
        self.sql(" AND ")
            .event_column(EVENTS, Column::Timestamp)
            .sql(" < ");
        edge(self, &|w| {
            w.sql("now()");
        });
        if !query.filter.is_always() {
            self.sql(" AND ").condition(&query.filter);
        }
        self.sql(")");
    }
}
