//! The statement of a query.

mod columns;
mod page;

pub use self::page::Page;

use self::columns::{HiddenColumns, is_whole_event, needed, outputs};
use super::access::{Access, PLAIN};
use super::keyset::sort_keys;
use super::partial::{Merged, Share};
use super::writer::{Bind, Writer};
use crate::model::{
    Error, Result,
    field::Kind,
    snapshot::{Seen, Snapshot},
    table::TableNames,
    time::Timestamp,
};
use crate::query::EventQuery;

/// What the compiler must know of the table and its database.
#[derive(Clone, Debug)]
pub struct Target {
    /// The event table's names.
    pub table: TableNames,
    /// Whether the database's own collation orders text by code point.
    pub code_point_collation: bool,
    /// A relation of the statement that is read in the place of the event table.
    pub stand_in: Option<&'static str>,
}

/// What a statement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be read by people: no columns but the caller's.
    Show,
    /// A buffered result: with the columns that its cursor and its token are made from.
    Buffered,
    /// A stream: no cursor, no token.
    Stream,
}

/// A statement that can be sent, and how its rows are to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// Its values, in order.
    pub binds: Vec<Bind>,
    /// The names of the caller's columns; `None` for whole events.
    pub columns: Option<Vec<String>>,
    /// How many of the row's columns are the caller's.
    pub visible: usize,
    /// Which columns are values inside JSON, whose integers follow the client's bigint mode.
    pub json_scalars: Vec<usize>,
    /// Which columns are computed numbers, that come as the nearest double.
    pub computed: Vec<usize>,
    /// Where the cursor's values stand in a row.
    pub keys: Vec<KeySource>,
    /// Where the snapshot's text stands in a row.
    pub token: Option<usize>,
    /// The caller's limit. One row more is asked for, to learn whether more are left.
    pub limit: Option<u64>,
    /// See [`EventQuery::identity`].
    pub identity: u64,
    /// What it was to catch up with.
    pub since: Option<SincePage>,
}

/// What a query with `since` looked at, for the token of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SincePage {
    /// What was left out.
    pub seen: Seen,
    /// What it looked at.
    pub upto: Snapshot,
}

/// A value of the cursor in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The column's place.
    pub column: usize,
    /// What it holds.
    pub kind: Kind,
}

/// The protocol counts the values of a statement by 16 bits.
pub const MAX_BINDS: usize = u16::MAX as usize;

/// Compiles a query as it stands. Needs no database.
///
/// # Errors
/// INVALID_QUERY at `after` for a cursor that is not this query's, at `filter` for more values than
/// a statement can have.
pub fn compile(query: &EventQuery, target: &Target, purpose: Purpose) -> Result<Statement> {
    compile_over(query, target, purpose, &Over::default())
}

/// The same with a clock for the windows that end at it, where that is not the server's.
///
/// # Errors
/// As [`compile`].
pub fn compile_at(
    query: &EventQuery,
    target: &Target,
    purpose: Purpose,
    clock: Option<Timestamp>,
) -> Result<Statement> {
    let over = Over {
        clock,
        ..Over::default()
    };
    compile_over(query, target, purpose, &over)
}

/// What else a statement can read than all events.
#[derive(Clone, Copy, Default)]
pub struct Over<'a> {
    /// What slices gave, in the place of the events.
    pub merged: Option<&'a Merged>,
    /// A slice of them, whose rows come with the keys that they are ordered by.
    pub share: Option<&'a Share>,
    /// The time that windows end at.
    pub clock: Option<Timestamp>,
}

/// The same over something else than all events.
pub fn compile_over(
    query: &EventQuery,
    target: &Target,
    purpose: Purpose,
    over: &Over<'_>,
) -> Result<Statement> {
    if let Some(matching) = &query.matching {
        return Err(Error::Unsupported {
            path: matching.member().to_owned(),
            what: "matches are found by more than one statement: explain() shows them".into(),
        });
    }
    let identity = query.identity(&target.table.quoted());
    written(query, &PLAIN, target, (purpose, identity), over)
}

/// Compiles a query as it was planned, with its own clock or a given one. `identity` is that of the
/// query that was asked.
///
/// # Errors
/// As [`compile`].
pub fn compile_plan(
    query: &EventQuery,
    access: &Access,
    target: &Target,
    (purpose, identity): (Purpose, u64),
    clock: Option<Timestamp>,
) -> Result<Statement> {
    let over = Over {
        clock,
        ..Over::default()
    };
    written(query, access, target, (purpose, identity), &over)
}

