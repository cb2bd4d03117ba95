//! The rows that the server sends, gathered by key.

use serde_json::Value as Wire;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::Events;
use crate::exec::{Stop, raw};
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
}

impl Partition {
    /// An empty partition. `limit` is the most bytes that it may hold.
    pub fn new(kinds: Vec<Kind>, width: usize, limit: u64) -> Self {
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
        }
    }

    /// The events, as matchers see them.
    pub fn events(&self) -> Events<'_> {
        Events {
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
        if self.ids.last() == Some(&id) {
            // The same event under a key that it has twice.
            if let Some(last) = self.masks.last_mut() {
                *last |= mask;
            }
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

    /// Empties it, for the next key.
    pub fn clear(&mut self) {
        self.times.clear();
        self.ids.clear();
        self.masks.clear();
        self.values.clear();
        self.bytes = 0;
    }
}

fn fixed<const N: usize>(row: &PgRow, column: usize) -> Result<[u8; N], Stop> {
    raw(row, column)?
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Stop::Ours(Error::Internal("a column of an unexpected length".into())))
}

/// Whether two jsonb values are equal though their texts are not: 1 and 1.0.
fn are_equal(a: Option<&[u8]>, b: Option<&[u8]>) -> bool {
    let (Some(a), Some(b)) = (a, b) else {
        return false;
    };
    // Only numbers have several texts.
    let number = |text: &[u8]| text.iter().any(u8::is_ascii_digit);
    if !(number(a) && number(b)) {
        return false;
    }
    let read = |text: &[u8]| {
        serde_json::from_slice::<&serde_json::value::RawValue>(text.get(1..)?)
            .ok()
            .map(|v| v.get().to_owned())
    };
    match (read(a), read(b)) {
        (Some(a), Some(b)) => canonical(&a) == canonical(&b),
        _ => false,
    }
}

/// A JSON text with its numbers in one form. Members of jsonb objects are in one order.
fn canonical(text: &str) -> Option<String> {
    let wire: Wire = serde_json::from_str(text).ok()?;
    let mut out = String::new();
    write(&wire, text, &mut out);
    Some(out)
}

fn write(wire: &Wire, text: &str, out: &mut String) {
    match wire {
        Wire::Number(number) => {
            // The digits themselves where the value is a number alone: a double could round them.
            let digits = if text.len() > 1 && !text.starts_with(['[', '{']) {
                text.to_owned()
            } else {
                number.to_string()
            };
            match digits.parse::<bigdecimal::BigDecimal>() {
                Ok(decimal) => out.push_str(&decimal.normalized().to_string()),
                Err(_) => out.push_str(&digits),
            }
        }
        Wire::Array(items) => {
            out.push('[');
            for item in items {
                write(item, "", out);
                out.push(',');
            }
            out.push(']');
        }
        Wire::Object(members) => {
            out.push('{');
            for (key, value) in members {
                out.push_str(&Wire::from(key.as_str()).to_string());
                out.push(':');
                write(value, "", out);
                out.push(',');
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
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
        assert!(!equal("\"1\"", "\"1.0\"") && !equal("1", "true") && !equal("[1]", "[1, 1]"));
    }
}
