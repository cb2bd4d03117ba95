//! What slices give, kept as the server sent it: it goes back as arrays without being understood here.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::TryStreamExt;
use sqlx::{Row, ValueRef, postgres::PgRow};

use crate::exec::arguments::{arguments, sql_text};
use crate::exec::connection::Connection;
use crate::exec::fault::may_be_outdated;
use crate::exec::lease::Lease;
use crate::exec::snapshot::Exported;
use crate::exec::stop::Stop;
use crate::model::{Error, Result};
use crate::sql::{Bind, Partial, Typed};

/// The rows of slices, column by column.
pub struct Gathered {
    types: Vec<Typed>,
    columns: Vec<Vec<u8>>,
    rows: i32,
    bytes: usize,
}

impl Gathered {
    /// Nothing yet.
    pub fn new(types: &[Typed]) -> Self {
        Self {
            columns: vec![Vec::new(); types.len()],
            types: types.to_vec(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Keeps a row.
    ///
    /// # Errors
    /// A column of another type than was asked for.
    pub fn push(&mut self, row: &PgRow) -> Result<()> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            let value =
                (row.try_get_raw(place)).map_err(|e| Error::Internal(e.to_string().into()))?;
            if value.is_null() {
                column.extend_from_slice(&(-1_i32).to_be_bytes());
                self.bytes += 4;
                continue;
            }
            let bytes = value
                .as_bytes()
                .map_err(|e| Error::Internal(e.to_string().into()))?;
            let length = i32::try_from(bytes.len())
                .map_err(|_| Error::Internal("a value longer than the server's".into()))?;
            column.extend_from_slice(&length.to_be_bytes());
            column.extend_from_slice(bytes);
            self.bytes += 4 + bytes.len();
        }
        self.rows = self.rows.saturating_add(1);
        Ok(())
    }

    /// Bytes kept.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds those of another slice.
    pub fn append(&mut self, other: Self) {
        for (column, more) in self.columns.iter_mut().zip(other.columns) {
            if column.is_empty() {
                *column = more;
            } else {
                column.extend_from_slice(&more);
            }
        }
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes += other.bytes;
    }

    /// The columns as arrays.
    pub fn into_arrays(self) -> Vec<Bind> {
        (self.types.iter().zip(self.columns))
            .map(|(typed, bytes)| {
                let (element, array) = typed.oids();
                Bind::Binary {
                    element,
                    array,
                    items: self.rows,
                    bytes: Arc::new(bytes),
                }
            })
            .collect()
    }
}

/// What slices may give together: more groups than that are not worth the way there and back.
const MOST_BYTES: usize = 64 << 20;

/// How much the slices of a run have given.
#[derive(Default)]
pub struct Gathering(AtomicUsize);

impl Gathering {
    fn add(&self, bytes: usize) -> Result<(), Stop> {
        if self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= MOST_BYTES {
            return Ok(());
        }
        Err(Stop::Ours(Error::Internal(
            "slices gave more groups than are merged".into(),
        )))
    }

    pub fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MOST_BYTES
    }
}

/// Answers a slice on a connection of its own, and gives the connection back.
pub async fn of_another(
    mut lease: Lease,
    exported: &Exported,
    part: &Partial,
    state: &Gathering,
) -> Result<Gathered> {
    let connection = lease.connection();
    let outcome = match connection.begin_adopting(&exported.name, true).await {
        Ok(_) => gather(connection, part, state).await,
        Err(stop) => Err(stop),
    };
    lease.end_transaction(&outcome).await;
    Ok(outcome?)
}

/// Runs a slice's statement and keeps its rows.
pub async fn gather(
    connection: &mut Connection,
    part: &Partial,
    state: &Gathering,
) -> Result<Gathered, Stop> {
    let mut gathered = Gathered::new(&part.types);
    let values = arguments(&part.binds).map_err(Stop::Refused)?;
    let result: Result<(), Stop> = async {
        let mut rows = sqlx::query_with(sql_text(&part.sql), values).fetch(&mut connection.driver);
        let mut count = 0_u32;
        while let Some(row) = rows.try_next().await? {
            let before = gathered.bytes();
            gathered.push(&row).map_err(Stop::Ours)?;
            state.add(gathered.bytes() - before)?;
            count = count.wrapping_add(1);
            // The JavaScript thread may be the one that polls.
            if count.is_multiple_of(256) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
    .await;
    if let Err(Stop::Driver(error)) = &result
        && may_be_outdated(error)
    {
        // Parsed before the schema changed: the next query parses it anew.
        connection.outdated = true;
    }
    result.map(|()| gathered)
}
