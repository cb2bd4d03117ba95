//! Whether there is an event that a write must not come after.

use super::field::EVENTS;
use super::select::Target;
use super::writer::{Bind, Writer};
use crate::model::snapshot::Range;
use crate::query::Condition;

/// A query for a boolean: whether an event satisfies the condition whose transaction is in one of the
/// ranges; in any where there are none given.
pub fn conflict(
    condition: &Condition,
    unseen: Option<&[Range]>,
    target: &Target,
) -> (String, Vec<Bind>) {
    let mut w = Writer::new(&target.table);
    let table = target.table.quoted();
    w.sql("SELECT EXISTS (SELECT FROM ").sql(&table).sql(" AS ");
    w.alias(EVENTS);
    let mut open = " WHERE ";
    if !condition.is_always() {
        w.sql(open).condition(condition);
        open = " AND ";
    }
    if let Some(ranges) = unseen {
        w.sql(open).ranges(ranges);
    }
    w.sql(")");
    w.finish()
}
