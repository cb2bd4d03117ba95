//! CSV, NDJSON and JSON.
//!
//! Numbers keep all their digits, whatever the client's bigint mode. In a CSV a missing value and JSON
//! null are empty cells, an empty text is `""`, which the crate `csv` would not tell apart; a JSON
//! string is its text, other JSON is JSON text.

use std::io::{self, Write};

use sqlx::postgres::{PgRow, PgValueRef};

use super::column::{Column, bytes, digits, document, raw};
use super::options::{Format, Options};
use super::sink::Sink;
use crate::exec::{BigintMode, Encoder, encode};
use crate::model::{Error, Result};

/// Rows as text.
pub struct Text {
    columns: Vec<Column>,
    /// `{"name":` and `,"name":`, ready to be written.
    keys: Vec<Vec<u8>>,
    options: Options,
    sink: Sink,
    /// Of one row.
    line: Vec<u8>,
    cell: Vec<u8>,
    rows: u64,
}

impl Text {
    /// Begins a text.
    pub fn new(columns: Vec<Column>, options: &Options) -> Result<Self> {
        let keys = columns.iter().enumerate().map(|(i, column)| {
            let mut key = vec![if i == 0 { b'{' } else { b',' }];
            json_text(&mut key, column.name.as_bytes());
            key.push(b':');
            key
        });
        let mut text = Self {
            keys: keys.collect(),
            columns,
            options: options.clone(),
            sink: Sink::new(options.compression).map_err(broken)?,
            line: Vec::new(),
            cell: Vec::new(),
            rows: 0,
        };
        if options.format == Format::Csv && options.header {
            for i in 0..text.columns.len() {
                text.cell.clear();
                text.cell.extend_from_slice(text.columns[i].name.as_bytes());
                text.end_cell(i, true, true);
            }
            text.end_line(b"\r\n")?;
        }
        Ok(text)
    }

    /// Adds a row.
    pub fn push(&mut self, row: &PgRow) -> Result<()> {
        match self.options.format {
            Format::Csv => {
                for i in 0..self.columns.len() {
                    self.cell.clear();
                    let (present, is_text) = match raw(row, i)? {
                        Some(value) => csv_cell(&mut self.cell, self.columns[i].encoder, value)?,
                        None => (false, false),
                    };
                    self.end_cell(i, present, is_text);
                }
                self.end_line(b"\r\n")?;
            }
            Format::Json => {
                self.line
                    .extend_from_slice(if self.rows == 0 { b"[\n" } else { b",\n" });
                self.object(row)?;
                self.end_line(b"")?;
            }
            _ => {
                self.object(row)?;
                self.end_line(b"\n")?;
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn object(&mut self, row: &PgRow) -> Result<()> {
        for (i, column) in self.columns.iter().enumerate() {
            self.line.extend_from_slice(&self.keys[i]);
            match raw(row, i)? {
                Some(value) => json_value(&mut self.line, column.encoder, value)?,
                None => self.line.extend_from_slice(b"null"),
            }
        }
        self.line
            .extend_from_slice(if self.columns.is_empty() { b"{}" } else { b"}" });
        Ok(())
    }

    /// Moves the cell into the line, in quotes where it needs them.
    fn end_cell(&mut self, place: usize, present: bool, is_text: bool) {
        let delimiter = self.options.delimiter;
        if place > 0 {
            self.line.push(delimiter);
        }
        let runs = matches!(
            self.cell.first(),
            Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r')
        );
        if self.options.neutralize && is_text && runs {
            self.cell.insert(0, b'\'');
        }
        let special = |b: &u8| *b == delimiter || matches!(b, b'"' | b'\r' | b'\n');
        let quoted = self.cell.iter().any(special)
            || (present && self.cell.is_empty())
            // A line of one empty cell would be no line at all to some readers.
            || (self.cell.is_empty() && self.columns.len() == 1);
        if !quoted {
            return self.line.extend_from_slice(&self.cell);
        }
        self.line.push(b'"');
        for byte in &self.cell {
            if *byte == b'"' {
                self.line.push(b'"');
            }
            self.line.push(*byte);
        }
        self.line.push(b'"');
    }

    fn end_line(&mut self, end: &[u8]) -> Result<()> {
        self.line.extend_from_slice(end);
        self.sink.write_all(&self.line).map_err(broken)?;
        self.line.clear();
        Ok(())
    }

    /// What has gathered.
    pub fn gathered(&mut self) -> &mut Vec<u8> {
        self.sink.gathered()
    }

    /// The last bytes.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        if self.options.format == Format::Json {
            self.line
                .extend_from_slice(if self.rows == 0 { b"[]" } else { b"\n]" });
            self.end_line(b"\n")?;
        }
        self.sink.finish().map_err(broken)
    }
}

/// A packer that fails, which writes into memory.
#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it over.
fn broken(error: io::Error) -> Error {
    Error::Export(format!("the bytes could not be packed: {error}"))
}

/// Writes a cell; gives whether there is a value, and whether it is a text.
fn csv_cell(out: &mut Vec<u8>, encoder: Encoder, value: PgValueRef<'_>) -> Result<(bool, bool)> {
    match encoder {
        Encoder::Text => out.extend_from_slice(bytes(&value)?),
        Encoder::Json | Encoder::JsonScalar | Encoder::JsonText => {
            let json = document(encoder, bytes(&value)?);
            match json.first() {
                Some(b'"') => {
                    let text: String = serde_json::from_slice(json)
                        .map_err(|e| Error::Internal(e.to_string().into()))?;
                    out.extend_from_slice(text.as_bytes());
                }
                _ if json == b"null" => return Ok((false, false)),
                _ => {
                    out.extend_from_slice(json);
                    return Ok((true, false));
                }
            }
        }
        encoder => {
            json_value(out, encoder, value)?;
            // Times and ids are strings in JSON.
            if out.first() == Some(&b'"') {
                out.remove(0);
                out.pop();
            }
            return Ok((true, false));
        }
    }
    Ok((true, true))
}

fn json_value(out: &mut Vec<u8>, encoder: Encoder, value: PgValueRef<'_>) -> Result<()> {
    match encoder {
        Encoder::Text => json_text(out, bytes(&value)?),
        Encoder::Json | Encoder::JsonScalar | Encoder::JsonText => {
            // In NDJSON a line is a value: `json` keeps the line breaks it was written with.
            let json = document(encoder, bytes(&value)?);
            out.extend(json.iter().map(|b| match b {
                b'\n' | b'\r' => b' ',
                b => *b,
            }));
        }
        Encoder::Numeric => match digits(value) {
            Some(digits) => out.extend_from_slice(digits.as_bytes()),
            None => out.extend_from_slice(b"null"),
        },
        Encoder::Int8 => {
            let number = bytes(&value)?.try_into().map(i64::from_be_bytes);
            out.extend_from_slice(number.unwrap_or_default().to_string().as_bytes());
        }
        encoder => encode(out, encoder, value, BigintMode::Number, String::new)?,
    }
    Ok(())
}

/// A JSON string, in UTF-8.
fn json_text(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |b: &u8| *b >= 0x20 && *b != b'"' && *b != b'\\';
    out.push(b'"');
    for byte in text {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte if plain(byte) => out.push(*byte),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            byte => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
    }
    out.push(b'"');
}