fn written(
    query: &EventQuery,
    access: &Access,
    target: &Target,
    (purpose, identity): (Purpose, u64),
    over: &Over<'_>,
) -> Result<Statement> {
    let order = query.order();
    let keys = sort_keys(&order, target.code_point_collation);
    let page = Page::of(query, identity)?;
    let buffered = purpose == Purpose::Buffered;
    let frozen;
    let upto = match purpose {
        Purpose::Show => (query.since.is_some()).then_some(None),
        _ => page.upto.clone().map(Some),
    };
    let query = match upto {
        None => query,
        Some(upto) => {
            frozen = query.upto(upto);
            &frozen
        }
    };
    let mut w = Writer::new(&target.table);
    w.frozen_clock = page.clock.or(over.clock);
    w.merged = over.merged;
    w.access = access;
    w.stand_in = target.stand_in;

    let outputs = outputs(query);
    w.sql("SELECT ");
    if outputs.is_empty() {
        // A table whose columns were not looked up.
        w.sql("e.*");
    }
    w.join(outputs.iter(), ", ", |w, output| {
        w.selected(&output.field);
        // Named for people; the module itself reads by place. A longer name would be cut.
        if let Some(name) = output
            .name
            .as_ref()
            .filter(|n| n.len() <= 63 && !n.contains('\0'))
        {
            w.sql(" AS ").ident(name);
        }
    });
    let mut columns = HiddenColumns {
        outputs: &outputs,
        width: outputs.len(),
    };
    let continues = buffered && query.limit.is_some() && query.can_continue();
    let sources = if continues || (over.share.is_some() && !keys.is_empty()) {
        columns.cursor(&mut w, &keys, query)
    } else {
        Vec::new()
    };
    let since = query.since.as_ref().and_then(|since| {
        let upto = since.upto.clone()?;
        let seen = since.seen.clone();
        Some(SincePage { seen, upto })
    });
    let token = (buffered && since.is_none()).then(|| {
        // Evaluated once, before the first row, under the statement's own snapshot.
        columns.add(&mut w, |w| {
            w.sql("(SELECT pg_current_snapshot()::text)");
        })
    });
    let in_arms = !access.arms.is_empty() && over.share.is_none() && query.grouping.is_none();
    let filtered = if in_arms {
        let needed = needed(&outputs, &order);
        w.read_arms(query, (&needed, &keys), page.keys.as_deref(), buffered)?;
        false
    } else {
        write_rows(&mut w, query, over)
    };
    if let Some(after) = page.keys.as_ref().filter(|_| !in_arms) {
        w.sql(if filtered { " AND " } else { " WHERE " })
            .behind(&keys, after)?;
    }
    w.order_by(&keys);
    write_cut(&mut w, query, buffered);
    let (sql, binds) = w.finish();
    if binds.len() > MAX_BINDS {
        return Err(Error::invalid(
            "filter",
            "has more than the 65,535 values that PostgreSQL takes: put values into lists, as one `in` for many `eq`",
        ));
    }
    let places = |is: fn(&columns::Column) -> bool| {
        let wanted = outputs.iter().enumerate().filter(|(_, output)| is(output));
        wanted.map(|(place, _)| place).collect()
    };
    Ok(Statement {
        sql,
        binds,
        columns: (!is_whole_event(query)).then(|| {
            let names = outputs.iter().map(|o| o.name.clone().unwrap_or_default());
            names.collect()
        }),
        visible: outputs.len(),
        json_scalars: places(|output| output.json_scalar),
        computed: places(|output| output.computed),
        keys: sources,
        token,
        limit: query.limit.filter(|_| buffered),
        identity,
        since,
    })
}

/// Where the rows come from. Gives whether there is a condition.
fn write_rows(w: &mut Writer<'_>, query: &EventQuery, over: &Over<'_>) -> bool {
    let Some(grouping) = &query.grouping else {
        let filtered = w.relations(query).row_filter(query);
        return w.share(over.share, filtered);
    };
    w.sql(" FROM (").aggregated(query, grouping).sql(") AS g");
    let having = grouping.having.as_ref().filter(|h| !h.is_always());
    if let Some(having) = having {
        w.sql(" WHERE ").condition(having);
    }
    having.is_some()
}

/// `LIMIT` and `OFFSET`.
fn write_cut(w: &mut Writer<'_>, query: &EventQuery, buffered: bool) {
    if let Some(limit) = query.limit {
        // Not a bind: without its value a generic plan takes a tenth of all rows to be wanted, and so
        // the server never settles on one. Planned anew each time, a point query takes 1.3 times as long.
        w.sql(" LIMIT ").number(if buffered {
            limit.saturating_add(1)
        } else {
            limit
        });
    }
    if let Some(offset) = query.offset {
        w.sql(" OFFSET ")
            .bind(Bind::Integer(i64::try_from(offset).unwrap_or(i64::MAX)));
    }
}
