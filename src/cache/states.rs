//! What is kept of each group: contributions, in the server's own binary form.
//!
//! They are never understood here. New ones are put behind the old, a group may have several, and the
//! server adds them up where an answer is made of them. So the answer is the server's own arithmetic,
//! `numeric` sums lose nothing, and groups are equal where the server says so.
//!
//! They stand in blocks that never change: the oldest is what was read at once, and of the others each
//! is at least twice as long as the next, so that adding a few copies few, and few are looked into.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value as Wire, json};
use sqlx::postgres::PgRow;

use super::attempt::write_value;
use super::block::{Block, key, take};
use crate::exec::Stop;
use crate::model::time::Timestamp;
use crate::sql::{Bind, Merge, Merged, Typed};

/// Contributions to groups.
#[derive(Clone, Debug)]
pub struct States {
    types: Arc<[Typed]>,
    merge: Merge,
    /// How many of the first values a group is looked up by, where groups are.
    keys: Option<usize>,
    blocks: Vec<Arc<Block>>,
    rows: i32,
    /// How many there were when each group had one.
    compact: i32,
}

/// More are added up to one for each group.
const LOOSE: i32 = 2000;
/// Above this, groups that are all sent each time are not kept: that would take as long as reading them anew.
pub const MOST_SENT: i32 = 100_000;
/// Above this, no groups are kept.
pub const MOST_GROUPS: i32 = 1_000_000;

impl States {
    /// None yet.
    pub fn new(types: &[Typed], merge: Merge, keys: Option<usize>) -> Self {
        Self {
            types: types.into(),
            merge,
            keys,
            blocks: vec![Arc::default()],
            rows: 0,
            compact: 0,
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A column that the row does not have.
    pub fn push(&mut self, row: &PgRow) -> Result<(), Stop> {
        let width = self.types.len();
        let block = self.open();
        for column in 0..width {
            write_value(block.row_bytes(), row, column)?;
        }
        block.end_row();
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    /// The block that rows are added to.
    fn open(&mut self) -> &mut Block {
        if self.blocks.is_empty() {
            self.blocks.push(Arc::default());
        }
        let last = self.blocks.len() - 1;
        Arc::make_mut(&mut self.blocks[last])
    }

    /// Says that no row follows.
    pub fn finish(&mut self) {
        let keys = self.keys;
        let block = self.open();
        block.shrink();
        if let Some(keys) = keys {
            block.index(keys);
        }
    }

    /// Whether groups are looked up here as in others.
    pub fn is_looked_up_like(&self, other: &Self) -> bool {
        self.keys == other.keys && self.types == other.types
    }

    /// Says that each group has one.
    pub const fn settle(&mut self) {
        self.compact = self.rows;
    }

    /// How many there are.
    pub const fn rows(&self) -> i32 {
        self.rows
    }

    /// What they hold.
    pub const fn merge(&self) -> Merge {
        self.merge
    }

    /// Whether groups have so many that adding them up pays.
    pub const fn is_loose(&self) -> bool {
        matches!(self.merge, Merge::States)
            && self.rows > self.compact.saturating_mul(2).saturating_add(LOOSE)
    }

    /// These, and newer ones behind them, or in the place of those of the same buckets where groups are
    /// whole.
    pub fn with(&self, newer: &Self) -> Self {
        let mut both = match self.merge {
            Merge::States => self.clone(),
            Merge::Apart => {
                let touched: HashSet<Timestamp> = newer.buckets().collect();
                self.where_bucket(|at| !touched.contains(&at))
            }
        };
        both.rows = both.rows.saturating_add(newer.rows);
        for block in newer.blocks.iter().filter(|block| block.rows() > 0) {
            both.add(Arc::clone(block));
        }
        both
    }

    /// Adds a block, together with those before it that are not much longer; never with the first.
    fn add(&mut self, mut block: Arc<Block>) {
        while self.blocks.len() > 1
            && let Some(before) = self.blocks.pop_if(|last| last.rows() < 2 * block.rows())
        {
            let mut joined = Block::default();
            before
                .iter()
                .chain(block.iter())
                .for_each(|row| joined.push(row));
            joined.shrink();
            if let Some(keys) = self.keys {
                joined.index(keys);
            }
            block = Arc::new(joined);
        }
        self.blocks.push(block);
    }

    /// Those of buckets that begin no earlier.
    pub fn since(&self, first: Timestamp) -> Self {
        self.where_bucket(|at| at >= first)
    }

    fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().flat_map(|block| block.iter())
    }

    /// Where the bucket of each begins: the first column.
    pub fn buckets(&self) -> impl Iterator<Item = Timestamp> {
        self.all().filter_map(begins)
    }

    fn where_bucket(&self, wanted: impl Fn(Timestamp) -> bool) -> Self {
        let mut kept = Self::new(&self.types, self.merge, self.keys);
        kept.compact = self.compact;
        let block = kept.open();
        let of_those = |row: &&[u8]| begins(row).is_none_or(&wanted);
        self.all().filter(of_those).for_each(|row| block.push(row));
        let rows = block.rows();
        kept.finish();
        kept.rows = i32::try_from(rows).unwrap_or(i32::MAX);
        kept
    }

    /// As what the groups of the whole are made from.
    pub fn merged(&self) -> Merged {
        self.columns(self.all())
    }

    /// The keys of all of them, those that are there twice too.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        let keys = self.keys.unwrap_or(0);
        self.all().map(move |row| key(row, keys))
    }

    /// As what the groups of these keys are made from. Only where groups are looked up.
    pub fn of_keys<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Merged {
        let values = self.keys.unwrap_or(0);
        let keys: HashSet<&[u8]> = keys.collect();
        let rows = (keys.iter()).flat_map(|key| self.blocks.iter().flat_map(|b| b.of(key, values)));
        self.columns(rows)
    }

    /// Whether keys that are equal to these are so byte by byte. Numbers inside JSON can be written in
    /// more than one way.
    pub fn are_bytewise(&self) -> bool {
        let keys = self.types.iter().take(self.keys.unwrap_or(0));
        let json: Vec<_> = keys.map(|typed| *typed == Typed::Json).collect();
        if !json.contains(&true) {
            return true;
        }
        self.all().all(|mut row| {
            // Behind the length and the version stands the text.
            let is_exact =
                |value: &[u8]| !matches!(value.get(5), Some(b'-' | b'0'..=b'9' | b'{' | b'['));
            json.iter()
                .all(|json| take(&mut row).is_some_and(|value| !json || is_exact(value)))
        })
    }

    fn columns<'s>(&self, rows: impl Iterator<Item = &'s [u8]>) -> Merged {
        let mut columns = vec![Vec::new(); self.types.len()];
        let mut items = 0_i32;
        for mut row in rows {
            for column in &mut columns {
                column.extend_from_slice(take(&mut row).unwrap_or_default());
            }
            items = items.saturating_add(1);
        }
        let columns = self.types.iter().zip(columns);
        Merged {
            columns: columns
                .map(|(typed, bytes)| {
                    let (element, array) = typed.oids();
                    Bind::Binary {
                        element,
                        array,
                        items,
                        bytes: Arc::new(bytes),
                    }
                })
                .collect(),
            merge: self.merge,
        }
    }

