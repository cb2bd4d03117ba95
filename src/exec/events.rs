//! Whole events by their ids, as JSON text: for answers that are put together from others.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::{Row, ValueRef};
use uuid::Uuid;

use super::arguments::{arguments, sql_text};
use super::ascii::text;
use super::config::BigintMode;
use super::connection::Connection;
use super::encode::{Encoder, encode, uuid};
use super::number::json_scalar;
use super::stop::Stop;
use crate::model::{Error, Result, field::Kind, time::Timestamp};
use crate::sql::Bind;

const ENCODERS: [Encoder; 6] = [
    Encoder::Uuid,
    Encoder::Text,
    Encoder::Time,
    Encoder::Json,
    Encoder::Json,
    Encoder::Json,
];

/// The events of these ids, each as its six values with commas between them. `sql` selects them by
/// the ids as its only value.
///
/// # Errors
/// Why they could not be read.
pub async fn event_texts(
    connection: &mut Connection,
    sql: &str,
    ids: Vec<Uuid>,
) -> Result<HashMap<Uuid, Box<[u8]>>, Stop> {
    let mut texts = HashMap::with_capacity(ids.len());
    let values = arguments(&[Bind::Uuids(ids)]).map_err(Stop::Refused)?;
    let mut rows = sqlx::query_with(sql_text(sql), values).fetch(&mut connection.driver);
    let mut json = Vec::new();
    while let Some(row) = rows.try_next().await? {
        json.clear();
        for (i, encoder) in ENCODERS.into_iter().enumerate() {
            if i > 0 {
                json.push(b',');
            }
            let value = row.try_get_raw(i)?;
            // Whole documents hold whatever they hold: no bigint mode concerns them.
            encode(&mut json, encoder, value, BigintMode::Number, String::new)
                .map_err(Stop::Ours)?;
        }
        texts.insert(row.try_get(0)?, json.as_slice().into());
        if texts.len() % 256 == 0 {
            tokio::task::yield_now().await;
        }
    }
    Ok(texts)
}

/// A value in the server's binary format as JSON text; what is missing is null.
///
/// # Errors
/// PRECISION_LOSS, by the bigint mode.
pub fn write_value(
    out: &mut Vec<u8>,
    kind: Kind,
    value: Option<&[u8]>,
    mode: BigintMode,
    column: &str,
) -> Result<()> {
    let short = || Error::Internal("a value of an unexpected length".into());
    match (kind, value) {
        (_, None) => out.extend_from_slice(b"null"),
        (Kind::Text, Some(bytes)) => text(out, bytes),
        (Kind::Uuid, Some(bytes)) => uuid(out, bytes),
        (Kind::Time, Some(bytes)) => {
            let micros = i64::from_be_bytes(bytes.try_into().map_err(|_| short())?);
            out.push(b'"');
            Timestamp::from_postgres(micros).write(out);
            out.push(b'"');
        }
        (Kind::Json, Some(bytes)) => {
            let json = bytes.get(1..).ok_or_else(short)?;
            return json_scalar(out, json, mode, || column.to_owned());
        }
    }
    Ok(())
}

/// Whether a raw value is there, and its bytes.
///
/// # Errors
/// A driver's.
pub fn raw(row: &sqlx::postgres::PgRow, column: usize) -> Result<Option<&[u8]>, Stop> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(None);
    }
    value
        .as_bytes()
        .map(Some)
        .map_err(|e| Stop::Ours(Error::Internal(e.to_string().into())))
}
