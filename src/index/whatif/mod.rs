//! What a workload would cost with indexes that are not there.
//!
//! Three tiers. HypoPG, where it is installed: the planner's own costs of the very statements. Else,
//! and for GIN, which HypoPG does not know: two sampled clones in temporary tables with real indexes,
//! and a line through their costs to the real size. Else a model. In each the planner has statistics
//! on the candidates' expressions, taken in a transaction that is rolled back.

mod catalog;
mod clones;
mod explain;
mod figures;
mod hypothetical;
mod known;
mod siblings;
mod statistics;

use sqlx::PgConnection;

use self::known::Known;
use self::siblings::Alone;
use super::candidates::Candidate;
use super::definition::Method;
use super::search::{Config, Costs};
use super::store;
use super::workload::Question;
use crate::exec::fault;
use crate::model::{Result, table::TableNames};
use crate::sql::Target;
pub use catalog::{Size, extension};
pub use explain::{buffers, cost, price};
pub use figures::{Figures, data, tax};

/// Sets whose costs follow from nothing that is known, and are asked for one by one.
const PATIENCE: u32 = 200;
/// What writing costs in the planner's units: a page of WAL counts as much as reading one at random.
const PAGE: f64 = 8192.0;
const RANDOM_PAGE: f64 = 4.0;
/// Finding an entry's place, and putting it there: 3 to 4 µs as measured, where a cached page read in
/// sequence takes 10.
const ENTRY: f64 = 0.35;

/// An upper page of an index, which is read on the way down: the planner counts none.
const LEVEL: f64 = 0.25;
/// How many pages below it such a page leads to.
const FANOUT: f64 = 200.0;

/// How many levels of upper pages an index of so many bytes has, more or less.
fn levels(bytes: f64) -> f64 {
    (bytes / PAGE).max(1.0).ln() / FANOUT.ln()
}

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

