//! Blocks that gather rows into groups.

use super::block::{Block, Compiler};
use crate::model::catalog::Catalog;
use crate::model::field::{Field, Foreign, Holds};
use crate::query::pipeline::{Step, is_double, selected};
use crate::query::{Condition, EventQuery, Grouping};
use crate::sql::writer::Writer;

impl Compiler {
    pub fn group(&self, w: &mut Writer<'_>, step: &Step, block: &Block<'_>, before: &[Block<'_>]) {
        let Step::Group {
            keys, aggregates, ..
        } = step
        else {
            return;
        };
        w.sql("SELECT ");
        w.join(keys, ", ", |w, (field, column)| {
            grouped(w, field);
            w.sql(" AS ").ident(&column.sql);
        });
        w.sql(if keys.is_empty() || aggregates.is_empty() {
            ""
        } else {
            ", "
        });
        w.join(aggregates, ", ", |w, (aggregate, column)| {
            // A cast would cut a double's digits: its JSON has them all.
            if is_double(aggregate) {
                w.sql("to_jsonb(").aggregate(aggregate).sql(")::numeric");
            } else {
                w.aggregate(aggregate);
            }
            w.sql(" AS ").ident(&column.sql);
        });
        self.input(w, block, before);
        if !keys.is_empty() {
            w.sql(" GROUP BY ").join(1..=keys.len(), ", ", |w, place| {
                w.number(place as u64);
            });
        }
    }

    /// Groups of events in time, with rows for empty buckets: as queries have them.
    pub fn filled(w: &mut Writer<'_>, block: &Block<'_>) {
        let Some(Step::Group {
            keys,
            aggregates,
            filled: Some((bucket, window)),
        }) = block.step
        else {
            return;
        };
        let everything = serde_json::json!({ "filter": {} });
        let Ok(mut query) = EventQuery::parse(&everything, &Catalog::default()) else {
            return;
        };
        let conditions = block.conditions.iter().map(|c| c.as_ref().clone());
        query.filter = Condition::And(conditions.collect());
        query.window = Some(*window);
        let grouping = Grouping {
            bucket: Some(bucket.clone()),
            keys: selected(&keys[1..]),
            aggregates: aggregates.iter().map(|(a, _)| a.clone()).collect(),
            having: None,
        };
        w.sql("SELECT ");
        let columns = keys.iter().map(|(_, column)| (column, false));
        let computed = (aggregates.iter()).map(|(a, column)| (column, is_double(a)));
        w.join(
            columns.chain(computed).enumerate(),
            ", ",
            |w, (place, (column, double))| {
                w.sql(if double { "to_jsonb(" } else { "" }).output(place);
                w.sql(if double { ")::numeric AS " } else { " AS " })
                    .ident(&column.sql);
            },
        );
        w.sql(" FROM (").aggregated(&query, &grouping).sql(") AS g");
    }
}

/// A group's value: JSON null and missing are one group. A number of SQL stays one.
fn grouped(w: &mut Writer<'_>, field: &Field) {
    match field {
        Field::Foreign(foreign) if is_number(foreign) => {
            w.column(foreign.relation, &foreign.column);
        }
        field => {
            w.value(field);
        }
    }
}

/// Whether a column is a number of SQL.
pub fn is_number(foreign: &Foreign) -> bool {
    foreign.holds == Holds::Number && foreign.steps.is_empty()
}
