//! The statement of a query.

use super::keyset::sort_keys;
use super::writer::{Bind, Writer};
use crate::model::{
    Error, Result,
    field::{Column, Field, Kind},
    table::TableNames,
};
use crate::query::{Condition, Cursor, EventQuery};

/// What the compiler must know of the table and its database.
#[derive(Clone, Debug)]
pub struct Target {
    /// The event table's names.
    pub table: TableNames,
    /// Whether the database's own collation orders text by code point.
    pub code_point_collation: bool,
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
#[derive(Clone, Debug)]
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
    /// Where the cursor's values stand in a row.
    pub keys: Vec<KeySource>,
    /// Where the snapshot's text stands in a row.
    pub token: Option<usize>,
    /// The caller's limit. One row more is asked for, to learn whether more are left.
    pub limit: Option<u64>,
    /// See [`EventQuery::identity`].
    pub identity: u64,
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
const MAX_BINDS: usize = u16::MAX as usize;

/// Compiles a query. Needs no database.
///
/// # Errors
/// INVALID_QUERY at `after` for a cursor that is not this query's, at `filter` for more values than
/// a statement can have.
pub fn compile(query: &EventQuery, target: &Target, purpose: Purpose) -> Result<Statement> {
    let identity = query.identity(&target.table.quoted());
    let order = query.order();
    let keys = sort_keys(&order, target.code_point_collation);
    let buffered = purpose == Purpose::Buffered;
    let mut w = Writer::new(&target.table);

    let fields: Vec<Field> = match &query.select {
        None => Column::EVENT.map(Field::Column).to_vec(),
        Some(outputs) => outputs.iter().map(|o| o.field.clone()).collect(),
    };
    w.sql("SELECT ")
        .join(fields.iter().enumerate(), ", ", |w, (i, field)| {
            w.field(field);
            // Named for people; the module itself reads by place. A longer name would be cut.
            if let Some(name) = query
                .select
                .as_ref()
                .map(|outputs| &outputs[i].name)
                .filter(|n| n.len() <= 63 && !n.contains('\0'))
            {
                w.sql(" AS ").ident(name);
            }
        });
    let mut width = fields.len();
    let mut sources = Vec::new();
    if buffered && query.limit.is_some() {
        for key in &keys {
            let column = fields
                .iter()
                .position(|f| key.is_plain(f))
                .unwrap_or_else(|| {
                    w.sql(", ").sort_key(key);
                    width += 1;
                    width - 1
                });
            sources.push(KeySource {
                column,
                kind: key.kind(),
            });
        }
    }
    let token = buffered.then(|| {
        // Evaluated once, before the first row, under the statement's own snapshot.
        w.sql(", (SELECT pg_current_snapshot()::text)");
        width
    });
    w.sql(" ").event_table();
    write_where(&mut w, query, &keys, identity)?;
    w.order_by(&keys);
    if let Some(limit) = query.limit {
        let asked = if buffered {
            limit.saturating_add(1)
        } else {
            limit
        };
        // Not a bind: without its value a generic plan takes a tenth of all rows to be wanted, and so
        // the server never settles on one. Planned anew each time, a point query takes 1.3 times as long.
        w.sql(" LIMIT ").number(asked);
    }
    if let Some(offset) = query.offset {
        w.sql(" OFFSET ")
            .bind(Bind::Integer(i64::try_from(offset).unwrap_or(i64::MAX)));
    }
    let (sql, binds) = w.finish();
    if binds.len() > MAX_BINDS {
        return Err(Error::invalid(
            "filter",
            "has more than the 65,535 values that PostgreSQL takes: put values into lists, as one `in` for many `eq`",
        ));
    }
    let columns = query
        .select
        .as_ref()
        .map(|outputs| outputs.iter().map(|o| o.name.clone()).collect());
    let json_scalars = fields
        .iter()
        .enumerate()
        .filter(|(_, f)| matches!(f, Field::Path(..)))
        .map(|(i, _)| i)
        .collect();
    Ok(Statement {
        sql,
        binds,
        columns,
        visible: fields.len(),
        json_scalars,
        keys: sources,
        token,
        limit: query.limit.filter(|_| buffered),
        identity,
    })
}

fn write_where(
    w: &mut Writer<'_>,
    query: &EventQuery,
    keys: &[super::keyset::SortKey<'_>],
    identity: u64,
) -> Result<()> {
    let filtered = !matches!(&query.filter, Condition::And(all) if all.is_empty());
    if filtered {
        w.sql(" WHERE ").condition(&query.filter);
    }
    if let Some(after) = &query.after {
        let cursor = Cursor::decode(after, identity)?;
        w.sql(if filtered { " AND " } else { " WHERE " })
            .behind(keys, &cursor.keys)?;
    }
    Ok(())
}
