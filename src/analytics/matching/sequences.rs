//! The matches of a sequence: kept small while they are found, written when all are.

use std::ops::Range;

use serde_json::json;
use uuid::Uuid;

use super::answer::{Matches, Texts, key_text};
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

struct Match {
    /// When it was complete: its last event's time. The id is that of its last event.
    ended: i64,
    started: i64,
    key: u32,
    /// Its first event among `ids`.
    from: usize,
    open: bool,
}

/// What was found so far.
pub struct Sequences<'q> {
    sequence: &'q Sequence,
    kinds: Vec<Kind>,
    mode: BigintMode,
    /// When the data ends: what is absent until then may still come.
    end: i64,
    keys: Vec<Vec<u8>>,
    matches: Vec<Match>,
    ids: Vec<Uuid>,
}

impl<'q> Sequences<'q> {
    /// Nothing was found yet.
    pub const fn new(sequence: &'q Sequence, kinds: Vec<Kind>, mode: BigintMode, end: i64) -> Self {
        Self {
            sequence,
            kinds,
            mode,
            end,
            keys: Vec::new(),
            matches: Vec::new(),
            ids: Vec::new(),
        }
    }

    fn ids_of(&self, found: &Match) -> &[Uuid] {
        &self.ids[found.from..found.from + self.sequence.stages.len()]
    }
}

impl Matches for Sequences<'_> {
    fn partition(&mut self, partition: &Partition) -> Result<()> {
        let (before, limit) = (self.matches.len(), self.sequence.max_matches);
        let key = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        let (matches, ids) = (&mut self.matches, &mut self.ids);
        sequence::find(
            self.sequence,
            partition.events(),
            self.end,
            &mut |positions, open| {
                if matches.len() as u64 >= limit.unwrap_or(MAX_MATCHES) || ids.len() >= MAX_EVENTS {
                    return Err(too_many(limit));
                }
                let (first, last) = (positions[0], positions[positions.len() - 1]);
                matches.push(Match {
                    started: partition.times[first as usize],
                    ended: partition.times[last as usize],
                    key,
                    from: ids.len(),
                    open,
                });
                ids.extend(positions.iter().map(|p| partition.ids[*p as usize]));
                Ok(())
            },
        )?;
        if self.matches.len() > before {
            self.keys.push(key_text(
                partition,
                &self.kinds,
                &self.sequence.key,
                self.mode,
            )?);
        }
        Ok(())
    }

    fn absorb(&mut self, others: Self) -> Result<()> {
        let limit = self.sequence.max_matches;
        let (keys, ids) = (self.keys.len(), self.ids.len());
        if (self.matches.len() + others.matches.len()) as u64 > limit.unwrap_or(MAX_MATCHES)
            || ids + others.ids.len() > MAX_EVENTS
        {
            return Err(too_many(limit));
        }
        self.matches.extend(others.matches.into_iter().map(|found| {
            Match {
                key: found
                    .key
                    .saturating_add(u32::try_from(keys).unwrap_or(u32::MAX)),
                from: found.from + ids,
                ..found
            }
        }));
        self.keys.extend(others.keys);
        self.ids.extend(others.ids);
        Ok(())
    }

    fn finish(&mut self) {
        let stages = self.sequence.stages.len();
        let ids = &self.ids;
        let by = |m: &Match| (m.ended, ids[m.from + stages - 1]);
        self.matches.sort_by_key(by);
    }

    fn len(&self) -> usize {
        self.matches.len()
    }

    fn ids(&self, i: usize, out: &mut Vec<Uuid>) {
        out.extend_from_slice(self.ids_of(&self.matches[i]));
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
        let found = &self.matches[i];
        out.extend_from_slice(&self.keys[found.key as usize]);
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
        out.extend_from_slice(if found.open { b",true" } else { b",false" });
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
