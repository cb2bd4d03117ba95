//! Parts of an index's definition. They come from the writer that compiles queries, so that an
//! index's expression and a query's are the same to the planner.

use super::writer::Writer;
use crate::model::{
    field::{Field, Kind},
    table::TableNames,
};
use crate::query::Condition;

/// The key of an index on a field: a column, or an expression in its own parentheses.
pub fn index_expression(field: &Field, table: &TableNames) -> String {
    let mut w = Writer::standalone(table);
    match field {
        Field::Column(_) => w.field(field),
        _ => w.sql("(").field(field).sql(")"),
    };
    w.finish().0
}

/// The text that ranges and orders compare by code point: `(type COLLATE "C")`,
/// `((data->>'state') COLLATE "C")`.
pub fn text_expression(field: &Field, table: &TableNames) -> String {
    let mut w = Writer::standalone(table);
    let bare = field.kind() == Kind::Text && matches!(field, Field::Column(_));
    w.sql("(");
    if bare {
        w.field(field);
    } else {
        w.sql("(").field_text(field).sql(")");
    }
    w.sql(" COLLATE \"C\")");
    w.finish().0
}

/// The condition of a partial index, without its WHERE.
pub fn index_predicate(condition: &Condition, table: &TableNames) -> String {
    let mut w = Writer::standalone(table);
    w.condition(condition);
    w.finish().0
}
