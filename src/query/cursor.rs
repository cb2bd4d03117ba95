//! Where a page ended, as text that only the same query takes back.
//!
//! Layout before base64url: version, identity of the query (8 bytes), the keys of the last row,
//! and a checksum (4 bytes). A cursor is no secret and grants nothing: its values are bound, so
//! all that a forged one could do is to begin elsewhere in an answer the caller may read anyway.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as TEXT};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Error, Result, time::Timestamp};

const VERSION: u8 = 1;

/// The keys of the last row of a page, one for each sort key of the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// [`EventQuery::identity`](super::EventQuery::identity) of the query it came from.
    pub identity: u64,
    /// In the order of the statement's sort keys.
    pub keys: Vec<KeyValue>,
}

/// A value of a sort key, exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValue {
    /// SQL NULL: the row has no such value.
    Null,
    /// A UUID column.
    Uuid(Uuid),
    /// A time column, to the microsecond.
    Time(Timestamp),
    /// Text.
    Text(String),
    /// JSON text.
    Json(String),
}

impl Cursor {
    /// The text that callers pass around.
    pub fn encode(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.identity.to_le_bytes());
        for key in &self.keys {
            match key {
                KeyValue::Null => bytes.push(0),
                KeyValue::Uuid(id) => {
                    bytes.push(1);
                    bytes.extend_from_slice(id.as_bytes());
                }
                KeyValue::Time(at) => {
                    bytes.push(2);
                    bytes.extend_from_slice(&at.as_micros().to_le_bytes());
                }
                KeyValue::Text(text) => write_text(&mut bytes, 3, text),
                KeyValue::Json(text) => write_text(&mut bytes, 4, text),
            }
        }
        bytes.extend_from_slice(&checksum(&bytes));
        TEXT.encode(bytes)
    }

    /// Reads a cursor back.
    ///
    /// # Errors
    /// INVALID_QUERY at `after`: not a cursor, or one of another query.
    pub fn decode(text: &str, identity: u64) -> Result<Self> {
        let broken = || Error::invalid("after", "is not a cursor that this version made");
        let bytes = TEXT.decode(text).map_err(|_| broken())?;
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or_else(broken)?;
        if *sum != checksum(body) {
            return Err(broken());
        }
        let mut reader = Reader(body);
        if reader.byte() != Some(VERSION) {
            return Err(broken());
        }
        let from = u64::from_le_bytes(reader.array().ok_or_else(broken)?);
        if from != identity {
            return Err(Error::invalid(
                "after",
                "is a cursor of another query: filter, order and table must be the same",
            ));
        }
        let mut keys = Vec::new();
        while !reader.0.is_empty() {
            keys.push(reader.key().ok_or_else(broken)?);
        }
        Ok(Self { identity, keys })
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = xxh3_64(bytes).to_le_bytes();
    [a, b, c, d]
}

#[allow(clippy::cast_possible_truncation)] // PostgreSQL's values end at 1 GiB.
fn write_text(bytes: &mut Vec<u8>, tag: u8, text: &str) {
    bytes.push(tag);
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn text(&mut self) -> Option<String> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(head.to_vec()).ok()
    }

    fn key(&mut self) -> Option<KeyValue> {
        Some(match self.byte()? {
            0 => KeyValue::Null,
            1 => KeyValue::Uuid(Uuid::from_bytes(self.array()?)),
            2 => KeyValue::Time(Timestamp::from_micros(i64::from_le_bytes(self.array()?))),
            3 => KeyValue::Text(self.text()?),
            4 => KeyValue::Json(self.text()?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Cursor {
        Cursor {
            identity: 42,
            keys: vec![
                KeyValue::Null,
                KeyValue::Uuid(Uuid::from_u128(7)),
                KeyValue::Time(Timestamp::from_micros(-1)),
                KeyValue::Text("é".into()),
                KeyValue::Json("{}".into()),
            ],
        }
    }

    #[test]
    fn comes_back_as_it_was() {
        assert_eq!(Cursor::decode(&sample().encode(), 42).unwrap(), sample());
    }

    #[test]
    fn refuses_another_query_and_every_change_of_a_byte() {
        let text = sample().encode();
        assert!(
            Cursor::decode(&text, 43)
                .unwrap_err()
                .to_string()
                .contains("another query")
        );
        let bytes = TEXT.decode(&text).unwrap();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            assert!(
                Cursor::decode(&TEXT.encode(changed), 42).is_err(),
                "byte {i}"
            );
        }
        for text in ["", "a", "AAAA", "%%%", &text[1..]] {
            assert!(Cursor::decode(text, 42).is_err(), "{text:?}");
        }
    }
}
