//! Where the level of a series shifts: PELT (Killick, Fearnhead and Eckley, 'Optimal Detection of
//! Changepoints With a Linear Computational Cost', 2012) over the means of segments.
//!
//! The cost of a segment is its squared error, a shift costs 2·σ²·ln n, and a segment has two points
//! at least. σ is estimated from the differences of neighbours, which shifts hardly touch.

use std::borrow::Cow;

use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};
use serde_json::{Map, Value as Wire, json};
use sqlx::{Row, ValueRef, postgres::PgRow, types::BigDecimal};

use super::Made;
use crate::exec::{Batch, Engine, Frame, IntoAscii, Stop, Strategy, arguments, sql_text};
use crate::model::{Error, Result, path::Path, time::Timestamp, wire::known_keys};
use crate::query::{EventQuery, Hints};
use crate::sql::{Purpose, Statement};

const KEYS: [&str; 6] = [
    "op",
    "filter",
    "timeWindow",
    "timeBucket",
    "aggregate",
    "hints",
];
/// The fewest points of a segment.
const SHORTEST: usize = 2;

struct Changepoints {
    series: EventQuery,
    statement: Statement,
}

/// What answers a question, and how it is to be run.
pub fn asked(engine: &Engine, members: &Map<String, Wire>) -> Result<(Made, Hints)> {
    let query = series(members, engine)?;
    let statement = engine.plan(&query, Purpose::Stream)?.statement;
    let hints = query.hints.clone();
    let made = Made {
        events: query.clone(),
        strategy: Some(Box::new(Changepoints {
            series: query,
            statement: statement.clone(),
        })),
        statement,
    };
    Ok((made, hints))
}

/// The grouped query of a question.
fn series(members: &Map<String, Wire>, engine: &Engine) -> Result<EventQuery> {
    known_keys(members, &Path::Root, &KEYS)?;
    for part in ["timeBucket", "aggregate"] {
        if !members.contains_key(part) {
            return Err(Error::invalid(
                part,
                "is missing: a series has buckets and a number in each",
            ));
        }
    }
    let mut query = members.clone();
    query.remove("op");
    query.entry("filter").or_insert_with(|| json!({}));
    let mut aggregate = query.remove("aggregate").unwrap_or_default();
    if let Some(members) = aggregate.as_object_mut() {
        members.insert("as".to_owned(), "value".into());
    }
    query.insert("aggregates".to_owned(), json!([aggregate]));
    let query =
        EventQuery::parse(&Wire::Object(query), &engine.catalog()).map_err(in_the_singular)?;
    let aggregates = query.grouping.iter().flat_map(|g| &g.aggregates);
    if let Some(aggregate) = aggregates.last()
        && !aggregate.kind().1
    {
        return Err(Error::invalid(
            "aggregate.fn",
            "gives no numbers: levels are of numbers",
        ));
    }
    Ok(query)
}

/// The caller gave one aggregate, not a list.
fn in_the_singular(error: Error) -> Error {
    let singular = |path: &str| path.replacen("aggregates[0]", "aggregate", 1);
    match error {
        Error::InvalidQuery { path, problem } => Error::InvalidQuery {
            path: singular(&path),
            problem,
        },
        Error::UnknownField { path, field } => Error::UnknownField {
            path: singular(&path),
            field,
        },
        other => other,
    }
}

impl Strategy for Changepoints {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        async move {
            let statement = match frame.clock() {
                None => Cow::Borrowed(&self.statement),
                clock => {
                    let planned = (frame.engine).plan_at(&self.series, Purpose::Stream, clock)?;
                    Cow::Owned(planned.statement)
                }
            };
            let values = arguments(&statement.binds)?;
            let mut lease = frame.lease().await?;
            let mut points = Vec::new();
            let read = async {
                let driver = &mut lease.connection().driver;
                let mut rows = sqlx::query_with(sql_text(&statement.sql), values).fetch(driver);
                while let Some(row) = rows.try_next().await? {
                    points.extend(point(&row).map_err(Stop::Ours)?);
                }
                Ok(())
            }
            .await;
            lease.settle(&read);
            read.map_err(Error::from)?;
            Ok(answer(frame, &points))
        }
        .boxed()
    }
}

/// The bucket and its number; none where it is NULL.
fn point(row: &PgRow) -> Result<Option<(Timestamp, f64)>> {
    let wrong = |e: sqlx::Error| Error::Internal(e.to_string().into());
    let raw = row.try_get_raw(0).map_err(wrong)?;
    let micros = raw.as_bytes().ok().and_then(|b| b.try_into().ok());
    let bucket = micros.map(|bytes| Timestamp::from_postgres(i64::from_be_bytes(bytes)));
    if row.try_get_raw(1).map_err(wrong)?.is_null() {
        return Ok(None);
    }
    // A count, a percentile or any other number.
    #[allow(clippy::cast_precision_loss)] // Counts are far below 2^53.
    let number = if let Ok(count) = row.try_get::<i64, _>(1) {
        count as f64
    } else if let Ok(double) = row.try_get::<f64, _>(1) {
        double
    } else {
        let decimal: BigDecimal = row.try_get(1).map_err(wrong)?;
        let double = decimal.to_plain_string().parse().ok();
        double
            .filter(|d: &f64| d.is_finite())
            .ok_or(Error::BeyondDouble)?
    };
    Ok(bucket.map(|bucket| (bucket, number)))
}

