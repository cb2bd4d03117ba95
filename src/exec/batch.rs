//! Rows on their way to JavaScript: about 64 KB of them as one flat JSON array.
//!
//! A batch is `{"rows":[v,v,v,…]}`, the values of all its rows one after the other; the first names
//! the `columns` of anything but whole events, the last has an `end`. An error is `{"error":{…}}`.

use std::sync::Arc;

use serde_json::{Value as Wire, json};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use super::ascii::IntoAscii;
use super::config::{BigintMode, Limits};
use super::encode::{Encoder, encode, encoders};
use super::end::End;
use super::rows::Rows;
use crate::model::{
    Error, Result,
    field::Kind,
    time::Timestamp,
    token::{Origin, Rest, Token},
};
use crate::query::{Cursor, KeyValue};
use crate::sql::{KeySource, Statement};

/// JSON text in ASCII for `JSON.parse`.
#[derive(Debug)]
pub struct Batch {
    /// The text, or what stands behind `rows`.
    pub json: Vec<u8>,
    /// Rows that may be sent again, which the text begins with.
    pub rows: Option<Arc<Rows>>,
    /// Whether nothing follows.
    pub last: bool,
}

impl Batch {
    /// A batch that is sent once.
    pub const fn new(json: Vec<u8>, last: bool) -> Self {
        let rows = None;
        Self { json, rows, last }
    }

    /// The last batch: `json` is all of it up to its last row.
    pub fn last(json: Vec<u8>, end: &End<'_>) -> Self {
        Self::ended(json, &end.to_ascii())
    }

    /// The same of an end that is text already, in ASCII.
    pub fn ended(mut json: Vec<u8>, end: &[u8]) -> Self {
        json.extend_from_slice(b"],\"end\":");
        json.extend_from_slice(end);
        json.push(b'}');
        Self::new(json, true)
    }

    /// The whole text.
    pub fn into_json(self) -> Vec<u8> {
        match self.rows {
            Some(rows) => [&rows[..], &self.json].concat(),
            None => self.json,
        }
    }

    /// The batch that says what went wrong in this package.
    pub fn internal(what: &'static str) -> Self {
        Self::error(&Error::Internal(what.into()), None)
    }

    /// The batch that says what went wrong.
    pub fn error(error: &Error, query_id: Option<&str>) -> Self {
        let told = json!({ "error": describe(error, query_id) });
        Self::new(told.to_string().into_bytes_ascii(), true)
    }
}

/// An error as `lib/errors.js` reads it.
pub fn describe(error: &Error, query_id: Option<&str>) -> Wire {
    let mut described = json!({ "code": error.code(), "message": error.to_string(), "retryable": error.retryable() });
    for (key, value) in [
        ("path", error.path()),
        ("sqlState", error.sql_state()),
        ("queryId", query_id),
    ] {
        if let Some(value) = value {
            described[key] = value.into();
        }
    }
    if let Some(position) = error.position() {
        described["position"] = position.into();
    }
    described
}

/// Larger texts parse slower in V8 (measured: TRANSPORT.md of the design).
const FULL: usize = 64 << 10;
/// Room for the answer to a point query.
const SMALL: usize = 4 << 10;

/// Takes rows, gives batches, and keeps what the end of the result will need.
pub struct Writer<'s> {
    statement: &'s Statement,
    mode: BigintMode,
    /// Of a buffered result.
    limits: Option<Limits>,
    json: Vec<u8>,
    encoders: Vec<Encoder>,
    in_batch: u64,
    bytes: u64,
    /// Rows written so far.
    pub rows: u64,
    cursor: Option<Cursor>,
    more: bool,
    /// The snapshot that the statement saw.
    pub snapshot: Option<String>,
}

impl<'s> Writer<'s> {
    /// A writer for the rows of a statement. `limits` are those of a buffered result.
    pub fn new(statement: &'s Statement, mode: BigintMode, limits: Option<Limits>) -> Self {
        let mut writer = Self {
            statement,
            mode,
            limits,
            json: Vec::with_capacity(SMALL),
            encoders: Vec::new(),
            in_batch: 0,
            bytes: 0,
            rows: 0,
            cursor: None,
            more: false,
            snapshot: None,
        };
        writer.begin();
        writer
    }

    fn begin(&mut self) {
        self.in_batch = 0;
        if let (0, Some(columns)) = (self.rows, &self.statement.columns) {
            let names = json!(columns).to_string().into_bytes_ascii();
            self.json.extend_from_slice(b"{\"columns\":");
            self.json.extend_from_slice(&names);
            self.json.extend_from_slice(b",\"rows\":[");
        } else {
            self.json.extend_from_slice(b"{\"rows\":[");
        }
    }

