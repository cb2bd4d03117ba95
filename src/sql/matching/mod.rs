//! What a matcher reads: keys, times, ids and masks, in order; and the events of its matches.
//!
//! Each condition is judged by the server and becomes a bit of the mask. Where conditions take their
//! keys from different fields, an event stands once for each of the keys that it has.

mod arm;
mod touched;

pub use self::touched::{KeyList, touched};

use super::field::EVENTS;
use super::pipeline::{EventSource, SOURCE};
use super::select::Target;
use super::writer::{Bind, Writer};
use crate::model::field::{Column, Field, Kind};
use crate::model::snapshot::Snapshot;
use crate::query::{Condition, EventQuery};

/// The bit of an event that is new: no condition has it.
pub const NEW: u64 = 1 << 62;

/// What a matcher reads of the events of a query.
#[derive(Clone, Copy)]
pub struct Projection<'q> {
    /// Its filter and its window.
    pub query: &'q EventQuery,
    /// What is read in the place of the event table.
    pub source: Option<&'q EventSource>,
    /// Conditions and where their events have their keys, by bit.
    pub conditions: &'q [(Condition, Vec<Field>)],
    /// The fields of the key where there are no conditions.
    pub key: &'q [Field],
    /// Values that the matcher needs beside the mask.
    pub fields: &'q [Field],
    /// Only events that one of these bits holds for are read; `None` for all events.
    pub relevant: Option<u64>,
    /// Whether events without a key are read: they are one partition.
    pub null_keys: bool,
    /// The bits that some event of a partition must have.
    pub required: u64,
    /// Bits so rare that the keys are looked for by them first.
    pub rare: u64,
    /// The only keys that are read, where they are known: for each field its values. Where a key has
    /// several fields, all keys are read that can be put together from these.
    pub keys: Option<&'q [KeyList]>,
    /// Events that this snapshot could not see have one bit more: [`NEW`].
    pub since: Option<&'q Snapshot>,
}

impl<'q> Projection<'q> {
    /// The same of these keys alone, where they are known.
    pub fn of_keys(self, keys: Option<&'q [KeyList]>) -> Self {
        Self {
            rare: if keys.is_some() { 0 } else { self.rare },
            keys,
            ..self
        }
    }
}

/// A statement of the matcher's: its text and its values.
pub struct Matched {
    /// The text.
    pub sql: String,
    /// Its values, in order.
    pub binds: Vec<Bind>,
    /// How the fields of a key compare.
    pub kinds: Vec<Kind>,
}

/// Conditions that take their key from the same fields.
struct Arm<'q> {
    fields: &'q [Field],
    bits: Vec<(usize, &'q Condition)>,
}

/// The rows that a matcher reads: the key's fields, the time, the id, the mask and the values, in the
/// order of keys, times and ids.
pub fn rows(projection: &Projection<'_>, target: &Target) -> Matched {
    let mut w = begin(projection.source, target);
    let arms = arms(projection);
    let kinds = kinds(&arms);
    let filtered = projection.required != 0;
    w.sql("SELECT ");
    columns(&mut w, &kinds, "f", projection.fields.len());
    w.sql(" FROM (");
    if filtered {
        w.sql("SELECT h.*, bit_or(h.m) OVER w AS found FROM (");
    }
    w.join(&arms, " UNION ALL ", |w, arm| {
        w.arm(projection, arm, &arms, &kinds, target);
    });
    if filtered {
        w.sql(") AS h WINDOW w AS (");
        if !kinds.is_empty() {
            w.sql("PARTITION BY ");
            key(&mut w, &kinds, "h");
        }
        // The whole partition: its bits are gathered once.
        w.sql(" ORDER BY h.t, h.i ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)");
    }
    w.sql(") AS f");
    if filtered {
        let required = i64::try_from(projection.required).unwrap_or(i64::MAX);
        w.sql(" WHERE f.found & ")
            .bind(Bind::Integer(required))
            .sql(" = ")
            .bind(Bind::Integer(required));
    }
    w.sql(" ORDER BY ");
    if !kinds.is_empty() {
        key(&mut w, &kinds, "f");
        w.sql(", ");
    }
    w.sql("f.t, f.i");
    let (sql, binds) = w.finish();
    Matched { sql, binds, kinds }
}

/// The same rows in no order, and of all keys: what is made of them is the matcher's. No more than
/// `most` come, whatever there is.
pub fn gathered(projection: &Projection<'_>, target: &Target, most: u64) -> Matched {
    let mut w = begin(projection.source, target);
    let arms = arms(projection);
    let kinds = kinds(&arms);
    w.sql("SELECT ");
    columns(&mut w, &kinds, "f", projection.fields.len());
    w.sql(" FROM (");
    w.join(&arms, " UNION ALL ", |w, arm| {
        w.fenced_arm(projection, arm, &arms, &kinds, target);
    });
    w.sql(") AS f LIMIT ").number(most);
    let (sql, binds) = w.finish();
    Matched { sql, binds, kinds }
}

