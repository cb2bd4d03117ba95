//! Bulk import: newline-delimited JSON in, by COPY through a staging table.
//!
//! One task parses and another writes, with one chunk between them: memory is bounded by a few
//! chunks, whatever the size of the source. Each chunk is a transaction of its own, so an import
//! that ends early leaves whole chunks behind; repeating it stores the rest, since ids that are
//! there are skipped.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use tokio::{sync::mpsc, task::JoinHandle};

use super::copy::CopyRows;
use super::event::{Completeness, Event};
use super::store;
use crate::exec::{Engine, Lease, Ticket, fault};
use crate::model::{Error, Result, path::Path};

/// A chunk is sent when it has this many bytes or rows.
const CHUNK_BYTES: usize = 2 << 20;
const CHUNK_ROWS: u64 = 5000;
/// The longest line: far beyond a sane event, far below what jsonb takes.
const MAX_LINE: usize = 64 << 20;

/// What an import came to, or has come to so far.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    /// Events stored.
    pub imported: u64,
    /// Events whose id was there.
    pub duplicates: u64,
    /// The first lines that were refused.
    pub rejected: Vec<Rejected>,
    /// How many were refused in all.
    pub rejected_count: u64,
}

/// A line that was refused.
#[derive(Debug, Serialize)]
pub struct Rejected {
    /// Counted from 1.
    pub line: u64,
    /// The path of what is wrong, and what.
    pub reason: String,
}

/// An import under way.
pub struct Importer {
    chunks: Option<mpsc::Sender<CopyRows>>,
    writer: Option<JoinHandle<Result<()>>>,
    counts: Arc<Counts>,
    rows: CopyRows,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    line: u64,
    rejected: Vec<Rejected>,
    rejected_count: u64,
    max_listed: usize,
}

#[derive(Default)]
struct Counts {
    imported: AtomicU64,
    duplicates: AtomicU64,
    failure: Mutex<Option<Error>>,
}

impl Importer {
    /// Begins an import, whose writing is cancelled by `id`; `max_listed` lines at most are reported one by
    /// one.
    ///
    /// # Errors
    /// Why there is no connection.
    pub async fn begin(engine: &Arc<Engine>, id: Arc<str>, max_listed: usize) -> Result<Self> {
        let ticket = engine.registry.enter(id)?;
        let lease = engine.pool.acquire_alive().await?;
        let (chunks, received) = mpsc::channel(1);
        let counts = Arc::<Counts>::default();
        let writer = Writer {
            lease: Some(lease),
            engine: Arc::clone(engine),
            counts: Arc::clone(&counts),
        };
        Ok(Self {
            chunks: Some(chunks),
            writer: Some(tokio::spawn(writer.run(received, ticket))),
            counts,
            rows: CopyRows::new(),
            partial: Vec::new(),
            line: 0,
            rejected: Vec::new(),
            rejected_count: 0,
            max_listed,
        })
    }

    /// Takes more of the source, cut anywhere. Waits while the server is behind.
    ///
    /// # Errors
    /// Why the server could not store a chunk.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            rest = &tail[1..];
            if self.partial.is_empty() {
                self.take(head);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(head);
                self.take(&whole);
                whole.clear();
                self.partial = whole;
            }
            if self.rows.len() >= CHUNK_BYTES || self.rows.rows() >= CHUNK_ROWS {
                self.send().await?;
            }
        }
        // A line beyond the limit is refused at its end; until then its head is enough.
        if self.partial.len() <= MAX_LINE {
            self.partial.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Takes the last line, and waits until everything is stored.
    ///
    /// # Errors
    /// Why the server could not store a chunk.
    pub async fn finish(&mut self) -> Result<ImportReport> {
        let last = std::mem::take(&mut self.partial);
        if !last.is_empty() {
            self.take(&last);
        }
        if self.rows.rows() > 0 {
            self.send().await?;
        }
        self.chunks = None;
        if let Some(writer) = self.writer.take() {
            writer
                .await
                .map_err(|_| Error::Internal("the importing task panicked".into()))??;
        }
        Ok(self.report())
    }

    /// Gives up what has not been stored, and waits until the connection is free.
    pub async fn abort(mut self) {
        self.chunks = None;
        if let Some(writer) = self.writer.take() {
            // A chunk under way is stored whole, or not at all.
            let _ = writer.await;
        }
    }

    /// The counts so far; the list of refused lines goes with it.
    fn report(&mut self) -> ImportReport {
        ImportReport {
            imported: self.counts.imported.load(Ordering::Acquire),
            duplicates: self.counts.duplicates.load(Ordering::Acquire),
            rejected: std::mem::take(&mut self.rejected),
            rejected_count: self.rejected_count,
        }
    }

    /// Lines read so far.
    pub const fn lines(&self) -> u64 {
        self.line
    }

    fn take(&mut self, line: &[u8]) {
        self.line += 1;
        // A byte order mark at the very beginning, and the other kind of line end.
        let line = if self.line == 1 {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        } else {
            line
        };
        let line = line.trim_ascii();
        if line.is_empty() {
            return;
        }
        let parsed = if line.len() > MAX_LINE {
            Err(Error::invalid_event("", "is longer than 64 MiB"))
        } else {
            std::str::from_utf8(line)
                .map_err(|_| Error::invalid_event("", "is not UTF-8"))
                .and_then(parse)
        };
        match parsed {
            Ok(event) => self.rows.push(&event),
            Err(error) => {
                self.rejected_count += 1;
                if self.rejected.len() < self.max_listed {
                    self.rejected.push(Rejected {
                        line: self.line,
                        reason: reason(&error),
                    });
                }
            }
        }
    }

    async fn send(&mut self) -> Result<()> {
        let chunk = std::mem::replace(&mut self.rows, CopyRows::new());
        let sent = match &self.chunks {
            Some(chunks) => chunks.send(chunk).await.is_ok(),
            None => false,
        };
        if sent {
            return Ok(());
        }
        // The writer is gone, and left its reason.
        let failure = self
            .counts
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Err(failure.unwrap_or(Error::Closed))
    }
}

