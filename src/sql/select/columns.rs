//! The columns of a statement: those that the caller sees, and behind them those that cursors and tokens
//! are made from.

use super::KeySource;
use crate::model::field::{self as model, Field, Kind, Relation};
use crate::query::{Aggregate, EventQuery, Grouping, OrderBy, Source, Window};
use crate::sql::keyset::SortKey;
use crate::sql::writer::Writer;

/// A column that the caller sees.
pub struct Column {
    /// `None` where the row is a whole event, whose members have names of their own.
    pub name: Option<String>,
    pub field: Field,
    pub json_scalar: bool,
    pub computed: bool,
}

pub const fn is_whole_event(query: &EventQuery) -> bool {
    query.select.is_none() && query.grouping.is_none() && matches!(query.from, Source::Events)
}

pub fn outputs(query: &EventQuery) -> Vec<Column> {
    let column = |(name, field): (Option<String>, Field)| Column {
        json_scalar: field.is_json_scalar(),
        computed: false,
        name,
        field,
    };
    if let Some(grouping) = &query.grouping {
        return aggregated_columns(grouping);
    }
    if let Some(selected) = &query.select {
        let fields = selected.iter();
        return fields
            .map(|s| column((Some(s.name.clone()), s.field.clone())))
            .collect();
    }
    match &query.from {
        Source::Events => model::Column::EVENT
            .map(|c| column((None, Field::Column(c))))
            .into(),
        Source::Table(table) => table
            .columns
            .iter()
            .filter_map(|c| {
                let field = query.from.field(Relation(0), &c.name, false).ok()?;
                Some(column((Some(c.name.clone()), field)))
            })
            .collect(),
        Source::Named(_) => Vec::new(),
    }
}

fn aggregated_columns(grouping: &Grouping) -> Vec<Column> {
    let keys = grouping.key_columns().len();
    let columns = grouping.columns().into_iter().enumerate();
    columns
        .map(|(i, column)| {
            let aggregate = i.checked_sub(keys).map(|i| &grouping.aggregates[i]);
            let read = aggregate.map_or(column.field.as_ref(), |a| a.field.as_ref());
            Column {
                json_scalar: read.is_some_and(Field::is_json_scalar) && !column.output.number,
                computed: aggregate.is_some_and(Aggregate::is_computed),
                name: Some(column.name),
                field: Field::Output(column.output),
            }
        })
        .collect()
}

/// Columns behind the caller's own.
pub struct HiddenColumns<'o> {
    pub outputs: &'o [Column],
    pub width: usize,
}

impl HiddenColumns<'_> {
    pub fn add(&mut self, w: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>)) -> usize {
        w.sql(", ");
        write(w);
        self.width += 1;
        self.width - 1
    }

    /// What a cursor is made from, of visible columns where they will do.
    pub fn cursor(
        &mut self,
        w: &mut Writer<'_>,
        keys: &[SortKey<'_>],
        query: &EventQuery,
    ) -> Vec<KeySource> {
        let mut sources: Vec<_> = keys
            .iter()
            .map(|key| KeySource {
                column: (self.outputs.iter())
                    .position(|output| key.is_plain(&output.field) && key.is_as_selected())
                    .unwrap_or_else(|| {
                        self.add(w, |w| {
                            w.sort_key(key);
                        })
                    }),
                kind: key.kind(),
            })
            .collect();
        if let Some(Window::Last(_)) = query.window {
            let column = self.add(w, |w| {
                w.sql("(SELECT ").clock().sql(")");
            });
            sources.push(KeySource {
                column,
                kind: Kind::Time,
            });
        }
        sources
    }
}

/// The columns of the table that a statement reads, for whatever it makes of them.
pub fn needed(outputs: &[Column], order: &[OrderBy]) -> Vec<model::Column> {
    let fields =
        (outputs.iter().map(|output| &output.field)).chain(order.iter().map(|key| &key.field));
    let mut columns: Vec<_> = fields
        .filter_map(|field| match field {
            Field::Column(column) | Field::Path(column, _) => Some(*column),
            Field::Tag(_) => Some(model::Column::Tags),
            _ => None,
        })
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}
