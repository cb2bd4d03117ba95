//! Parquet and Arrow IPC.
//!
//! Text is Utf8, points in time are microseconds in UTC, JSON is Utf8 that holds JSON text: paths into
//! JSON have values of any type. Whole numbers are Int64, computed ones Float64.

use std::{collections::HashMap, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{
        BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
        TimestampMicrosecondBuilder,
    },
};
use arrow_ipc::{
    CompressionType,
    writer::{FileWriter, IpcWriteOptions},
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression as Packing, GzipLevel, ZstdLevel},
    errors::ParquetError,
    file::properties::WriterProperties,
};
use sqlx::postgres::{PgRow, PgValueRef};

use super::column::{Column, Kind, bytes, digits, document, raw};
use super::options::{Compression, Format, Options};
use crate::exec::{BigintMode, Encoder, encode};
use crate::model::{Error, Result, time::POSTGRES_EPOCH};

/// Rows of a batch, or bytes of their texts, before it is written.
const ROWS: usize = 8192;
const BYTES: usize = 4 << 20;
/// A row group is written out when it has grown to this, so that memory stays flat.
const ROW_GROUP: usize = 32 << 20;

/// Rows as columns.
pub struct Columnar {
    columns: Vec<Column>,
    builders: Vec<Builder>,
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
    writer: Writer,
}

enum Writer {
    Parquet(Box<ArrowWriter<Vec<u8>>>),
    Arrow(Box<FileWriter<Vec<u8>>>),
}

