//! Statements of the exact cache.
//!
//! What a snapshot S could not see is exactly the events whose `transaction_id` is at or above
//! `pg_snapshot_xmin(S)` and not visible in S. As one predicate that plans badly: beside a long
//! transaction every event since it began is read again at each check. So it is cut into pieces with
//! both bounds, the gaps between running transactions and one point for each that was running then
//! and has ended since, and each piece is read by the index on `transaction_id`, up to a limit.
//!
//! Every statement says under which circumstances it ran, as one text: the stamp. All of it is read
//! under the one snapshot of the statement, catalog rows included: no function that looks at newer
//! catalogs, such as `pg_partition_tree`, may stand in it.

use super::bucket::Time;
use super::field::EVENTS;
use super::partial::{Merge, Partial, Typed, states};
use super::select::{Purpose, Statement, Target, compile};
use super::writer::{Bind, Writer};
use crate::model::{
    Result,
    field::Column,
    snapshot::Snapshot,
    table::{TRANSACTION_ID, quote_ident},
    time::Timestamp,
};
use crate::query::{Bucket, EventQuery, Every, Grouping, Window};

/// The settings that an answer can depend on, and whose it is, as one number in text.
pub const REALM: &str = "hashtextextended(concat_ws(',', current_user, current_setting('search_path'), \
     current_setting('TimeZone'), current_setting('DateStyle'), current_setting('row_security'), \
     current_setting('server_version_num'), current_setting('server_encoding')), 0)";

/// More new events than this are not merged.
pub const MOST_NEW: u64 = 5000;

/// A statement whose rows carry the stamp.
#[derive(Clone, Debug)]
pub struct Stamped {
    /// The statement. Where its snapshot is NULL there is no row, only the stamp.
    pub statement: Statement,
    /// Which column is the stamp.
    pub stamp: usize,
}

/// A statement of contributions to groups, whose rows carry the stamp.
#[derive(Clone, Debug)]
pub struct StampedStates {
    /// The text and values, and the columns of the contributions. Behind them stands the stamp.
    pub partial: Partial,
    /// The column that is NULL where there is no row, only the stamp.
    pub marker: usize,
}

impl StampedStates {
    fn of(w: Writer<'_>, types: Vec<Typed>, merge: Merge) -> Self {
        let (sql, binds) = w.finish();
        let marker = match merge {
            // A constant, behind the others.
            Merge::States => types.len().saturating_sub(1),
            // The bucket.
            Merge::Apart => 0,
        };
        Self {
            partial: Partial { sql, binds, types },
            marker,
        }
    }
}

/// What a check begins from.
#[derive(Clone, Copy, Debug)]
pub struct Base<'b> {
    /// What the entry has seen.
    pub snapshot: &'b Snapshot,
    /// The server's clock then.
    pub clock: Timestamp,
    /// Whether the table has partitions.
    pub partitioned: bool,
}

/// The statement of a query, stamped.
pub fn fill(
    query: &EventQuery,
    target: &Target,
    planned: &Statement,
    partitioned: bool,
) -> Stamped {
    let mut w = Writer::behind_binds(&target.table, planned.binds.clone());
    w.beside(&planned.sql, |w| {
        w.sql("concat_ws('|', ");
        w.stamp_fields(query, partitioned, None);
        w.sql(")");
    });
    finish(w, planned)
}

/// Whether anything has changed since: one row with one column, the stamp, and behind it the number
/// of new events, of those that match, and whether time alone has changed the answer.
pub fn check(query: &EventQuery, target: &Target, base: Base<'_>) -> (String, Vec<Bind>) {
    let mut w = Writer::new(&target.table);
    w.news(base.snapshot);
    w.sql(" SELECT concat_ws('|', ");
    w.stamp_fields(query, base.partitioned, Some(base));
    w.sql(", (SELECT count(*) FROM d), (SELECT count(*) FROM d");
    // A new event on either side of a join makes new pairs: all that is new counts.
    if query.joins.is_empty() {
        w.sql(" AS e");
        w.row_filter(query);
    }
    w.sql("), ").left(query, base.clock);
    w.sql(") FROM pg_current_snapshot() AS s");
    w.finish()
}

