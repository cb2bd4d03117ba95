//! Time: the window that a query looks at, and the buckets it is cut into.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Map, Value as Wire};

use super::condition::{CompareOp, Condition, Test};
use super::operand::time;
use crate::model::{
    Error, Result,
    duration::duration,
    field::{Column, Field},
    path::Path,
    time::Timestamp,
    value::Value,
    wire::{known_keys, object, shown, text},
};

/// The time that a query looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// Between two points; the second is outside. Either may be open.
    Between(Option<Timestamp>, Option<Timestamp>),
    /// What ends at the database's clock.
    Last(Duration),
}

/// How time is cut.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bucket {
    /// The length of a bucket.
    pub every: Every,
    /// The IANA zone whose local time is cut; `None` for points in time.
    pub zone: Option<String>,
    /// Where some bucket begins; `None` for the default.
    pub origin: Option<Timestamp>,
    /// What empty buckets hold; `None` where they are left out.
    pub fill: Option<Fill>,
}

/// The length of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Every {
    /// Microseconds; of local time where the bucket has a zone.
    Micros(u64),
    /// Months of the calendar.
    Months(u32),
}

/// What the aggregates of an empty bucket are. Counts are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fill {
    /// NULL.
    Null,
    /// 0, where they are numbers.
    Zero,
    /// Those of the bucket before that is not empty.
    Previous,
    /// On the line between the buckets around that are not empty.
    Linear,
}

const DAY: u64 = 86_400_000_000;
/// Buckets of a filled window: more than this is a mistake in the query.
const MAX_BUCKETS: i64 = 1_000_000;

impl Window {
    /// Parses `timeWindow`.
    pub fn parse(wire: &Wire, path: &Path<'_>) -> Result<Self> {
        let members = object(wire, path, "a window such as { last: '7 days' }")?;
        known_keys(members, path, &["from", "to", "last"])?;
        if let Some(last) = members.get("last") {
            if let Some(other) = ["from", "to"].iter().find(|k| members.contains_key(**k)) {
                return Err(Error::invalid(path.key(other), "does not go with last"));
            }
            return Ok(Self::Last(duration(last, &path.key("last"))?));
        }
        let bound = |key: &'static str| {
            members
                .get(key)
                .map(|wire| time(wire, &path.key(key)))
                .transpose()
        };
        let (from, to) = (bound("from")?, bound("to")?);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(Error::invalid(path.key("from"), "is after to"));
        }
        Ok(Self::Between(from, to))
    }

    /// The condition that a window between fixed points is.
    pub fn condition(&self) -> Option<Condition> {
        let Self::Between(from, to) = self else {
            return None;
        };
        let leaf = |op, at: &Timestamp| {
            Condition::leaf(
                Field::Column(Column::Timestamp),
                Test::Compare(op, Value::Time(*at)),
            )
        };
        let bounds = [
            from.as_ref().map(|at| leaf(CompareOp::Gte, at)),
            to.as_ref().map(|at| leaf(CompareOp::Lt, at)),
        ];
        Some(Condition::And(bounds.into_iter().flatten().collect()))
    }

    const fn is_bounded(&self) -> bool {
        matches!(self, Self::Last(_) | Self::Between(Some(_), Some(_)))
    }

    /// Its length in microseconds, where it has both ends.
    fn micros(&self) -> Option<i64> {
        match self {
            Self::Between(Some(from), Some(to)) => Some(to.as_micros() - from.as_micros()),
            Self::Between(..) => None,
            Self::Last(length) => i64::try_from(length.as_micros()).ok(),
        }
    }
}

impl Bucket {
    /// Parses `timeBucket`.
    pub fn parse(wire: &Wire, path: &Path<'_>, window: Option<&Window>) -> Result<Self> {
        let members = object(wire, path, "a bucket such as { interval: '1 hour' }")?;
        known_keys(members, path, &["interval", "timeZone", "origin", "fill"])?;
        let here = path.key("interval");
        let interval = members
            .get("interval")
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        let every = every(interval, &here)?;
        let zone = zone(members, path)?;
        // Shorter buckets are cut from points in time, the same in every zone.
        let is_calendar = !matches!(every, Every::Micros(length) if length < DAY);
        let bucket = Self {
            every,
            zone: zone.filter(|_| is_calendar),
            origin: members
                .get("origin")
                .map(|wire| time(wire, &path.key("origin")))
                .transpose()?,
            fill: fill(members, path)?,
        };
        if bucket.fill.is_some() {
            bucket.check_filled(window, path)?;
        }
        Ok(bucket)
    }

    fn check_filled(&self, window: Option<&Window>, path: &Path<'_>) -> Result<()> {
        let here = path.key("fill");
        let Some(window) = window.filter(|w| w.is_bounded()) else {
            return Err(Error::invalid(
                here,
                "needs a timeWindow with both ends: there is no saying where empty buckets end",
            ));
        };
        let length = match self.every {
            Every::Micros(length) => i64::try_from(length).unwrap_or(i64::MAX),
            Every::Months(_) => return Ok(()),
        };
        if window
            .micros()
            .is_some_and(|whole| whole / length > MAX_BUCKETS)
        {
            return Err(Error::invalid(
                here,
                "would make more than 1,000,000 buckets: take longer ones, or a shorter window",
            ));
        }
        Ok(())
    }
}

fn every(wire: &Wire, path: &Path<'_>) -> Result<Every> {
    if let Some(months) = wire.as_str().and_then(months) {
        return match months {
            1..=12_000 => Ok(Every::Months(months)),
            _ => Err(Error::invalid(
                path,
                "must be longer than nothing and at most 1,000 years",
            )),
        };
    }
    let length = duration(wire, path)?;
    // At least a microsecond: `duration` rounds to them and refuses less than half of one.
    match u64::try_from(length.as_micros()) {
        Ok(micros @ 1..) => Ok(Every::Micros(micros)),
        _ => Err(Error::invalid(path, "must be a microsecond at least")),
    }
}

/// Whole months, quarters or years; `None` for any other text.
fn months(text: &str) -> Option<u32> {
    let (number, unit) = text.split_once(' ')?;
    let each = match unit.strip_suffix('s').unwrap_or(unit) {
        "month" => 1,
        "quarter" => 3,
        "year" => 12,
        _ => return None,
    };
    let whole = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    whole
        .then(|| number.parse::<u32>().ok()?.checked_mul(each))
        .flatten()
}

fn zone(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Option<String>> {
    let Some(wire) = members.get("timeZone") else {
        return Ok(None);
    };
    let here = path.key("timeZone");
    let name = text(wire, &here)?;
    // PostgreSQL would take 'FOO+3' too, as a zone of its own making.
    if TimeZone::get(name).is_err() {
        return Err(Error::invalid(
            here,
            "is not a time zone of the IANA database such as 'Europe/Berlin'",
        ));
    }
    let utc = ["UTC", "Etc/UTC"]
        .iter()
        .any(|utc| name.eq_ignore_ascii_case(utc));
    Ok((!utc).then(|| name.to_owned()))
}

fn fill(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Option<Fill>> {
    let Some(wire) = members.get("fill") else {
        return Ok(None);
    };
    Ok(Some(match wire.as_str() {
        Some("none") => return Ok(None),
        Some("null") => Fill::Null,
        Some("zero") => Fill::Zero,
        Some("previous") => Fill::Previous,
        Some("linear") => Fill::Linear,
        _ => {
            return Err(Error::invalid(
                path.key("fill"),
                format!(
                    "must be 'none', 'null', 'zero', 'previous' or 'linear', not {}",
                    shown(wire)
                ),
            ));
        }
    }))
}
