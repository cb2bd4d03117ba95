//! Fields as SQL expressions.

use super::writer::{Bind, Writer};
use crate::model::field::{Column, Field, Foreign, Holds, Kind, Relation, Step};

/// The relation that a query reads.
pub const EVENTS: Relation = Relation(0);

impl Writer<'_> {
    /// The field's value in its own type: text, uuid, timestamptz or jsonb.
    pub fn field(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Joined(relation, field) => self.event_field(*relation, field),
            Field::Foreign(foreign) => self.foreign(foreign, "->"),
            Field::Output(output) if output.number => {
                self.sql("to_jsonb(").output(output.column).sql(")")
            }
            Field::Output(output) => self.output(output.column),
            _ => self.event_field(EVENTS, field),
        }
    }

    /// The field's value as text, where it is a JSON string or a column that has a text form.
    pub fn field_text(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Joined(relation, field) => self.event_text(*relation, field),
            Field::Foreign(foreign) if !foreign.steps.is_empty() => self.foreign(foreign, "->>"),
            Field::Foreign(_) | Field::Output(_) => {
                let form = match field.kind() {
                    Kind::Text => "",
                    Kind::Json => "#>>'{}'",
                    Kind::Uuid | Kind::Time => "::text",
                };
                self.sql("(").field(field).sql(")").sql(form)
            }
            _ => self.event_text(EVENTS, field),
        }
    }

    /// The field as a column of the result.
    pub fn selected(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Output(output) => self.output(output.column),
            _ => self.field(field),
        }
    }

    /// A column of the aggregated rows.
    pub fn output(&mut self, column: usize) -> &mut Self {
        self.sql("g.").output_name(column)
    }

    /// The name of a column of the aggregated rows.
    pub fn output_name(&mut self, column: usize) -> &mut Self {
        self.sql("c").number(column as u64 + 1)
    }

    /// A field of the event table under one of its names in the query.
    fn event_field(&mut self, relation: Relation, field: &Field) -> &mut Self {
        match field {
            Field::Column(column) => self.event_column(relation, *column),
            Field::Tag(key) => self
                .event_column(relation, Column::Tags)
                .sql("->>")
                .key(key),
            Field::Path(column, steps) => self.path(steps, "->", &|w| {
                w.event_column(relation, *column);
            }),
            // The scope nests none of the others.
            other => self.field(other),
        }
    }

    fn event_text(&mut self, relation: Relation, field: &Field) -> &mut Self {
        match field {
            Field::Column(Column::Type) | Field::Tag(_) => self.event_field(relation, field),
            Field::Column(Column::Tags | Column::Metadata | Column::Data) => {
                self.event_field(relation, field).sql("#>>'{}'")
            }
            Field::Column(_) => self.event_field(relation, field).sql("::text"),
            Field::Path(column, steps) => self.path(steps, "->>", &|w| {
                w.event_column(relation, *column);
            }),
            other => self.field_text(other),
        }
    }

    /// A column of an event.
    pub fn event_column(&mut self, relation: Relation, column: Column) -> &mut Self {
        let table = self.table;
        self.column(relation, table.columns.of(column))
    }

    fn foreign(&mut self, foreign: &Foreign, last: &str) -> &mut Self {
        let base = |w: &mut Self| {
            match foreign.holds {
                Holds::Text | Holds::Uuid | Holds::Time | Holds::Jsonb => {
                    w.column(foreign.relation, &foreign.column)
                }
                Holds::TextLike => w.column(foreign.relation, &foreign.column).sql("::text"),
                Holds::Json => w.column(foreign.relation, &foreign.column).sql("::jsonb"),
                Holds::Number | Holds::Other => w
                    .sql("to_jsonb(")
                    .column(foreign.relation, &foreign.column)
                    .sql(")"),
            };
        };
        if foreign.steps.is_empty() {
            base(self);
            return self;
        }
        self.path(&foreign.steps, last, &base)
    }

    /// The value at the end of a path; `last` takes it out of what it is in.
    ///
    /// jsonb keeps a scalar as a list of one, and `5 -> 0` finds it there. What that leads to has
    /// no members and no other elements, so only a last step of 0 must make sure of a list.
    fn path(&mut self, steps: &[Step], last: &str, base: &dyn Fn(&mut Self)) -> &mut Self {
        let Some((Step::Index(0), inside)) = steps.split_last() else {
            return self.arrows(steps, last, base);
        };
        self.sql("(CASE WHEN jsonb_typeof(")
            .arrows(inside, "->", base)
            .sql(") = 'array' THEN ")
            .arrows(steps, last, base)
            .sql(" END)")
    }

    fn arrows(&mut self, steps: &[Step], last: &str, base: &dyn Fn(&mut Self)) -> &mut Self {
        base(self);
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
