//! A grouped query in parts: what a slice of the events contributes to each group, and the groups
//! that the contributions of all slices come to.
//!
//! The server merges: the contributions come back to it as arrays, one for each column, in the place
//! of the events. Everything behind the groups (`having`, fills, the order, the cut, the cursor) is
//! written by the same code as for one statement, and `numeric` sums lose nothing on the way, so the
//! answer is the same to the last digit.

use super::field::EVENTS;
use super::keyset::sort_keys;
use super::select::{Over, Page, Purpose, Statement, Target, compile_over};
use super::writer::{Bind, Writer};
use crate::model::{
    Result,
    field::{Column, Field, Kind},
    time::Timestamp,
};
use crate::query::{Aggregate, Bucket, EventQuery, Function, Grouping};

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

/// What slices contribute to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// No two slices know the same group: each gives whole groups.
    Apart,
    /// States that merge: sums and counts, extremes, the first and the last.
    States,
}

/// The type of a column that a slice gives, in the server's own binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// `int8`
    Integer,
    /// `numeric`
    Numeric,
    /// `float8`
    Float,
    /// `text`
    Text,
    /// `uuid`
    Uuid,
    /// `timestamptz`
    Time,
    /// `jsonb`
    Json,
}

impl Typed {
    /// As a cast has it.
    const fn name(self) -> &'static str {
        match self {
            Self::Integer => "::int8",
            Self::Numeric => "::numeric",
            Self::Float => "::float8",
            Self::Text => "::text",
            Self::Uuid => "::uuid",
            Self::Time => "::timestamptz",
            Self::Json => "::jsonb",
        }
    }

    /// The OIDs of the type and of its arrays (`pg_type.dat`).
    pub const fn oids(self) -> (u32, u32) {
        match self {
            Self::Integer => (20, 1016),
            Self::Numeric => (1700, 1231),
            Self::Float => (701, 1022),
            Self::Text => (25, 1009),
            Self::Uuid => (2950, 2951),
            Self::Time => (1184, 1185),
            Self::Json => (3802, 3807),
        }
    }

    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Uuid => Self::Uuid,
            Kind::Time => Self::Time,
            Kind::Json => Self::Json,
        }
    }
}

/// The statement of one slice.
#[derive(Clone, Debug)]
pub struct Partial {
    /// The text.
    pub sql: String,
    /// Its values, in order.
    pub binds: Vec<Bind>,
    /// Its columns.
    pub types: Vec<Typed>,
}

/// What all slices gave.
#[derive(Clone, Debug)]
pub struct Merged {
    /// One array for each column.
    pub columns: Vec<Bind>,
    /// What they hold.
    pub merge: Merge,
}

/// Whether two parts of a group make up its aggregate.
pub const fn has_states(aggregate: &Aggregate) -> bool {
    !matches!(
        aggregate.function,
        Function::CountDistinct | Function::Percentile(_) | Function::Mode
    )
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

/// The contributions of all events, or of those of another relation, by the server's own clock.
///
/// # Errors
/// INVALID_QUERY at `after` for a cursor that is not this query's.
pub fn states(
    query: &EventQuery,
    grouping: &Grouping,
    target: &Target,
    (merge, stand_in): (Merge, Option<&'static str>),
) -> Result<Partial> {
    let page = Page::of(query, query.identity(&target.table.quoted()))?;
    let mut w = Writer::new(&target.table);
    w.frozen_clock = page.clock;
    w.stand_in = stand_in;
    let types = w.contributions(grouping, merge, 0);
    w.relations(query).row_filter(query);
    w.group_by_place(grouping.key_columns().len());
    let (sql, binds) = w.finish();
    Ok(Partial { sql, binds, types })
}

/// One contribution for each group, out of several.
pub fn compacted(grouping: &Grouping, target: &Target, contributions: &Merged) -> Partial {
    let mut w = Writer::new(&target.table);
    let mut places = 0..contributions.columns.len();
    // The place of the next column that was given.
    let mut next = || places.next().unwrap_or_default();
    let mut columns = Columns::new(&mut w);
    for (_, kind) in keys(grouping) {
        let place = next();
        columns.add(Typed::of(kind), |w| {
            w.given(place);
        });
    }
    for aggregate in &grouping.aggregates {
        for (function, typed) in parts(aggregate) {
            let place = next();
            columns.add(typed, |w| {
                w.sql(function).sql("(").given(place);
                w.sql(if typed == Typed::Text {
                    " COLLATE \"C\")"
                } else {
                    ")"
                });
            });
        }
    }
    columns.add(Typed::Integer, |w| {
        w.number(0);
    });
    let types = columns.types;
    w.sql(" FROM ").unnested(contributions);
    w.group_by_place(grouping.key_columns().len());
    let (sql, binds) = w.finish();
    Partial { sql, binds, types }
}

/// How the parts of an aggregate's state merge, in the order of its contribution.
fn parts(aggregate: &Aggregate) -> Vec<(&'static str, Typed)> {
    match aggregate.function {
        Function::Avg => vec![("sum", Typed::Integer), ("sum", Typed::Numeric)],
        Function::Stddev | Function::Variance => vec![
            ("sum", Typed::Integer),
            ("sum", Typed::Numeric),
            ("sum", Typed::Numeric),
        ],
        Function::Min => vec![("min", whole_type(aggregate))],
        Function::Max => vec![("max", whole_type(aggregate))],
        _ => vec![("sum", whole_type(aggregate))],
    }
}

/// The statement that the groups of the whole come from.
///
/// # Errors
/// As [`compile`](super::compile).
pub fn merged(
    query: &EventQuery,
    target: &Target,
    purpose: Purpose,
    merged: &Merged,
    clock: Timestamp,
) -> Result<Statement> {
    let over = Over {
        merged: Some(merged),
        clock: Some(clock),
        ..Over::default()
    };
    compile_over(query, target, purpose, &over)
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
/// As [`compile`](super::compile).
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

type Write<'q> = Box<dyn Fn(&mut Writer<'_>) + 'q>;

/// The values that groups are told apart by.
fn keys(grouping: &Grouping) -> impl Iterator<Item = (Write<'_>, Kind)> {
    let bucket = grouping.bucket.iter().map(|bucket| {
        let write: Write<'_> = Box::new(move |w| {
            w.bucket_start(bucket, &|w| {
                w.event_column(EVENTS, Column::Timestamp);
            });
        });
        (write, Kind::Time)
    });
    let fields = grouping.keys.iter().map(|key| {
        let write: Write<'_> = Box::new(move |w| {
            w.value(&key.field);
        });
        (write, key.field.kind())
    });
    bucket.chain(fields)
}