enum Builder {
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
    LocalTime(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
}

impl Columnar {
    /// Begins a file.
    pub fn new(columns: Vec<Column>, options: &Options) -> Result<Self> {
        let fields = columns.iter().map(|column| {
            let field = Field::new(&column.name, data_type(column.kind), true);
            match column.kind {
                Kind::Json => {
                    let json = ("content".to_owned(), "application/json".to_owned());
                    field.with_metadata(HashMap::from([json]))
                }
                _ => field,
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let writer = match options.format {
            Format::Arrow => Writer::Arrow(Box::new(arrow_writer(&schema, options.compression)?)),
            _ => Writer::Parquet(Box::new(parquet_writer(&schema, options.compression)?)),
        };
        Ok(Self {
            builders: columns.iter().map(|c| Builder::of(c.kind)).collect(),
            columns,
            schema,
            rows: 0,
            bytes: 0,
            writer,
        })
    }

    /// Adds a row.
    pub fn push(&mut self, row: &PgRow) -> Result<()> {
        for (i, column) in self.columns.iter().enumerate() {
            match raw(row, i)? {
                None => self.builders[i].null(),
                Some(value) => {
                    self.bytes += bytes(&value)?.len();
                    self.builders[i].push(column, value)?;
                }
            }
        }
        self.rows += 1;
        if self.rows >= ROWS || self.bytes >= BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let arrays: Vec<ArrayRef> = self.builders.iter_mut().map(Builder::finish).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(arrow)?;
        (self.rows, self.bytes) = (0, 0);
        match &mut self.writer {
            Writer::Arrow(writer) => writer.write(&batch).map_err(arrow),
            Writer::Parquet(writer) => {
                writer.write(&batch).map_err(parquet)?;
                if writer.in_progress_size() >= ROW_GROUP || writer.memory_size() >= ROW_GROUP {
                    writer.flush().map_err(parquet)?;
                }
                Ok(())
            }
        }
    }

    /// What has gathered. The writers count what they wrote: taking it away does not confuse them.
    pub fn gathered(&mut self) -> &mut Vec<u8> {
        match &mut self.writer {
            Writer::Arrow(writer) => writer.get_mut(),
            Writer::Parquet(writer) => writer.inner_mut(),
        }
    }

    /// The last bytes.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        self.flush()?;
        match self.writer {
            Writer::Arrow(mut writer) => {
                writer.finish().map_err(arrow)?;
                writer.into_inner().map_err(arrow)
            }
            Writer::Parquet(writer) => writer.into_inner().map_err(parquet),
        }
    }
}

fn data_type(kind: Kind) -> DataType {
    match kind {
        Kind::Text | Kind::Json => DataType::Utf8,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::LocalTimestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::Date => DataType::Date32,
        Kind::Int64 => DataType::Int64,
        Kind::Float64 => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
    }
}

fn arrow_writer(schema: &Schema, compression: Compression) -> Result<FileWriter<Vec<u8>>> {
    let packing = (compression == Compression::Zstd).then_some(CompressionType::ZSTD);
    let options = IpcWriteOptions::default()
        .try_with_compression(packing)
        .map_err(arrow)?;
    FileWriter::try_new_with_options(Vec::new(), schema, options).map_err(arrow)
}

fn parquet_writer(schema: &SchemaRef, compression: Compression) -> Result<ArrowWriter<Vec<u8>>> {
    let packing = match compression {
        Compression::None => Packing::UNCOMPRESSED,
        Compression::Snappy => Packing::SNAPPY,
        Compression::Gzip => Packing::GZIP(GzipLevel::default()),
        Compression::Zstd => Packing::ZSTD(ZstdLevel::default()),
    };
    let properties = WriterProperties::builder()
        .set_compression(packing)
        .set_created_by(concat!("tamma-events ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(parquet)
}

impl Builder {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Json => Self::Text(StringBuilder::new()),
            Kind::Timestamp => Self::Time(TimestampMicrosecondBuilder::new()),
            Kind::LocalTimestamp => Self::LocalTime(TimestampMicrosecondBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Int64 => Self::Int(Int64Builder::new()),
            Kind::Float64 => Self::Float(Float64Builder::new()),
            Kind::Boolean => Self::Bool(BooleanBuilder::new()),
        }
    }

    fn null(&mut self) {
        match self {
            Self::Text(builder) => builder.append_null(),
            Self::Time(builder) | Self::LocalTime(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Int(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
        }
    }

    fn push(&mut self, column: &Column, value: PgValueRef<'_>) -> Result<()> {
        let raw = bytes(&value)?;
        let short = || Error::Internal("a value of an unexpected length".into());
        match self {
            Self::Time(builder) | Self::LocalTime(builder) => {
                let since_2000 = i64::from_be_bytes(raw.try_into().map_err(|_| short())?);
                // Infinity stays the end of time.
                builder.append_value(since_2000.saturating_add(POSTGRES_EPOCH));
            }
            Self::Date(builder) => {
                let since_2000 = i32::from_be_bytes(raw.try_into().map_err(|_| short())?);
                builder.append_value(since_2000.saturating_add(10_957));
            }
            Self::Int(builder) => builder.append_value(match column.encoder {
                Encoder::Int2 => i16::from_be_bytes(raw.try_into().map_err(|_| short())?).into(),
                Encoder::Int4 => i32::from_be_bytes(raw.try_into().map_err(|_| short())?).into(),
                Encoder::Oid => u32::from_be_bytes(raw.try_into().map_err(|_| short())?).into(),
                _ => i64::from_be_bytes(raw.try_into().map_err(|_| short())?),
            }),
            Self::Bool(builder) => builder.append_value(raw == [1]),
            Self::Float(builder) => builder.append_value(float(column, raw, value)?),
            Self::Text(builder) => text(builder, column, raw, value)?,
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish().with_timezone("UTC")),
            Self::LocalTime(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Float(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
        }
    }
}

fn float(column: &Column, raw: &[u8], value: PgValueRef<'_>) -> Result<f64> {
    let short = || Error::Internal("a value of an unexpected length".into());
    match column.encoder {
        Encoder::Float4 => Ok(f32::from_be_bytes(raw.try_into().map_err(|_| short())?).into()),
        Encoder::Float8 => Ok(f64::from_be_bytes(raw.try_into().map_err(|_| short())?)),
        encoder => {
            let Some(digits) = digits(value) else {
                return Ok(f64::NAN);
            };
            let double: f64 = digits.parse().unwrap_or(f64::INFINITY);
            if !double.is_finite() {
                return Err(Error::BeyondDouble);
            }
            let is_whole = !digits.contains('.');
            if encoder == Encoder::Numeric && is_whole && format!("{double:.0}") != digits {
                return Err(Error::PrecisionLoss {
                    column: column.name.clone(),
                });
            }
            Ok(double)
        }
    }
}

fn text(
    builder: &mut StringBuilder,
    column: &Column,
    raw: &[u8],
    value: PgValueRef<'_>,
) -> Result<()> {
    let wrong = |_| Error::Internal("the server sent text that is not UTF-8".into());
    match column.encoder {
        Encoder::Text => builder.append_value(std::str::from_utf8(raw).map_err(wrong)?),
        Encoder::Json | Encoder::JsonScalar | Encoder::JsonText => {
            let json = document(column.encoder, raw);
            builder.append_value(std::str::from_utf8(json).map_err(wrong)?);
        }
        Encoder::Numeric => match digits(value) {
            Some(digits) => builder.append_value(digits),
            None => builder.append_null(),
        },
        encoder => {
            let mut quoted = Vec::with_capacity(38);
            encode(&mut quoted, encoder, value, BigintMode::Number, String::new)?;
            let inside = quoted.get(1..quoted.len().saturating_sub(1));
            let inside = std::str::from_utf8(inside.unwrap_or_default()).map_err(wrong)?;
            builder.append_value(inside);
        }
    }
    Ok(())
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it over.
fn arrow(error: ArrowError) -> Error {
    Error::Export(format!("the rows could not be written as Arrow: {error}"))
}

#[allow(clippy::needless_pass_by_value)] // As `map_err` hands it over.
fn parquet(error: ParquetError) -> Error {
    Error::Export(format!("the rows could not be written as Parquet: {error}"))
}
