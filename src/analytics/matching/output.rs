//! Matches as batches: flat lists of what `lib/matches.js` makes rows of.

use uuid::Uuid;

use super::kept::Span;
use crate::exec::{Batch, Frame, IntoAscii, Limits, Mode};
use crate::model::{Error, Result, time::Timestamp};

/// About as much as a batch of rows.
const FULL: usize = 64 << 10;

/// Puts batches together.
pub struct Output {
    header: Vec<u8>,
    json: Vec<u8>,
    limits: Option<Limits>,
    rows: u64,
    bytes: u64,
    empty: bool,
    /// Batches that were sent, and where each row stands among them, where that is wanted.
    sent: u32,
    spans: Option<Vec<Span>>,
}

impl Output {
    /// An output of rows that `header` describes.
    pub fn new(frame: &Frame<'_>, header: &str) -> Self {
        let header = format!("{{{header},\"rows\":[").into_bytes_ascii();
        Self {
            json: header.clone(),
            header,
            limits: (frame.mode == Mode::Buffered).then_some(frame.engine.config.limits),
            rows: 0,
            bytes: 0,
            empty: true,
            sent: 0,
            spans: frame.keeps.then(Vec::new),
        }
    }

    /// Refuses more rows than a buffered result may have.
    ///
    /// # Errors
    /// RESULT_TOO_LARGE
    pub fn check_rows(&self, rows: u64) -> Result<()> {
        match self.limits {
            Some(limits) if rows > limits.max_rows => Err(Error::ResultTooLarge {
                limit: limits.max_rows,
                unit: "rows",
                option: "maxRows",
            }),
            _ => Ok(()),
        }
    }

    /// Adds a row, as `write` writes its values with commas between them.
    ///
    /// # Errors
    /// That of `write`; RESULT_TOO_LARGE.
    pub fn row(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        if !self.empty {
            self.json.push(b',');
        }
        self.empty = false;
        let from = self.json.len();
        write(&mut self.json)?;
        if let Some(spans) = &mut self.spans {
            let at = |byte: usize| u32::try_from(byte).unwrap_or(u32::MAX);
            spans.push((self.sent, at(from)..at(self.json.len())));
        }
        self.rows += 1;
        if let Some(limits) = self.limits
            && self.bytes + self.json.len() as u64 > limits.max_result_bytes
        {
            return Err(Error::ResultTooLarge {
                limit: limits.max_result_bytes,
                unit: "bytes",
                option: "maxResultBytes",
            });
        }
        Ok(())
    }

    /// Sends what there is, where it is enough.
    pub async fn flow(&mut self, frame: &Frame<'_>) {
        if self.json.len() < FULL {
            return;
        }
        self.json.extend_from_slice(b"]}");
        self.bytes += self.json.len() as u64;
        let mut json = Vec::with_capacity(FULL + FULL / 8);
        json.extend_from_slice(&self.header);
        let json = std::mem::replace(&mut self.json, json);
        self.empty = true;
        self.sent += 1;
        frame.ticket.set_made(self.rows, self.bytes);
        frame.send(Batch::new(json, false)).await;
    }

    /// Where the rows stand.
    pub fn take_spans(&mut self) -> Vec<Span> {
        self.spans.take().unwrap_or_default()
    }

    /// The last batch.
    pub fn finish(self, frame: &Frame<'_>, snapshot: &str) -> Batch {
        let batch = Batch::last(self.json, &frame.end(self.rows, snapshot));
        frame
            .ticket
            .set_made(self.rows, self.bytes + batch.json.len() as u64);
        batch
    }
}

/// Appends a list of events, by their texts.
///
/// # Errors
/// An event that was not read.
pub fn events<'t>(
    out: &mut Vec<u8>,
    ids: impl IntoIterator<Item = &'t Uuid>,
    text: impl Fn(&Uuid) -> Option<&'t [u8]>,
) -> Result<()> {
    out.push(b'[');
    for (i, id) in ids.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        // The transaction sees one snapshot: what it matched is still there.
        let text = text(id).ok_or_else(|| Error::Internal("an event of a match is gone".into()))?;
        out.extend_from_slice(text);
    }
    out.push(b']');
    Ok(())
}

/// Appends a point in time, in PostgreSQL's microseconds.
pub fn time(out: &mut Vec<u8>, micros: i64) {
    out.push(b'"');
    Timestamp::from_postgres(micros).write(out);
    out.push(b'"');
}

/// Appends microseconds as milliseconds.
pub fn millis(out: &mut Vec<u8>, micros: i64) {
    let whole = micros / 1000;
    let part = micros % 1000;
    out.extend_from_slice(whole.to_string().as_bytes());
    if part != 0 {
        out.extend_from_slice(format!(".{part:03}").as_bytes());
    }
}