/// The statement of a query over the rows of its last answer and the new events alone. Behind the stamp
/// stand the number of new events, and whether time alone has changed the answer.
///
/// # Errors
/// Those of the query's own statement.
pub fn merged_list(
    query: &EventQuery,
    target: &Target,
    base: Base<'_>,
    kept: Vec<uuid::Uuid>,
) -> Result<Stamped> {
    let planned = compile_from(query, target, Some("m"))?;
    let mut w = Writer::behind_binds(&target.table, planned.binds.clone());
    w.news(base.snapshot);
    let table = target.table.quoted();
    w.sql(", m AS (SELECT * FROM ")
        .sql(&table)
        .sql(" AS x WHERE x.");
    w.ident(target.table.columns.of(Column::Id)).sql(" = ANY(");
    w.bind(Bind::Uuids(kept))
        .sql(") UNION ALL SELECT * FROM d) ");
    w.beside(&planned.sql, |w| {
        w.sql("concat_ws('|', ");
        w.stamp_fields(query, base.partitioned, Some(base));
        w.sql(", (SELECT count(*) FROM d), ")
            .left(query, base.clock);
        w.sql(")");
    });
    Ok(finish(w, &planned))
}

/// The contributions of all events to each group, stamped.
///
/// # Errors
/// Those of the query's cursor.
pub fn fill_states(
    query: &EventQuery,
    grouping: &Grouping,
    target: &Target,
    (merge, partitioned): (Merge, bool),
) -> Result<StampedStates> {
    let Partial { sql, binds, types } = states(query, grouping, target, (merge, None))?;
    let mut w = Writer::behind_binds(&target.table, binds);
    w.beside(&sql, |w| {
        w.sql("concat_ws('|', ");
        w.stamp_fields(query, partitioned, None);
        w.sql(")");
    });
    Ok(StampedStates::of(w, types, merge))
}

