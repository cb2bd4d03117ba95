//! What would pay: candidates weighed against each other, and what is there against what is needed.

mod optimal;
mod options;
mod served;
mod tax;
mod weigh;

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::analysis;
use super::candidates::{Candidate, candidates};
use super::decisions;
use super::manage::Indexes;
use super::session::Session;
use super::store;
use super::whatif;
use super::workload::{self, Question};
use crate::exec::Engine;
use crate::model::{Error, Result};
pub use optimal::share as optimal_share;
pub use options::{Options, parse_options};
pub use served::normal;
pub use tax::standing as standing_tax;
pub use weigh::advise;

/// A recommendation that builds something, with what it is about.
#[derive(Clone, Debug)]
pub struct Creation {
    /// What to build.
    pub candidate: Candidate,
    /// As the API tells it.
    pub told: Wire,
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Advice {
    /// To be built, the most useful first.
    pub create: Vec<Creation>,
    /// To be dropped or rebuilt, as the API tells it.
    pub other: Vec<Wire>,
    /// What was asked, with what it costs as things are, and with what is to be built.
    pub judged: Vec<Judged>,
    /// Events in the table.
    pub rows: f64,
}

/// A question, and what the planner says of it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The question.
    pub question: Question,
    /// What it costs as things are.
    pub now: f64,
    /// What it would cost.
    pub then: f64,
}

impl Advice {
    /// As `IndexRecommendation[]`.
    pub fn to_json(&self) -> Wire {
        let create = self.create.iter().map(|one| one.told.clone());
        create.chain(self.other.iter().cloned()).collect()
    }
}

impl Indexes {
    /// The questions of a call: the patterns given, else what was recorded.
    pub(super) fn questions(
        &self,
        engine: &Engine,
        patterns: Option<&str>,
    ) -> Result<Vec<Question>> {
        match patterns {
            None => Ok(workload::of_recorded(engine, self.recorded())),
            Some(text) => {
                let wire: Wire = serde_json::from_str(text)
                    .map_err(|e| Error::invalid("queryPatterns", format!("is not JSON: {e}")))?;
                workload::parse(engine, &wire)
            }
        }
    }

    /// What would pay.
    ///
    /// # Errors
    /// What is wrong with the patterns or options; the server's.
    pub async fn recommend(
        self: &Arc<Self>,
        patterns: Option<String>,
        options: &str,
    ) -> Result<Wire> {
        let engine = self.engine()?;
        let options = parse_options(options)?;
        let questions = self.questions(&engine, patterns.as_deref())?;
        let _entered = self.enter(&Arc::default())?;
        let mut session = self.session().await?;
        let advice = self
            .advice(&mut session, &engine, questions, &options)
            .await;
        session.close().await;
        Ok(advice?.to_json())
    }

    /// All candidates for patterns, with their statements: what the benchmark tries by itself.
    ///
    /// # Errors
    /// What is wrong with the patterns; the server's.
    pub async fn candidates(self: &Arc<Self>, patterns: &str) -> Result<Wire> {
        let engine = self.engine()?;
        let questions = self.questions(&engine, Some(patterns))?;
        let names = engine.target().table.clone();
        let mut session = self.session().await?;
        let found = whatif::data(&mut session.conn, &names, &questions).await;
        let ended = whatif::end(&mut session.conn).await;
        session.close().await;
        let (data, _) = found?;
        ended?;
        let all = candidates(&questions, &names, &data);
        let told = all.iter().map(|candidate| {
            let definition = &candidate.definition;
            json!({
                "name": definition.name,
                "keys": definition.keys.len(),
                "sql": store::create_index(&definition.name, false, true, &names.quoted(), &candidate.body),
            })
        });
        Ok(told.collect())
    }

    /// Candidates and what is there, weighed.
    pub(super) async fn advice(
        &self,
        session: &mut Session,
        engine: &Engine,
        questions: Vec<Question>,
        options: &Options,
    ) -> Result<Advice> {
        let names = engine.target().table.clone();
        let refused = decisions::refused(&mut session.conn, &names).await;
        let mut advice = advise(&mut session.conn, engine, questions, options, &refused).await?;
        let analyses = analysis::all(&mut session.conn, session.table.oid, &names).await?;
        for one in &analyses {
            advice.other.extend(one.recommendation());
        }
        for creation in &mut advice.create {
            let replaced: Vec<_> = (analyses.iter())
                .filter(|one| one.is_replaced_by(&creation.candidate, &names))
                .map(|one| one.index.name.clone())
                .collect();
            if replaced.is_empty() {
                continue;
            }
            creation.told["action"] = "merge".into();
            if let Some(reasons) = creation.told["reasons"].as_array_mut() {
                reasons.push(format!("serves what {} serves", replaced.join(", ")).into());
            }
            creation.told["replaces"] = json!(replaced);
        }
        Ok(advice)
    }
}
