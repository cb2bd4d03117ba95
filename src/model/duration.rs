//! Lengths of time as callers write them.

use std::time::Duration;

use serde_json::Value as Wire;

use super::{Error, Result, path::Path, wire::shown};

/// A positive number of milliseconds, or '<number> <unit>'.
///
/// # Errors
/// INVALID_QUERY at `path`.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)] // Bounded below.
pub fn duration(wire: &Wire, path: &Path<'_>) -> Result<Duration> {
    let millis = match wire {
        Wire::Number(n) => n.as_f64().unwrap_or(f64::NAN),
        Wire::String(text) => parse(text).ok_or_else(|| Error::invalid(path, EXPECTED))?,
        _ => {
            return Err(Error::invalid(
                path,
                format!("{EXPECTED}, not {}", shown(wire)),
            ));
        }
    };
    if !(millis > 0.0 && millis <= MAX_MILLIS) {
        return Err(Error::invalid(
            path,
            "must be longer than nothing and shorter than 1,000 years",
        ));
    }
    Ok(Duration::from_micros((millis * 1000.0).round() as u64))
}

const EXPECTED: &str = "must be a number of milliseconds or text such as '15 minutes'";
const MAX_MILLIS: f64 = 1000.0 * 366.0 * 86_400_000.0;

fn parse(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once(' ')?;
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let value: f64 = plain.then(|| number.parse().ok()).flatten()?;
    let unit = match unit.strip_suffix('s').unwrap_or(unit) {
        "millisecond" => 1.0,
        "second" => 1000.0,
        "minute" => 60_000.0,
        "hour" => 3_600_000.0,
        "day" => 86_400_000.0,
        "week" => 604_800_000.0,
        _ => return None,
    };
    Some(value * unit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_and_units() {
        let millis = |wire: &Wire| duration(wire, &Path::Root).map(|d| d.as_millis());
        assert_eq!(millis(&json!(1500)).unwrap(), 1500);
        assert_eq!(millis(&json!("90 seconds")).unwrap(), 90_000);
        assert_eq!(millis(&json!("1 week")).unwrap(), 604_800_000);
        assert_eq!(millis(&json!("1.5 hours")).unwrap(), 5_400_000);
        for wrong in [
            json!(0),
            json!(-1),
            json!("7"),
            json!("7days"),
            json!("7 moons"),
            json!("-7 days"),
            json!("1 month"),
            json!(null),
            json!("1e3 days"),
        ] {
            assert!(millis(&wrong).is_err(), "{wrong}");
        }
    }
}