fn answer(frame: &Frame<'_>, points: &[(Timestamp, f64)]) -> Batch {
    let numbers: Vec<f64> = points.iter().map(|(_, number)| *number).collect();
    let starts = segments(&numbers);
    let ends = starts.iter().skip(1).copied().chain([numbers.len()]);
    let levels: Vec<f64> = starts
        .iter()
        .zip(ends)
        .map(|(&from, to)| mean(&numbers[from..to]))
        .collect();
    let mut rows = Vec::new();
    for (start, level) in starts.iter().skip(1).zip(levels.windows(2)) {
        rows.extend([
            json!(points[*start].0.to_string()),
            json!(level[0]),
            json!(level[1]),
        ]);
    }
    let count = rows.len() as u64 / 3;
    let end = frame.end(count, &frame.engine.pool.seen_snapshot());
    // The rows first and what is said of them behind, as in every last batch.
    let mut json = format!(
        r#"{{"columns":["bucket","before","after"],"rows":{}"#,
        Wire::Array(rows)
    );
    json.pop(); // the list's end, which the last batch writes
    Batch::last(json.into_bytes_ascii(), &end)
}

#[allow(clippy::cast_precision_loss)] // Far fewer than 2^53 points.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Where the segments of the best cut begin; the first at 0.
#[allow(clippy::cast_precision_loss)]
fn segments(values: &[f64]) -> Vec<usize> {
    let n = values.len();
    if n < 2 * SHORTEST {
        return if n == 0 { Vec::new() } else { vec![0] };
    }
    // Around their mean, so that squares do not cancel.
    let centre = mean(values);
    let (mut sums, mut squares) = (vec![0.0], vec![0.0]);
    for (i, value) in values.iter().map(|value| value - centre).enumerate() {
        sums.push(sums[i] + value);
        squares.push(squares[i] + value * value);
    }
    let cost = |from: usize, to: usize| {
        let sum: f64 = sums[to] - sums[from];
        (squares[to] - squares[from] - sum * sum / (to - from) as f64).max(0.0)
    };
    // Without any noise a shift still has to gain something.
    let least = 1e-6 * cost(0, n) / n as f64;
    let penalty = (2.0 * noise(values).powi(2) * (n as f64).ln()).max(least);
    if penalty <= 0.0 {
        return vec![0];
    }
    let mut best = vec![f64::INFINITY; n + 1];
    let mut previous = vec![0; n + 1];
    best[0] = -penalty;
    let mut candidates = vec![0];
    for to in SHORTEST..=n {
        for &from in &candidates {
            let total = best[from] + cost(from, to) + penalty;
            if total < best[to] {
                (best[to], previous[to]) = (total, from);
            }
        }
        // What is beaten without its penalty can never win again.
        candidates.retain(|&from| best[from] + cost(from, to) <= best[to]);
        let next = to + 1 - SHORTEST;
        if next >= SHORTEST {
            candidates.push(next);
        }
    }
    let mut starts = Vec::new();
    let mut end = n;
    while end > 0 {
        end = previous[end];
        starts.push(end);
    }
    starts.reverse();
    starts
}

/// The standard deviation around the levels.
fn noise(values: &[f64]) -> f64 {
    let mut steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = median(&mut steps);
    let mut distances: Vec<f64> = steps.iter().map(|step| (step - middle).abs()).collect();
    median(&mut distances) / (0.6745 * std::f64::consts::SQRT_2)
}

#[cfg(test)]
#[allow(clippy::cast_precision_loss)] // Small numbers.
mod tests {
    use super::segments;

    /// All cuts, tried one by one.
    fn exhaustive(values: &[f64], penalty: f64) -> f64 {
        let n = values.len();
        let cost = |part: &[f64]| {
            let mean = super::mean(part);
            part.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
        };
        (0..1_u32 << (n - 1))
            .filter_map(|cuts| {
                let mut starts = vec![0];
                starts.extend((1..n).filter(|i| cuts >> (i - 1) & 1 == 1));
                starts.push(n);
                let parts = starts.windows(2);
                if parts.clone().any(|p| p[1] - p[0] < super::SHORTEST) {
                    return None;
                }
                let errors: f64 = parts.map(|p| cost(&values[p[0]..p[1]])).sum();
                Some(errors + penalty * (starts.len() - 2) as f64)
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn the_cut_is_the_best_of_all() {
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f64 / f64::from(1 << 24)
        };
        for _ in 0..40 {
            let levels = [random() * 9.0, random() * 9.0, random() * 9.0];
            let values: Vec<f64> = (0..14).map(|i| levels[i / 5] + random()).collect();
            let penalty = 2.0 * super::noise(&values).powi(2) * 14_f64.ln();
            let starts = segments(&values);
            let ends = starts.iter().skip(1).copied().chain([14]);
            let mut found = penalty * (starts.len() - 1) as f64;
            for (&from, to) in starts.iter().zip(ends) {
                let mean = super::mean(&values[from..to]);
                found += values[from..to]
                    .iter()
                    .map(|v| (v - mean).powi(2))
                    .sum::<f64>();
            }
            assert!((found - exhaustive(&values, penalty)).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_level_has_no_shift() {
        assert_eq!(segments(&[3.0; 50]), [0]);
        assert_eq!(segments(&[1.0, 9.0]), [0]);
        assert!(segments(&[]).is_empty());
        let step: Vec<f64> = (0..20).map(|i| if i < 7 { 1.0 } else { 2.0 }).collect();
        assert_eq!(segments(&step), [0, 7]);
    }
}
