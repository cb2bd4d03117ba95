//! Stages that gather rows: buckets of time, and groups.

use serde_json::{Map, Value as Wire};

use super::Parser;
use crate::model::{
    Error, Result,
    field::{Field, Holds, Kind},
    path::Path,
    wire::{field, known_keys, list, object, text},
};
use crate::query::{
    Aggregate, Bucket, OrderBy, Window,
    pipeline::{
        row::{Column, Row, holds},
        step::Step,
    },
};

pub struct Pending {
    pub column: Column,
    /// Where it is filled: the rule, its window and its path.
    pub filled: Option<(Bucket, Window, String)>,
}

impl Parser {
    pub fn bucket(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let at = match self.row.field("timestamp") {
            Ok(field) if field.kind() == Kind::Time => field,
            _ => {
                return Err(Error::invalid(
                    path,
                    "needs rows with a timestamp: put it before the group or keep the field",
                ));
            }
        };
        let window = match self.times {
            (Some(from), Some(to)) if from <= to => Some(Window::Between(Some(from), Some(to))),
            _ => None,
        };
        let bucket = Bucket::parse(part, path, window.as_ref())?;
        if self.row.has("bucket") {
            return Err(Error::invalid(
                path,
                "is the second: there is a column bucket",
            ));
        }
        let mut column = self.column(Some("bucket"), Holds::Time);
        column.nullable = false;
        let fill = path.key("fill");
        let filled = match (&bucket.fill, window) {
            (Some(_), Some(window)) => {
                let plain = self.row.event
                    && self.row.columns.is_empty()
                    && self.steps.iter().all(|step| matches!(step, Step::Match(_)));
                if !plain {
                    return Err(Error::invalid(
                        fill,
                        "is for events that were matched and nothing else: put the bucket behind the match",
                    ));
                }
                Some((bucket.clone(), window, fill.to_string()))
            }
            _ => None,
        };
        if filled.is_none() {
            self.steps.push(Step::Bucket(bucket, at, column.clone()));
            self.row.columns.push(column.clone());
        }
        self.bucket = Some(Pending { column, filled });
        Ok(())
    }

    pub fn group(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(
            part,
            path,
            "a group such as { by: ['type'], aggregates: […] }",
        )?;
        known_keys(members, path, &["by", "aggregates"])?;
        let mut keys: Vec<(Field, Column)> = Vec::new();
        let mut filled = None;
        let mut in_time = false;
        if let Some(Pending {
            column,
            filled: fill,
        }) = self.bucket.take()
        {
            in_time = true;
            let mut named = self.column(Some("bucket"), Holds::Time);
            named.nullable = false;
            keys.push((column.field(), named));
            filled = fill.map(|(bucket, window, _)| (bucket, window));
        }
        if let Some(wire) = members.get("by") {
            let here = path.key("by");
            for (i, item) in list(wire, &here, "fields")?.iter().enumerate() {
                let place = here.index(i);
                let name = text(item, &place)?;
                if keys.iter().any(|(_, c)| c.name.as_deref() == Some(name)) {
                    continue;
                }
                let row = &self.row;
                let field = field(item, &place, |name| row.field(name))?;
                let sql = self.name();
                let column = Column::of_field(Some(name.to_owned()), sql, &field, &self.row);
                keys.push((field, column));
            }
        }
        let aggregates = self.aggregates(members, path, &keys)?;
        let columns: Vec<Column> = (keys.iter().map(|(_, column)| column))
            .chain(aggregates.iter().map(|(_, column)| column))
            .cloned()
            .collect();
        let fields: Vec<Field> = keys.iter().map(|(_, column)| column.field()).collect();
        let natural: Vec<OrderBy> = fields.iter().cloned().map(OrderBy::ascending).collect();
        self.row = Row {
            event: false,
            columns,
            order: if in_time { natural.clone() } else { Vec::new() },
            natural,
            keys: fields,
            grouped: true,
        };
        self.times = (None, None);
        self.steps.push(Step::Group {
            keys,
            aggregates,
            filled,
        });
        Ok(())
    }

    fn aggregates(
        &mut self,
        members: &Map<String, Wire>,
        path: &Path<'_>,
        keys: &[(Field, Column)],
    ) -> Result<Vec<(Aggregate, Column)>> {
        let here = path.key("aggregates");
        let wire = members
            .get("aggregates")
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        let none = wire.as_array().is_some_and(Vec::is_empty) && !keys.is_empty();
        let items: &[Wire] = if none {
            &[]
        } else {
            list(wire, &here, "aggregates")?
        };
        let mut aggregates: Vec<(Aggregate, Column)> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let place = here.index(i);
            let row = &self.row;
            let aggregate = Aggregate::parse(item, &place, &|name| row.field(name), row.event)?;
            let name = aggregate.name.as_str();
            let taken = keys.iter().map(|(_, column)| column);
            let mut taken = taken.chain(aggregates.iter().map(|(_, column)| column));
            if taken.any(|column| column.name.as_deref() == Some(name)) {
                return Err(Error::invalid(
                    place.key("as"),
                    format!("{name:?} is the name of another column: give it one of its own"),
                ));
            }
            let (kind, number) = aggregate.kind();
            let scalar = aggregate.field.as_ref().is_some_and(Field::is_json_scalar);
            let name = aggregate.name.clone();
            let held = if number { Holds::Number } else { holds(kind) };
            let column = Column {
                computed: aggregate.is_computed(),
                json_scalar: scalar && !number,
                nullable: !aggregate.counts(),
                ..self.column(Some(&name), held)
            };
            aggregates.push((aggregate, column));
        }
        Ok(aggregates)
    }
}

pub fn unfilled(path: &str) -> Error {
    Error::invalid(
        path,
        "needs a group right behind its bucket: only groups can be filled",
    )
}
