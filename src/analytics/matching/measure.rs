//! The matchers alone, over events made in memory: for the benchmarks.

use std::time::{Duration, Instant};

use serde_json::{Value as Wire, json};

use super::pattern::{Matcher, Table, Value};
use super::{Events, sequence};
use crate::model::{Error, Result, catalog::Catalog};
use crate::query::{EventQuery, matching::Matching};

/// A pass of a few milliseconds is repeated until one was not interrupted: about so long, and so often.
const LONG_ENOUGH: Duration = Duration::from_millis(200);
const MAX_PASSES: usize = 100;

/// Finds the matches of a query among so many events, in so many partitions, again and again, and tells
/// how long the quickest pass took. Each event has one of the
/// conditions or none; `bits` are those that occur, all where it is 0. Values are a walk of small steps.
///
/// # Errors
/// What is wrong with the query, and that of the matcher.
pub fn measure(query: &str, events: u32, partitions: u32, bits: u64) -> Result<Wire> {
    let wire: Wire =
        serde_json::from_str(query).map_err(|e| Error::invalid("", format!("is not JSON: {e}")))?;
    let query = EventQuery::parse(&wire, &Catalog::default())?;
    let conditions = match &query.matching {
        Some(Matching::Sequence(sequence)) => sequence.conditions.0.len(),
        Some(Matching::Pattern(pattern)) => pattern.conditions.0.len(),
        _ => return Err(Error::invalid("", "is no sequence and no pattern")),
    };
    let each = (events / partitions.max(1)).max(1) as usize;
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % below
    };
    let mut price = 1000_i64;
    let (mut times, mut masks, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let width = match &query.matching {
        Some(Matching::Pattern(pattern)) => pattern.fields.len(),
        _ => 0,
    };
    let wanted = if bits == 0 { u64::MAX } else { bits };
    for i in 0..i64::from(events) {
        times.push(i * 1_000_000);
        let bit = random(conditions as u64 + 1);
        let mask = if bit < conditions as u64 { 1 << bit } else { 0 };
        masks.push(if bits.is_power_of_two() {
            bits
        } else {
            mask & wanted
        });
        price += i64::try_from(random(7)).unwrap_or(0) - 3;
        values.extend((0..width).map(|_| Value::Integer(price)));
    }
    let matcher = match &query.matching {
        Some(Matching::Pattern(pattern)) => Some(Matcher::new(pattern)?),
        _ => None,
    };
    let mut reach = matcher.as_ref().map(Matcher::reach);
    let mut pass = || -> Result<u64> {
        let mut found = 0_u64;
        for from in (0..masks.len()).step_by(each) {
            let to = (from + each).min(masks.len());
            let events = Events {
                watch: None,
                times: &times[from..to],
                masks: &masks[from..to],
            };
            match &query.matching {
                Some(Matching::Sequence(sequence)) => {
                    sequence::find(sequence, events, &mut |_, _| {
                        found += 1;
                        Ok(())
                    })?;
                }
                Some(Matching::Pattern(_)) => {
                    let table = Table {
                        events,
                        values: &values[from * width..to * width],
                        width,
                    };
                    if let (Some(matcher), Some(reach)) = (&matcher, &mut reach) {
                        matcher.find(table, reach, &mut |_| {
                            found += 1;
                            Ok(())
                        })?;
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    };
    // The first pass gets the memory from the system, which costs more than the matching of it.
    let found = pass()?;
    let begun = Instant::now();
    let mut best = f64::INFINITY;
    for _ in 0..MAX_PASSES {
        let since = Instant::now();
        pass()?;
        best = best.min(since.elapsed().as_secs_f64());
        if begun.elapsed() > LONG_ENOUGH {
            break;
        }
    }
    Ok(json!({ "events": masks.len(), "matches": found, "seconds": best }))
}
