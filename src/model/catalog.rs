//! What the database's catalog says of tables that a query names.

use std::{collections::HashMap, sync::Arc};

use super::{field::Holds, table::TableNames};

/// A table, view or the like, other than the event table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns, in their order.
    pub columns: Vec<TableColumn>,
    /// The columns of its primary key; empty where it has none.
    pub primary_key: Vec<String>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
    /// Whether it can be NULL.
    pub nullable: bool,
}

/// The tables that are known to a client.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The event table.
    pub events: TableNames,
    /// The others that were looked up, by the name a query gave; `None` where there is no such table.
    pub tables: HashMap<String, Option<Arc<Table>>>,
}

/// What a name in a query stands for.
#[derive(Clone, Debug)]
pub enum Named {
    /// The event table.
    Events,
    /// Another table.
    Table(Arc<Table>),
    /// There is none of that name.
    Missing,
    /// It was not looked up: its columns are not known.
    NotLookedUp,
}

impl Catalog {
    /// What a name stands for.
    pub fn named(&self, name: &str) -> Named {
        if self.is_events(name) {
            return Named::Events;
        }
        match self.tables.get(name) {
            Some(Some(table)) => Named::Table(Arc::clone(table)),
            Some(None) => Named::Missing,
            None => Named::NotLookedUp,
        }
    }

    /// Whether a name is the event table's, with its schema or without.
    pub fn is_events(&self, name: &str) -> bool {
        let qualified = name.split_once('.');
        name == self.events.name || qualified == Some((&self.events.schema, &self.events.name))
    }
}

impl Table {
    /// `"schema"."name"`.
    pub fn quoted(&self) -> String {
        use super::table::quote_ident;
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }

    /// The column of a name.
    pub fn column(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}
