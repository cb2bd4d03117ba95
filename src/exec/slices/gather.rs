//! What slices give, kept as the server sent it: it goes back as arrays without being understood here.

use std::sync::Arc;

use sqlx::{Row, ValueRef, postgres::PgRow};

use crate::model::{Error, Result};
use crate::sql::{Bind, Typed};

/// The rows of slices, column by column.
pub struct Gathered {
    types: Vec<Typed>,
    columns: Vec<Vec<u8>>,
    rows: i32,
    bytes: usize,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(types: &[Typed]) -> Self {
        Self {
            columns: vec![Vec::new(); types.len()],
            types: types.to_vec(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Keeps a row.
    ///
    /// # Errors
    /// A column of another type than was asked for.
    pub fn push(&mut self, row: &PgRow) -> Result<()> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            let value =
                (row.try_get_raw(place)).map_err(|e| Error::Internal(e.to_string().into()))?;
            if value.is_null() {
                column.extend_from_slice(&(-1_i32).to_be_bytes());
                self.bytes += 4;
                continue;
            }
            let bytes = value
                .as_bytes()
                .map_err(|e| Error::Internal(e.to_string().into()))?;
            let length = i32::try_from(bytes.len())
                .map_err(|_| Error::Internal("a value longer than the server's".into()))?;
            column.extend_from_slice(&length.to_be_bytes());
            column.extend_from_slice(bytes);
            self.bytes += 4 + bytes.len();
        }
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    /// Bytes kept.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds those of another slice.
    pub fn append(&mut self, other: Self) {
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            if column.is_empty() {
                *column = more;
            } else {
                column.extend_from_slice(&more);
            }
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes += other.bytes;
    }

    /// The columns as arrays.
    pub fn into_arrays(self) -> Vec<Bind> {
        (self.types.iter().zip(self.columns))
            .map(|(typed, bytes)| {
                let (element, array) = typed.oids();
                Bind::Binary {
                    element,
                    array,
                    items: self.rows,
                    bytes: Arc::new(bytes),
                }
            })
            .collect()
    }
}
