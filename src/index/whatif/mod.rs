//! What a workload would cost with indexes that are not there.
//!
//! Three tiers. HypoPG, where it is installed: the planner's own costs of the very statements, with
//! statistics on the candidates' expressions taken in a transaction that is rolled back, since an
//! estimate of `->>` without them is a guess. Else, and for GIN, which HypoPG does not know: two
//! sampled clones in temporary tables with real indexes, and a line through their costs to the real
//! size. Else a model.

mod catalog;
mod explain;

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::candidates::{Candidate, Data, path_of, sparse_fields};
use super::definition::Method;
use super::search::{Config, Costs};
use super::store;
use super::workload::Question;
use crate::exec::fault;
use crate::model::{Result, table::TableNames};
use crate::sql::{Target, index_expression};
pub use catalog::{Size, extension};
pub use explain::{buffers, cost};

/// Rows of the larger clone.
const CLONE_ROWS: f64 = 40_000.0;
/// One row of so many is in the smaller one.
const PART: u32 = 4;
/// The clones' names.
const CLONES: [&str; 2] = ["tamma_whatif", "tamma_whatif_part"];
/// Rows that figures of the data come from.
const FIGURE_ROWS: u32 = 8_000;
/// A btree's entry may not be longer.
const LONGEST_KEY: f64 = 2_000.0;
/// What costs less is as fast as it gets: what is left is the round trip.
const FLOOR: f64 = 15.0;
/// A literal is common that so large a share of events has.
const COMMON: f64 = 0.02;
/// Expressions that statistics are taken of.
const MOST_STATISTICS: usize = 8;
/// What writing costs in the planner's units: a page of WAL counts as much as reading one at random.
const PAGE: f64 = 8192.0;
const RANDOM_PAGE: f64 = 4.0;

/// How a cost was arrived at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Hypothetical indexes.
    Hypopg,
    /// Real indexes on a sample.
    Sample,
    /// A formula.
    Model,
}

impl Tier {
    /// The word of the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hypopg => "hypopg",
            Self::Sample => "sample",
            Self::Model => "model",
        }
    }
}

/// What is known of a candidate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Its size, once built.
    pub bytes: f64,
    /// Bytes of WAL for an event that is stored.
    pub write: f64,
    /// Whether a value does not fit into it, or it is not worth having.
    pub unfit: bool,
}

struct Clone {
    target: Target,
    rows: f64,
    indexes: Vec<String>,
}

/// A transaction in which costs are asked for.
pub struct WhatIf<'a> {
    conn: &'a mut PgConnection,
    names: TableNames,
    code_point_collation: bool,
    questions: &'a [Question],
    candidates: Vec<Candidate>,
    /// Of each candidate.
    pub figures: Vec<Figures>,
    /// Of the table.
    pub size: Size,
    /// Events that are stored while the workload is asked once.
    writes: f64,
    hypopg: Option<String>,
    clones: Vec<Clone>,
    base: Vec<f64>,
    known: BTreeMap<(usize, Config), f64>,
}

async fn run(conn: &mut PgConnection, sql: &str) -> Result<()> {
    store::run(conn, sql).await.map_err(fault)
}

/// Runs what may fail without the transaction failing. False where it did.
async fn tried(conn: &mut PgConnection, sql: &str) -> Result<bool> {
    run(conn, catalog::SAVEPOINT).await?;
    match store::run(conn, sql).await {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::debug!(target: "tamma_events::indexes", %error, "not available for what-if");
            run(conn, catalog::BACK).await?;
            Ok(false)
        }
    }
}

