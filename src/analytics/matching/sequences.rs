//! The matches of a sequence: kept small while they are found, written when all are.

use std::{cmp::Ordering, ops::Range};

use serde_json::json;
use uuid::Uuid;

use super::answer::{Matches, Texts, key_text};
use super::gathered::compare;
use super::kept::{Found, TakeUp};
use super::key::{self, Key};
use super::output::{events, millis, time};
use super::partition::Partition;
use super::sequence;
use crate::exec::BigintMode;
use crate::model::{Error, Result, field::Kind};
use crate::query::matching::Sequence;

/// Matches where the caller sets no limit.
pub const MAX_MATCHES: u64 = 1_000_000;
/// Events of all matches.
pub const MAX_EVENTS: usize = 1 << 25;

#[derive(Clone, Copy, Debug)]
struct Match {
    /// When it was complete: its last event's time. The id is that of its last event.
    ended: i64,
    started: i64,
    key: u32,
    /// Its row in the answer, where it was sent with one.
    row: Option<u32>,
    /// Its first event among `ids`.
    from: usize,
    /// Until when what is absent behind it could still come.
    until: Option<i64>,
}

/// Matches, their keys and the ids of their events.
#[derive(Debug, Default)]
pub struct FoundSequences {
    keys: Vec<Key>,
    matches: Vec<Match>,
    ids: Vec<Uuid>,
}

impl FoundSequences {
    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        key::weight(&self.keys)
            + self.matches.capacity() * size_of::<Match>()
            + self.ids.capacity() * size_of::<Uuid>()
    }
}

/// What was found so far.
pub struct Sequences<'q> {
    sequence: &'q Sequence,
    kinds: Vec<Kind>,
    mode: BigintMode,
    /// When the data ends: what is absent until then may still come.
    end: i64,
    found: FoundSequences,
}

impl<'q> Sequences<'q> {
    /// Nothing was found yet.
    pub fn new(sequence: &'q Sequence, kinds: Vec<Kind>, mode: BigintMode, end: i64) -> Self {
        Self {
            sequence,
            kinds,
            mode,
            end,
            found: FoundSequences::default(),
        }
    }

    fn ids_of(&self, found: &Match) -> &[Uuid] {
        &self.found.ids[found.from..found.from + self.sequence.stages.len()]
    }

    fn write_open(&self, i: usize, out: &mut Vec<u8>) {
        let until = self.found.matches[i].until;
        let open = until.is_some_and(|until| until >= self.end);
        out.extend_from_slice(OPEN[usize::from(open)]);
    }
}

/// Whether a match is open, as a row ends.
const OPEN: [&[u8]; 2] = [b",false", b",true"];

/// Refuses more than there may be.
fn check(sequence: &Sequence, all: &[&FoundSequences]) -> Result<()> {
    let limit = sequence.max_matches;
    let matches: usize = all.iter().map(|found| found.matches.len()).sum();
    let events: usize = all.iter().map(|found| found.ids.len()).sum();
    if matches as u64 > limit.unwrap_or(MAX_MATCHES) || events > MAX_EVENTS {
        return Err(too_many(limit));
    }
    Ok(())
}

