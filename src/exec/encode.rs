//! Values of a row, from the server's binary format to JSON text in ASCII.
//!
//! jsonb is copied as it is. What is not ASCII can only stand inside strings, and becomes `\uXXXX`
//! there: V8 takes an ASCII string in a twentieth of the time of a UTF-8 one.

use sqlx::{
    Column as _, Row, ValueRef,
    postgres::{PgRow, PgValueRef},
    types::BigDecimal,
};

use super::config::BigintMode;
use crate::model::{Error, Result, time::Timestamp};

/// How the values of a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoder {
    Uuid,
    Text,
    Time,
    LocalTime,
    Date,
    /// A JSON document, as it is.
    Json,
    /// A value inside JSON: an integer beyond 2^53 follows the bigint mode.
    JsonScalar,
    /// `json`, whose binary form is its text.
    JsonText,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Numeric,
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

/// The encoders of a row's first `width` columns.
///
/// # Errors
/// A type that has none.
pub fn encoders(row: &PgRow, width: usize, json_scalars: &[usize]) -> Result<Vec<Encoder>> {
    let columns = row.columns().iter().take(width).enumerate();
    columns
        .map(|(i, column)| {
            let oid = column.type_info().oid().map_or(0, |oid| oid.0);
            match Encoder::of(oid) {
                Some(Encoder::Json) if json_scalars.contains(&i) => Ok(Encoder::JsonScalar),
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
    if encoder == Encoder::Numeric {
        return numeric(out, value, mode, column);
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
        Encoder::Numeric => {}
    }
    Ok(())
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn uuid(out: &mut Vec<u8>, id: &[u8]) {
    out.push(b'"');
    for (i, byte) in id.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
    out.push(b'"');
}

/// A JSON string of UTF-8 text.
pub fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let plain = |b: &u8| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\';
    if bytes.iter().all(plain) {
        out.extend_from_slice(bytes);
    } else {
        for c in String::from_utf8_lossy(bytes).chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                ' '..='~' => out.push(c as u8),
                c => escape(out, c),
            }
        }
    }
    out.push(b'"');
}

/// Any JSON text, with what is not ASCII escaped.
pub fn ascii(out: &mut Vec<u8>, json: &[u8]) {
    if json.is_ascii() {
        return out.extend_from_slice(json);
    }
    for c in String::from_utf8_lossy(json).chars() {
        if c.is_ascii() {
            out.push(c as u8);
        } else {
            escape(out, c);
        }
    }
}

fn escape(out: &mut Vec<u8>, c: char) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        let nibble = |shift: u16| HEX[usize::from(*unit >> shift & 15)];
        out.extend_from_slice(&[b'\\', b'u', nibble(12), nibble(8), nibble(4), nibble(0)]);
    }
}

/// The largest integer below which a double holds every one.
const EXACT: u64 = 1 << 53;

fn integer(
    out: &mut Vec<u8>,
    value: i64,
    mode: BigintMode,
    column: impl Fn() -> String,
) -> Result<()> {
    let mut buffer = [0; 20];
    digits(
        out,
        &mut buffer,
        value,
        value.unsigned_abs() <= EXACT,
        mode,
        column,
    )
}

#[allow(clippy::cast_possible_truncation)] // One decimal digit.
fn digits(
    out: &mut Vec<u8>,
    buffer: &mut [u8; 20],
    value: i64,
    exact: bool,
    mode: BigintMode,
    column: impl Fn() -> String,
) -> Result<()> {
    let mut at = buffer.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    if exact {
        out.extend_from_slice(&buffer[at..]);
        return Ok(());
    }
    big(out, &buffer[at..], mode, column)
}

/// An integer beyond 2^53, by its digits.
fn big(
    out: &mut Vec<u8>,
    digits: &[u8],
    mode: BigintMode,
    column: impl Fn() -> String,
) -> Result<()> {
    match mode {
        BigintMode::Number => {
            let text = String::from_utf8_lossy(digits);
            // A power of two, say, is exact all the same.
            if text
                .parse::<f64>()
                .is_ok_and(|double| format!("{double:.0}") == text)
            {
                out.extend_from_slice(digits);
                return Ok(());
            }
            Err(Error::PrecisionLoss { column: column() })
        }
        BigintMode::String => {
            out.push(b'"');
            out.extend_from_slice(digits);
            out.push(b'"');
            Ok(())
        }
        BigintMode::Bigint => {
            // U+0000 begins no string of PostgreSQL's: `lib/rows.js` knows it by that.
            out.extend_from_slice(b"\"\\u0000");
            out.extend_from_slice(digits);
            out.push(b'"');
            Ok(())
        }
    }
}

