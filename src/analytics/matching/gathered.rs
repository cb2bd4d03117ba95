//! The rows of all keys, as the server happens to come upon them: brought in order here, key by key.
//!
//! To sort rows by the text of their keys is most of what a matcher's statement costs the server. A
//! hash of the key does as well, and the events of one key are few, and mostly in order already.

use std::{cmp::Ordering, collections::HashMap};

use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::partition::{Partition, encode_field, fixed};
use crate::exec::{Stop, raw};
use crate::model::field::Kind;

/// What a row takes beside its values, and a key beside its bytes: with what the tables reserve.
pub const ROW: u64 = 48;
const KEY: u64 = 128;

/// Rows of many keys, column by column.
pub struct Gathered {
    kinds: Vec<Kind>,
    /// How many values each row has beside its mask.
    width: usize,
    /// The number of each key, by its fields as they compare.
    numbers: HashMap<Box<[u8]>, u32, ahash::RandomState>,
    keys: Vec<Key>,
    rows: Rows,
    /// The last row's key, and its number: the next is often of the same.
    last: Vec<u8>,
    number: u32,
    spare: Vec<u8>,
    /// What is left of the memory that it may take.
    left: u64,
}

struct Key {
    /// The fields of its first event, as the server wrote them, where that may differ from how they
    /// compare: 1 and 1.0 are one key.
    written: Option<(i64, Uuid, Box<[u8]>)>,
    rows: u32,
    /// The bits of all its rows.
    found: u64,
}

#[derive(Default)]
struct Rows {
    keys: Vec<u32>,
    times: Vec<i64>,
    ids: Vec<Uuid>,
    masks: Vec<u64>,
    values: Vec<Option<Box<[u8]>>>,
}

impl Gathered {
    /// Nothing, and room for so many bytes.
    pub fn new(kinds: Vec<Kind>, width: usize, room: u64) -> Self {
        Self {
            kinds,
            width,
            numbers: HashMap::default(),
            keys: Vec::new(),
            rows: Rows::default(),
            last: Vec::new(),
            number: u32::MAX,
            spare: Vec::new(),
            left: room,
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.times.len()
    }

    /// Whether it has rows of a key, by its fields as they compare.
    pub fn has(&self, fields: &[u8]) -> bool {
        self.numbers.contains_key(fields)
    }

    /// Adds a row; `false` where there is no room for it.
    pub fn push(&mut self, row: &PgRow) -> Result<bool, Stop> {
        let n = self.kinds.len();
        let time = i64::from_be_bytes(fixed(row, n)?);
        let id = Uuid::from_bytes(fixed(row, n + 1)?);
        let mask = u64::from_be_bytes(fixed(row, n + 2)?);
        let mut taken = ROW;
        let values = self.rows.values.len();
        for i in 0..self.width {
            let value = raw(row, n + 3 + i)?;
            taken += 24 + value.map_or(0, |v| v.len() as u64);
            self.rows.values.push(value.map(Into::into));
        }
        taken += self.find_key(row, time, id)?;
        let Some(left) = self.left.checked_sub(taken) else {
            self.rows.values.truncate(values);
            return Ok(false);
        };
        self.left = left;
        let key = &mut self.keys[self.number as usize];
        key.rows += 1;
        key.found |= mask;
        self.rows.keys.push(self.number);
        self.rows.times.push(time);
        self.rows.ids.push(id);
        self.rows.masks.push(mask);
        Ok(true)
    }

    /// Makes `number` that of a row's key. Returns what a new one takes.
    fn find_key(&mut self, row: &PgRow, time: i64, id: Uuid) -> Result<u64, Stop> {
        let is_written = self.kinds.contains(&Kind::Json);
        let mut taken = 0;
        let mut fields = std::mem::take(&mut self.spare);
        fields.clear();
        for (i, kind) in self.kinds.iter().enumerate() {
            encode_field(&mut fields, raw(row, i)?, *kind);
        }
        if fields != self.last || self.number == u32::MAX || is_written {
            let known = self.numbers.get(fields.as_slice()).copied();
            self.number = known.unwrap_or_else(|| {
                taken = KEY + fields.len() as u64;
                // Fewer than there are rows.
                let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
                self.numbers.insert(fields.as_slice().into(), number);
                self.keys.push(Key {
                    written: None,
                    rows: 0,
                    found: 0,
                });
                number
            });
            if is_written {
                let key = &mut self.keys[self.number as usize];
                if (key.written.as_ref()).is_none_or(|(t, i, _)| (time, id) < (*t, *i)) {
                    let mut written = Vec::new();
                    for i in 0..self.kinds.len() {
                        encode(&mut written, raw(row, i)?);
                    }
                    // It is kept beside the form that compares.
                    let before = (key.written.as_ref()).map_or(0, |(.., fields)| fields.len());
                    taken += written.len().saturating_sub(before) as u64;
                    key.written = Some((time, id, written.into()));
                }
            }
        }
        self.spare = std::mem::replace(&mut self.last, fields);
        Ok(taken)
    }

    /// The keys that have all of these bits, each with its rows; in the order of keys where `sorted`.
    pub fn by_key(&self, required: u64, sorted: bool) -> ByKey<'_> {
        let mut fields: Vec<&[u8]> = vec![&[]; self.keys.len()];
        for (key, number) in &self.numbers {
            fields[*number as usize] = key;
        }
        let mut keys: Vec<u32> = (0_u32..)
            .zip(&self.keys)
            .filter(|(_, key)| key.found & required == required && key.rows > 0)
            .map(|(number, _)| number)
            .collect();
        if sorted {
            let by =
                |a: &u32, b: &u32| compare(fields[*a as usize], fields[*b as usize], &self.kinds);
            keys.sort_unstable_by(by);
        }
        // Where the rows of each key begin among those that are wanted.
        let mut ends = vec![u32::MAX; self.keys.len()];
        let mut bounds = vec![0];
        let mut end = 0;
        for key in &keys {
            ends[*key as usize] = end;
            end += self.keys[*key as usize].rows;
            bounds.push(end as usize);
        }
        let mut rows = vec![0; end as usize];
        for (row, key) in (0_u32..).zip(&self.rows.keys) {
            let at = &mut ends[*key as usize];
            if *at != u32::MAX {
                rows[*at as usize] = row;
                *at += 1;
            }
        }
        ByKey {
            of: self,
            fields,
            keys,
            bounds,
            rows,
        }
    }
}