    /// Adds a row; the one beyond the limit only says that more are left.
    pub fn push(&mut self, row: &PgRow) -> Result<()> {
        if self.rows == 0 && self.encoders.is_empty() {
            self.encoders = encoders(row, self.statement)?;
            if let Some(column) = self.statement.token {
                self.snapshot = row.try_get(column).ok();
            }
        }
        if self.statement.limit == Some(self.rows) {
            self.more = true;
            return Ok(());
        }
        for (i, encoder) in self.encoders.iter().enumerate() {
            if i > 0 || self.in_batch > 0 {
                self.json.push(b',');
            }
            let value = row
                .try_get_raw(i)
                .map_err(|e| Error::Internal(e.to_string().into()))?;
            encode(&mut self.json, *encoder, value, self.mode, || {
                column_name(self.statement, i)
            })?;
        }
        self.rows += 1;
        self.in_batch += 1;
        // Without keys there is nothing to continue from.
        if self.statement.limit == Some(self.rows) && !self.statement.keys.is_empty() {
            let keys: Result<Vec<_>> = self
                .statement
                .keys
                .iter()
                .map(|key| key_value(row, *key))
                .collect();
            let mut keys = keys?;
            if let Some(since) = &self.statement.since {
                keys.push(KeyValue::Text(since.upto.to_string()));
            }
            self.cursor = Some(Cursor {
                identity: self.statement.identity,
                keys,
            });
        }
        self.check_limits()
    }

    fn check_limits(&self) -> Result<()> {
        let Some(limits) = &self.limits else {
            return Ok(());
        };
        if self.rows > limits.max_rows {
            return Err(Error::ResultTooLarge {
                limit: limits.max_rows,
                unit: "rows",
                option: "maxRows",
            });
        }
        if self.bytes + self.json.len() as u64 > limits.max_result_bytes {
            return Err(Error::ResultTooLarge {
                limit: limits.max_result_bytes,
                unit: "bytes",
                option: "maxResultBytes",
            });
        }
        Ok(())
    }

    /// Where the next row will begin in its batch.
    pub const fn next_at(&self) -> usize {
        self.json.len() + (self.in_batch > 0) as usize
    }

    /// Bytes made so far, of all batches.
    pub const fn made(&self) -> u64 {
        self.bytes + self.json.len() as u64
    }

    /// Whether the batch is large enough to be sent.
    pub fn is_full(&self) -> bool {
        self.json.len() >= FULL
    }

    /// The rows so far; more follow.
    pub fn take(&mut self) -> Batch {
        self.json.extend_from_slice(b"]}");
        self.bytes += self.json.len() as u64;
        let json = std::mem::replace(&mut self.json, Vec::with_capacity(FULL + FULL / 8));
        self.begin();
        Batch::new(json, false)
    }

    /// What the last batch begins with, up to its last row, and the cursor where rows are left.
    pub fn into_parts(self) -> (Vec<u8>, Option<Cursor>) {
        (self.json, self.cursor.filter(|_| self.more))
    }

    /// What a query with `since` looked at.
    pub fn upto(&self) -> Option<String> {
        let since = self.statement.since.as_ref()?;
        Some(since.upto.to_string())
    }

    /// The token of an answer to `since` that was cut by its limit: it has seen what it returned, and
    /// the next one goes on behind that.
    pub fn token_of_page(&self, origin: Origin) -> Option<String> {
        let since = self.statement.since.as_ref().filter(|_| self.more)?;
        Some(match &self.cursor {
            Some(cursor) => {
                let rest = Rest {
                    since: since.seen.clone(),
                    cursor: cursor.encode(),
                };
                Token::text_of_page(origin, &since.upto.to_string(), &rest)
            }
            // Of no rows at all.
            None => Token::text(origin, &since.seen.to_string()),
        })
    }

    /// The last batch. `end` describes the whole result; the cursor is added where rows are left.
    pub fn finish(self, mut end: End<'_>) -> Batch {
        if let (true, Some(cursor)) = (self.more, &self.cursor) {
            end.next_cursor = Some(cursor.encode());
        }
        Batch::last(self.json, &end)
    }
}

fn column_name(statement: &Statement, column: usize) -> String {
    statement
        .columns
        .as_ref()
        .and_then(|names| names.get(column))
        .cloned()
        .unwrap_or_default()
}

fn key_value(row: &PgRow, source: KeySource) -> Result<KeyValue> {
    let wrong = |e: sqlx::Error| Error::Internal(e.to_string().into());
    let raw = row.try_get_raw(source.column).map_err(wrong)?;
    if sqlx::ValueRef::is_null(&raw) {
        return Ok(KeyValue::Null);
    }
    let bytes = raw
        .as_bytes()
        .map_err(|e| Error::Internal(e.to_string().into()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let short = || Error::Internal("a sort key of an unexpected length".into());
    Ok(match source.kind {
        Kind::Uuid => KeyValue::Uuid(Uuid::from_slice(bytes).map_err(|_| short())?),
        Kind::Time => KeyValue::Time(Timestamp::from_postgres(i64::from_be_bytes(
            bytes.try_into().map_err(|_| short())?,
        ))),
        Kind::Text => KeyValue::Text(text(bytes)),
        Kind::Json => KeyValue::Json(text(bytes.get(1..).ok_or_else(short)?)),
    })
}
