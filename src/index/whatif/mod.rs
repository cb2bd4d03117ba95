//! What a workload would cost with indexes that are not there.
//!
//! Three tiers. HypoPG, where it is installed: the planner's own costs of the very statements, with
//! statistics on the candidates' expressions taken in a transaction that is rolled back, since an
//! estimate of `->>` without them is a guess. Else, and for GIN, which HypoPG does not know: two
//! sampled clones in temporary tables with real indexes, and a line through their costs to the real
//! size. Else a model.

mod catalog;
mod clones;
mod explain;
mod figures;
mod hypothetical;

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::candidates::Candidate;
use super::definition::Method;
use super::search::{Config, Costs};
use super::store;
use super::workload::Question;
use crate::exec::fault;
use crate::model::{Result, table::TableNames};
use crate::sql::Target;
pub use catalog::{Size, extension};
pub use explain::{buffers, cost};
pub use figures::{Figures, data};

/// What costs less is as fast as it gets: what is left is the round trip.
const FLOOR: f64 = 15.0;
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
    clones: Vec<clones::Clone>,
    base: Vec<f64>,
    known: BTreeMap<(usize, Config), f64>,
}

async fn run(conn: &mut PgConnection, sql: &str) -> Result<()> {
    store::run(conn, sql).await.map_err(fault)
}

/// Ends the transaction, and drops the clones.
///
/// # Errors
/// The server's.
pub async fn end(conn: &mut PgConnection) -> Result<()> {
    run(conn, catalog::ROLLBACK).await?;
    run(conn, &catalog::drop_clones(&clones::CLONES)).await
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
