//! SQL text under construction, with its binds.

use std::{fmt::Write, sync::Arc};

use serde_json::{Value as Wire, json};
use uuid::Uuid;

use super::access::{Access, PLAIN};
use super::partial::Merged;
use crate::model::{
    field::Relation,
    table::{TableNames, quote_ident},
    time::Timestamp,
    value::Value,
};

/// A bound value.
#[derive(Clone, Debug, PartialEq)]
pub enum Bind {
    /// `text`
    Text(String),
    /// `text[]`
    Texts(Vec<String>),
    /// `uuid`
    Uuid(Uuid),
    /// `uuid[]`
    Uuids(Vec<Uuid>),
    /// `timestamptz`
    Time(Timestamp),
    /// `timestamptz[]`
    Times(Vec<Timestamp>),
    /// `jsonb`, as text
    Json(String),
    /// `jsonb[]`
    Jsons(Vec<String>),
    /// `int2`
    Small(i16),
    /// `int4`
    Int(i32),
    /// `int8`
    Integer(i64),
    /// `float4`
    Real(f32),
    /// `float8`
    Float(f64),
    /// `numeric`, as digits
    Numeric(String),
    /// `bool`
    Boolean(bool),
    /// An array of any other type, by the OIDs of its elements and itself.
    List {
        /// The element type.
        element: u32,
        /// The array type.
        array: u32,
        /// The elements, of the element type.
        items: Vec<Bind>,
    },
    /// An array whose elements are in the server's binary form, each behind its length.
    Binary {
        /// The element type.
        element: u32,
        /// The array type.
        array: u32,
        /// How many there are.
        items: i32,
        /// The elements; -1 is the length of NULL.
        bytes: Arc<Vec<u8>>,
    },
    /// NULL.
    Null,
}

impl Bind {
    /// As JSON, for people: `toSQL()` and plans show it.
    pub fn to_json(&self) -> Wire {
        let parsed = |text: &String| {
            serde_json::from_str(text).unwrap_or_else(|_| Wire::String(text.clone()))
        };
        match self {
            Self::Text(text) | Self::Numeric(text) => json!(text),
            Self::Texts(texts) => json!(texts),
            Self::Uuid(id) => json!(id.to_string()),
            Self::Uuids(ids) => ids.iter().map(|id| json!(id.to_string())).collect(),
            Self::Time(at) => json!(at.to_string()),
            Self::Times(times) => times.iter().map(|at| json!(at.to_string())).collect(),
            Self::Json(text) => parsed(text),
            Self::Jsons(texts) => texts.iter().map(parsed).collect(),
            Self::Small(n) => json!(n),
            Self::Int(n) => json!(n),
            Self::Integer(n) => json!(n),
            Self::Real(n) => json!(n),
            Self::Float(n) => json!(n),
            Self::List { items, .. } => items.iter().map(Self::to_json).collect(),
            Self::Boolean(b) => json!(b),
            Self::Binary { items, .. } => json!(format!("{items} values")),
            Self::Null => Wire::Null,
        }
    }
}

impl From<&Value> for Bind {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.clone()),
            Value::Uuid(id) => Self::Uuid(*id),
            Value::Time(at) => Self::Time(*at),
            Value::Json(json) => Self::Json(json.text.clone()),
        }
    }
}

/// SQL text and its binds, in step.
pub struct Writer<'a> {
    /// The event table's names.
    pub table: &'a TableNames,
    /// How the query is read.
    pub access: &'a Access,
    /// The clock of page one, on the pages behind it, or of all slices.
    pub frozen_clock: Option<Timestamp>,
    /// What the groups are made from, where that is not the events.
    pub merged: Option<&'a Merged>,
    /// Written for an index: values as literals, columns without the relation's alias.
    standalone: bool,
    /// Whether values are written as literals.
    pub spelled: bool,
    /// The relation that is read in the place of the event table.
    pub stand_in: Option<&'static str>,
    text: String,
    binds: Vec<Bind>,
}

impl<'a> Writer<'a> {
    /// An empty statement over a table.
    pub fn new(table: &'a TableNames) -> Self {
        Self {
            table,
            access: &PLAIN,
            frozen_clock: None,
            merged: None,
            standalone: false,
            spelled: false,
            stand_in: None,
            text: String::with_capacity(512),
            binds: Vec::new(),
        }
    }

    /// A part of an index's definition, which has neither binds nor aliases.
    pub fn standalone(table: &'a TableNames) -> Self {
        Self {
            standalone: true,
            ..Self::new(table)
        }
    }

    /// More text for a statement that has binds already.
    pub fn behind_binds(table: &'a TableNames, binds: Vec<Bind>) -> Self {
        Self {
            binds,
            ..Self::new(table)
        }
    }

    /// Appends SQL text of this package's own.
    pub fn sql(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Appends a placeholder and keeps its value.
    pub fn bind(&mut self, value: Bind) -> &mut Self {
        if self.standalone || self.spelled {
            return self.literal(&value);
        }
        self.binds.push(value);
        self.text.push('$');
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{}", self.binds.len());
        self
    }

    /// Appends a quoted identifier.
    pub fn ident(&mut self, name: &str) -> &mut Self {
        self.text.push_str(&quote_ident(name));
        self
    }

    /// Appends a whole number.
    pub fn number(&mut self, n: u64) -> &mut Self {
        let _ = write!(self.text, "{n}");
        self
    }

    /// Appends a length of time.
    pub fn interval(&mut self, micros: u64) -> &mut Self {
        self.sql("interval '").number(micros).sql(" microseconds'")
    }

    /// Appends a column of a relation.
    pub fn column(&mut self, relation: Relation, name: &str) -> &mut Self {
        if self.standalone {
            return self.ident(name);
        }
        self.alias(relation).sql(".").ident(name)
    }

    /// Appends the alias of a relation: a caller's own could be one of ours.
    pub fn alias(&mut self, relation: Relation) -> &mut Self {
        match relation {
            Relation(0) => self.sql("e"),
            Relation(joined) => self.sql("j").number(joined.into()),
        }
    }

    /// Appends the time that a window ends at: the database's clock, or what it was for page one.
    pub fn clock(&mut self) -> &mut Self {
        match self.frozen_clock {
            Some(at) => self.bind(Bind::Time(at)),
            None => self.sql("now()"),
        }
    }

    /// Appends each item, with `separator` between them.
    pub fn join<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        separator: &str,
        mut write: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.text.push_str(separator);
            }
            write(self, item);
        }
        self
    }

    /// How long the text is.
    pub const fn position(&self) -> usize {
        self.text.len()
    }

    /// The text and the binds.
    pub fn finish(self) -> (String, Vec<Bind>) {
        (self.text, self.binds)
    }
}