/// The columns of a slice's statement, as they are written.
struct Columns<'w, 'a> {
    w: &'w mut Writer<'a>,
    types: Vec<Typed>,
}

impl<'w, 'a> Columns<'w, 'a> {
    fn new(w: &'w mut Writer<'a>) -> Self {
        w.sql("SELECT ");
        Self {
            w,
            types: Vec::new(),
        }
    }

    fn add(&mut self, typed: Typed, write: impl FnOnce(&mut Writer<'a>)) {
        self.w.sql(if self.types.is_empty() { "(" } else { ", (" });
        write(self.w);
        self.w.sql(")").sql(typed.name());
        self.types.push(typed);
    }

    fn contribution(&mut self, aggregate: &Aggregate, merge: Merge) {
        if merge == Merge::Apart {
            return self.add(whole_type(aggregate), |w| {
                w.aggregate(aggregate);
            });
        }
        let count = |columns: &mut Self, field: Option<&Field>| {
            columns.add(Typed::Integer, |w| match field {
                // Which of them are numbers is cheaper to tell than the numbers are to read.
                Some(field) if field.kind() == Kind::Json => {
                    w.sql("count(*) FILTER (WHERE jsonb_typeof(").field(field);
                    w.sql(") = 'number'");
                    if let Some(filter) = aggregate.filter.as_ref().filter(|f| !f.is_always()) {
                        w.sql(" AND ").condition(filter);
                    }
                    w.sql(")");
                }
                Some(field) => {
                    w.sql("count(").numbers(field).sql(")").only(aggregate);
                }
                None => {
                    w.sql("count(*)").only(aggregate);
                }
            });
        };
        let sum = |columns: &mut Self, field: &Field, squared: bool| {
            columns.add(Typed::Numeric, |w| {
                w.sql("sum(").numbers(field);
                if squared {
                    w.sql(" * ").numbers(field);
                }
                w.sql(")").only(aggregate);
            });
        };
        match (aggregate.function, &aggregate.field) {
            (Function::Avg, Some(field)) => {
                count(self, Some(field));
                sum(self, field, false);
            }
            (Function::Stddev | Function::Variance, Some(field)) => {
                count(self, Some(field));
                sum(self, field, false);
                sum(self, field, true);
            }
            (Function::First | Function::Last, _) => {
                // Whether there is an event at all: its value can be missing.
                count(self, None);
                self.add(whole_type(aggregate), |w| {
                    w.aggregate(aggregate);
                });
            }
            _ => self.add(whole_type(aggregate), |w| {
                w.aggregate(aggregate);
            }),
        }
    }
}

/// The type of the aggregate itself.
fn whole_type(aggregate: &Aggregate) -> Typed {
    match aggregate.function {
        Function::Count | Function::CountDistinct => Typed::Integer,
        Function::Percentile(_) => Typed::Float,
        Function::Sum | Function::Avg | Function::Stddev | Function::Variance => Typed::Numeric,
        Function::Min | Function::Max => match aggregate.kind() {
            (_, true) => Typed::Numeric,
            (kind, false) => Typed::of(kind),
        },
        Function::Mode | Function::First | Function::Last => Typed::of(aggregate.kind().0),
    }
}

impl Writer<'_> {
    /// The columns of a statement of contributions.
    fn contributions(&mut self, grouping: &Grouping, merge: Merge, number: u64) -> Vec<Typed> {
        let mut columns = Columns::new(self);
        for (value, kind) in keys(grouping) {
            columns.add(Typed::of(kind), value);
        }
        for aggregate in &grouping.aggregates {
            columns.contribution(aggregate, merge);
        }
        // Behind the keys, which are grouped by their place: a constant.
        if merge == Merge::States {
            columns.add(Typed::Integer, |w| {
                w.number(number);
            });
        }
        columns.types
    }