/// How many keys and events there are, and how many of them a matcher does not see.
pub fn counts(projection: &Projection<'_>, target: &Target) -> Matched {
    let mut w = begin(projection.source, target);
    let arms = arms(projection);
    let kinds = kinds(&arms);
    let required = i64::try_from(projection.required).unwrap_or(i64::MAX);
    w.sql("SELECT count(*), coalesce(sum(k.n), 0)::int8, count(*) FILTER (WHERE k.found & ")
        .bind(Bind::Integer(required))
        .sql(" <> ")
        .bind(Bind::Integer(required))
        .sql(") FROM (SELECT count(*) AS n, bit_or(h.m) AS found FROM (");
    let all = Projection {
        rare: 0,
        keys: None,
        fields: &[],
        ..*projection
    };
    w.join(&arms, " UNION ALL ", |w, arm| {
        w.arm(&all, arm, &arms, &kinds, target);
    });
    w.sql(") AS h");
    if !kinds.is_empty() {
        w.sql(" GROUP BY ");
        key(&mut w, &kinds, "h");
    }
    w.sql(" HAVING count(*) > 0) AS k");
    let (sql, binds) = w.finish();
    Matched { sql, binds, kinds }
}

/// The keys that have an event with a bit, no more than `most`; `None` where a key is not one text.
pub fn keys_with(
    projection: &Projection<'_>,
    bit: usize,
    target: &Target,
    most: u64,
) -> Option<Matched> {
    let (condition, fields) = projection.conditions.get(bit)?;
    let [field] = fields.as_slice() else {
        return None;
    };
    let kinds = kinds(&arms(projection));
    if kinds != [Kind::Text] || field.kind() != Kind::Text {
        return None;
    }
    let mut w = begin(projection.source, target);
    w.sql("SELECT DISTINCT (").field(field).sql(")");
    w.events().sql(" WHERE ").condition(condition);
    w.filter_after(" AND ", projection.query);
    w.sql(" AND (").field(field).sql(") IS NOT NULL LIMIT ");
    w.number(most);
    let (sql, binds) = w.finish();
    Some(Matched { sql, binds, kinds })
}

/// How many events hold a condition, as an EXPLAIN tells without running it.
pub fn one_condition(projection: &Projection<'_>, bit: usize, target: &Target) -> Matched {
    let mut w = begin(projection.source, target);
    w.sql("SELECT ").event_column(EVENTS, Column::Id);
    w.events()
        .sql(" WHERE ")
        .condition(&projection.conditions[bit].0);
    w.filter_after(" AND ", projection.query);
    let (sql, binds) = w.finish();
    Matched {
        sql,
        binds,
        kinds: Vec::new(),
    }
}

/// The time of the last event that the query's filter lets through.
pub fn end(projection: &Projection<'_>, target: &Target) -> Matched {
    let mut w = begin(projection.source, target);
    w.sql("SELECT max(")
        .event_column(EVENTS, Column::Timestamp)
        .sql(")");
    w.events().row_filter(projection.query);
    let (sql, binds) = w.finish();
    Matched {
        sql,
        binds,
        kinds: Vec::new(),
    }
}

/// A statement over the event table, or over what is read in its place.
fn begin<'t>(source: Option<&EventSource>, target: &'t Target) -> Writer<'t> {
    let Some(source) = source else {
        return Writer::new(&target.table);
    };
    let mut w = Writer::behind_binds(&target.table, source.binds.clone());
    w.stand_in = Some(SOURCE);
    w.sql("WITH ")
        .sql(SOURCE)
        .sql(" AS (")
        .sql(&source.sql)
        .sql(") ");
    w
}

/// Whole events by their ids.
pub fn events_by_id(target: &Target) -> String {
    let mut w = Writer::new(&target.table);
    w.sql("SELECT ").join(Column::EVENT, ", ", |w, column| {
        w.event_column(EVENTS, column);
    });
    w.events()
        .sql(" WHERE ")
        .event_column(EVENTS, Column::Id)
        .sql(" = ANY($1)");
    w.finish().0
}

fn arms<'q>(projection: &Projection<'q>) -> Vec<Arm<'q>> {
    let mut arms: Vec<Arm<'q>> = Vec::new();
    for (bit, (condition, fields)) in projection.conditions.iter().enumerate() {
        match arms.iter_mut().find(|arm| arm.fields == fields) {
            Some(arm) => arm.bits.push((bit, condition)),
            None => arms.push(Arm {
                fields,
                bits: vec![(bit, condition)],
            }),
        }
    }
    if arms.is_empty() {
        arms.push(Arm {
            fields: projection.key,
            bits: Vec::new(),
        });
    }
    arms
}

/// How each field of the key compares: as text, where it is not the same everywhere.
fn kinds(arms: &[Arm<'_>]) -> Vec<Kind> {
    (0..arms[0].fields.len())
        .map(|i| {
            let kind = arms[0].fields[i].kind();
            let same = arms.iter().all(|arm| arm.fields[i].kind() == kind);
            if same { kind } else { Kind::Text }
        })
        .collect()
}

fn key(w: &mut Writer<'_>, kinds: &[Kind], of: &str) {
    w.join(0..kinds.len(), ", ", |w, i| {
        w.sql(of).sql(".k").number(i as u64);
    });
}

fn columns(w: &mut Writer<'_>, kinds: &[Kind], of: &str, values: usize) {
    if !kinds.is_empty() {
        key(w, kinds, of);
        w.sql(", ");
    }
    w.sql(of).sql(".t, ").sql(of).sql(".i, ").sql(of).sql(".m");
    for i in 0..values {
        w.sql(", ").sql(of).sql(".v").number(i as u64);
    }
}