    /// What they are, for [`States::read`], which takes the rows as they stand.
    pub fn outline(&self) -> Wire {
        json!({
            "types": self.types.iter().map(|typed| typed.oids().0).collect::<Vec<_>>(),
            "apart": self.merge == Merge::Apart,
            "keys": self.keys,
            "rows": self.rows,
            "compact": self.compact,
            "size": self.parts().map(<[u8]>::len).sum::<usize>(),
        })
    }

    /// The bytes of all rows.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().map(|block| block.bytes())
    }

    /// What [`States::outline`] says, with the rows that `part` gives by their size.
    pub fn read<'b>(
        outline: &Wire,
        mut part: impl FnMut(&Wire) -> Option<&'b [u8]>,
    ) -> Option<Self> {
        let count = |name: &str| i32::try_from(outline[name].as_i64()?).ok();
        let types: Option<Vec<Typed>> = (outline["types"].as_array()?.iter())
            .map(|oid| Typed::of_oid(u32::try_from(oid.as_u64()?).ok()?))
            .collect();
        let merge = if outline["apart"].as_bool()? {
            Merge::Apart
        } else {
            Merge::States
        };
        let keys = outline["keys"]
            .as_u64()
            .and_then(|k| usize::try_from(k).ok());
        let mut states = Self::new(&types?, merge, keys);
        states.rows = count("rows")?;
        let width = states.types.len();
        let mut rest = part(&outline["size"])?;
        for _ in 0..states.rows {
            let row = key(rest, width);
            states.open().push(row);
            rest = rest.get(row.len()..)?;
        }
        states.finish();
        states.compact = count("compact")?;
        rest.is_empty().then_some(states)
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.blocks.iter().map(|block| block.weight()).sum()
    }
}

/// The time in a row's first value, which has its length before it.
fn begins(row: &[u8]) -> Option<Timestamp> {
    if row.get(..4)? != 8_i32.to_be_bytes() {
        return None;
    }
    let bytes = row.get(4..12)?.try_into().ok()?;
    Some(Timestamp::from_postgres(i64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests;
