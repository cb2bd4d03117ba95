//! Builds what is recommended, and keeps what proves itself: by what the workload's own statements
//! read before and after. What hurt one of them, or helped none, goes again, with the reason.

mod mend;
mod proof;
mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Wire, json};

use self::proof::{measure, weighed};
use self::run::{Outcome, Run};
use super::catalog;
use super::job::Job;
use super::manage::Indexes;
use super::recommend::{Options, parse_options, standing_tax};
use super::workload::Question;
use crate::exec::fault;
use crate::model::Result;

/// How long the builder's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// What a run may do.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Build.
    pub create: bool,
    /// Drop.
    pub drop: bool,
}

impl Indexes {
    /// Builds, verifies, reverts, drops.
    ///
    /// # Errors
    /// What is wrong with the options; who builds already; the server's.
    pub async fn optimize(
        self: &Arc<Self>,
        patterns: Option<String>,
        options: &str,
        job: &Arc<Job>,
    ) -> Result<Wire> {
        let engine = self.engine()?;
        let options = parse_options(options)?;
        let questions = self.questions(&engine, patterns.as_deref())?;
        let allowed = Allowed {
            create: true,
            drop: true,
        };
        self.optimize_with(questions, &options, allowed, "optimizeIndexes", job)
            .await
    }

    /// The same for whoever may only do some of it.
    pub(super) async fn optimize_with(
        self: &Arc<Self>,
        questions: Vec<Question>,
        options: &Options,
        allowed: Allowed,
        by: &'static str,
        job: &Arc<Job>,
    ) -> Result<Wire> {
        let engine = self.engine()?;
        let names = engine.target().table.clone();
        let started = Instant::now();
        let _entered = self.enter(job)?;
        let mut session = self.session().await?;
        let done: Result<_> = async {
            if !options.dry_run {
                session.lock_within(job, LOCK_WAIT).await?;
            }
            let mut run = Run {
                names: names.clone(),
                session: &mut session,
                options,
                by,
                job,
                outcome: Outcome::default(),
            };
            if !options.dry_run {
                run.end_trials().await?;
            }
            job.phase("weighing candidates");
            let advice = self
                .advice(run.session, &engine, questions.clone(), options)
                .await?;
            let before = measure(run.session, &questions, job).await?;
            if options.dry_run {
                run.would(&advice);
            } else {
                run.all(&advice, (&questions, &before), allowed).await?;
            }
            let outcome = run.outcome;
            let there = catalog::list(&mut session.conn, session.table.oid)
                .await
                .map_err(fault)?;
            let tax = standing_tax(&there, &names, advice.rows);
            let after = if options.dry_run || outcome.created.is_empty() {
                before.clone()
            } else {
                measure(&mut session, &questions, job).await?
            };
            Ok((
                advice,
                outcome,
                tax,
                weighed(&questions, &before),
                weighed(&questions, &after),
            ))
        }
        .await;
        self.finish(session, done.is_ok()).await;
        let (advice, outcome, tax, before, after) = done?;
        Ok(json!({
            "created": outcome.created,
            "dropped": outcome.dropped,
            "rebuilt": outcome.rebuilt,
            "reverted": outcome.reverted,
            "skipped": outcome.skipped,
            "improvement": if before > 0.0 { (1.0 - after / before).max(0.0) } else { 0.0 },
            "duration": started.elapsed().as_secs_f64() * 1000.0,
            "writeTax": tax,
            "recommendations": advice.to_json(),
        }))
    }
}