/// A line is an event, or (`lib/ingest.js` writes it so) `!` with the path and the problem of what
/// JavaScript could not write.
fn parse(line: &str) -> Result<Event<'_>> {
    if let Some(refused) = line.strip_prefix('!')
        && let Ok((path, problem)) = serde_json::from_str::<(String, String)>(refused)
    {
        return Err(Error::invalid_event(path, problem));
    }
    Event::parse(line, Completeness::Whole, &Path::Root)
}

fn reason(error: &Error) -> String {
    match error {
        Error::InvalidEvent { path, problem } if path.is_empty() => format!("the line {problem}"),
        other => other.to_string(),
    }
}

/// Writes chunks until there are no more, then gives its connection back.
struct Writer {
    lease: Option<Lease>,
    engine: Arc<Engine>,
    counts: Arc<Counts>,
}

impl Writer {
    async fn run(mut self, mut chunks: mpsc::Receiver<CopyRows>, ticket: Ticket) -> Result<()> {
        let written = tokio::select! {
            written = self.write_all(&mut chunks) => written,
            reason = ticket.stopped() => Err(reason.error()),
        };
        match written {
            Ok(()) => {
                if let Some(lease) = self.lease.take() {
                    lease.release();
                }
                Ok(())
            }
            Err(error) => {
                // Dropping the lease closes the connection, and the server rolls the chunk back.
                self.lease = None;
                let error = self.engine.explained(error);
                *self
                    .counts
                    .failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = Some(copy_of(&error));
                Err(error)
            }
        }
    }

    async fn write_all(&mut self, chunks: &mut mpsc::Receiver<CopyRows>) -> Result<()> {
        let merge = store::merge(&self.engine.target().table);
        let Some(lease) = &mut self.lease else {
            return Ok(());
        };
        let driver = &mut lease.connection().driver;
        sqlx::raw_sql(store::STAGING)
            .execute(&mut *driver)
            .await
            .map_err(fault)?;
        while let Some(chunk) = chunks.recv().await {
            let rows = chunk.rows();
            sqlx::raw_sql(store::BEGIN)
                .execute(&mut *driver)
                .await
                .map_err(fault)?;
            let mut copy = driver.copy_in_raw(store::COPY).await.map_err(fault)?;
            copy.send(chunk.finish()).await.map_err(fault)?;
            copy.finish().await.map_err(fault)?;
            // Names are quoted, and there are no values in it.
            let merge = AssertSqlSafe(merge.clone()).into_sql_str();
            let stored = sqlx::query(merge)
                .execute(&mut *driver)
                .await
                .map_err(fault)?
                .rows_affected();
            sqlx::raw_sql(store::COMMIT)
                .execute(&mut *driver)
                .await
                .map_err(fault)?;
            self.counts.imported.fetch_add(stored, Ordering::AcqRel);
            self.counts
                .duplicates
                .fetch_add(rows.saturating_sub(stored), Ordering::AcqRel);
        }
        sqlx::raw_sql(store::DROP_STAGING)
            .execute(driver)
            .await
            .map_err(fault)
            .map(drop)
    }
}

/// The same failure once more: one for the task's end, one for whoever pushes next.
fn copy_of(error: &Error) -> Error {
    match error {
        Error::Closed => Error::Closed,
        Error::UnknownTable(what) => Error::UnknownTable(what.clone()),
        Error::Connection { message, sql_state } => Error::Connection {
            message: message.clone(),
            sql_state: sql_state.clone(),
        },
        Error::Database { sql_state, message } => Error::Database {
            sql_state: sql_state.clone(),
            message: message.clone(),
        },
        other => Error::Internal(other.to_string().into()),
    }
}