/// What a question costs with indexes that can be seen.
#[derive(Clone, Debug, Default)]
struct Answer {
    cost: f64,
    /// Those that its plan uses.
    used: Config,
    /// The rows of the answer.
    rows: f64,
    /// What the one row costs that is read beyond them: see [`explain::Price::ahead`].
    ahead: Option<f64>,
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
    /// The same, by the clones' word.
    sample_base: Vec<f64>,
    known: Vec<Known>,
    /// What each candidate does by itself for questions that it serves, by their places.
    alone: Vec<Alone>,
    /// How often the planner may still be asked while sets are compared.
    patience: u32,
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
            alone: vec![Alone::new(); candidates.len()],
            candidates,
            size,
            writes: 0.0,
            hypopg,
            clones: Vec::new(),
            base: Vec::new(),
            sample_base: Vec::new(),
            known: vec![Known::default(); questions.len()],
            patience: PATIENCE,
        };
        whatif.measure().await?;
        // Nothing says how often events are stored: once for each question.
        whatif.writes = questions.iter().map(|q| q.weight).sum();
        let gin = (whatif.candidates.iter()).any(|c| c.definition.method == Method::Gin);
        if gin || whatif.hypopg.is_none() && !whatif.candidates.is_empty() {
            // Outside of the transaction, since VACUUM is: see `make_clones`.
            run(whatif.conn, catalog::ROLLBACK).await?;
            whatif.make_clones().await?;
            run(whatif.conn, catalog::BEGIN).await?;
        }
        whatif.take_statistics().await?;
        for question in questions {
            let cost = cost(whatif.conn, &question.statement).await?;
            whatif.base.push(cost);
        }
        whatif.sample_base().await?;
        whatif.learn().await?;
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

    /// Each candidate alone, then all together: most sets follow from that.
    async fn learn(&mut self) -> Result<()> {
        let fit: Config = (0..self.candidates.len())
            .filter(|c| !self.figures[*c].unfit)
            .collect();
        for candidate in &fit {
            let own = self.candidates[*candidate].questions.clone();
            let own: Vec<_> = own.into_iter().collect();
            self.ask(&Config::from([*candidate]), &own).await?;
        }
        let all: Vec<_> = (0..self.questions.len()).collect();
        if fit.len() > 1 {
            self.ask(&fit, &all).await?;
        }
        self.carry_over();
        Ok(())
    }

    /// Asks what all questions cost with these, and forgets what was only concluded: what is told of
    /// a choice is the planner's word.
    ///
    /// # Errors
    /// The server's.
    pub async fn settle(&mut self, chosen: &Config) -> Result<()> {
        let everything: Vec<_> = (0..self.questions.len()).collect();
        self.known.iter_mut().for_each(Known::forget_concluded);
        self.ask(chosen, &everything).await
    }

    /// Asks the planner what questions cost with exactly these.
    ///
    /// # Errors
    /// The server's.
    async fn ask(&mut self, config: &Config, questions: &[usize]) -> Result<()> {
        if config.is_empty() || questions.is_empty() {
            return Ok(());
        }
        let (gin, plain): (Config, Config) = (config.iter().copied())
            .partition(|c| self.candidates[*c].definition.method == Method::Gin);
        if let Some(schema) = self.hypopg.clone() {
            let answers = self.hypothetical(&schema, &plain, questions).await?;
            self.keep(&plain, questions, answers);
            if gin.is_empty() {
                return Ok(());
            }
            // HypoPG knows no GIN: only where one is used does the sample's word count.
            if !self.clones.is_empty() {
                let answers = self.sampled(config, questions).await?;
                for (question, answer) in questions.iter().zip(answers) {
                    if !answer.used.is_disjoint(&gin) {
                        self.keep(config, &[*question], vec![answer]);
                    }
                }
                return Ok(());
            }
        }
        if self.clones.is_empty() {
            for place in if self.hypopg.is_some() { &gin } else { config } {
                let alone = Config::from([*place]);
                let model = questions.iter().map(|q| Answer {
                    cost: self.modelled(*q, *place),
                    used: alone.clone(),
                    ..Answer::default()
                });
                let answers = model.collect();
                self.keep(&alone, questions, answers);
            }
            return Ok(());
        }
        let answers = self.sampled(config, questions).await?;
        self.keep(config, questions, answers);
        Ok(())
    }

    fn keep(&mut self, seen: &Config, questions: &[usize], answers: Vec<Answer>) {
        for (question, mut answer) in questions.iter().zip(answers) {
            for place in &answer.used {
                self.candidates[*place].questions.insert(*question);
                answer.cost += LEVEL * levels(self.figures[*place].bytes);
            }
            answer.cost = answer.cost.min(self.base[*question]);
            if let (1, Some(place)) = (seen.len(), answer.used.first()) {
                self.alone[*place].insert(*question, answer.clone());
            }
            self.known[*question].learn(seen.clone(), answer.used, answer.cost);
        }
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
        if let Some(cost) = self.known[question].exact(&relevant) {
            return Ok(cost);
        }
        // Where no plan needs several at once, the best of each alone is what they cost together.
        if relevant.len() > 1 && self.known[question].is_joint() && self.patience > 0 {
            self.patience -= 1;
            self.ask(&relevant, &[question]).await?;
        }
        let known = self.known[question].at_most(&relevant);
        Ok(known.unwrap_or(self.base[question]))
    }

    /// Without a server that may be asked: each key of a question that leads the index divides what
    /// is left to read.
    fn modelled(&self, question: usize, candidate: usize) -> f64 {
        let definition = &self.candidates[candidate].definition;
        let keys = i32::try_from(definition.keys.len()).unwrap_or(1);
        let each: f64 = match definition.method {
            Method::Brin => 0.05,
            Method::Gin => 0.01,
            _ => 0.02,
        };
        self.base[question] * each.powi(keys.min(2)) + 12.0
    }

    /// What the writes of a set cost.
    fn write_cost(&self, config: &Config) -> f64 {
        let each = config.iter().map(|c| {
            let figures = self.figures[*c];
            figures
                .share
                .mul_add(ENTRY, figures.write / PAGE * RANDOM_PAGE)
        });
        self.writes * each.sum::<f64>()
    }
}

impl Costs for WhatIf<'_> {
    async fn total(&mut self, config: &Config) -> Result<f64> {
        let mut total = self.write_cost(config);
        for place in 0..self.questions.len() {
            total += self.questions[place].weight * self.question(place, config).await?;
        }
        Ok(total)
    }

    #[allow(clippy::cast_precision_loss)] // A few hundred.
    fn least(&self) -> f64 {
        // A page for each time that a question is asked.
        let weight: f64 = self.questions.iter().map(|q| q.weight).sum();
        RANDOM_PAGE * weight / self.questions.len().max(1) as f64
    }

    fn tax(&self, candidate: usize) -> f64 {
        self.figures[candidate].tax
    }

    fn size(&self, candidate: usize) -> f64 {
        if self.figures[candidate].unfit {
            f64::INFINITY
        } else {
            self.figures[candidate].bytes
        }
    }
}