/// Runs what may fail, outside of a transaction. False where it did.
async fn attempted(conn: &mut PgConnection, sql: &str) -> bool {
    let done = store::run(conn, sql).await;
    if let Err(error) = &done {
        tracing::debug!(target: "tamma_events::indexes", %error, "not available for what-if");
    }
    done.is_ok()
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

/// Ends the transaction, and drops the clones.
///
/// # Errors
/// The server's.
pub async fn end(conn: &mut PgConnection) -> Result<()> {
    run(conn, catalog::ROLLBACK).await?;
    run(conn, &catalog::drop_clones(&CLONES)).await
}

fn percent(size: Size, rows: f64) -> f64 {
    if size.rows <= 0.0 {
        100.0
    } else {
        // A little more: blocks are taken or left whole.
        (rows * 1.3 / size.rows * 100.0).min(100.0)
    }
}

impl<'a> WhatIf<'a> {
    /// Prepares to ask what these candidates would do for these questions.
    ///
    /// # Errors
    /// The server's.
    pub async fn new(
        conn: &'a mut PgConnection,
        target: &Target,
        questions: &'a [Question],
        candidates: Vec<Candidate>,
        size: Size,
        hypothetical: bool,
    ) -> Result<Self> {
        let hypopg = if hypothetical {
            extension(conn, "hypopg").await.map_err(fault)?
        } else {
            None
        };
        let mut whatif = Self {
            conn,
            names: target.table.clone(),
            code_point_collation: target.code_point_collation,
            questions,
            figures: vec![Figures::default(); candidates.len()],
            candidates,
            size,
            writes: 0.0,
            hypopg,
            clones: Vec::new(),
            base: Vec::new(),
            known: BTreeMap::new(),
        };
        whatif.measure().await?;
        let weight: f64 = questions.iter().map(|q| q.weight).sum();
        // Where nothing says how often events are stored: once in ten questions.
        whatif.writes = weight * 0.1;
        let gin = (whatif.candidates.iter()).any(|c| c.definition.method == Method::Gin);
        if whatif.hypopg.is_none() || gin {
            // Outside of the transaction, since VACUUM is: see `make_clones`.
            run(whatif.conn, catalog::ROLLBACK).await?;
            whatif.make_clones().await?;
            run(whatif.conn, catalog::BEGIN).await?;
        }
        if whatif.hypopg.is_some() {
            whatif.take_statistics().await?;
        }
        for question in questions {
            let cost = cost(whatif.conn, &question.statement).await?;
            whatif.base.push(cost);
        }
        Ok(whatif)
    }

    /// Widths and shares, from a sample of the table.
    async fn measure(&mut self) -> Result<()> {
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
            // Of a rare literal the whole index is as good, and serves others as well.
            figures.unfit |= candidate.literal && share < COMMON;
            *figures = match definition.method {
                // As measured: see the migrations' README and the design.
                Method::Brin => Figures {
                    bytes: (self.size.bytes / 128.0 / 8192.0).mul_add(32.0, 24_576.0),
                    write: 5.0,
                    ..*figures
                },
                Method::Gin => Figures {
                    bytes: self.size.rows * (width * 0.25 + 30.0),
                    write: 193.0_f64.max(width),
                    ..*figures
                },
                _ => Figures {
                    bytes: (self.size.rows * share).mul_add(width + 20.0, 16_384.0),
                    write: (58.0 + width) * share,
                    ..*figures
                },
            };
        }
        Ok(())
    }

    async fn take_statistics(&mut self) -> Result<()> {
        let mut expressions = BTreeSet::new();
        for candidate in &self.candidates {
            let keys = candidate.definition.keys.iter();
            expressions.extend(
                keys.map(|key| key.sql.clone())
                    .filter(|sql| sql.starts_with('(')),
            );
        }
        if expressions.is_empty() {
            return Ok(());
        }
        let mut all: Vec<_> = expressions
            .iter()
            .take(MOST_STATISTICS)
            .enumerate()
            .map(|(number, sql)| catalog::statistics(&self.names, number, sql))
            .collect();
        all.push(store::analyze(&self.names.quoted()));
        tried(self.conn, &store::together(&all)).await?;
        Ok(())
    }

    /// Clones are temporary tables of the session. They are vacuumed, which no transaction can do:
    /// without its marks of what all can see, an index that holds all that is asked for looks no
    /// better than any other. [`end`] drops them, and so does the end of the session.
    async fn make_clones(&mut self) -> Result<()> {
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

    /// How a candidate's figures were arrived at.
    pub fn tier(&self, candidate: usize) -> Tier {
        let gin = self.candidates[candidate].definition.method == Method::Gin;
        match (&self.hypopg, self.clones.is_empty()) {
            (Some(_), _) if !gin => Tier::Hypopg,
            (_, false) => Tier::Sample,
            _ => Tier::Model,
        }
    }

    /// The candidates.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// What a question costs without any of them.
    pub fn base(&self, question: usize) -> f64 {
        self.base[question]
    }

    /// What a question costs with these.
    ///
    /// # Errors
    /// The server's.
    pub async fn question(&mut self, question: usize, config: &Config) -> Result<f64> {
        let relevant: Config = (config.iter().copied())
            .filter(|c| {
                self.candidates[*c].questions.contains(&question) && !self.figures[*c].unfit
            })
            .collect();
        if relevant.is_empty() {
            return Ok(self.base[question]);
        }
        let key = (question, relevant);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let gin = |c: &usize| self.candidates[*c].definition.method == Method::Gin;
        let with_gin = key.1.iter().any(gin);
        let cost = if self.hypopg.is_some() && !with_gin {
            self.hypothetical(question, &key.1).await?
        } else if self.clones.is_empty() {
            self.modelled(question, &key.1)
        } else {
            self.sampled(question, &key.1).await?
        };
        let cost = cost.min(self.base[question]);
        self.known.insert(key, cost);
        Ok(cost)
    }

    async fn hypothetical(&mut self, question: usize, config: &Config) -> Result<f64> {
        let Some(schema) = self.hypopg.clone() else {
            return Ok(self.base[question]);
        };
        for place in config {
            let candidate = &self.candidates[*place];
            let create = store::create_index(
                &candidate.definition.name,
                false,
                false,
                &self.names.quoted(),
                &candidate.body,
            );
            let bytes = catalog::hypothetical(self.conn, &schema, &create)
                .await
                .map_err(fault)?;
            if bytes > 0.0 && candidate.definition.predicate.is_none() {
                self.figures[*place].bytes = bytes;
            }
        }
        let cost = cost(self.conn, &self.questions[question].statement).await;
        run(self.conn, &catalog::forget(&schema)).await?;
        cost
    }

    /// A line through what two clones say, to the table's size.
    async fn sampled(&mut self, question: usize, config: &Config) -> Result<f64> {
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

    /// Without a server that may be asked: each key of a question that leads the index divides what
    /// is left to read.
    fn modelled(&self, question: usize, config: &Config) -> f64 {
        let base = self.base[question];
        let best = config.iter().map(|c| {
            let definition = &self.candidates[*c].definition;
            let keys = i32::try_from(definition.keys.len()).unwrap_or(1);
            let each: f64 = match definition.method {
                Method::Brin => 0.05,
                Method::Gin => 0.01,
                _ => 0.02,
            };
            base * each.powi(keys.min(2)) + 12.0
        });
        best.fold(base, f64::min)
    }

    /// What the writes of a set cost.
    fn write_cost(&self, config: &Config) -> f64 {
        let bytes: f64 = config.iter().map(|c| self.figures[*c].write).sum();
        self.writes * bytes / PAGE * RANDOM_PAGE
    }
}

impl Costs for WhatIf<'_> {
    async fn total(&mut self, config: &Config) -> Result<f64> {
        let mut total = self.write_cost(config);
        for place in 0..self.questions.len() {
            total += self.questions[place].weight * self.question(place, config).await?.max(FLOOR);
        }
        Ok(total)
    }

    fn size(&self, candidate: usize) -> f64 {
        if self.figures[candidate].unfit {
            f64::INFINITY
        } else {
            self.figures[candidate].bytes
        }
    }
}
