//! Slices: which events each of them reads, and the statement that reads them.
//!
//! A slice is cut by time, by pages or by the hash of its groups; no event is in two of them, and none
//! is left out.

use super::{Merge, Partial, keys};
use crate::model::{
    Result,
    field::{Column, Kind},
    time::Timestamp,
};
use crate::query::{Bucket, EventQuery, Grouping};
use crate::sql::field::EVENTS;
use crate::sql::keyset::sort_keys;
use crate::sql::select::{Over, Page, Purpose, Statement, Target, compile_over};
use crate::sql::writer::{Bind, Writer};

/// The events that a slice reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// Those of a time; open where `None`.
    Time {
        /// From here on.
        from: Option<Timestamp>,
        /// Up to here, not included.
        to: Option<Timestamp>,
    },
    /// Those on some pages of the table; to either end where `None`.
    Pages {
        /// From this one on.
        from: Option<u32>,
        /// Up to this one, not included.
        to: Option<u32>,
    },
    /// Those of the groups whose hash leaves a remainder.
    Groups {
        /// How many slices there are.
        of: u64,
        /// Which of them.
        this: u64,
    },
}

/// The statement of slice number `number`. `clock` is the time that a window ends at.
///
/// # Errors
/// INVALID_QUERY at `after` for a cursor that is not this query's.
pub fn partial(
    query: &EventQuery,
    grouping: &Grouping,
    target: &Target,
    (number, share): (u64, &Share),
    merge: Merge,
    clock: Timestamp,
) -> Result<Partial> {
    let page = Page::of(query, query.identity(&target.table.quoted()))?;
    let mut w = Writer::new(&target.table);
    w.frozen_clock = Some(page.clock.unwrap_or(clock));
    w.stand_in = target.stand_in;
    let types = w.contributions(grouping, merge, number);
    let open = w.relations(query).row_filter(query);
    match share {
        Share::Time { .. } | Share::Pages { .. } => {
            w.share(Some(share), open);
        }
        Share::Groups { of, this } => w.share_of_groups(grouping, *of, *this, open),
    }
    w.group_by_place(grouping.key_columns().len());
    let (sql, binds) = w.finish();
    Ok(Partial { sql, binds, types })
}

/// A key by which the rows of slices are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeKey {
    /// Its column in a row.
    pub column: usize,
    /// What it holds: never JSON, whose order only the server knows.
    pub kind: Kind,
    /// From the greatest down.
    pub descending: bool,
    /// Where NULLs stand.
    pub nulls_first: bool,
}

/// The statement of one slice of a query's rows, in the query's order, and the keys of that order.
/// Each slice gives as many rows as the whole may need of it.
///
/// # Errors
/// As [`compile`](crate::sql::compile).
pub fn rows_of(
    query: &EventQuery,
    target: &Target,
    purpose: Purpose,
    share: &Share,
    clock: Timestamp,
) -> Result<(Statement, Vec<MergeKey>)> {
    let over = Over {
        share: Some(share),
        clock: Some(clock),
        ..Over::default()
    };
    let offset = query.offset.unwrap_or(0);
    let whole = EventQuery {
        limit: query.limit.map(|limit| limit.saturating_add(offset)),
        offset: None,
        // Without its offset it may be no page any more, whose order is total.
        order_by: query.order(),
        ..query.clone()
    };
    let mut statement = compile_over(&whole, target, purpose, &over)?;
    // Of what is made of the rows of all slices.
    statement.limit = query.limit.filter(|_| purpose == Purpose::Buffered);
    let order = query.order();
    let keys = sort_keys(&order, target.code_point_collation);
    let keys = (keys.iter().zip(&statement.keys))
        .map(|(key, source)| key.merge_key(source))
        .collect();
    Ok((statement, keys))
}

/// Where the buckets of these times begin: one column, in the order of time, none of them twice.
pub fn bucket_starts(
    bucket: &Bucket,
    times: Vec<Timestamp>,
    target: &Target,
) -> (String, Vec<Bind>) {
    let mut w = Writer::new(&target.table);
    w.sql("SELECT DISTINCT (extract(epoch FROM ")
        .bucket_start(bucket, &|w| {
            w.sql("t");
        });
    w.sql(") * 1000000)::int8 FROM unnest(")
        .bind(Bind::Times(times));
    w.sql(") AS x(t) ORDER BY 1");
    w.finish()
}

impl Writer<'_> {
    /// The condition that makes a slice of the rows by time, or by where they stand. Gives whether there
    /// is a condition now.
    pub fn share(&mut self, share: Option<&Share>, filtered: bool) -> bool {
        let mut filtered = filtered;
        let (from, to) = match share {
            Some(Share::Time { from, to }) => (from, to),
            Some(Share::Pages { from, to }) => {
                for (bound, operator) in [(from, " >= "), (to, " < ")] {
                    let Some(page) = bound else { continue };
                    self.sql(if filtered { " AND " } else { " WHERE " });
                    self.alias(EVENTS).sql(".ctid").sql(operator).sql("(");
                    self.typed(Bind::Text(format!("({page},0)")), "text");
                    self.sql(")::tid");
                    filtered = true;
                }
                return filtered;
            }
            _ => return filtered,
        };
        for (bound, operator) in [(from, " >= "), (to, " < ")] {
            let Some(at) = bound else { continue };
            self.sql(if filtered { " AND " } else { " WHERE " })
                .event_column(EVENTS, Column::Timestamp)
                .sql(operator)
                .bind(Bind::Time(*at));
            filtered = true;
        }
        filtered
    }

    /// The condition that makes a slice of them by their groups.
    fn share_of_groups(&mut self, grouping: &Grouping, of: u64, this: u64, filtered: bool) {
        // The hash that the server groups by: equal keys, NULLs and 1 and 1.0 among them, agree.
        self.sql(if filtered { " AND " } else { " WHERE " })
            .sql("(hash_record(ROW(");
        self.join(keys(grouping), ", ", |w, (write, _)| write(w));
        self.sql(")) & 2147483647) % ").number(of);
        self.sql(" = ").number(this);
    }
}
