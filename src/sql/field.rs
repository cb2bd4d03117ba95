//! Fields as SQL expressions.

use super::writer::{Bind, Writer};
use crate::model::field::{Column, Field, Step};

impl Writer<'_> {
    /// The field's value in its own type: text, uuid, timestamptz or jsonb.
    pub fn field(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Column(column) => self.event_column(*column),
            Field::Tag(key) => self.event_column(Column::Tags).sql("->>").key(key),
            Field::Path(column, steps) => {
                self.event_column(*column);
                for step in steps {
                    self.sql("->").step(step);
                }
                self
            }
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
            Field::Path(column, steps) => {
                self.event_column(*column);
                let last = steps.len().saturating_sub(1);
                for (i, step) in steps.iter().enumerate() {
                    self.sql(if i == last { "->>" } else { "->" }).step(step);
                }
                self
            }
        }
    }

    fn event_column(&mut self, column: Column) -> &mut Self {
        let table = self.table;
        self.column(table.columns.of(column))
    }

    fn step(&mut self, step: &Step) -> &mut Self {
        match step {
            Step::Key(key) => self.key(key),
            Step::Index(index) => self.number(*index),
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