impl Matches for Sequences<'_> {
    fn partition(&mut self, partition: &Partition) -> Result<()> {
        let FoundSequences { keys, matches, ids } = &mut self.found;
        let (before, limit) = (matches.len(), self.sequence.max_matches);
        let key = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        sequence::find(
            self.sequence,
            partition.events(),
            &mut |positions, until| {
                if matches.len() as u64 >= limit.unwrap_or(MAX_MATCHES) || ids.len() >= MAX_EVENTS {
                    return Err(too_many(limit));
                }
                let (first, last) = (positions[0], positions[positions.len() - 1]);
                matches.push(Match {
                    started: partition.times[first as usize],
                    ended: partition.times[last as usize],
                    key,
                    row: None,
                    from: ids.len(),
                    until,
                });
                ids.extend(positions.iter().map(|p| partition.ids[*p as usize]));
                Ok(())
            },
        )?;
        if matches.len() > before {
            keys.push(Key {
                text: key_text(partition, &self.kinds, &self.sequence.key, self.mode)?,
                fields: partition.fields(),
            });
        }
        Ok(())
    }

    fn absorb(&mut self, others: Self) -> Result<()> {
        let (found, others) = (&mut self.found, others.found);
        check(self.sequence, &[found, &others])?;
        let (keys, ids) = (found.keys.len(), found.ids.len());
        found
            .matches
            .extend(others.matches.into_iter().map(|found| {
                Match {
                    key: found
                        .key
                        .saturating_add(u32::try_from(keys).unwrap_or(u32::MAX)),
                    from: found.from + ids,
                    ..found
                }
            }));
        found.keys.extend(others.keys);
        found.ids.extend(others.ids);
        Ok(())
    }

    fn take_up(&mut self, kept: &TakeUp<'_>) -> Result<()> {
        let Found::Sequences(kept_of) = kept.found else {
            return Ok(());
        };
        let stages = self.sequence.stages.len();
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
            let Some(key) = numbers[old.key as usize] else {
                continue;
            };
            let from = found.ids.len();
            found.matches.push(Match { key, from, ..*old });
            (found.ids).extend_from_slice(&kept_of.ids[old.from..old.from + stages]);
        }
        check(self.sequence, &[found])
    }

    fn keep(&mut self, page: &Range<usize>) -> Found {
        for (i, found) in self.found.matches.iter_mut().enumerate() {
            let row = page.contains(&i).then(|| i - page.start);
            found.row = row.and_then(|row| u32::try_from(row).ok());
        }
        Found::Sequences(std::mem::take(&mut self.found))
    }

    fn row_of(&self, i: usize) -> Option<usize> {
        self.found.matches[i].row.map(|row| row as usize)
    }

    fn write_again(&self, i: usize, row: &[u8], out: &mut Vec<u8>) {
        // Only that changes for what is no longer the end of the data.
        let values = (row.strip_suffix(OPEN[0])).or_else(|| row.strip_suffix(OPEN[1]));
        out.extend_from_slice(values.unwrap_or(row));
        self.write_open(i, out);
    }

    fn finish(&mut self) {
        let stages = self.sequence.stages.len();
        let FoundSequences { keys, matches, ids } = &mut self.found;
        let by = |m: &Match| (m.ended, ids[m.from + stages - 1]);
        // One event may end matches of several keys. The order of JSON is the server's, and theirs already.
        let has_json = self.kinds.contains(&Kind::Json);
        let by_key = |a: u32, b: u32| {
            if a == b || has_json {
                return Ordering::Equal;
            }
            let fields = |key: u32| &*keys[key as usize].fields;
            compare(fields(a), fields(b), &self.kinds)
        };
        matches.sort_by(|a, b| by(a).cmp(&by(b)).then_with(|| by_key(a.key, b.key)));
    }

    fn end_at(&mut self, end: i64) {
        self.end = end;
    }

    fn len(&self) -> usize {
        self.found.matches.len()
    }

    fn ids(&self, i: usize, out: &mut Vec<Uuid>) {
        out.extend_from_slice(self.ids_of(&self.found.matches[i]));
    }

    fn header(&self) -> String {
        let steps = self.sequence.names.iter();
        let header = json!({
            "kind": "sequence",
            "key": self.sequence.key,
            "steps": steps.map(|(name, from, to)| json!([name, from, to])).collect::<Vec<_>>(),
            "open": self.sequence.can_be_open(),
        });
        format!("\"matches\":{header}")
    }

    fn write(&self, i: usize, texts: &Texts, out: &mut Vec<u8>) -> Result<()> {
        let found = &self.found.matches[i];
        out.extend_from_slice(&self.found.keys[found.key as usize].text);
        out.push(b',');
        events(out, self.ids_of(found), |id| {
            texts.get(id).map(AsRef::as_ref)
        })?;
        out.push(b',');
        time(out, found.started);
        out.push(b',');
        time(out, found.ended);
        out.push(b',');
        millis(out, found.ended.saturating_sub(found.started));
        self.write_open(i, out);
        Ok(())
    }
}

/// What is told of too many matches.
pub fn too_many(limit: Option<u64>) -> Error {
    Error::MatchLimit(match limit {
        Some(limit) => format!("there are more than {limit} matches (maxMatches)").into(),
        None => {
            "there are more than 1,000,000 matches: narrow the filter, or raise maxMatches".into()
        }
    })
}

/// The part of a list that a query's limit and offset leave.
pub fn page(len: usize, limit: Option<u64>, offset: Option<u64>) -> Range<usize> {
    let clamp = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(len);
    let from = clamp(offset.unwrap_or(0));
    let to = from.saturating_add(limit.map_or(len, clamp)).min(len);
    from..to
}
