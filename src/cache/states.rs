//! What is kept of each group: contributions, in the server's own binary form.
//!
//! They are never understood here. New ones are put behind the old, a group may have several, and the
//! server adds them up where an answer is made of them. So the answer is the server's own arithmetic,
//! `numeric` sums lose nothing, and groups are equal where the server says so.

use std::{collections::HashSet, sync::Arc};

use serde_json::{Value as Wire, json};
use sqlx::{Row, ValueRef, postgres::PgRow};

use crate::model::{Error, Result, time::Timestamp};
use crate::sql::{Bind, Merge, Merged, Typed};

/// Contributions to groups, column by column.
#[derive(Clone, Debug)]
pub struct States {
    types: Arc<[Typed]>,
    merge: Merge,
    columns: Vec<Arc<Vec<u8>>>,
    rows: i32,
    /// How many there were when each group had one.
    compact: i32,
}

/// More are added up to one for each group.
const LOOSE: i32 = 2000;
/// Above this, groups are not kept: sending them would take as long as reading them anew.
pub const MOST_GROUPS: i32 = 100_000;

impl States {
    /// None yet.
    pub fn new(types: &[Typed], merge: Merge) -> Self {
        Self {
            types: types.into(),
            merge,
            columns: vec![Arc::default(); types.len()],
            rows: 0,
            compact: 0,
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    /// A column of another type than was asked for.
    pub fn push(&mut self, row: &PgRow) -> Result<()> {
        let wrong = |text: String| Error::Internal(text.into());
        for (place, column) in self.columns.iter_mut().enumerate() {
            let column = Arc::make_mut(column);
            let value = row.try_get_raw(place).map_err(|e| wrong(e.to_string()))?;
            if value.is_null() {
                column.extend_from_slice(&(-1_i32).to_be_bytes());
                continue;
            }
            let bytes = value.as_bytes().map_err(|e| wrong(e.to_string()))?;
            let length = i32::try_from(bytes.len()).map_err(|e| wrong(e.to_string()))?;
            column.extend_from_slice(&length.to_be_bytes());
            column.extend_from_slice(bytes);
        }
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    /// Says that each group has one.
    pub fn settle(&mut self) {
        self.compact = self.rows;
        for column in &mut self.columns {
            Arc::make_mut(column).shrink_to_fit();
        }
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
        for (column, more) in both.columns.iter_mut().zip(&newer.columns) {
            Arc::make_mut(column).extend_from_slice(more);
        }
        both.rows = both.rows.saturating_add(newer.rows);
        both
    }

    /// Those of buckets that begin no earlier.
    pub fn since(&self, first: Timestamp) -> Self {
        self.where_bucket(|at| at >= first)
    }

    /// Where the bucket of each begins: the first column.
    fn buckets(&self) -> impl Iterator<Item = Timestamp> {
        let mut rest = self.columns.first().map_or(&[][..], |c| c.as_slice());
        std::iter::from_fn(move || take(&mut rest)).filter_map(begins)
    }

    fn where_bucket(&self, wanted: impl Fn(Timestamp) -> bool) -> Self {
        let mut kept = Self::new(&self.types, self.merge);
        kept.compact = self.compact;
        let mut rests: Vec<&[u8]> = self.columns.iter().map(|c| c.as_slice()).collect();
        for _ in 0..self.rows {
            let values: Option<Vec<_>> = rests.iter_mut().map(take).collect();
            let Some(values) = values else { break };
            if (values.first().and_then(|v| begins(v))).is_some_and(|at| !wanted(at)) {
                continue;
            }
            for (column, value) in kept.columns.iter_mut().zip(values) {
                Arc::make_mut(column).extend_from_slice(value);
            }
            kept.rows += 1;
        }
        kept
    }

    /// As what the groups of the whole are made from.
    pub fn merged(&self) -> Merged {
        let columns = self.types.iter().zip(&self.columns);
        Merged {
            columns: columns
                .map(|(typed, bytes)| {
                    let (element, array) = typed.oids();
                    Bind::Binary {
                        element,
                        array,
                        items: self.rows,
                        bytes: Arc::clone(bytes),
                    }
                })
                .collect(),
            merge: self.merge,
        }
    }

    /// What they are, for [`States::read`], which takes the columns as they stand.
    pub fn outline(&self) -> Wire {
        json!({
            "types": self.types.iter().map(|typed| typed.oids().0).collect::<Vec<_>>(),
            "apart": self.merge == Merge::Apart,
            "rows": self.rows,
            "compact": self.compact,
            "sizes": self.columns().map(<[u8]>::len).collect::<Vec<_>>(),
        })
    }

    /// The bytes of each column.
    pub fn columns(&self) -> impl Iterator<Item = &[u8]> {
        self.columns.iter().map(|column| column.as_slice())
    }

    /// What [`States::outline`] says, with the columns that `part` gives by their sizes.
    pub fn read<'b>(
        outline: &Wire,
        mut part: impl FnMut(&Wire) -> Option<&'b [u8]>,
    ) -> Option<Self> {
        let count = |name: &str| i32::try_from(outline[name].as_i64()?).ok();
        let types: Option<Vec<Typed>> = (outline["types"].as_array()?.iter())
            .map(|oid| Typed::of_oid(u32::try_from(oid.as_u64()?).ok()?))
            .collect();
        let columns: Option<Vec<_>> = (outline["sizes"].as_array()?.iter())
            .map(|size| Some(Arc::new(part(size)?.to_vec())))
            .collect();
        Some(Self {
            types: types?.into(),
            merge: if outline["apart"].as_bool()? {
                Merge::Apart
            } else {
                Merge::States
            },
            columns: columns?,
            rows: count("rows")?,
            compact: count("compact")?,
        })
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.columns.iter().map(|c| c.capacity() + 48).sum()
    }
}

/// The time in a value that has its length before it.
fn begins(value: &[u8]) -> Option<Timestamp> {
    let bytes = value.get(4..)?.try_into().ok()?;
    Some(Timestamp::from_postgres(i64::from_be_bytes(bytes)))
}

/// The next value of a column, its length before it.
fn take<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, _) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
    let (value, behind) = rest.split_at_checked(4 + length)?;
    *rest = behind;
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[Option<&[u8]>]) -> Arc<Vec<u8>> {
        let mut bytes = Vec::new();
        for value in values {
            match value {
                None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
                Some(value) => {
                    bytes.extend_from_slice(&i32::try_from(value.len()).unwrap().to_be_bytes());
                    bytes.extend_from_slice(value);
                }
            }
        }
        Arc::new(bytes)
    }

    #[test]
    fn come_back_as_they_were() {
        let states = States {
            types: [Typed::Time, Typed::Json].into(),
            merge: Merge::Apart,
            columns: vec![
                column(&[Some(b"12345678"), None]),
                column(&[None, Some(b"")]),
            ],
            rows: 2,
            compact: 1,
        };
        let bytes: Vec<u8> = states.columns().flatten().copied().collect();
        let mut rest = &bytes[..];
        let mut part = |size: &Wire| {
            let (part, behind) = rest.split_at_checked(usize::try_from(size.as_u64()?).ok()?)?;
            rest = behind;
            Some(part)
        };
        let read = States::read(&states.outline(), &mut part).unwrap();
        assert_eq!(format!("{read:?}"), format!("{states:?}"));
        let short = |_: &Wire| None;
        assert!(States::read(&states.outline(), short).is_none());
    }

    #[test]
    fn buckets_that_have_left_the_window_go() {
        let at = |micros: i64| Timestamp::from_micros(micros).to_postgres().to_be_bytes();
        let (early, late) = (at(5), at(7));
        let states = States {
            types: [Typed::Time, Typed::Text].into(),
            merge: Merge::States,
            columns: vec![
                column(&[Some(&early), Some(&late), Some(&early)]),
                column(&[Some(b"a"), None, Some(b"")]),
            ],
            rows: 3,
            compact: 3,
        };
        let kept = states.since(Timestamp::from_micros(6));
        assert_eq!(kept.rows(), 1);
        assert_eq!(*kept.columns[0], *column(&[Some(&late)]));
        assert_eq!(*kept.columns[1], *column(&[None]));
        assert_eq!(states.since(Timestamp::from_micros(5)).rows(), 3);
        let whole = States {
            merge: Merge::Apart,
            ..states.clone()
        };
        let replaced = whole.with(&kept);
        assert_eq!(replaced.rows(), 3);
        assert_eq!(
            *replaced.columns[1],
            *column(&[Some(b"a"), Some(b""), None])
        );
        let both = kept.with(&states);
        assert_eq!(
            (both.rows(), both.since(Timestamp::from_micros(9)).rows()),
            (4, 0)
        );
    }
}
