//! The row that a stage gets.

use crate::model::field::{
    self, Column as EventColumn, Field, FieldError, Foreign, Holds, Kind, Relation, steps,
};
use crate::query::OrderBy;

/// A row between two stages: the columns of an event, or none of them, and others beside.
#[derive(Clone, Debug)]
pub struct Row {
    /// Whether it is an event, whatever else it has.
    pub event: bool,
    /// The other columns. Those without a name are the pipeline's own: what rows are told apart by.
    pub columns: Vec<Column>,
    /// What tells rows apart.
    pub keys: Vec<Field>,
    /// The order of rows that are cut, where no `sort` gave one.
    pub natural: Vec<OrderBy>,
    /// The order that they are in.
    pub order: Vec<OrderBy>,
    /// Whether a `group` came before.
    pub grouped: bool,
}

/// A column of a row that is no event's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// As the caller knows it.
    pub name: Option<String>,
    /// Its name in the statement.
    pub sql: String,
    /// What it holds.
    pub holds: Holds,
    /// Whether it can be NULL.
    pub nullable: bool,
    /// A number that is computed comes as the nearest double.
    pub computed: bool,
    /// Whether it is a value inside JSON, whose integers follow the client's bigint mode.
    pub json_scalar: bool,
}

impl Row {
    /// Events as they are stored.
    pub fn events() -> Self {
        let by = |column| OrderBy::ascending(Field::Column(column));
        Self {
            event: true,
            columns: Vec::new(),
            keys: vec![Field::Column(EventColumn::Id)],
            natural: vec![by(EventColumn::Timestamp), by(EventColumn::Id)],
            order: Vec::new(),
            grouped: false,
        }
    }

    /// The field of a name: a column's own, a path into one that is JSON, or an event's.
    ///
    /// # Errors
    /// [`FieldError`]
    pub fn field(&self, name: &str) -> Result<Field, FieldError> {
        let named = |column: &&Column| column.name.as_deref() == Some(name);
        if let Some(column) = self.columns.iter().find(named) {
            return Ok(column.field());
        }
        let inside = self.columns.iter().filter_map(|column| {
            let rest = name.strip_prefix(column.name.as_deref()?)?;
            (column.holds == Holds::Jsonb && rest.starts_with(['.', '['])).then_some((column, rest))
        });
        let longest = inside.max_by_key(|(column, _)| column.name.as_ref().map(String::len));
        match longest {
            Some((column, rest)) => Ok(column.path(steps(rest)?)),
            None if self.event => Field::parse(name),
            None => Err(FieldError::Unknown),
        }
    }

    /// Whether a name is taken.
    pub fn has(&self, name: &str) -> bool {
        (self.event && Field::parse(name).is_ok())
            || self.columns.iter().any(|c| c.name.as_deref() == Some(name))
    }

    /// The order of rows that are cut: that which they are in, or else the natural one, made total.
    pub fn total_order(&self) -> Vec<OrderBy> {
        let first = if self.order.is_empty() {
            &self.natural
        } else {
            &self.order
        };
        crate::query::order::total_order(first, &self.keys)
    }
}

impl Column {
    /// The column as a field.
    pub fn field(&self) -> Field {
        self.path(Vec::new())
    }

    fn path(&self, steps: Vec<field::Step>) -> Field {
        Field::Foreign(Box::new(Foreign {
            relation: Relation(0),
            column: self.sql.clone(),
            holds: self.holds,
            nullable: self.nullable || !steps.is_empty(),
            steps,
        }))
    }

    /// A column that holds what a field does.
    pub fn of_field(name: Option<String>, sql: String, field: &Field, row: &Row) -> Self {
        let of = match field {
            Field::Foreign(foreign) if foreign.steps.is_empty() => {
                row.columns.iter().find(|c| c.sql == foreign.column)
            }
            _ => None,
        };
        Self {
            name,
            sql,
            holds: of.map_or_else(|| holds(field.kind()), |column| column.holds),
            nullable: field.nullable(),
            computed: of.is_some_and(|column| column.computed),
            json_scalar: of.map_or_else(|| field.is_json_scalar(), |column| column.json_scalar),
        }
    }
}

/// What a column of this kind holds.
pub const fn holds(kind: Kind) -> Holds {
    match kind {
        Kind::Text => Holds::Text,
        Kind::Uuid => Holds::Uuid,
        Kind::Time => Holds::Time,
        Kind::Json => Holds::Jsonb,
    }
}
