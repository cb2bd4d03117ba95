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

mod news;
mod stamp;

pub use self::news::most_new;
pub use self::stamp::{REALM, is_of_the_clock, unchanged};

use super::partial::{Merge, Partial, Typed, states};
use super::select::{Purpose, Statement, Target, compile};
use super::writer::{Bind, Writer};
use crate::model::{Result, field::Column, snapshot::Snapshot, time::Timestamp};
use crate::query::{EventQuery, Grouping};

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
    /// More new events than this are not looked at.
    pub most_new: u64,
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

/// The stamp alone: of what is read beside it in the same transaction.
pub fn stamp(query: &EventQuery, target: &Target, partitioned: bool) -> (String, Vec<Bind>) {
    let mut w = Writer::new(&target.table);
    w.sql("SELECT concat_ws('|', ");
    w.stamp_fields(query, partitioned, None);
    w.sql(") FROM pg_current_snapshot() AS s");
    w.finish()
}

/// Whether anything has changed since: one row with one column, the stamp, and behind it the number
/// of new events, of those that match, and whether time alone has changed the answer.
pub fn check(query: &EventQuery, target: &Target, base: Base<'_>) -> (String, Vec<Bind>) {
    let mut w = Writer::new(&target.table);
    w.news(base.snapshot, base.most_new);
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
    w.news(base.snapshot, base.most_new);
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
    w.news(base.snapshot, base.most_new);
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
