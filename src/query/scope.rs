//! What a name stands for: a field of the table that is read, or of one joined to it.

use std::sync::Arc;

use super::pipeline::Row;
use crate::model::{
    catalog::{Catalog, Named, Table},
    field::{Column, Field, FieldError, Foreign, Holds, Relation, steps},
    table::identifier_problem,
};

/// The relations of a query, and the names by which its fields are called.
#[derive(Clone, Debug)]
pub struct Scope {
    base: Source,
    /// The row of a pipeline that is read in the place of plain events.
    row: Option<Row>,
    joins: Vec<Joined>,
}

/// What a relation is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The event table.
    Events,
    /// Another table.
    Table(Arc<Table>),
    /// Another table, by the name the query gave; its columns were not looked up.
    Named(String),
}

#[derive(Clone, Debug)]
struct Joined {
    alias: String,
    source: Source,
    optional: bool,
}

impl Scope {
    /// The scope of a query over one relation.
    pub const fn of(base: Source) -> Self {
        Self {
            base,
            row: None,
            joins: Vec::new(),
        }
    }

    /// The scope of events with what the stages of a pipeline added to them.
    pub const fn of_row(row: Row) -> Self {
        Self {
            base: Source::Events,
            row: Some(row),
            joins: Vec::new(),
        }
    }

    /// Whether the relation that is read is the event table.
    pub fn reads_events(&self) -> bool {
        self.base == Source::Events
    }

    /// Whether an alias is taken, or means a column.
    pub fn is_taken(&self, alias: &str) -> bool {
        self.joins.iter().any(|join| join.alias == alias)
            || (self.base.is_known() && self.base.field(Relation(0), alias, false).is_ok())
    }

    /// How many relations are joined.
    pub const fn joined(&self) -> usize {
        self.joins.len()
    }

    /// Adds a joined relation, whose rows can be missing where `optional`.
    pub fn join(&mut self, alias: String, source: Source, optional: bool) {
        self.joins.push(Joined {
            alias,
            source,
            optional,
        });
    }

    /// The field of a name.
    ///
    /// # Errors
    /// [`FieldError`]
    pub fn field(&self, name: &str) -> Result<Field, FieldError> {
        if let Some(row) = &self.row {
            return row.field(name);
        }
        let joined = (1..)
            .zip(&self.joins)
            .filter_map(|(i, join)| {
                let rest = name.strip_prefix(join.alias.as_str())?.strip_prefix('.')?;
                Some((Relation(i), join, rest))
            })
            // An alias may hold dots: the longest that fits is meant.
            .max_by_key(|(_, join, _)| join.alias.len());
        match joined {
            Some((relation, join, rest)) => join.source.field(relation, rest, join.optional),
            None => self.base.field(Relation(0), name, false),
        }
    }
}

impl Source {
    /// What a table's name stands for; `None` where there is no such table.
    pub fn of(name: &str, catalog: &Catalog) -> Option<Self> {
        match catalog.named(name) {
            Named::Events => Some(Self::Events),
            Named::Table(table) => Some(Self::Table(table)),
            Named::Missing => None,
            Named::NotLookedUp => Some(Self::Named(name.to_owned())),
        }
    }

    /// Whether its columns are known.
    pub const fn is_known(&self) -> bool {
        !matches!(self, Self::Named(_))
    }

    /// The field of a name that is this relation's own.
    ///
    /// # Errors
    /// [`FieldError`]
    pub fn field(
        &self,
        relation: Relation,
        name: &str,
        optional: bool,
    ) -> Result<Field, FieldError> {
        match self {
            Self::Events if relation == Relation(0) => Field::parse(name),
            Self::Events => Ok(Field::Joined(relation, Box::new(Field::parse(name)?))),
            Self::Table(table) => foreign(table, relation, name, optional),
            Self::Named(_) => unknown(relation, name),
        }
    }
}

impl Source {
    /// The fields that tell this relation's rows apart; `None` where nothing does.
    pub fn key(&self, relation: Relation, optional: bool) -> Option<Vec<Field>> {
        let names: Vec<&str> = match self {
            Self::Events => vec![Column::Id.name()],
            Self::Table(table) => table.primary_key.iter().map(String::as_str).collect(),
            Self::Named(_) => Vec::new(),
        };
        let fields: Vec<_> = names
            .iter()
            .filter_map(|name| self.field(relation, name, optional).ok())
            .collect();
        (!fields.is_empty()).then_some(fields)
    }
}

/// A column of a table, or a path into one that holds JSON.
fn foreign(
    table: &Table,
    relation: Relation,
    name: &str,
    optional: bool,
) -> Result<Field, FieldError> {
    let (column, rest) = table
        .columns
        .iter()
        .filter_map(|column| Some((column, name.strip_prefix(column.name.as_str())?)))
        .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
        .max_by_key(|(column, _)| column.name.len())
        .ok_or(FieldError::Unknown)?;
    if !rest.is_empty() && !matches!(column.holds, Holds::Json | Holds::Jsonb) {
        return Err(FieldError::Unknown);
    }
    let steps = steps(rest)?;
    Ok(Field::Foreign(Box::new(Foreign {
        relation,
        column: column.name.clone(),
        holds: column.holds,
        nullable: optional || column.nullable || !steps.is_empty(),
        steps,
    })))
}

/// A column of a table that was not looked up: read as JSON, whatever it holds.
fn unknown(relation: Relation, name: &str) -> Result<Field, FieldError> {
    let end = name.find(['.', '[']).unwrap_or(name.len());
    let (column, rest) = name.split_at(end);
    if identifier_problem(column).is_some() {
        return Err(FieldError::Unknown);
    }
    Ok(Field::Foreign(Box::new(Foreign {
        relation,
        column: column.to_owned(),
        holds: Holds::Other,
        nullable: true,
        steps: steps(rest)?,
    })))
}
