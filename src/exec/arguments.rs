//! A statement as the driver takes it: its text, and bound values in the server's binary format.

use sqlx::{
    AssertSqlSafe, Postgres, SqlSafeStr, SqlStr,
    encode::{Encode, IsNull},
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgArguments, PgTypeInfo, types::Oid},
    types::{BigDecimal, Type},
};

use crate::model::{Error, Result};
use crate::sql::Bind;

/// Types by their fixed OIDs (`pg_type.dat`).
mod oid {
    pub const BOOL: u32 = 16;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const NUMERIC: u32 = 1700;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
    pub const TEXT_ARRAY: u32 = 1009;
    pub const TIMESTAMPTZ_ARRAY: u32 = 1185;
    pub const UUID_ARRAY: u32 = 2951;
    pub const JSONB_ARRAY: u32 = 3807;
}

/// Text that this package compiled: values are binds, names are quoted.
pub fn sql_text(sql: &str) -> SqlStr {
    AssertSqlSafe(sql.to_owned()).into_sql_str()
}

/// The driver's form of the values of a statement.
///
/// # Errors
/// INVALID_QUERY where a value is larger than the protocol allows.
pub fn arguments(binds: &[Bind]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for bind in binds {
        sqlx::Arguments::add(&mut arguments, Wired(bind))
            .map_err(|e| Error::invalid("", format!("a value cannot be sent: {e}")))?;
    }
    Ok(arguments)
}

struct Wired<'a>(&'a Bind);

impl Type<Postgres> for Wired<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(oid::TEXT))
    }
}

impl Encode<'_, Postgres> for Wired<'_> {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self.0 {
            Bind::Null => return Ok(IsNull::Yes),
            Bind::Text(text) => out.extend_from_slice(text.as_bytes()),
            Bind::Texts(texts) => {
                array(out, oid::TEXT, texts, |out, text| raw(out, text.as_bytes()))?;
            }
            Bind::Uuid(id) => out.extend_from_slice(id.as_bytes()),
            Bind::Uuids(ids) => array(out, oid::UUID, ids, |out, id| raw(out, id.as_bytes()))?,
            Bind::Time(at) => out.extend_from_slice(&at.to_postgres().to_be_bytes()),
            Bind::Times(times) => {
                array(out, oid::TIMESTAMPTZ, times, |out, at| {
                    raw(out, &at.to_postgres().to_be_bytes())
                })?;
            }
            Bind::Json(text) => jsonb(out, text),
            Bind::Jsons(texts) => array(out, oid::JSONB, texts, |out, text| {
                jsonb(out, text);
                Ok(())
            })?,
            Bind::Small(n) => out.extend_from_slice(&n.to_be_bytes()),
            Bind::Int(n) => out.extend_from_slice(&n.to_be_bytes()),
            Bind::Integer(n) => out.extend_from_slice(&n.to_be_bytes()),
            Bind::Real(n) => out.extend_from_slice(&n.to_be_bytes()),
            Bind::Float(n) => out.extend_from_slice(&n.to_be_bytes()),
            Bind::List { element, items, .. } => {
                let items: Vec<_> = items
                    .iter()
                    .map(|item| (!matches!(item, Bind::Null)).then_some(item))
                    .collect();
                nullable(out, *element, &items, |out, item| {
                    Wired(item).encode_by_ref(out).map(drop)
                })?;
            }
            Bind::Binary {
                element,
                items,
                bytes,
                ..
            } => {
                out.extend_from_slice(&i32::from(*items > 0).to_be_bytes());
                // There may be NULLs: the server looks.
                out.extend_from_slice(&1_i32.to_be_bytes());
                out.extend_from_slice(&element.to_be_bytes());
                if *items > 0 {
                    out.extend_from_slice(&items.to_be_bytes());
                    out.extend_from_slice(&1_i32.to_be_bytes());
                    out.extend_from_slice(bytes);
                }
            }
            Bind::Numeric(digits) => {
                return Encode::<Postgres>::encode_by_ref(&digits.parse::<BigDecimal>()?, out);
            }
            Bind::Boolean(b) => out.push(u8::from(*b)),
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(match self.0 {
            Bind::Null | Bind::Text(_) => oid::TEXT,
            Bind::Texts(_) => oid::TEXT_ARRAY,
            Bind::Uuid(_) => oid::UUID,
            Bind::Uuids(_) => oid::UUID_ARRAY,
            Bind::Time(_) => oid::TIMESTAMPTZ,
            Bind::Times(_) => oid::TIMESTAMPTZ_ARRAY,
            Bind::Json(_) => oid::JSONB,
            Bind::Jsons(_) => oid::JSONB_ARRAY,
            Bind::Small(_) => oid::INT2,
            Bind::Int(_) => oid::INT4,
            Bind::Integer(_) => oid::INT8,
            Bind::Real(_) => oid::FLOAT4,
            Bind::Float(_) => oid::FLOAT8,
            Bind::List { array, .. } | Bind::Binary { array, .. } => *array,
            Bind::Numeric(_) => oid::NUMERIC,
            Bind::Boolean(_) => oid::BOOL,
        })))
    }
}

/// jsonb's binary form: a version and the text.
fn jsonb(out: &mut PgArgumentBuffer, text: &str) {
    out.push(1);
    out.extend_from_slice(text.as_bytes());
}

#[allow(clippy::unnecessary_wraps)] // The form that `array` takes.
fn raw(out: &mut PgArgumentBuffer, bytes: &[u8]) -> Result<(), BoxDynError> {
    out.extend_from_slice(bytes);
    Ok(())
}

/// An array of one dimension without NULLs.
fn array<T>(
    out: &mut PgArgumentBuffer,
    element: u32,
    items: &[T],
    write: impl FnMut(&mut PgArgumentBuffer, &T) -> Result<(), BoxDynError>,
) -> Result<(), BoxDynError> {
    let items: Vec<_> = items.iter().map(Some).collect();
    nullable(out, element, &items, write)
}

/// An array of one dimension (`array_recv` in PostgreSQL's arrayfuncs.c).
fn nullable<T>(
    out: &mut PgArgumentBuffer,
    element: u32,
    items: &[Option<&T>],
    mut write: impl FnMut(&mut PgArgumentBuffer, &T) -> Result<(), BoxDynError>,
) -> Result<(), BoxDynError> {
    let dimensions = i32::from(!items.is_empty());
    let has_nulls = i32::from(items.iter().any(Option::is_none));
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&has_nulls.to_be_bytes());
    out.extend_from_slice(&element.to_be_bytes());
    if items.is_empty() {
        return Ok(());
    }
    out.extend_from_slice(&i32::try_from(items.len())?.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    for item in items {
        let Some(item) = item else {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        };
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        write(out, item)?;
        let length = i32::try_from(out.len() - at - 4)?;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
