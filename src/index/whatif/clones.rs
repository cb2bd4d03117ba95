//! The tier of the sampled clones: real indexes on parts of the table, whose costs are carried over
//! to its size.

use sqlx::PgConnection;

use super::super::definition::Method;
use super::super::search::Config;
use super::super::store;
use super::figures::percent;
use super::{WhatIf, catalog, cost, explain, run};
use crate::exec::fault;
use crate::model::{Result, table::TableNames};
use crate::sql::Target;

/// Rows of the larger clone.
const CLONE_ROWS: f64 = 40_000.0;
/// One row of so many is in the smaller one.
const PART: u32 = 4;
/// The clones' names.
pub(super) const CLONES: [&str; 2] = ["tamma_whatif", "tamma_whatif_part"];

pub(super) struct Clone {
    target: Target,
    rows: f64,
    indexes: Vec<String>,
}

/// Runs what may fail, outside of a transaction. False where it did.
async fn attempted(conn: &mut PgConnection, sql: &str) -> bool {
    let done = store::run(conn, sql).await;
    if let Err(error) = &done {
        tracing::debug!(target: "tamma_events::indexes", %error, "not available for what-if");
    }
    done.is_ok()
}

impl WhatIf<'_> {
    /// Clones are temporary tables of the session. They are vacuumed, which no transaction can do:
    /// without its marks of what all can see, an index that holds all that is asked for looks no
    /// better than any other. [`super::end`] drops them, and so does the end of the session.
    pub(super) async fn make_clones(&mut self) -> Result<()> {
        let sample = percent(self.size, CLONE_ROWS);
        let [large, small] = CLONES;
        run(self.conn, &catalog::drop_clones(&CLONES)).await?;
        let whole = self.size.rows <= CLONE_ROWS;
        let mut made = vec![(large, catalog::clone(&self.names, large, sample))];
        if !whole {
            made.push((small, catalog::clone_of(large, small, PART)));
        }
        for (name, sql) in made {
            if !attempted(self.conn, &sql).await {
                self.clones.clear();
                return Ok(());
            }
            let rows = catalog::rows(self.conn, name).await.map_err(fault)?;
            let mut clone = Clone {
                target: Target {
                    table: TableNames {
                        schema: "pg_temp".to_owned(),
                        name: name.to_owned(),
                        columns: self.names.columns.clone(),
                    },
                    code_point_collation: self.code_point_collation,
                    stand_in: None,
                },
                rows,
                indexes: Vec::new(),
            };
            // The key that every question can find one event by.
            let id = [crate::model::table::quote_ident(&self.names.columns.id)];
            let body = store::index_body("btree", &id, &[], &[], None);
            attempted(
                self.conn,
                &catalog::create_index(&format!("{name}_id"), name, &body),
            )
            .await;
            for (place, candidate) in self.candidates.iter().enumerate() {
                let index = format!("{name}_{place}");
                let sql = catalog::create_index(&index, name, &candidate.body);
                if !attempted(self.conn, &sql).await {
                    self.figures[place].unfit = true;
                    clone.indexes.push(String::new());
                    continue;
                }
                let bytes = catalog::index_size(self.conn, &index)
                    .await
                    .map_err(fault)?;
                if name == large && rows > 0.0 {
                    let scaled = if candidate.definition.method == Method::Brin {
                        bytes
                    } else {
                        bytes * (self.size.rows / rows).max(1.0)
                    };
                    self.figures[place].bytes = scaled;
                }
                clone.indexes.push(index);
            }
            run(self.conn, &catalog::analyze(name)).await?;
            self.clones.push(clone);
        }
        Ok(())
    }

    /// A line through what two clones say, to the table's size.
    pub(super) async fn sampled(&mut self, question: usize, config: &Config) -> Result<f64> {
        let mut points = Vec::new();
        for place in 0..self.clones.len() {
            let clone = &self.clones[place];
            let hidden: Vec<_> = (clone.indexes.iter().enumerate())
                .filter(|(i, name)| !config.contains(i) && !name.is_empty())
                .map(|(_, name)| name.clone())
                .collect();
            let statement = self.questions[question].on(&clone.target)?;
            let rows = clone.rows;
            run(self.conn, catalog::SAVEPOINT).await?;
            if !hidden.is_empty() {
                run(self.conn, &catalog::drop_indexes(&hidden)).await?;
            }
            // A small table is read whole where a large one would not be.
            run(self.conn, catalog::NO_SEQUENTIAL).await?;
            let cost = cost(self.conn, &statement).await;
            run(self.conn, catalog::BACK).await?;
            points.push((rows, explain::without_penalty(cost?)));
        }
        Ok(match points.as_slice() {
            [(rows, cost)] => cost * (self.size.rows / rows.max(1.0)).max(1.0),
            [(n2, c2), (n1, c1)] if (n2 - n1) > 1.0 => {
                let slope = ((c2 - c1) / (n2 - n1)).max(0.0);
                slope.mul_add((self.size.rows - n2).max(0.0), *c2)
            }
            [(_, cost), ..] => *cost,
            [] => self.base[question],
        })
    }
}
