//! Aggregate functions.

use serde_json::{Map, Value as Wire};

use super::condition::{Condition, Names};
use crate::model::{
    Error, Result,
    field::{Column, Field, Kind},
    path::Path,
    wire::{field, instead, known_keys, object, text},
};

/// What is computed of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aggregate {
    /// The column's name.
    pub name: String,
    /// The function.
    pub function: Function,
    /// What it reads; `None` for a bare count.
    pub field: Option<Field>,
    /// Which rows it reads.
    pub filter: Option<Condition>,
}

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    /// Rows, or values.
    Count,
    /// Different values.
    CountDistinct,
    /// The sum of numbers, exact.
    Sum,
    /// The mean of numbers.
    Avg,
    /// The smallest.
    Min,
    /// The greatest.
    Max,
    /// The sample standard deviation.
    Stddev,
    /// The sample variance.
    Variance,
    /// The value below which this share of the numbers lies, interpolated.
    Percentile(Share),
    /// The most frequent value.
    Mode,
    /// The value of the first event.
    First,
    /// The value of the last event.
    Last,
}

/// A share between 0 and 1, by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Share(u64);

impl Share {
    /// The share as a number.
    pub const fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

const KEYS: [&str; 5] = ["fn", "field", "as", "where", "percentile"];
const FUNCTIONS: &str = "count, countDistinct, sum, avg, min, max, stddev, variance, median, percentile, mode, first, last, approxCountDistinct, approxPercentile";
/// PostgreSQL cuts longer names.
const MAX_NAME: usize = 1024;

impl Aggregate {
    /// Parses an aggregate as the API writes it.
    pub fn parse(wire: &Wire, path: &Path<'_>, names: Names<'_>, in_time: bool) -> Result<Self> {
        let members = object(
            wire,
            path,
            "an aggregate such as { fn: 'avg', field: 'data.durationMs' }",
        )?;
        known_keys(members, path, &KEYS)?;
        let here = path.key("fn");
        let name = members
            .get("fn")
            .ok_or_else(|| Error::invalid(here, format!("is missing; known are {FUNCTIONS}")))?;
        let name = text(name, &here)?;
        let function = function(name, members, path)?;
        let read = members
            .get("field")
            .map(|wire| field(wire, &path.key("field"), names))
            .transpose()?;
        if read.is_none() && function != Function::Count {
            return Err(Error::invalid(
                path.key("field"),
                format!("is missing: {name} needs one"),
            ));
        }
        if matches!(function, Function::First | Function::Last) && !in_time {
            return Err(Error::invalid(
                here,
                "is for events, whose order in time is known",
            ));
        }
        let filter = members
            .get("where")
            .map(|wire| Condition::parse(wire, &path.key("where"), names))
            .transpose()?;
        Ok(Self {
            name: column_name(name, members, path)?,
            function,
            field: read,
            filter,
        })
    }

    /// How the values compare, and whether they are numbers of SQL.
    pub fn kind(&self) -> (Kind, bool) {
        match (self.function, &self.field) {
            (Function::Min | Function::Max, Some(field)) => match field.kind() {
                Kind::Json => (Kind::Json, true),
                // It has no order in SQL before PostgreSQL 18, and that of its text.
                Kind::Uuid => (Kind::Text, false),
                kind => (kind, false),
            },
            (Function::Mode | Function::First | Function::Last, Some(field)) => {
                (field.kind(), false)
            }
            _ => (Kind::Json, true),
        }
    }

    /// Whether it counts, and so is 0 where there is nothing.
    pub const fn counts(&self) -> bool {
        matches!(self.function, Function::Count | Function::CountDistinct)
    }

    /// Whether its numbers are computed, and come as the nearest double.
    pub const fn is_computed(&self) -> bool {
        matches!(
            self.function,
            Function::Avg | Function::Stddev | Function::Variance | Function::Percentile(_)
        )
    }
}

fn function(name: &str, members: &Map<String, Wire>, path: &Path<'_>) -> Result<Function> {
    if members.contains_key("percentile") && !matches!(name, "percentile" | "approxPercentile") {
        return Err(Error::invalid(
            path.key("percentile"),
            "is for percentile and approxPercentile",
        ));
    }
    Ok(match name {
        "count" => Function::Count,
        // Exact: no estimate of the whole is needed while the server counts every value anyway.
        "countDistinct" | "approxCountDistinct" => Function::CountDistinct,
        "sum" => Function::Sum,
        "avg" => Function::Avg,
        "min" => Function::Min,
        "max" => Function::Max,
        "stddev" => Function::Stddev,
        "variance" => Function::Variance,
        "median" => Function::Percentile(Share(0.5_f64.to_bits())),
        "percentile" | "approxPercentile" => Function::Percentile(share(members, path)?),
        "mode" => Function::Mode,
        "first" => Function::First,
        "last" => Function::Last,
        _ => {
            return Err(Error::invalid(
                path.key("fn"),
                format!("is no aggregate function; known are {FUNCTIONS}"),
            ));
        }
    })
}

fn share(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Share> {
    let here = path.key("percentile");
    let wire = members
        .get("percentile")
        .ok_or_else(|| Error::invalid(here, "is missing: a share from 0 to 1"))?;
    match wire.as_f64() {
        // `+ 0.0` makes -0 the same share as 0.
        Some(share) if (0.0..=1.0).contains(&share) => Ok(Share((share + 0.0).to_bits())),
        _ => Err(Error::invalid(
            here,
            format!("must be a number from 0 to 1{}", instead(wire, "a number")),
        )),
    }
}

/// `as`, or the function's name and the last part of the path.
fn column_name(function: &str, members: &Map<String, Wire>, path: &Path<'_>) -> Result<String> {
    if let Some(wire) = members.get("as") {
        let here = path.key("as");
        let name = text(wire, &here)?;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Error::invalid(here, "is empty or longer than 1,024 bytes"));
        }
        return Ok(name.to_owned());
    }
    match members.get("field").and_then(Wire::as_str) {
        None => Ok(function.to_owned()),
        Some(field) if field.contains('[') => Err(Error::invalid(
            path.key("as"),
            "is missing: a path with brackets has no name of its own",
        )),
        Some(field) => {
            let last = field.rsplit_once('.').map_or(field, |(_, last)| last);
            Ok(format!("{function}_{last}"))
        }
    }
}

/// Columns of events that [`Function::First`] and [`Function::Last`] go by.
pub const EVENT_ORDER: [Column; 2] = [Column::Timestamp, Column::Id];
