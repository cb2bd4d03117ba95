//! Aggregate functions as SQL.

use super::field::EVENTS;
use super::writer::{Bind, Writer};
use crate::model::field::{Field, Holds, Kind};
use crate::query::{Aggregate, EVENT_ORDER, Function};

impl Writer<'_> {
    /// An aggregate of the rows of a group.
    pub fn aggregate(&mut self, aggregate: &Aggregate) -> &mut Self {
        let Some(field) = &aggregate.field else {
            return self.sql("count(*)").only(aggregate);
        };
        match aggregate.function {
            Function::Count => self.sql("count(").value(field).sql(")").only(aggregate),
            Function::CountDistinct => self
                .sql("count(DISTINCT ")
                .value(field)
                .sql(")")
                .only(aggregate),
            Function::Sum => self.of_numbers("sum", field).only(aggregate),
            Function::Avg => self.of_numbers("avg", field).only(aggregate),
            Function::Stddev => self.of_numbers("stddev_samp", field).only(aggregate),
            Function::Variance => self.of_numbers("var_samp", field).only(aggregate),
            Function::Min => self.extreme("min", field).only(aggregate),
            Function::Max => self.extreme("max", field).only(aggregate),
            Function::Percentile(share) => self
                .sql("percentile_cont(")
                .typed(Bind::Float(share.get()), "float8")
                .sql(") WITHIN GROUP (ORDER BY (")
                .numbers(field)
                .sql(")::float8)")
                .only(aggregate),
            Function::Mode => {
                self.sql("mode() WITHIN GROUP (ORDER BY (").value(field);
                self.sql(collation(field)).sql(")").only(aggregate)
            }
            Function::First => self.nth(field, "", aggregate),
            Function::Last => self.nth(field, " DESC", aggregate),
        }
    }

    /// The rows that the aggregate reads, where not all of them.
    pub fn only(&mut self, aggregate: &Aggregate) -> &mut Self {
        match &aggregate.filter {
            Some(filter) => self.sql(" FILTER (WHERE ").condition(filter).sql(")"),
            None => self,
        }
    }

    fn of_numbers(&mut self, function: &str, field: &Field) -> &mut Self {
        self.sql(function).sql("(").numbers(field).sql(")")
    }

    /// The numbers of a field; other values are NULL. No cast fails on mixed data.
    pub fn numbers(&mut self, field: &Field) -> &mut Self {
        match field {
            Field::Foreign(foreign)
                if foreign.holds == Holds::Number && foreign.steps.is_empty() =>
            {
                return (self.sql("(").column(foreign.relation, &foreign.column)).sql(")::numeric");
            }
            field if field.kind() != Kind::Json => return self.sql("NULL::numeric"),
            _ => {}
        }
        self.sql("CASE WHEN jsonb_typeof(").field(field);
        self.sql(") = 'number' THEN (")
            .field(field)
            .sql(")::numeric END")
    }

    fn extreme(&mut self, function: &str, field: &Field) -> &mut Self {
        match field.kind() {
            Kind::Json => self.of_numbers(function, field),
            Kind::Time => self.sql(function).sql("(").field(field).sql(")"),
            Kind::Text => self
                .sql(function)
                .sql("((")
                .field(field)
                .sql(") COLLATE \"C\")"),
            Kind::Uuid => self
                .sql(function)
                .sql("((")
                .field(field)
                .sql(")::text COLLATE \"C\")"),
        }
    }

    /// The value of the first event in order, whether it has one or not.
    fn nth(&mut self, field: &Field, direction: &str, aggregate: &Aggregate) -> &mut Self {
        self.sql("(array_agg(").field(field).sql(" ORDER BY ");
        self.join(EVENT_ORDER, ", ", |w, column| {
            w.event_column(EVENTS, column).sql(direction);
        });
        self.sql(")").only(aggregate).sql(")[1]")
    }
}

/// Ties of text go by code point.
fn collation(field: &Field) -> &'static str {
    if field.kind() == Kind::Text {
        ") COLLATE \"C\""
    } else {
        ")"
    }
}
