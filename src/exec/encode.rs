//! Values of a row, from the server's binary format to JSON text in ASCII. jsonb is copied as it is.

use sqlx::{
    Column as _, Row, ValueRef,
    postgres::{PgColumn, PgRow, PgValueRef},
};
use uuid::{Uuid, fmt::Hyphenated};

use super::ascii::{ascii, text};
use super::config::BigintMode;
use super::number::{computed, float, integer, json_scalar, numeric};
use crate::model::{Error, Result, time, time::Timestamp};
use crate::sql::Statement;

/// How the values of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// `uuid`.
    Uuid,
    /// `text` and its like.
    Text,
    /// `timestamptz`.
    Time,
    /// `timestamp`.
    LocalTime,
    /// `date`.
    Date,
    /// A JSON document, as it is.
    Json,
    /// A value inside JSON: an integer beyond 2^53 follows the bigint mode.
    JsonScalar,
    /// `json`, whose binary form is its text.
    JsonText,
    /// `int2`.
    Int2,
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `oid`.
    Oid,
    /// `float4`.
    Float4,
    /// `float8`.
    Float8,
    /// `numeric`, exact.
    Numeric,
    /// A `numeric` that was computed: the nearest double.
    Computed,
    /// `bool`.
    Bool,
}

impl Encoder {
    /// The encoder of a type; `None` for types that a statement has to turn into JSON itself.
    pub const fn of(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            20 => Self::Int8,
            21 => Self::Int2,
            23 => Self::Int4,
            26 => Self::Oid,
            // name, text, unknown, bpchar, varchar
            19 | 25 | 705 | 1042 | 1043 => Self::Text,
            114 => Self::JsonText,
            700 => Self::Float4,
            701 => Self::Float8,
            1082 => Self::Date,
            1114 => Self::LocalTime,
            1184 => Self::Time,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            3802 => Self::Json,
            _ => return None,
        })
    }
}

/// The encoders of a row's columns, those that the caller sees.
///
/// # Errors
/// A type that has none.
pub fn encoders(row: &PgRow, statement: &Statement) -> Result<Vec<Encoder>> {
    column_encoders(row.columns(), statement)
}

/// The same, of a prepared statement's columns.
///
/// # Errors
/// A type that has none.
pub fn column_encoders(columns: &[PgColumn], statement: &Statement) -> Result<Vec<Encoder>> {
    let visible = columns.iter().take(statement.visible).enumerate();
    visible
        .map(|(i, column)| {
            let oid = column.type_info().oid().map_or(0, |oid| oid.0);
            match Encoder::of(oid) {
                Some(Encoder::Json) if statement.json_scalars.contains(&i) => {
                    Ok(Encoder::JsonScalar)
                }
                Some(Encoder::Numeric) if statement.computed.contains(&i) => Ok(Encoder::Computed),
                Some(encoder) => Ok(encoder),
                None => Err(Error::Internal(
                    format!("no encoder for the type of column {i} (OID {oid})").into(),
                )),
            }
        })
        .collect()
}

/// Appends a value. `column` names it in an error.
pub fn encode(
    out: &mut Vec<u8>,
    encoder: Encoder,
    value: PgValueRef<'_>,
    mode: BigintMode,
    column: impl Fn() -> String,
) -> Result<()> {
    if value.is_null() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match encoder {
        Encoder::Numeric => return numeric(out, value, mode, column),
        Encoder::Computed => return computed(out, value),
        _ => {}
    }
    let bytes = value
        .as_bytes()
        .map_err(|e| Error::Internal(e.to_string().into()))?;
    let short =
        || Error::Internal(format!("column {}: a value of an unexpected length", column()).into());
    match encoder {
        Encoder::Uuid => uuid(out, bytes),
        Encoder::Text => text(out, bytes),
        Encoder::Time => {
            out.push(b'"');
            Timestamp::from_postgres(i64::from_be_bytes(bytes.try_into().map_err(|_| short())?))
                .write(out);
            out.push(b'"');
        }
        Encoder::LocalTime => local_time(
            out,
            i64::from_be_bytes(bytes.try_into().map_err(|_| short())?),
        ),
        Encoder::Date => date(
            out,
            i32::from_be_bytes(bytes.try_into().map_err(|_| short())?),
        ),
        Encoder::Json => ascii(out, bytes.get(1..).ok_or_else(short)?),
        Encoder::JsonText => ascii(out, bytes),
        Encoder::JsonScalar => json_scalar(out, bytes.get(1..).ok_or_else(short)?, mode, column)?,
        Encoder::Int2 => integer(
            out,
            i16::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
            mode,
            column,
        )?,
        Encoder::Int4 => integer(
            out,
            i32::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
            mode,
            column,
        )?,
        Encoder::Oid => integer(
            out,
            u32::from_be_bytes(bytes.try_into().map_err(|_| short())?).into(),
            mode,
            column,
        )?,
        Encoder::Int8 => integer(
            out,
            i64::from_be_bytes(bytes.try_into().map_err(|_| short())?),
            mode,
            column,
        )?,
        Encoder::Float4 => float(
            out,
            f32::from_be_bytes(bytes.try_into().map_err(|_| short())?),
            f32::is_finite,
        ),
        Encoder::Float8 => float(
            out,
            f64::from_be_bytes(bytes.try_into().map_err(|_| short())?),
            f64::is_finite,
        ),
        Encoder::Bool => out.extend_from_slice(if bytes == [1] { b"true" } else { b"false" }),
        Encoder::Numeric | Encoder::Computed => {}
    }
    Ok(())
}
/// Appends the text of an id; what is no id's length, as the server never sends it, as zeros.
pub fn uuid(out: &mut Vec<u8>, id: &[u8]) {
    let mut text = [0; Hyphenated::LENGTH];
    out.push(b'"');
    let id = Uuid::from_slice(id).unwrap_or_default();
    out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
    out.push(b'"');
}

/// `timestamp` without a zone: the same digits, and no Z.
fn local_time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    Timestamp::from_postgres(micros).write(out);
    if out.last() == Some(&b'Z') {
        out.pop();
    }
    out.push(b'"');
}

fn date(out: &mut Vec<u8>, days: i32) {
    if days == i32::MAX || days == i32::MIN {
        return text(out, if days > 0 { b"infinity" } else { b"-infinity" });
    }
    out.push(b'"');
    time::write_date(out, i64::from(days) + time::POSTGRES_EPOCH_DAY);
    out.push(b'"');
}