    fn group_by_place(&mut self, keys: usize) -> &mut Self {
        if keys > 0 {
            self.sql(" GROUP BY ").join(1..=keys, ", ", |w, place| {
                w.number(place as u64);
            });
        }
        self
    }

    /// What was given, as relation `p`.
    fn unnested(&mut self, merged: &Merged) -> &mut Self {
        self.sql("unnest(");
        self.join(&merged.columns, ", ", |w, column| {
            w.bind(column.clone());
        });
        self.sql(") AS p(");
        self.join(0..merged.columns.len(), ", ", |w, place| {
            w.sql("s").number(place as u64);
        });
        self.sql(")")
    }

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

    /// The groups of the whole, out of what the slices gave: columns c1, c2 and so on.
    pub fn merged_groups(&mut self, grouping: &Grouping, merged: &Merged) -> &mut Self {
        let keys = grouping.key_columns().len();
        let mut given = 0..merged.columns.len();
        // The place of the next column that the slices gave.
        let mut next = || given.next().unwrap_or_default();
        let order = merged.columns.len().saturating_sub(1);
        self.sql("SELECT ");
        for column in 0..keys {
            let place = next();
            self.sql(if column == 0 { "" } else { ", " }).given(place);
            self.sql(" AS ").output_name(column);
        }
        for (aggregate, column) in grouping.aggregates.iter().zip(keys..) {
            self.sql(if column == 0 { "" } else { ", " });
            match merged.merge {
                Merge::Apart => {
                    let place = next();
                    self.given(place);
                }
                Merge::States => self.merged_states(aggregate, &mut next, order),
            }
            self.sql(" AS ").output_name(column);
        }
        self.sql(" FROM ").unnested(merged);
        if merged.merge == Merge::States {
            self.group_by_place(keys);
        }
        self
    }

    /// A column that the slices gave.
    fn given(&mut self, place: usize) -> &mut Self {
        self.sql("p.s").number(place as u64)
    }

    fn given_sum(&mut self, place: usize) -> &mut Self {
        self.sql("sum(").given(place).sql(")")
    }

    /// The aggregate, as PostgreSQL computes it from the same sums (`numeric.c`).
    fn merged_states(
        &mut self,
        aggregate: &Aggregate,
        next: &mut impl FnMut() -> usize,
        order: usize,
    ) {
        match aggregate.function {
            Function::Count => {
                self.given_sum(next()).sql("::int8");
            }
            Function::Avg => {
                let (count, sum) = (next(), next());
                self.given_sum(sum).sql(" / NULLIF(");
                self.given_sum(count).sql(", 0)");
            }
            Function::Stddev | Function::Variance => {
                let (count, sum, squares) = (next(), next(), next());
                self.spread(aggregate.function, count, sum, squares);
            }
            Function::First | Function::Last => {
                let (count, value) = (next(), next());
                let backwards = aggregate.function == Function::Last;
                self.sql("(array_agg(").given(value).sql(" ORDER BY ");
                self.given(order).sql(if backwards { " DESC" } else { "" });
                self.sql(") FILTER (WHERE ").given(count).sql(" > 0))[1]");
            }
            Function::Min | Function::Max => {
                let value = next();
                self.sql(if aggregate.function == Function::Min {
                    "min("
                } else {
                    "max("
                });
                self.given(value);
                if whole_type(aggregate) == Typed::Text {
                    self.sql(" COLLATE \"C\"");
                }
                self.sql(")");
            }
            // A sum; the rest has no states.
            _ => {
                self.given_sum(next());
            }
        }
    }

    /// The sample variance `(n Σx² - (Σx)²) / (n (n - 1))`, or its root, to the digits that the server
    /// gives: those of the quotient.
    fn spread(&mut self, function: Function, count: usize, sum: usize, squares: usize) {
        let above = |w: &mut Self| {
            w.sql("(").given_sum(count).sql(" * ").given_sum(squares);
            w.sql(" - ")
                .given_sum(sum)
                .sql(" * ")
                .given_sum(sum)
                .sql(")");
        };
        let variance = |w: &mut Self| {
            above(w);
            w.sql(" / (").given_sum(count).sql(" * (");
            w.given_sum(count).sql(" - 1))");
        };
        self.sql("CASE WHEN ")
            .given_sum(count)
            .sql(" > 1 THEN CASE WHEN ");
        above(self);
        self.sql(" <= 0 THEN 0 ELSE ");
        if function == Function::Stddev {
            // With digits to spare first: rounded twice, the last one could be another.
            self.sql("round(sqrt(round(");
            variance(self);
            self.sql(", scale(");
            variance(self);
            self.sql(") + 20)), scale(");
            variance(self);
            self.sql("))");
        } else {
            variance(self);
        }
        self.sql(" END END");
    }
}
