//! The matches of a pattern: kept small while they are found, written when all are.

use std::{cmp::Ordering, ops::Range};

use serde_json::{Value as Wire, json};
use uuid::Uuid;

use super::answer::{Matches, Texts, key_text};
use super::gathered::compare;
use super::kept::{Found as All, TakeUp};
use super::key::{self, Key};
use super::output::{events, millis};
use super::partition::Partition;
use super::pattern::{Found, Matcher, Reach, Table, Value};
use super::sequences::{MAX_EVENTS, MAX_MATCHES, too_many};
use crate::exec::{BigintMode, IntoAscii};
use crate::model::{
    Error, Result,
    field::{Field, Kind},
};
use crate::query::matching::{Pattern, Rows};

#[derive(Clone, Copy, Debug)]
struct Match {
    key: u32,
    /// Its row in the answer, where it was sent with one.
    row: Option<u32>,
    /// `None` for an event that is in no match.
    number: Option<u64>,
    at: Uuid,
    /// Its first event among `ids`, and the first of the next.
    events: (usize, usize),
    /// Its measures among `texts`.
    measures: (usize, usize),
    micros: i64,
}

/// Matches, their keys, and what is told of their events.
#[derive(Debug, Default)]
pub struct FoundPatterns {
    keys: Vec<Key>,
    matches: Vec<Match>,
    ids: Vec<Uuid>,
    /// The variable of each event.
    classifiers: Vec<u8>,
    /// Measures as JSON: of a match, then of its rows.
    texts: Vec<u8>,
}

impl FoundPatterns {
    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        key::weight(&self.keys)
            + self.matches.capacity() * size_of::<Match>()
            + self.ids.capacity() * size_of::<Uuid>()
            + self.classifiers.capacity()
            + self.texts.capacity()
    }

    /// Refuses more than there may be.
    fn check(&self) -> Result<()> {
        if self.matches.len() as u64 > MAX_MATCHES
            || self.ids.len() > MAX_EVENTS
            || self.texts.len() > MAX_TEXT
        {
            return Err(too_many(None));
        }
        Ok(())
    }

    /// Adds a match of others, as one of the key of this number.
    fn add(&mut self, others: &Self, found: &Match, key: u32) {
        let (events, measures) = (self.ids.len(), self.texts.len());
        let part = |(from, to): (usize, usize)| from..to;
        self.ids.extend_from_slice(&others.ids[part(found.events)]);
        (self.classifiers).extend_from_slice(&others.classifiers[part(found.events)]);
        (self.texts).extend_from_slice(&others.texts[part(found.measures)]);
        self.matches.push(Match {
            key,
            events: (events, self.ids.len()),
            measures: (measures, self.texts.len()),
            ..*found
        });
    }
}

/// What was found so far.
pub struct Patterns<'q> {
    pattern: &'q Pattern,
    matcher: Matcher<'q>,
    reach: Reach,
    kinds: Vec<Kind>,
    mode: BigintMode,
    found: FoundPatterns,
    /// Whether keys are out of order.
    mixed: bool,
}

/// Bytes of measures of all matches.
const MAX_TEXT: usize = 1 << 29;

impl<'q> Patterns<'q> {
    /// Nothing was found yet.
    ///
    /// # Errors
    /// INVALID_QUERY where the pattern is too large.
    pub fn new(pattern: &'q Pattern, kinds: Vec<Kind>, mode: BigintMode) -> Result<Self> {
        let matcher = Matcher::new(pattern)?;
        Ok(Self {
            reach: matcher.reach(),
            matcher,
            pattern,
            kinds,
            mode,
            found: FoundPatterns::default(),
            mixed: false,
        })
    }
}