/// Keys and the rows of each.
pub struct ByKey<'g> {
    of: &'g Gathered,
    fields: Vec<&'g [u8]>,
    keys: Vec<u32>,
    /// Where the rows of each begin, and where those of the last end.
    bounds: Vec<usize>,
    rows: Vec<u32>,
}

impl ByKey<'_> {
    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many rows the keys have.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The first key from which on there are no fewer than so many rows before it.
    pub fn key_at(&self, row: usize) -> usize {
        self.bounds
            .partition_point(|bound| *bound < row)
            .min(self.keys.len())
    }

    /// Fills a partition with the events of a key that have none of the bits of `without`.
    pub fn fill(&self, key: usize, partition: &mut Partition, order: &mut Vec<u32>, without: u64) {
        let rows = &self.of.rows;
        order.clear();
        let all = self.rows[self.bounds[key]..self.bounds[key + 1]].iter();
        order.extend(all.filter(|row| rows.masks[**row as usize] & without == 0));
        let at = |row: &u32| (rows.times[*row as usize], rows.ids[*row as usize]);
        if !order.is_sorted_by_key(at) {
            order.sort_unstable_by_key(at);
        }
        let number = self.keys[key] as usize;
        let written = self.of.keys[number].written.as_ref();
        let fields = written.map_or(self.fields[number], |(_, _, fields)| fields);
        partition.begin(decode(fields).map(|field| field.map(<[u8]>::to_vec)));
        let width = self.of.width;
        for row in order {
            let row = *row as usize;
            let values = &rows.values[row * width..(row + 1) * width];
            partition.add(rows.times[row], rows.ids[row], rows.masks[row], values);
        }
    }
}

/// Appends a field: its length, as the protocol writes it, and its bytes.
fn encode(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let length = field.map_or(-1, |field| i32::try_from(field.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field.unwrap_or_default());
}

/// The fields that were encoded.
fn decode(mut bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            bytes = rest;
            return Some(None);
        };
        let (field, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some(Some(field))
    })
}

/// The order of keys: the server's, NULLs last. JSON's is not known here.
pub fn compare(a: &[u8], b: &[u8], kinds: &[Kind]) -> Ordering {
    for ((a, b), kind) in decode(a).zip(decode(b)).zip(kinds) {
        let order = match (a, b) {
            (Some(a), Some(b)) if *kind == Kind::Time => time(a).cmp(&time(b)),
            (Some(a), Some(b)) => a.cmp(b),
            (a, b) => a.is_none().cmp(&b.is_none()),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

fn time(bytes: &[u8]) -> i64 {
    bytes.try_into().map_or(i64::MIN, i64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut out = Vec::new();
        for field in fields {
            encode(&mut out, *field);
        }
        out
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for fields in [
            &[] as &[Option<&[u8]>],
            &[None],
            &[Some(b""), None, Some(b"a")],
            &[Some(b"\xff\xff\xff\xff")],
        ] {
            let bytes = key(fields);
            assert_eq!(decode(&bytes).collect::<Vec<_>>(), fields);
        }
        // Other fields are other bytes, wherever one ends.
        assert_ne!(key(&[Some(b"a"), Some(b"")]), key(&[Some(b""), Some(b"a")]));
    }

    #[test]
    fn keys_are_in_the_order_of_the_server() {
        let kinds = [Kind::Text, Kind::Time];
        let at = |time: i64| time.to_be_bytes();
        let (early, late) = (at(-5), at(3));
        let ordered = [
            key(&[Some(b"B"), Some(&early)]),
            key(&[Some(b"B"), Some(&late)]),
            key(&[Some(b"B"), None]),
            key(&[Some(b"a"), Some(&early)]),
            key(&[None, Some(&early)]),
            key(&[None, None]),
        ];
        assert!(ordered.is_sorted_by(|a, b| compare(a, b, &kinds) == Ordering::Less));
    }
}
