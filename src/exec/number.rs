//! Numbers as JSON: exact, or an error, or text, as the client's bigint mode says.

use sqlx::{postgres::PgValueRef, types::BigDecimal};

use super::ascii::{ascii, text};
use super::config::BigintMode;
use crate::model::{Error, Result};

/// The largest integer below which a double holds every one.
const EXACT: u64 = 1 << 53;

/// A whole number.
pub fn integer(
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

/// A value inside JSON: its integers follow the bigint mode too.
pub fn json_scalar(
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
    // Some 308 digits, with a fraction: `JSON.parse` would make it an infinity.
    if json.len() > 308
        && !json.starts_with(b"\"")
        && std::str::from_utf8(json)
            .is_ok_and(|text| text.parse::<f64>().is_ok_and(f64::is_infinite))
    {
        return Err(Error::BeyondDouble);
    }
    ascii(out, json);
    Ok(())
}

/// A `numeric`.
pub fn numeric(
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

/// A `numeric` as the nearest double.
pub fn computed(out: &mut Vec<u8>, value: PgValueRef<'_>) -> Result<()> {
    let decimal = <BigDecimal as sqlx::Decode<sqlx::Postgres>>::decode(value)
        .map_err(|e| Error::Internal(e.to_string().into()))?;
    match decimal.to_plain_string().parse::<f64>() {
        Ok(double) if double.is_finite() => {
            out.extend_from_slice(double.to_string().as_bytes());
            Ok(())
        }
        _ => Err(Error::BeyondDouble),
    }
}

/// JSON has no NaN and no infinities: they are strings of PostgreSQL's names.
pub fn float<F>(out: &mut Vec<u8>, value: F, finite: impl Fn(F) -> bool)
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

#[cfg(test)]
mod tests {
    use super::*;

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
