//! The matches of a pattern: kept small while they are found, written when all are.

use serde_json::{Value as Wire, json};
use uuid::Uuid;

use super::answer::{Matches, Texts, key_text};
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

struct Match {
    key: u32,
    /// `None` for an event that is in no match.
    number: Option<u64>,
    at: Uuid,
    /// Its first event among `ids`, and the first of the next.
    events: (usize, usize),
    /// Its measures among `texts`.
    measures: (usize, usize),
    micros: i64,
}

/// What was found so far.
pub struct Patterns<'q> {
    pattern: &'q Pattern,
    matcher: Matcher<'q>,
    reach: Reach,
    kinds: Vec<Kind>,
    mode: BigintMode,
    keys: Vec<Vec<u8>>,
    matches: Vec<Match>,
    ids: Vec<Uuid>,
    /// The variable of each event.
    classifiers: Vec<u8>,
    /// Measures as JSON: of a match, then of its rows.
    texts: Vec<u8>,
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
            keys: Vec::new(),
            matches: Vec::new(),
            ids: Vec::new(),
            classifiers: Vec::new(),
            texts: Vec::new(),
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
        let (before, key) = (self.matches.len(), self.keys.len());
        let key = u32::try_from(key).unwrap_or(u32::MAX);
        let Self {
            pattern,
            matcher,
            reach,
            matches,
            ids,
            classifiers,
            texts,
            ..
        } = self;
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
                number: found.number,
                at: partition.ids[found.start],
                events: (from, ids.len()),
                measures: (text, texts.len()),
                micros: partition.times[last].saturating_sub(partition.times[found.start]),
            });
            Ok(())
        })?;
        if self.matches.len() > before {
            self.keys.push(key_text(
                partition,
                &self.kinds,
                &self.pattern.key,
                self.mode,
            )?);
        }
        Ok(())
    }

    fn absorb(&mut self, others: Self) -> Result<()> {
        let (keys, ids, texts) = (self.keys.len(), self.ids.len(), self.texts.len());
        if (self.matches.len() + others.matches.len()) as u64 > MAX_MATCHES
            || ids + others.ids.len() > MAX_EVENTS
            || texts + others.texts.len() > MAX_TEXT
        {
            return Err(too_many(None));
        }
        let behind = |(from, to): (usize, usize), n: usize| (from + n, to + n);
        self.matches.extend(others.matches.into_iter().map(|found| {
            Match {
                key: found
                    .key
                    .saturating_add(u32::try_from(keys).unwrap_or(u32::MAX)),
                events: behind(found.events, ids),
                measures: behind(found.measures, texts),
                ..found
            }
        }));
        self.keys.extend(others.keys);
        self.ids.extend(others.ids);
        self.classifiers.extend(others.classifiers);
        self.texts.extend(others.texts);
        Ok(())
    }

    fn finish(&mut self) {}

    fn len(&self) -> usize {
        self.matches.len()
    }

    fn ids(&self, i: usize, out: &mut Vec<Uuid>) {
        let found = &self.matches[i];
        out.push(found.at);
        out.extend_from_slice(&self.ids[found.events.0..found.events.1]);
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
        let found = &self.matches[i];
        let text = |id: &Uuid| texts.get(id).map(AsRef::as_ref);
        out.extend_from_slice(&self.keys[found.key as usize]);
        let number = found.number.map_or("null".to_owned(), |n| n.to_string());
        out.extend_from_slice(format!(",{number},").as_bytes());
        events(out, [&found.at], text)?;
        out.push(b',');
        let (from, to) = found.events;
        events(out, &self.ids[from..to], text)?;
        out.extend_from_slice(b",[");
        for (i, variable) in self.classifiers[from..to].iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(variable.to_string().as_bytes());
        }
        out.extend_from_slice(b"],");
        out.extend_from_slice(&self.texts[found.measures.0..found.measures.1]);
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