fn json_scalar(
    out: &mut Vec<u8>,
    json: &[u8],
    mode: BigintMode,
    column: impl Fn() -> String,
) -> Result<()> {
    let unsigned = json.strip_prefix(b"-").unwrap_or(json);
    let integral = unsigned.len() > 15 && unsigned.iter().all(u8::is_ascii_digit);
    if integral
        && std::str::from_utf8(unsigned)
            .is_ok_and(|d| d.parse::<u64>().is_ok_and(|n| n > EXACT) || d.len() > 19)
    {
        return big(out, json, mode, column);
    }
    ascii(out, json);
    Ok(())
}

fn numeric(
    out: &mut Vec<u8>,
    value: PgValueRef<'_>,
    mode: BigintMode,
    column: impl Fn() -> String,
) -> Result<()> {
    // ndigits, weight, sign, scale: the sign marks what is no number (`numeric_recv`).
    let special = value
        .as_bytes()
        .ok()
        .and_then(|b| b.get(4..6))
        .and_then(|sign| match sign {
            [0xC0, 0] => Some("NaN"),
            [0xD0, 0] => Some("Infinity"),
            [0xF0, 0] => Some("-Infinity"),
            _ => None,
        });
    if let Some(name) = special {
        text(out, name.as_bytes());
        return Ok(());
    }
    let decimal = <BigDecimal as sqlx::Decode<sqlx::Postgres>>::decode(value)
        .map_err(|e| Error::Internal(e.to_string().into()))?;
    json_scalar(out, decimal.to_plain_string().as_bytes(), mode, column)
}

/// JSON has no NaN and no infinities: they are strings of PostgreSQL's names.
fn float<F>(out: &mut Vec<u8>, value: F, finite: impl Fn(F) -> bool)
where
    F: Copy + std::fmt::Display + PartialOrd + Default,
{
    if finite(value) {
        out.extend_from_slice(value.to_string().as_bytes());
    } else if value > F::default() {
        text(out, b"Infinity");
    } else if value < F::default() {
        text(out, b"-Infinity");
    } else {
        text(out, b"NaN");
    }
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
    let mut full = Vec::with_capacity(27);
    Timestamp::from_postgres(i64::from(days) * 86_400_000_000).write(&mut full);
    out.push(b'"');
    out.extend(full.iter().take_while(|b| **b != b'T'));
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_text_is_ascii_json() {
        for sample in ["plain", "q\"uo\\te", "tab\tnl\n\u{0}\u{7f}", "é中😀", ""] {
            let json = shown(|out| text(out, sample.as_bytes()));
            assert!(json.is_ascii());
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), sample);
        }
        let document = r#"{"ключ": "😀", "n": [1, "\u00e9"]}"#;
        let json = shown(|out| ascii(out, document.as_bytes()));
        assert!(json.is_ascii());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            serde_json::from_str::<serde_json::Value>(document).unwrap()
        );
    }

    #[test]
    fn integers_beyond_2_53_follow_the_mode() {
        let write = |value, mode| {
            let mut out = Vec::new();
            integer(&mut out, value, mode, || "n".into()).map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(
            write(9_007_199_254_740_992, BigintMode::Number).unwrap(),
            "9007199254740992"
        );
        assert_eq!(
            write(9_007_199_254_740_993, BigintMode::Number)
                .unwrap_err()
                .code(),
            "PRECISION_LOSS"
        );
        assert_eq!(
            write(1 << 60, BigintMode::Number).unwrap(),
            (1_i64 << 60).to_string()
        );
        assert_eq!(
            write(i64::MIN, BigintMode::String).unwrap(),
            "\"-9223372036854775808\""
        );
        assert_eq!(
            write(i64::MAX, BigintMode::Bigint).unwrap(),
            "\"\\u00009223372036854775807\""
        );
        assert_eq!(write(0, BigintMode::Number).unwrap(), "0");
    }

    #[test]
    fn numbers_inside_json() {
        let write = |json: &str, mode| {
            let mut out = Vec::new();
            json_scalar(&mut out, json.as_bytes(), mode, || "n".into())
                .map(|()| String::from_utf8(out).unwrap())
        };
        assert_eq!(
            write("123456789012345678901234567890", BigintMode::String).unwrap(),
            "\"123456789012345678901234567890\""
        );
        assert_eq!(
            write("1234567890123456", BigintMode::String).unwrap(),
            "1234567890123456"
        );
        assert_eq!(
            write("0.12345678901234567890", BigintMode::Number).unwrap(),
            "0.12345678901234567890"
        );
        assert!(write("-9007199254740993", BigintMode::Number).is_err());
        assert_eq!(
            write("\"9007199254740993\"", BigintMode::Number).unwrap(),
            "\"9007199254740993\""
        );
    }
}
