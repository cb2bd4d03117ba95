//! Stages that make columns: projections, window functions, and how far outliers are from the others.

use serde_json::Value as Wire;

use super::{Parser, named};
use crate::model::{
    Error, Result,
    field::{Field, Holds},
    path::Path,
    wire::{field, known_keys, object},
};
use crate::query::{
    OrderBy, OutlierRule,
    pipeline::{
        computed::{Expression, Type},
        row::{Column, Row},
        step::Step,
        window::{WindowCall, WindowFunction},
    },
};

impl Parser {
    pub fn project(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let mut columns: Vec<(Expression, Column)> = Vec::new();
        for (name, wire) in named(part, path, "an object of names and fields")? {
            let here = path.key(name);
            if name.is_empty() || name.len() > 1024 || name.contains('\0') {
                return Err(Error::invalid(here, "is no name for a column"));
            }
            let expression = Expression::parse(wire, &here, &self.row)?;
            let column = match (&expression, expression.r#type()) {
                (Expression::Field(field), _) => {
                    let sql = self.name();
                    Column::of_field(Some(name.to_owned()), sql, field, &self.row)
                }
                (_, Type::Number) => self.column(Some(name), Holds::Number),
                (_, Type::Text) => self.column(Some(name), Holds::Text),
                (_, Type::Time) => self.column(Some(name), Holds::Time),
                (_, Type::Json) => Column {
                    json_scalar: true,
                    ..self.column(Some(name), Holds::Jsonb)
                },
            };
            columns.push((expression, column));
        }
        // What rows are told apart and ordered by comes along, unnamed where it was not asked for.
        let before = self.row.clone();
        let mut carried = |parser: &mut Self, field: &Field| {
            let read = Expression::Field(field.clone());
            if let Some((_, column)) = columns.iter().find(|(known, _)| *known == read) {
                return column.field();
            }
            let sql = parser.name();
            let column = Column::of_field(None, sql, field, &before);
            let carried = column.field();
            columns.push((read, column));
            carried
        };
        let keys: Vec<Field> = (before.keys.iter())
            .map(|field| carried(self, field))
            .collect();
        let mut ordered = |parser: &mut Self, order: &[OrderBy]| -> Vec<OrderBy> {
            let order = order.iter().map(|key| OrderBy {
                field: carried(parser, &key.field),
                ..key.clone()
            });
            order.collect()
        };
        let natural = ordered(self, &before.natural);
        let order = ordered(self, &before.order);
        self.row = Row {
            event: false,
            columns: columns.iter().map(|(_, column)| column.clone()).collect(),
            keys,
            natural,
            order,
            grouped: before.grouped,
        };
        self.bucket = None;
        self.times = (None, None);
        self.steps.push(Step::Project(columns));
        Ok(())
    }

    pub fn window(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(part, path, "a window function")?;
        let call = WindowCall::parse(members, path, &self.row)?;
        let name = self.new_name(members.get("as"), &path.key("as"))?;
        let column = match (&call.function, &call.field) {
            (WindowFunction::Lag(_) | WindowFunction::Lead(_), Some(field)) => {
                let sql = self.name();
                Column {
                    nullable: true,
                    ..Column::of_field(Some(name.to_owned()), sql, field, &self.row)
                }
            }
            (function, _) => Column {
                computed: !matches!(
                    function,
                    WindowFunction::Rank | WindowFunction::RowNumber | WindowFunction::RunningSum
                ),
                ..self.column(Some(name), Holds::Number)
            },
        };
        self.row.columns.push(column.clone());
        self.times = (None, None);
        self.steps.push(Step::Window(call, column));
        Ok(())
    }

    pub fn outliers(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(part, path, "{ field, method, threshold }")?;
        known_keys(members, path, &["field", "method", "threshold"])?;
        let here = path.key("field");
        let wire = members
            .get("field")
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        let row = &self.row;
        let field = field(wire, &here, |name| row.field(name))?;
        let rule = OutlierRule::parse(members, path)?;
        if let Some(taken) = ["score", "expected"].iter().find(|name| row.has(name)) {
            return Err(Error::invalid(
                path,
                format!("adds the columns score and expected, and there is a column {taken}"),
            ));
        }
        let score = self.column(Some("score"), Holds::Number);
        let expected = self.column(Some("expected"), Holds::Number);
        self.row.columns.extend([score.clone(), expected.clone()]);
        self.times = (None, None);
        self.steps.push(Step::Outliers {
            field,
            rule,
            score,
            expected,
        });
        Ok(())
    }
}
