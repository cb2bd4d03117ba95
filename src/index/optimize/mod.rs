//! Builds what is recommended, and keeps what proves itself: by what the workload's own statements
//! read before and after. What hurt one of them, or helped none, goes again, with the reason.

mod proof;
mod run;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Wire, json};

use self::proof::{measure, weighed};
use self::run::{Outcome, Run};
use super::job::Job;
use super::manage::Indexes;
use super::recommend::{Options, parse_options};
use super::workload::Question;
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
        let started = Instant::now();
        let _entered = self.enter(job)?;
        let mut session = self.session().await?;
        let done: Result<_> = async {
            if !options.dry_run {
                session.lock_within(job, LOCK_WAIT).await?;
            }
            let mut run = Run {
                names: engine.target().table.clone(),
                session: &mut session,
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
                run.all(&advice, options, (&questions, &before), allowed)
                    .await?;
            }
            let outcome = run.outcome;
            let after = if options.dry_run || outcome.created.is_empty() {
                before.clone()
            } else {
                measure(&mut session, &questions, job).await?
            };
            Ok((
                advice,
                outcome,
                weighed(&questions, &before),
                weighed(&questions, &after),
            ))
        }
        .await;
        self.finish(session, done.is_ok()).await;
        let (advice, outcome, before, after) = done?;
        Ok(json!({
            "created": outcome.created,
            "dropped": outcome.dropped,
            "rebuilt": outcome.rebuilt,
            "reverted": outcome.reverted,
            "skipped": outcome.skipped,
            "improvement": if before > 0.0 { (1.0 - after / before).max(0.0) } else { 0.0 },
            "duration": started.elapsed().as_secs_f64() * 1000.0,
            "recommendations": advice.to_json(),
        }))
    }
}
