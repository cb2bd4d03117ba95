//! The columns of an export, and their values.

use sqlx::{
    Column as _, Row, ValueRef,
    postgres::{PgColumn, PgRow, PgValueRef},
    types::BigDecimal,
};

use crate::exec::{BigintMode, Encoder, column_encoders};
use crate::model::{Error, Result};
use crate::sql::Statement;

/// A column of an export.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// How the server sends its values.
    pub encoder: Encoder,
    /// What it becomes.
    pub kind: Kind,
}

/// What a column becomes in formats that have types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text; of exact decimals their digits.
    Text,
    /// JSON as text.
    Json,
    /// A point in time, to the microsecond.
    Timestamp,
    /// The same without a zone.
    LocalTimestamp,
    /// A day.
    Date,
    /// A whole number.
    Int64,
    /// The nearest double.
    Float64,
    /// True or false.
    Boolean,
}

impl Kind {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Json => "json",
            Self::Timestamp => "timestamp",
            Self::LocalTimestamp => "localTimestamp",
            Self::Date => "date",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Boolean => "boolean",
        }
    }
}

/// The names that whole events have.
const EVENT: [&str; 6] = ["id", "type", "timestamp", "tags", "metadata", "data"];

/// The caller's columns of a prepared statement.
pub fn columns(
    prepared: &[PgColumn],
    statement: &Statement,
    mode: BigintMode,
) -> Result<Vec<Column>> {
    let encoders = column_encoders(prepared, statement)?;
    let columns = encoders.into_iter().enumerate().map(|(i, encoder)| {
        let name = match &statement.columns {
            Some(names) if !names.is_empty() => names.get(i).cloned().unwrap_or_default(),
            // A table whose columns were not looked up.
            Some(_) => prepared[i].name().to_owned(),
            None => EVENT.get(i).copied().unwrap_or_default().to_owned(),
        };
        Column {
            name,
            encoder,
            kind: kind(encoder, mode),
        }
    });
    Ok(columns.collect())
}

const fn kind(encoder: Encoder, mode: BigintMode) -> Kind {
    match encoder {
        Encoder::Uuid | Encoder::Text => Kind::Text,
        Encoder::Time => Kind::Timestamp,
        Encoder::LocalTime => Kind::LocalTimestamp,
        Encoder::Date => Kind::Date,
        Encoder::Json | Encoder::JsonScalar | Encoder::JsonText => Kind::Json,
        Encoder::Int2 | Encoder::Int4 | Encoder::Int8 | Encoder::Oid => Kind::Int64,
        Encoder::Float4 | Encoder::Float8 | Encoder::Computed => Kind::Float64,
        // Exact: by its digits where the caller asked for all of them.
        Encoder::Numeric => match mode {
            BigintMode::Number => Kind::Float64,
            BigintMode::String | BigintMode::Bigint => Kind::Text,
        },
        Encoder::Bool => Kind::Boolean,
    }
}

/// The value in a row; none for NULL.
pub fn raw(row: &PgRow, place: usize) -> Result<Option<PgValueRef<'_>>> {
    let value = row.try_get_raw(place).map_err(internal)?;
    Ok((!value.is_null()).then_some(value))
}

/// The bytes of a value.
pub fn bytes<'r>(value: &PgValueRef<'r>) -> Result<&'r [u8]> {
    value
        .as_bytes()
        .map_err(|e| Error::Internal(e.to_string().into()))
}

/// The text of a JSON document, without the version byte of jsonb.
pub fn document(encoder: Encoder, bytes: &[u8]) -> &[u8] {
    match encoder {
        Encoder::Json | Encoder::JsonScalar => bytes.get(1..).unwrap_or_default(),
        _ => bytes,
    }
}

/// The digits of a `numeric`; none for what is no number.
pub fn digits(value: PgValueRef<'_>) -> Option<String> {
    let decimal = <BigDecimal as sqlx::Decode<sqlx::Postgres>>::decode(value).ok()?;
    Some(decimal.to_plain_string())
}

/// A driver's error that only a defect explains.
#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it over.
pub fn internal(error: sqlx::Error) -> Error {
    Error::Internal(error.to_string().into())
}
