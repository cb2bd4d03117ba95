//! The rows that the server sends, gathered by key.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value as Wire, value::RawValue};
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Events;
use crate::exec::{Stop, Watch, raw};
use crate::model::{Error, field::Kind};

/// The events of one key.
pub struct Partition {
    /// How the fields of the key compare.
    kinds: Vec<Kind>,
    /// How many values each event has beside its mask.
    width: usize,
    /// The fields of the key, in the server's binary format.
    pub key: Vec<Option<Vec<u8>>>,
    /// When, in PostgreSQL's microseconds.
    pub times: Vec<i64>,
    /// Which.
    pub ids: Vec<Uuid>,
    /// Which conditions hold.
    pub masks: Vec<u64>,
    /// The values of all events, one after the other, in the server's binary format.
    pub values: Vec<Option<Box<[u8]>>>,
    bytes: u64,
    limit: u64,
    watch: Option<Watch>,
}

impl Partition {
    /// An empty partition. `limit` is the most bytes that it may hold.
    pub fn new(kinds: Vec<Kind>, width: usize, limit: u64, watch: Option<Watch>) -> Self {
        Self {
            key: vec![None; kinds.len()],
            kinds,
            width,
            times: Vec::new(),
            ids: Vec::new(),
            masks: Vec::new(),
            values: Vec::new(),
            bytes: 0,
            limit,
            watch,
        }
    }

    /// The events, as matchers see them.
    pub fn events(&self) -> Events<'_> {
        Events {
            watch: self.watch.as_ref(),
            times: &self.times,
            masks: &self.masks,
        }
    }

    /// Whether a row is of this key, or begins the first.
    pub fn is_of(&self, row: &PgRow) -> Result<bool, Stop> {
        if self.times.is_empty() {
            return Ok(true);
        }
        for (i, kind) in self.kinds.iter().enumerate() {
            let (ours, theirs) = (self.key[i].as_deref(), raw(row, i)?);
            if ours != theirs && !(*kind == Kind::Json && are_equal(ours, theirs)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// MATCH_LIMIT where the partition outgrows its limit.
    pub fn push(&mut self, row: &PgRow) -> Result<(), Stop> {
        let n = self.kinds.len();
        if self.times.is_empty() {
            for i in 0..n {
                self.key[i] = raw(row, i)?.map(<[u8]>::to_vec);
            }
        }
        let time = i64::from_be_bytes(fixed(row, n)?);
        let id = Uuid::from_bytes(fixed(row, n + 1)?);
        let mask = u64::from_be_bytes(fixed(row, n + 2)?);
        if self.is_again(id, mask) {
            return Ok(());
        }
        self.bytes += 32;
        for i in 0..self.width {
            let value = raw(row, n + 3 + i)?;
            self.bytes += 24 + value.map_or(0, |v| v.len() as u64);
            self.values.push(value.map(Into::into));
        }
        if self.bytes > self.limit {
            return Err(Stop::Ours(Error::MatchLimit(
                format!(
                    "the events of one key take more than {} bytes of memory: narrow the filter, or partition by more fields (limits.maxResultBytes)",
                    self.limit
                )
                .into(),
            )));
        }
        self.times.push(time);
        self.ids.push(id);
        self.masks.push(mask);
        Ok(())
    }

    /// The fields of the key, as they compare: equal ones have equal bytes.
    pub fn fields(&self) -> Box<[u8]> {
        let mut out = Vec::new();
        for (kind, field) in self.kinds.iter().zip(&self.key) {
            encode_field(&mut out, field.as_deref(), *kind);
        }
        out.into()
    }

    /// Empties it, for the events of this key.
    pub fn begin(&mut self, key: impl Iterator<Item = Option<Vec<u8>>>) {
        self.clear();
        self.key.clear();
        self.key.extend(key);
    }

    /// Adds an event. What all of them take is looked after by who has them.
    pub fn add(&mut self, time: i64, id: Uuid, mask: u64, values: &[Option<Box<[u8]>>]) {
        if !self.is_again(id, mask) {
            self.times.push(time);
            self.ids.push(id);
            self.masks.push(mask);
            self.values.extend_from_slice(values);
        }
    }

    /// Whether it is the last event once more: under a key that it has twice.
    fn is_again(&mut self, id: Uuid, mask: u64) -> bool {
        if self.ids.last() != Some(&id) {
            return false;
        }
        if let Some(last) = self.masks.last_mut() {
            *last |= mask;
        }
        true
    }

    /// Empties it, for the next key.
    pub fn clear(&mut self) {
        self.times.clear();
        self.ids.clear();
        self.masks.clear();
        self.values.clear();
        self.bytes = 0;
    }
}

/// Appends a field of a key as it compares: its length, as the protocol writes it, and its bytes.
pub fn encode_field(out: &mut Vec<u8>, field: Option<&[u8]>, kind: Kind) {
    let field = field.map(|field| match kind {
        Kind::Json => canonical_json(field),
        _ => Cow::Borrowed(field),
    });
    let length = (field.as_ref()).map_or(-1, |f| i32::try_from(f.len()).unwrap_or(i32::MAX));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field.as_deref().unwrap_or_default());
}

/// A column of a fixed length.
pub fn fixed<const N: usize>(row: &PgRow, column: usize) -> Result<[u8; N], Stop> {
    raw(row, column)?
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Stop::Ours(Error::Internal("a column of an unexpected length".into())))
}