impl Matches for Patterns<'_> {
    fn partition(&mut self, partition: &Partition) -> Result<()> {
        let width = self.pattern.fields.len();
        let kinds: Vec<_> = self.pattern.fields.iter().map(Field::kind).collect();
        let values: Vec<Value> = (partition.values.iter().enumerate())
            .map(|(i, bytes)| Value::read(kinds[i % width], bytes.as_deref()))
            .collect();
        let table = Table {
            events: partition.events(),
            values: &values,
            width,
        };
        let Self {
            pattern,
            matcher,
            reach,
            found,
            ..
        } = self;
        let FoundPatterns {
            keys,
            matches,
            ids,
            classifiers,
            texts,
        } = found;
        let before = matches.len();
        let key = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        matcher.find(table, reach, &mut |found| {
            if matches.len() as u64 >= MAX_MATCHES
                || ids.len() >= MAX_EVENTS
                || texts.len() >= MAX_TEXT
            {
                return Err(too_many(None));
            }
            let (from, text) = (ids.len(), texts.len());
            for (i, (variable, excluded)) in found.rows.iter().enumerate() {
                if !excluded {
                    ids.push(partition.ids[found.start + i]);
                    classifiers.push(u8::try_from(*variable).unwrap_or(u8::MAX));
                }
            }
            write_measures(texts, pattern, matcher, table, found);
            let last = found.start + found.rows.len().saturating_sub(1);
            matches.push(Match {
                key,
                row: None,
                number: found.number,
                at: partition.ids[found.start],
                events: (from, ids.len()),
                measures: (text, texts.len()),
                micros: partition.times[last].saturating_sub(partition.times[found.start]),
            });
            Ok(())
        })?;
        if matches.len() > before {
            keys.push(Key {
                text: key_text(partition, &self.kinds, &self.pattern.key, self.mode)?,
                fields: partition.fields(),
            });
        }
        Ok(())
    }

    fn absorb(&mut self, others: Self) -> Result<()> {
        let (found, others) = (&mut self.found, others.found);
        let (keys, ids, texts) = (found.keys.len(), found.ids.len(), found.texts.len());
        let behind = |(from, to): (usize, usize), n: usize| (from + n, to + n);
        found
            .matches
            .extend(others.matches.into_iter().map(|found| {
                Match {
                    key: found
                        .key
                        .saturating_add(u32::try_from(keys).unwrap_or(u32::MAX)),
                    events: behind(found.events, ids),
                    measures: behind(found.measures, texts),
                    ..found
                }
            }));
        found.keys.extend(others.keys);
        found.ids.extend(others.ids);
        found.classifiers.extend(others.classifiers);
        found.texts.extend(others.texts);
        found.check()
    }

    fn take_up(&mut self, kept: &TakeUp<'_>) -> Result<()> {
        let All::Patterns(kept_of) = kept.found else {
            return Ok(());
        };
        let found = &mut self.found;
        // What each key's number is from now on, where it goes on.
        let mut numbers = vec![None; kept_of.keys.len()];
        for (number, key) in numbers.iter_mut().zip(&kept_of.keys) {
            if !(kept.is_read)(&key.fields) {
                *number = Some(u32::try_from(found.keys.len()).unwrap_or(u32::MAX));
                found.keys.push(key.clone());
            }
        }
        for old in &kept_of.matches {
            if let Some(key) = numbers[old.key as usize] {
                found.add(kept_of, old, key);
            }
        }
        self.mixed = true;
        found.check()
    }

    fn keep(&mut self, page: &Range<usize>) -> All {
        for (i, found) in self.found.matches.iter_mut().enumerate() {
            let row = page.contains(&i).then(|| i - page.start);
            found.row = row.and_then(|row| u32::try_from(row).ok());
        }
        All::Patterns(std::mem::take(&mut self.found))
    }

    fn row_of(&self, i: usize) -> Option<usize> {
        self.found.matches[i].row.map(|row| row as usize)
    }

    fn finish(&mut self) {
        if self.mixed {
            let FoundPatterns { keys, matches, .. } = &mut self.found;
            let fields = |found: &Match| &*keys[found.key as usize].fields;
            // Those of one key stay in their order.
            matches.sort_by(|a, b| {
                if a.key == b.key {
                    return Ordering::Equal;
                }
                compare(fields(a), fields(b), &self.kinds)
            });
        }
    }

    fn len(&self) -> usize {
        self.found.matches.len()
    }

    fn ids(&self, i: usize, out: &mut Vec<Uuid>) {
        let found = &self.found.matches[i];
        out.push(found.at);
        out.extend_from_slice(&self.found.ids[found.events.0..found.events.1]);
    }

    fn header(&self) -> String {
        let variables: Vec<_> = self.pattern.variables.iter().map(|v| &v.name).collect();
        let measures: Vec<_> = self.pattern.measures.iter().map(|(name, _)| name).collect();
        let header = json!({
            "kind": "pattern",
            "key": self.pattern.key,
            "variables": variables,
            "measures": measures,
            "rowMeasures": self.pattern.rows != Rows::One,
        });
        format!("\"matches\":{header}")
    }

    fn write(&self, i: usize, texts: &Texts, out: &mut Vec<u8>) -> Result<()> {
        let found = &self.found.matches[i];
        let text = |id: &Uuid| texts.get(id).map(AsRef::as_ref);
        out.extend_from_slice(&self.found.keys[found.key as usize].text);
        let number = found.number.map_or("null".to_owned(), |n| n.to_string());
        out.extend_from_slice(format!(",{number},").as_bytes());
        events(out, [&found.at], text)?;
        out.push(b',');
        let (from, to) = found.events;
        events(out, &self.found.ids[from..to], text)?;
        out.extend_from_slice(b",[");
        for (i, variable) in self.found.classifiers[from..to].iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(variable.to_string().as_bytes());
        }
        out.extend_from_slice(b"],");
        out.extend_from_slice(&self.found.texts[found.measures.0..found.measures.1]);
        out.push(b',');
        millis(out, found.micros);
        Ok(())
    }
}

/// Appends the measures of a match and a list of those at its rows.
fn write_measures(
    out: &mut Vec<u8>,
    pattern: &Pattern,
    matcher: &Matcher<'_>,
    table: Table<'_>,
    found: &Found<'_>,
) {
    if pattern.measures.is_empty() {
        return out.extend_from_slice(b"[],[]");
    }
    let mut rows: Vec<Wire> = Vec::new();
    let all = pattern.rows != Rows::One;
    matcher.measure(table, found, |excluded| all && !excluded, &mut |values| {
        rows.push(values.iter().map(Value::to_json).collect());
    });
    // The last are those at the end.
    let last = rows.pop().unwrap_or(Wire::Null);
    let text = format!("{last},{}", Wire::Array(rows));
    out.extend_from_slice(&text.into_bytes_ascii());
}

/// A pattern whose program cannot be made is refused before anything is asked.
///
/// # Errors
/// INVALID_QUERY
pub fn check(pattern: &Pattern) -> Result<(), Error> {
    Matcher::new(pattern).map(drop)
}