/// The contributions of the new events alone; where groups are whole, those of all events in the buckets
/// that have new ones. Behind the stamp stands what stands there of a check.
///
/// # Errors
/// Those of the query's cursor.
pub fn new_states(
    query: &EventQuery,
    grouping: &Grouping,
    target: &Target,
    (merge, base): (Merge, Base<'_>),
) -> Result<StampedStates> {
    let from = match merge {
        Merge::States => "d",
        Merge::Apart => "t",
    };
    let Partial { sql, binds, types } = states(query, grouping, target, (merge, Some(from)))?;
    let mut w = Writer::behind_binds(&target.table, binds);
    w.news(base.snapshot);
    if let (Merge::Apart, Some(bucket)) = (merge, &grouping.bucket) {
        w.touched(query, bucket);
    }
    w.sql(" ").beside(&sql, |w| {
        w.sql("concat_ws('|', ");
        w.stamp_fields(query, base.partitioned, Some(base));
        w.sql(", (SELECT count(*) FROM d), (SELECT count(*) FROM d AS e");
        w.row_filter(query);
        // Buckets that have left the window are known by where they begin.
        w.sql("), false)");
    });
    Ok(StampedStates::of(w, types, merge))
}

fn compile_from(
    query: &EventQuery,
    target: &Target,
    stand_in: Option<&'static str>,
) -> Result<Statement> {
    let target = Target {
        stand_in,
        ..target.clone()
    };
    compile(query, &target, Purpose::Buffered)
}

fn finish(w: Writer<'_>, planned: &Statement) -> Stamped {
    let (sql, binds) = w.finish();
    Stamped {
        // The snapshot is the last of a statement's own columns.
        stamp: planned.token.map_or(planned.visible, |token| token + 1),
        statement: Statement {
            sql,
            binds,
            ..planned.clone()
        },
    }
}

impl Writer<'_> {
    /// The rows of a statement, each with the stamp; the stamp alone where there are none. Of the two
    /// relations the first has one row, and a nested loop, the only join that there is without a
    /// condition, keeps the order of the second. OFFSET 0: the stamp is made once, not for each row.
    fn beside(&mut self, sql: &str, stamp: impl FnOnce(&mut Self)) {
        self.sql("SELECT q.*, h.stamp FROM (SELECT ");
        stamp(self);
        self.sql(" AS stamp FROM pg_current_snapshot() AS s OFFSET 0) AS h LEFT JOIN (");
        self.sql(sql).sql(") AS q ON true");
    }

    /// Snapshot, nonce, start of the server, realm, fingerprint, troubles, clock, and when an event of
    /// the future comes to pass. Without a base it is a fill.
    fn stamp_fields(&mut self, query: &EventQuery, partitioned: bool, base: Option<Base<'_>>) {
        let table = self.table;
        self.sql("s::text, coalesce((SELECT nonce::text FROM ")
            .sql(&table.incarnation());
        self.sql("), ''), extract(epoch FROM pg_postmaster_start_time())::text, ");
        self.sql(REALM).sql(", ");
        self.fingerprint(partitioned);
        self.sql(
            ", concat('', CASE WHEN pg_current_xact_id_if_assigned() IS NOT NULL THEN 'w' END, ",
        );
        self.sql("CASE WHEN pg_is_in_recovery() THEN 's' END, ");
        self.sql("CASE WHEN row_security_active(")
            .name()
            .sql(") THEN 'r' END, ");
        self.sql("CASE WHEN current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN 'i' END");
        match base {
            // Events of transactions yet to come: a dump of an older cluster. They would count twice.
            None => {
                self.sql(", CASE WHEN EXISTS (SELECT FROM ")
                    .sql(&table.quoted());
                self.sql(" AS x WHERE x.").sql(TRANSACTION_ID);
                self.sql(" >= pg_snapshot_xmax(s)) THEN 'a' END");
            }
            // Updates and deletes since, by the same rule of visibility.
            Some(base) => {
                self.sql(", CASE WHEN EXISTS (SELECT FROM ")
                    .sql(&table.rotations());
                self.sql(" AS x WHERE x.").sql(TRANSACTION_ID).sql(" >= ");
                self.xid(base.snapshot.xmin());
                self.sql(" AND NOT pg_visible_in_snapshot(x.")
                    .sql(TRANSACTION_ID);
                self.sql(", ").bind(Bind::Text(base.snapshot.to_string()));
                self.sql("::text::pg_snapshot)) THEN 'c' END");
            }
        }
        self.sql("), (extract(epoch FROM now()) * 1000000)::int8, ");
        if is_of_the_clock(query) {
            let time = quote_ident(table.columns.of(Column::Timestamp));
            self.sql("coalesce((SELECT (extract(epoch FROM min(x.")
                .sql(&time);
            self.sql(")) * 1000000)::int8 FROM ").sql(&table.quoted());
            self.sql(" AS x WHERE x.")
                .sql(&time)
                .sql(" >= now())::text, '')");
        } else {
            self.sql("''");
        }
        self.sql(", ").window_edges(query);
    }

    /// The first and the last bucket of a window that ends at the clock.
    fn window_edges(&mut self, query: &EventQuery) -> &mut Self {
        let bucket = query.grouping.as_ref().and_then(|g| g.bucket.as_ref());
        let (Some(Window::Last(length)), Some(bucket), true) =
            (query.window, bucket, is_of_the_clock(query))
        else {
            return self.sql("''");
        };
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        self.sql("concat((extract(epoch FROM ")
            .bucket_start(bucket, &|w| {
                w.sql("now() - ").interval(micros);
            });
        self.sql(") * 1000000)::int8, ',', (extract(epoch FROM ");
        self.bucket_start(bucket, &|w| {
            w.sql("now() - ").interval(1);
        });
        self.sql(") * 1000000)::int8)")
    }

    /// What TRUNCATE, ATTACH, DETACH, DROP or a disabled trigger change and ANALYZE, VACUUM and new
    /// indexes do not, as a number; behind `!` what is wrong with the table.
    fn fingerprint(&mut self, partitioned: bool) {
        let of_row = "concat_ws(',', c.oid, c.xmin, c.relkind, c.relhassubclass, t.list)";
        let triggers = " LEFT JOIN LATERAL (SELECT string_agg(concat_ws('.', t.oid, t.xmin), ',' ORDER BY t.oid) AS list, \
             count(*) FILTER (WHERE t.tgenabled = 'A' AND t.tgname IN ('zzz_tamma_guard_insert', 'zzz_tamma_guard_update', 'tamma_2_log_rotation')) AS guards \
             FROM pg_trigger AS t WHERE t.tgrelid = c.oid) AS t ON true";
        self.sql("coalesce((");
        if partitioned {
            self.sql("WITH RECURSIVE tree(id) AS (SELECT to_regclass(")
                .name();
            self.sql(")::oid UNION ALL SELECT i.inhrelid FROM tree JOIN pg_inherits AS i ON i.inhparent = tree.id) ");
            self.sql("SELECT concat(hashtextextended(string_agg(")
                .sql(of_row);
            self.sql(", ';' ORDER BY c.oid), 0), '!', CASE WHEN NOT bool_and(c.relkind IN ('r', 'p')) THEN 'k' END, ");
            self.sql("CASE WHEN NOT bool_and(t.guards = 3) THEN 't' END) FROM tree JOIN pg_class AS c ON c.oid = tree.id");
            self.sql(triggers);
        } else {
            self.sql("SELECT concat(hashtextextended(").sql(of_row);
            self.sql(", 0), '!', CASE WHEN c.relkind NOT IN ('r', 'p') THEN 'k' END, ");
            self.sql("CASE WHEN c.relkind = 'p' OR c.relhassubclass THEN 'p' END, ");
            self.sql("CASE WHEN t.guards <> 3 THEN 't' END) FROM pg_class AS c");
            self.sql(triggers)
                .sql(" WHERE c.oid = to_regclass(")
                .name()
                .sql(")");
        }
        self.sql("), '')");
    }

    /// The event table's name as a value.
    fn name(&mut self) -> &mut Self {
        let name = self.table.quoted();
        self.bind(Bind::Text(name)).sql("::text")
    }

    fn xid(&mut self, id: u64) -> &mut Self {
        self.bind(Bind::Text(id.to_string())).sql("::text::xid8")
    }

    /// The events that a snapshot could not see and this statement does, as relation `d`; one more
    /// than are merged, where there are more.
    fn news(&mut self, since: &Snapshot) {
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
        self.number(MOST_NEW + 1).sql(") AS x)");
    }

    /// All events of the buckets that have new ones, as relation `t`: each bucket is read by the index on
    /// the time, so a late event costs no more than its own.
    fn touched(&mut self, query: &EventQuery, bucket: &Bucket) {
        const DAY: u64 = 86_400_000_000;
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
        self.sql(" >= b.k AND x.").sql(&time).sql(" < b.k + ");
        // No shorter than the bucket, and longer where its zone turns the clock back.
        self.interval(match bucket.every {
            Every::Micros(length) => length.saturating_add(DAY),
            Every::Months(months) => u64::from(months).saturating_mul(31 * DAY) + DAY,
        });
        self.sql(" OFFSET 0) AS x WHERE ");
        starts(self, "x");
        self.sql(" = b.k)");
    }

    /// Whether a row has left the window since.
    fn left(&mut self, query: &EventQuery, since: Timestamp) {
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

/// Whether the answer changes by time alone. The pages behind the first keep its clock.
pub fn is_of_the_clock(query: &EventQuery) -> bool {
    matches!(query.window, Some(Window::Last(_))) && query.after.is_none()
}
