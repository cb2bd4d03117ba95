//! What the module's own indexes that are there add to what storing an event costs.

use super::super::catalog::Listed;
use super::super::definition::Method;
use super::super::whatif::tax;
use crate::model::table::{TableNames, quote_ident};

/// Bytes of an entry that are not its key.
const OVERHEAD: f64 = 20.0;

/// The share of what storing an event costs that these add to it, those that somebody else made left
/// out: they are not this module's to weigh.
#[allow(clippy::cast_precision_loss)] // Bytes.
pub fn standing(there: &[Listed], names: &TableNames, rows: f64) -> f64 {
    let own = (there.iter()).filter(|index| index.ours().is_some() && !index.constraint);
    own.map(|index| {
        let method = Method::of_name(&index.method).unwrap_or(Method::Btree);
        let share = (index.tuples / rows.max(1.0)).min(1.0);
        let width = (index.size as f64 / index.tuples.max(1.0) - OVERHEAD).clamp(0.0, 500.0);
        let first = index.keys.first().map_or("", String::as_str);
        let time = &names.columns.timestamp;
        let in_order = first.starts_with(time) || first.starts_with(&quote_ident(time));
        tax(method, share, width, in_order)
    })
    .sum()
}
