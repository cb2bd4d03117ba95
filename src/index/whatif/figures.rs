//! Figures of the data, from a sample of the table: what candidates depend on, how large each would
//! become, and what it would cost to write.

use sqlx::PgConnection;

use super::super::candidates::{Data, path_of, sparse_fields};
use super::super::definition::Method;
use super::super::workload::Question;
use super::{Size, WhatIf, catalog, run};
use crate::exec::fault;
use crate::model::{Result, table::TableNames};
use crate::sql::index_expression;

/// Rows that figures of the data come from.
const FIGURE_ROWS: u32 = 8_000;
/// A btree's entry may not be longer.
const LONGEST_KEY: f64 = 2_000.0;

/// Microseconds of storing an event in batches of a thousand, with the primary key alone; and what an
/// entry of an index adds, as measured (`bench/story.mjs`): more where it goes anywhere rather than
/// behind the last, and for each byte; and what is looked at whether or not there is an entry.
const EVENT: f64 = 40.0;
const ENTRY: f64 = 1.0;
const ANYWHERE: f64 = 2.0;
const BYTE: f64 = 0.015;
const LOOK: f64 = 0.3;
/// The same of all of an event's entries in GIN.
const CONTENT: f64 = 6.0;

/// What indexing adds to storing an event, as a share of that.
pub fn tax(method: Method, share: f64, width: f64, in_order: bool) -> f64 {
    let entry = match method {
        Method::Brin => 0.0,
        Method::Gin => CONTENT,
        _ => BYTE.mul_add(width, ENTRY) + if in_order { 0.0 } else { ANYWHERE },
    };
    entry.mul_add(share.min(1.0), LOOK) / EVENT
}

/// What is known of a candidate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Its size, once built.
    pub bytes: f64,
    /// Bytes of WAL for an event that is stored.
    pub write: f64,
    /// The share of events that it has an entry for.
    pub share: f64,
    /// What it adds to what storing an event costs, as a share of it.
    pub tax: f64,
    /// Whether a value does not fit into it, or it is not worth having.
    pub unfit: bool,
}

/// What candidates depend on. Begins the transaction.
///
/// # Errors
/// The server's.
pub async fn data(
    conn: &mut PgConnection,
    names: &TableNames,
    questions: &[Question],
) -> Result<(Data, Size)> {
    run(conn, catalog::BEGIN).await?;
    let size = catalog::size(conn, names).await.map_err(fault)?;
    let fields = sparse_fields(questions, names);
    let shares: Vec<_> = (fields.iter())
        .map(|field| catalog::share_present(&index_expression(field, names)))
        .collect();
    let shares = catalog::figures(
        conn,
        names,
        percent(size, FIGURE_ROWS.into()),
        FIGURE_ROWS,
        &shares,
    )
    .await
    .map_err(fault)?;
    let data = Data {
        time_correlation: size.correlation,
        present: (fields.iter().filter_map(path_of)).zip(shares).collect(),
    };
    Ok((data, size))
}

pub(super) fn percent(size: Size, rows: f64) -> f64 {
    if size.rows <= 0.0 {
        100.0
    } else {
        // A little more: blocks are taken or left whole.
        (rows * 1.3 / size.rows * 100.0).min(100.0)
    }
}

impl WhatIf<'_> {
    /// Widths and shares, from a sample of the table.
    pub(super) async fn measure(&mut self) -> Result<()> {
        let mut asked = Vec::new();
        for candidate in &self.candidates {
            let keys = candidate.definition.keys.iter().map(|key| key.sql.as_str());
            let include = candidate.definition.include.iter().map(String::as_str);
            for key in keys.chain(include) {
                asked.extend(catalog::widths(key));
            }
            let predicate = candidate.definition.predicate.as_deref().unwrap_or("true");
            asked.push(catalog::share_of(predicate));
        }
        let sample = percent(self.size, FIGURE_ROWS.into());
        let mut found = catalog::figures(self.conn, &self.names, sample, FIGURE_ROWS, &asked)
            .await
            .map_err(fault)?
            .into_iter();
        for (candidate, figures) in self.candidates.iter().zip(&mut self.figures) {
            let definition = &candidate.definition;
            let mut width = 0.0;
            for _ in 0..definition.keys.len() + definition.include.len() {
                width += found.next().unwrap_or_default();
                let longest = found.next().unwrap_or_default();
                figures.unfit |= definition.method == Method::Btree && longest > LONGEST_KEY;
            }
            let share = found.next().unwrap_or(1.0).max(1e-4);
            let in_order = candidate.first == "timestamp";
            figures.tax = tax(definition.method, share, width, in_order);
            *figures = match definition.method {
                // As measured: see the migrations' README and the design.
                Method::Brin => Figures {
                    bytes: (self.size.bytes / 128.0 / 8192.0).mul_add(32.0, 24_576.0),
                    write: 5.0,
                    share: 0.0,
                    ..*figures
                },
                Method::Gin => Figures {
                    bytes: self.size.rows * (width * 0.25 + 30.0),
                    write: 193.0_f64.max(width),
                    // An event has many keys, which wait to be merged together.
                    share: 3.0,
                    ..*figures
                },
                _ => Figures {
                    bytes: (self.size.rows * share).mul_add(width + 20.0, 16_384.0),
                    write: (58.0 + width) * share,
                    share,
                    ..*figures
                },
            };
        }
        Ok(())
    }
}
