//! Rows in the binary format of COPY.

use super::event::Event;

/// Signature, flags, and the length of no header extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
const COLUMNS: [u8; 2] = 6_i16.to_be_bytes();

/// Rows on their way to the server.
pub struct CopyRows {
    bytes: Vec<u8>,
    rows: u64,
}

impl CopyRows {
    /// No rows.
    pub fn new() -> Self {
        Self {
            bytes: HEADER.to_vec(),
            rows: 0,
        }
    }

    /// Adds an event.
    pub fn push(&mut self, event: &Event<'_>) {
        self.bytes.extend_from_slice(&COLUMNS);
        self.field(&[], event.id.as_bytes());
        self.field(&[], event.r#type.as_bytes());
        self.field(&[], &event.timestamp.to_postgres().to_be_bytes());
        for json in [event.tags, event.metadata, event.data] {
            // jsonb's binary form: a version and the text.
            self.field(&[1], json.as_bytes());
        }
        self.rows += 1;
    }

    fn field(&mut self, prefix: &[u8], value: &[u8]) {
        // A line is at most `MAX_LINE`, far below what fits.
        let length = u32::try_from(prefix.len() + value.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(prefix);
        self.bytes.extend_from_slice(value);
    }

    /// How many rows.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole, ready to be sent.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&TRAILER);
        self.bytes
    }
}
