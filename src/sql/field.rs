//! Fields as SQL expressions.

use super::writer::{Bind, Writer};
use crate::model::field::{Column, Field, Step};

impl Writer<'_> {
    /// The field's value in its own type: text, uuid, timestamptz or jsonb.
    pub fn field(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Column(column) => self.event_column(*column),
            Field::Tag(key) => self.event_column(Column::Tags).sql("->>").key(key),
            Field::Path(column, steps) => self.path(*column, steps, "->"),
        }
    }

    /// The field's value as text, where it is a JSON string or a column that has a text form.
    pub fn field_text(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Column(Column::Type) | Field::Tag(_) => self.field(field),
            Field::Column(Column::Tags | Column::Metadata | Column::Data) => {
                self.field(field).sql("#>>'{}'")
            }
            Field::Column(_) => self.field(field).sql("::text"),
            Field::Path(column, steps) => self.path(*column, steps, "->>"),
        }
    }

    fn event_column(&mut self, column: Column) -> &mut Self {
        let table = self.table;
        self.column(table.columns.of(column))
    }

    /// The value at the end of a path; `last` takes it out of what it is in.
    ///
    /// jsonb keeps a scalar as a list of one, and `5 -> 0` finds it there. What that leads to has
    /// no members and no other elements, so only a last step of 0 must make sure of a list.
    fn path(&mut self, column: Column, steps: &[Step], last: &str) -> &mut Self {
        let Some((Step::Index(0), inside)) = steps.split_last() else {
            return self.arrows(column, steps, last);
        };
        self.sql("(CASE WHEN jsonb_typeof(")
            .arrows(column, inside, "->")
            .sql(") = 'array' THEN ")
            .arrows(column, steps, last)
            .sql(" END)")
    }

    fn arrows(&mut self, column: Column, steps: &[Step], last: &str) -> &mut Self {
        self.event_column(column);
        for (i, step) in steps.iter().enumerate() {
            self.sql(if i + 1 == steps.len() { last } else { "->" })
                .step(step);
        }
        self
    }

    fn step(&mut self, step: &Step) -> &mut Self {
        match step {
            Step::Key(key) => self.key(key),
            Step::Index(index) => self.number((*index).into()),
        }
    }

    fn key(&mut self, key: &str) -> &mut Self {
        if is_plain_word(key) {
            self.sql("'").sql(key).sql("'")
        } else {
            self.bind(Bind::Text(key.to_owned()))
        }
    }
}

/// Whether a key can stand in quotes as it is: nothing in it means anything to SQL.
fn is_plain_word(key: &str) -> bool {
    (1..=63).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
