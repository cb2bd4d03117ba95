//! Functions over a row and its neighbours.

use serde_json::{Map, Value as Wire};

use super::row::Row;
use crate::model::{
    Error, Result,
    field::{Column as EventColumn, Field, Kind},
    path::Path,
    wire::{field, instead, known_keys, list, text, whole},
};
use crate::query::{OrderBy, order};

/// A window function and its window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowCall {
    /// The function.
    pub function: WindowFunction,
    /// What it reads; none for those that read no value.
    pub field: Option<Field>,
    /// Rows that agree in these are neighbours.
    pub partition: Vec<Field>,
    /// Their order: total, but for `rank`, which gives equal rows the same.
    pub order: Vec<OrderBy>,
}

/// A window function.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowFunction {
    /// The value so many rows before.
    Lag(u64),
    /// The value so many rows behind.
    Lead(u64),
    /// One more than the rows that sort before.
    Rank,
    /// Which row it is.
    RowNumber,
    /// The sum up to here.
    RunningSum,
    /// The mean of so many rows that end here.
    MovingAvg(u64),
    /// Exponentially weighted: this share of the number here, the rest of what was before.
    Ewma(f64),
    /// The difference from the row before.
    Delta,
    /// That difference in a second of this time.
    Rate(Field),
}

const KEYS: [&str; 7] = [
    "function",
    "field",
    "partitionBy",
    "orderBy",
    "size",
    "alpha",
    "as",
];
const MAX_SIZE: u64 = 1_000_000;

impl WindowCall {
    /// Parses `window`, but for `as`.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(members: &Map<String, Wire>, path: &Path<'_>, row: &Row) -> Result<Self> {
        known_keys(members, path, &KEYS)?;
        let names = |name: &str| row.field(name);
        let mut partition = Vec::new();
        if let Some(wire) = members.get("partitionBy") {
            let here = path.key("partitionBy");
            for (i, item) in list(wire, &here, "fields")?.iter().enumerate() {
                partition.push(field(item, &here.index(i), names)?);
            }
        }
        let given = match members.get("orderBy") {
            Some(wire) => order::parse(wire, &path.key("orderBy"), &names)?,
            None => Vec::new(),
        };
        let first = match (given.is_empty(), row.order.is_empty()) {
            (false, _) => &given,
            (true, false) => &row.order,
            (true, true) => &row.natural,
        };
        let total = order::total_order(first, &row.keys);
        let here = path.key("function");
        let name = members
            .get("function")
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        let function = match text(name, &here)? {
            "lag" => WindowFunction::Lag(size(members, path)?.unwrap_or(1)),
            "lead" => WindowFunction::Lead(size(members, path)?.unwrap_or(1)),
            "rank" => WindowFunction::Rank,
            "rowNumber" => WindowFunction::RowNumber,
            "runningSum" => WindowFunction::RunningSum,
            "movingAvg" => WindowFunction::MovingAvg(size(members, path)?.ok_or_else(|| {
                Error::invalid(path.key("size"), "is missing: how many rows the mean is of")
            })?),
            "ewma" => WindowFunction::Ewma(alpha(members, path)?),
            "delta" => WindowFunction::Delta,
            "rate" => WindowFunction::Rate(time(&total, row, path)?),
            _ => {
                return Err(Error::invalid(
                    here,
                    "is no function; known are lag, lead, rank, rowNumber, runningSum, movingAvg, ewma, delta, rate",
                ));
            }
        };
        let reads = !matches!(function, WindowFunction::Rank | WindowFunction::RowNumber);
        let read = members
            .get("field")
            .map(|wire| field(wire, &path.key("field"), names))
            .transpose()?;
        match (&read, reads) {
            (None, true) => return Err(Error::invalid(path.key("field"), "is missing")),
            (Some(_), false) => {
                return Err(Error::invalid(
                    path.key("field"),
                    "is not read by this function",
                ));
            }
            _ => {}
        }
        for (key, used) in [
            ("size", function.has_size()),
            ("alpha", function.has_alpha()),
        ] {
            if members.contains_key(key) && !used {
                return Err(Error::invalid(path.key(key), "is not for this function"));
            }
        }
        let order = if function == WindowFunction::Rank && !given.is_empty() {
            given
        } else {
            total
        };
        Ok(Self {
            function,
            field: read,
            partition,
            order,
        })
    }
}

impl WindowFunction {
    const fn has_size(&self) -> bool {
        matches!(
            self,
            Self::Lag(_) | Self::Lead(_) | Self::MovingAvg(_) | Self::Ewma(_)
        )
    }

    const fn has_alpha(&self) -> bool {
        matches!(self, Self::Ewma(_))
    }
}

fn size(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Option<u64>> {
    let here = path.key("size");
    let Some(wire) = members.get("size") else {
        return Ok(None);
    };
    match whole(wire, &here)? {
        size @ 1..=MAX_SIZE => Ok(Some(size)),
        _ => Err(Error::invalid(here, "must be from 1 to 1,000,000 rows")),
    }
}

/// `alpha`, or that of a mean over `size` rows: 2 ÷ (size + 1).
#[allow(clippy::cast_precision_loss)] // At most a million.
fn alpha(members: &Map<String, Wire>, path: &Path<'_>) -> Result<f64> {
    let here = path.key("alpha");
    match (members.get("alpha"), size(members, path)?) {
        (Some(_), Some(_)) => Err(Error::invalid(here, "does not go with size")),
        (None, Some(size)) => Ok(2.0 / (size as f64 + 1.0)),
        (None, None) => Err(Error::invalid(
            here,
            "is missing: the weight of a row, above 0 and up to 1",
        )),
        (Some(wire), None) => (wire.as_f64())
            .filter(|alpha| *alpha >= 1e-6 && *alpha <= 1.0)
            .ok_or_else(|| {
                Error::invalid(
                    here,
                    format!(
                        "must be a number from 0.000001 to 1{}",
                        instead(wire, "a number")
                    ),
                )
            }),
    }
}

/// The time of a rate: what rows are ordered by, or that of events.
fn time(order: &[OrderBy], row: &Row, path: &Path<'_>) -> Result<Field> {
    match order.first() {
        Some(first) if first.field.kind() == Kind::Time => Ok(first.field.clone()),
        _ if row.event => Ok(Field::Column(EventColumn::Timestamp)),
        _ => Err(Error::invalid(
            path.key("orderBy"),
            "must begin with a time: a rate is by the second",
        )),
    }
}
