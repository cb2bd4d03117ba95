//! Computed values as SQL. Numbers are `numeric`, in which JSON numbers are exact.

use super::group::is_number;
use crate::model::field::{Field, Kind};
use crate::query::pipeline::{Expression, Literal, Operator, Type};
use crate::sql::writer::{Bind, Writer};

impl Writer<'_> {
    /// A value of its own type.
    pub fn expression(&mut self, expression: &Expression) -> &mut Self {
        match expression {
            Expression::Field(Field::Foreign(foreign)) if is_number(foreign) => {
                self.column(foreign.relation, &foreign.column)
            }
            Expression::Field(field) => self.field(field),
            Expression::Literal(literal) => match literal {
                Literal::Text(text) => self.typed(Bind::Text(text.clone()), "text"),
                Literal::Number(digits) => self.typed(Bind::Numeric(digits.clone()), "numeric"),
                Literal::Time(at) => self.typed(Bind::Time(*at), "timestamptz"),
                Literal::Boolean(value) => self.sql(if *value {
                    "'true'::jsonb"
                } else {
                    "'false'::jsonb"
                }),
                Literal::Null => self.sql("NULL::jsonb"),
            },
            Expression::Call(operator, arguments) => self.call(*operator, arguments),
        }
    }

    fn call(&mut self, operator: Operator, arguments: &[Expression]) -> &mut Self {
        let infix = |w: &mut Self, sign: &str| {
            w.sql("(").join(arguments, sign, |w, argument| {
                w.as_number(argument);
            });
            w.sql(")");
        };
        match operator {
            Operator::Add => infix(self, " + "),
            Operator::Sub => infix(self, " - "),
            Operator::Mul => infix(self, " * "),
            Operator::Div => {
                self.sql("(").as_number(&arguments[0]);
                self.sql(" / NULLIF(").as_number(&arguments[1]).sql(", 0))");
            }
            Operator::Mod => {
                self.sql("mod(").as_number(&arguments[0]);
                self.sql(", NULLIF(").as_number(&arguments[1]).sql(", 0))");
            }
            Operator::Abs => self.function("abs", &arguments[0]),
            Operator::Floor => self.function("floor", &arguments[0]),
            Operator::Ceil => self.function("ceil", &arguments[0]),
            Operator::Round => {
                self.sql("round(").as_number(&arguments[0]);
                if let Some(Expression::Literal(Literal::Number(digits))) = arguments.get(1) {
                    // Checked to be a small whole number.
                    self.sql(", ").number(digits.parse().unwrap_or(0));
                }
                self.sql(")");
            }
            Operator::Ln => {
                self.sql("(SELECT CASE WHEN v > 0 THEN ln(v) END FROM (SELECT ")
                    .as_number(&arguments[0])
                    .sql(" AS v) AS q)");
            }
            Operator::Coalesce => self.coalesce(arguments),
            Operator::Concat => {
                self.sql("concat(").join(arguments, ", ", |w, argument| {
                    w.as_any_text(argument);
                });
                self.sql(")");
            }
            Operator::Lower | Operator::Upper => {
                self.sql(if operator == Operator::Lower {
                    "lower("
                } else {
                    "upper("
                });
                self.as_text(&arguments[0]).sql(")");
            }
            Operator::Length => {
                self.sql("char_length(")
                    .as_text(&arguments[0])
                    .sql(")::numeric");
            }
            Operator::EpochMs => {
                self.sql("(extract(epoch FROM ")
                    .expression(&arguments[0])
                    .sql(") * 1000)");
            }
            Operator::Duration => {
                self.sql("((extract(epoch FROM ")
                    .expression(&arguments[1])
                    .sql(") - extract(epoch FROM ")
                    .expression(&arguments[0])
                    .sql(")) * 1000)");
            }
        }
        self
    }

    fn function(&mut self, name: &str, argument: &Expression) {
        self.sql(name).sql("(").as_number(argument).sql(")");
    }

    fn coalesce(&mut self, arguments: &[Expression]) {
        let call = Expression::Call(Operator::Coalesce, arguments.to_vec());
        let r#type = call.r#type();
        self.sql("coalesce(").join(arguments, ", ", |w, argument| {
            match r#type {
                Type::Number => w.as_number(argument),
                Type::Text => w.as_text(argument),
                Type::Time => w.expression(argument),
                Type::Json => w.as_json(argument),
            };
        });
        self.sql(")");
    }

    /// The value as a number; what is none is NULL.
    fn as_number(&mut self, expression: &Expression) -> &mut Self {
        match (expression, expression.r#type()) {
            (Expression::Field(field), _) => self.numbers(field),
            (_, Type::Number) => self.expression(expression),
            (Expression::Call(..), Type::Json) => self
                .sql("(SELECT CASE WHEN jsonb_typeof(v) = 'number' THEN v::numeric END FROM (SELECT ")
                .expression(expression)
                .sql(" AS v) AS q)"),
            _ => self.sql("NULL::numeric"),
        }
    }

    /// The value as text; what is no text is NULL.
    fn as_text(&mut self, expression: &Expression) -> &mut Self {
        match (expression, expression.r#type()) {
            (Expression::Field(field), Type::Json) => self
                .sql("CASE WHEN jsonb_typeof(")
                .field(field)
                .sql(") = 'string' THEN ")
                .field_text(field)
                .sql(" END"),
            (Expression::Field(field), Type::Text) => self.sql("(").field(field).sql(")::text"),
            (_, Type::Text) => self.expression(expression),
            (Expression::Call(..), Type::Json) => self
                .sql("(SELECT CASE WHEN jsonb_typeof(v) = 'string' THEN v #>> '{}' END FROM (SELECT ")
                .expression(expression)
                .sql(" AS v) AS q)"),
            _ => self.sql("NULL::text"),
        }
    }

    /// The value written as text, whatever it is.
    fn as_any_text(&mut self, expression: &Expression) -> &mut Self {
        match expression.r#type() {
            Type::Number => match expression {
                Expression::Literal(Literal::Number(digits)) => {
                    self.typed(Bind::Text(digits.clone()), "text")
                }
                _ => self
                    .sql("trim_scale((")
                    .expression(expression)
                    .sql(")::numeric)::text"),
            },
            Type::Text => self.as_text(expression),
            Type::Time => self.iso(&|w| {
                w.expression(expression);
            }),
            Type::Json => self.sql("(").expression(expression).sql(" #>> '{}')"),
        }
    }

    /// The value as JSON; JSON null is NULL.
    fn as_json(&mut self, expression: &Expression) -> &mut Self {
        match (expression, expression.r#type()) {
            (Expression::Field(field), _) if field.kind() == Kind::Json => self.value(field),
            (_, Type::Json) => self.expression(expression),
            (_, Type::Time) => {
                self.sql("to_jsonb(");
                self.iso(&|w| {
                    w.expression(expression);
                });
                self.sql(")")
            }
            (_, Type::Text) => self.sql("to_jsonb(").as_text(expression).sql(")"),
            (_, Type::Number) => self.sql("to_jsonb(").expression(expression).sql(")"),
        }
    }
}
