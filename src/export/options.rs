//! What an export is to be like, checked.

use serde_json::Value as Wire;

use crate::model::{
    Error, Result,
    path::Path,
    wire::{boolean, known_keys, object, shown, text},
};

/// A format of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180.
    Csv,
    /// An object a line.
    Ndjson,
    /// A list of objects.
    Json,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, the file format.
    Arrow,
}

/// How bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    None,
    /// gzip; of Parquet its pages.
    Gzip,
    /// Zstandard; of Parquet its pages, of Arrow its buffers.
    Zstd,
    /// Snappy, the pages of Parquet.
    Snappy,
}

/// An export.
#[derive(Clone, Debug)]
pub struct Options {
    /// The format.
    pub format: Format,
    /// How it is packed.
    pub compression: Compression,
    /// Whether a CSV begins with the names of its columns.
    pub header: bool,
    /// What stands between the cells of a CSV.
    pub delimiter: u8,
    /// Whether cells that a spreadsheet would run are made texts.
    pub neutralize: bool,
    /// The file, and the name that it has until it is whole. Else chunks go to the reader.
    pub file: Option<(String, String)>,
}

impl Options {
    /// Parses the options as `lib/export.js` hands them over.
    ///
    /// # Errors
    /// INVALID_QUERY with the path of what is wrong.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let members = object(wire, &root, "the options of an export")?;
        known_keys(
            members,
            &root,
            &["format", "to", "temporary", "csv", "compression"],
        )?;
        let format = match members.get("format").and_then(Wire::as_str) {
            Some("csv") => Format::Csv,
            Some("ndjson") => Format::Ndjson,
            Some("json") => Format::Json,
            Some("parquet") => Format::Parquet,
            Some("arrow") => Format::Arrow,
            _ => {
                return Err(Error::invalid(
                    "format",
                    "must be 'csv', 'ndjson', 'json', 'parquet' or 'arrow'",
                ));
            }
        };
        let file = match (members.get("to"), members.get("temporary")) {
            (Some(to), Some(temporary)) => Some((
                text(to, &root.key("to"))?.to_owned(),
                text(temporary, &root.key("temporary"))?.to_owned(),
            )),
            _ => None,
        };
        let mut options = Self {
            format,
            compression: compression(members.get("compression"), format)?,
            header: true,
            delimiter: b',',
            neutralize: false,
            file,
        };
        if let Some(csv) = members.get("csv") {
            options.csv(csv, &root.key("csv"))?;
        }
        Ok(options)
    }

    fn csv(&mut self, wire: &Wire, path: &Path<'_>) -> Result<()> {
        if self.format != Format::Csv {
            return Err(Error::invalid(path, "is for the format 'csv'"));
        }
        let members = object(wire, path, "options of CSV")?;
        known_keys(
            members,
            path,
            &["header", "delimiter", "neutralizeFormulas"],
        )?;
        if let Some(header) = members.get("header") {
            self.header = boolean(header, &path.key("header"))?;
        }
        if let Some(neutralize) = members.get("neutralizeFormulas") {
            self.neutralize = boolean(neutralize, &path.key("neutralizeFormulas"))?;
        }
        if let Some(delimiter) = members.get("delimiter") {
            let here = path.key("delimiter");
            self.delimiter = match text(delimiter, &here)?.as_bytes() {
                [byte @ (b'\t' | b' '..=b'~')] if *byte != b'"' => *byte,
                _ => {
                    return Err(Error::invalid(
                        here,
                        "must be one ASCII character that is no quote and no line break",
                    ));
                }
            };
        }
        Ok(())
    }
}

fn compression(wire: Option<&Wire>, format: Format) -> Result<Compression> {
    let Some(wire) = wire else {
        // What every reader of Parquet knows.
        return Ok(match format {
            Format::Parquet => Compression::Snappy,
            _ => Compression::None,
        });
    };
    let compression = match wire.as_str() {
        Some("none") => Compression::None,
        Some("gzip") => Compression::Gzip,
        Some("zstd") => Compression::Zstd,
        Some("snappy") => Compression::Snappy,
        _ => {
            return Err(Error::invalid(
                "compression",
                format!(
                    "must be 'none', 'gzip', 'zstd' or 'snappy', not {}",
                    shown(wire)
                ),
            ));
        }
    };
    match (compression, format) {
        (Compression::Snappy, Format::Csv | Format::Ndjson | Format::Json | Format::Arrow) => {
            Err(Error::invalid("compression", "'snappy' is for Parquet"))
        }
        (Compression::Gzip, Format::Arrow) => Err(Error::invalid(
            "compression",
            "'gzip' is not known to Arrow IPC: take 'zstd' or 'none'",
        )),
        (compression, _) => Ok(compression),
    }
}