/// Whether two jsonb values are equal though their texts are not: 1 and 1.0.
fn are_equal(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => canonical_json(a) == canonical_json(b),
        _ => false,
    }
}

/// A jsonb value, in the server's binary format, such that equal ones have equal bytes.
pub fn canonical_json(value: &[u8]) -> Cow<'_, [u8]> {
    // Only numbers have several texts.
    if !value.iter().any(u8::is_ascii_digit) {
        return Cow::Borrowed(value);
    }
    let text = value
        .get(1..)
        .and_then(|text| std::str::from_utf8(text).ok());
    let mut out = String::new();
    match text.and_then(|text| canonical(text, 0, &mut out)) {
        Some(()) => Cow::Owned(out.into_bytes()),
        None => Cow::Borrowed(value),
    }
}

/// Deeper JSON is compared as it is written.
const MAX_DEPTH: u32 = 100;

/// A JSON text with its numbers in one form, however long they are. The server has one text for
/// everything else, and one order of an object's members.
fn canonical(text: &str, depth: u32, out: &mut String) -> Option<()> {
    match text.as_bytes().first()? {
        _ if depth == MAX_DEPTH => return None,
        b'[' => {
            out.push('[');
            for item in serde_json::from_str::<Vec<&RawValue>>(text).ok()? {
                canonical(item.get(), depth + 1, out)?;
                out.push(',');
            }
            out.push(']');
        }
        b'{' => {
            out.push('{');
            for (name, value) in serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok()? {
                out.push_str(&Wire::from(name).to_string());
                canonical(value.get(), depth + 1, out)?;
                out.push(',');
            }
            out.push('}');
        }
        b'-' | b'0'..=b'9' => {
            let decimal: bigdecimal::BigDecimal = text.parse().ok()?;
            out.push_str(&decimal.normalized().to_string());
        }
        _ => out.push_str(text),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::are_equal;

    #[test]
    fn numbers_are_equal_by_value() {
        let equal = |a: &str, b: &str| {
            let wired = |text: &str| [b"\x01", text.as_bytes()].concat();
            are_equal(Some(&wired(a)), Some(&wired(b)))
        };
        assert!(
            equal("1", "1.0")
                && equal("100", "1E+2")
                && equal("[1, {\"a\": 2.50}]", "[1.0, {\"a\": 2.5}]")
        );
        assert!(!equal("9007199254740993", "9007199254740992"));
        assert!(!equal("[9007199254740993]", "[9007199254740992]"));
        assert!(!equal("\"1\"", "\"1.0\"") && !equal("1", "true") && !equal("[1]", "[1, 1]"));
    }
}
