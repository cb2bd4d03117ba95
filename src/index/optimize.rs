//! Builds what is recommended, and keeps what proves itself: by what the workload's own statements
//! read before and after. What hurt one of them, or helped none, goes again, with the reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value as Wire, json};

use super::analysis::{self, Verdict};
use super::candidates::Candidate;
use super::decisions::{self, Decision};
use super::definition::Definition;
use super::job::{Job, Progress};
use super::manage::{Indexes, build_definition, columns};
use super::recommend::{Advice, Creation, Options, parse_options};
use super::session::Session;
use super::whatif::buffers;
use super::workload::Question;
use crate::exec::fault;
use crate::model::{Error, Result, table::TableNames};

/// A statement may get this much dearer before an index is taken for a mistake, and by so many blocks.
const WORSE: f64 = 1.08;
const WORSE_BLOCKS: f64 = 4.0;
/// The workload must read this much less.
const BETTER: f64 = 0.98;
/// Or one question must read this much less, and so many blocks.
const HELPED: f64 = 0.8;
const HELPED_BLOCKS: f64 = 8.0;
/// A question is measured for so long at most.
const MEASURED: &str = "20s";
/// How long the builder's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// What a run came to.
#[derive(Debug, Default)]
struct Outcome {
    created: Vec<String>,
    dropped: Vec<String>,
    rebuilt: Vec<String>,
    reverted: Vec<Wire>,
    skipped: Vec<Wire>,
}

/// A run under way.
struct Run<'a> {
    session: &'a mut Session,
    names: TableNames,
    by: &'static str,
    job: &'a Job,
    outcome: Outcome,
}

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
            job.phase("weighing candidates");
            let advice = self
                .advice(&mut session, &engine, questions.clone(), options)
                .await?;
            let before = measure(&mut session, &questions, job).await?;
            let mut run = Run {
                names: engine.target().table.clone(),
                session: &mut session,
                by,
                job,
                outcome: Outcome::default(),
            };
            if options.dry_run {
                run.would(&advice);
            } else {
                run.all(&advice, options, &questions, allowed).await?;
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

/// Blocks that each question reads; `None` where it took too long.
async fn measure(
    session: &mut Session,
    questions: &[Question],
    job: &Job,
) -> Result<Vec<Option<f64>>> {
    let mut all = Vec::with_capacity(questions.len());
    for (place, question) in questions.iter().enumerate() {
        job.check()?;
        job.set(Progress {
            done: place as u64,
            total: Some(questions.len() as u64),
            unit: "queries",
            phase: "measuring".to_owned(),
        });
        super::store::begin_measuring(&mut session.conn, MEASURED)
            .await
            .map_err(fault)?;
        // Twice: the first run may set hints on what it reads.
        let mut measured = buffers(&mut session.conn, &question.statement).await;
        if measured.is_ok() {
            measured = buffers(&mut session.conn, &question.statement).await;
        }
        super::store::end_measuring(&mut session.conn)
            .await
            .map_err(fault)?;
        all.push(match measured {
            Ok(blocks) => Some(blocks),
            Err(
                Error::Timeout(_) | Error::Cancelled | Error::Database { .. } | Error::BeyondDouble,
            ) => None,
            Err(other) => return Err(other),
        });
    }
    Ok(all)
}

fn weighed(questions: &[Question], measured: &[Option<f64>]) -> f64 {
    let each = questions.iter().zip(measured);
    each.map(|(question, blocks)| question.weight * blocks.unwrap_or_default())
        .sum()
}

/// Why an index is a mistake, by what was read before and after; `None` where it is none.
fn mistake(
    questions: &[Question],
    before: &[Option<f64>],
    after: &[Option<f64>],
) -> Option<String> {
    for ((question, was), is) in questions.iter().zip(before).zip(after) {
        match (was, is) {
            (Some(was), Some(is)) if *is > was * WORSE && is - was > WORSE_BLOCKS => {
                return Some(format!(
                    "the query {} read {is:.0} blocks with it, and {was:.0} without",
                    question.fingerprint
                ));
            }
            (Some(_), None) => {
                return Some(format!(
                    "the query {} took too long with it",
                    question.fingerprint
                ));
            }
            _ => {}
        }
    }
    let freed = before.iter().zip(after).any(|(was, is)| match (was, is) {
        (None, Some(_)) => true,
        (Some(was), Some(is)) => *is < was * HELPED && was - is > HELPED_BLOCKS,
        _ => false,
    });
    let (was, is) = (weighed(questions, before), weighed(questions, after));
    (!freed && is > was * BETTER).then(|| {
        format!(
            "it helped no query: the workload read {is:.0} blocks with it, and {was:.0} without"
        )
    })
}

impl Run<'_> {
    fn would(&mut self, advice: &Advice) {
        for told in &advice.other {
            let name = told["indexName"].as_str().unwrap_or_default();
            self.skip(name, "a dry run builds and drops nothing");
        }
        for one in &advice.create {
            self.skip(
                &one.candidate.definition.name,
                "a dry run builds and drops nothing",
            );
        }
    }

    fn skip(&mut self, name: &str, reason: &str) {
        self.outcome
            .skipped
            .push(json!({ "name": name, "reason": reason }));
    }

    async fn note(
        &mut self,
        action: &'static str,
        index: &str,
        body: &str,
        reason: &str,
    ) -> Result<()> {
        let decision = Decision {
            action,
            index,
            body,
            reason,
        };
        decisions::note(&mut self.session.conn, &self.names, self.by, &decision).await
    }

    async fn all(
        &mut self,
        advice: &Advice,
        options: &Options,
        questions: &[Question],
        allowed: Allowed,
    ) -> Result<()> {
        let planted = self.planted(options).await?;
        let mut to_build: Vec<(&Candidate, Vec<String>, String)> = (advice.create.iter())
            .map(|Creation { candidate, told }| {
                let replaces = told["replaces"].as_array().into_iter().flatten();
                let replaces = replaces
                    .filter_map(Wire::as_str)
                    .map(str::to_owned)
                    .collect();
                let reason = told["reasons"][0].as_str().unwrap_or_default().to_owned();
                (candidate, replaces, reason)
            })
            .collect();
        to_build.extend(
            planted
                .iter()
                .map(|candidate| (candidate, Vec::new(), "planted".to_owned())),
        );
        let mut now = measure(self.session, questions, self.job).await?;
        for (candidate, replaces, reason) in to_build {
            if !allowed.create {
                self.skip(&candidate.definition.name, "autoCreate is off");
                continue;
            }
            now = self.try_one(candidate, &reason, questions, now).await?;
            let kept = self.outcome.created.contains(&candidate.definition.name);
            for name in replaces.iter().filter(|_| kept && allowed.drop) {
                let why = format!("{} serves what it served", candidate.definition.name);
                self.drop(name, &why).await?;
            }
        }
        self.tidy(allowed).await
    }

    /// What tests have put in, unless it was tried before.
    async fn planted(&mut self, options: &Options) -> Result<Vec<Candidate>> {
        let refused = decisions::refused(&mut self.session.conn, &self.names).await;
        let mut all = Vec::new();
        for wire in &options.planted {
            let definition = Definition::parse(wire, &self.names, &columns(&self.names))?;
            let body = definition.body(&self.names, None);
            if refused.contains(&body) {
                self.skip(&definition.name, "it was reverted before");
                continue;
            }
            all.push(Candidate {
                wire: wire.clone(),
                definition,
                body,
                questions: std::collections::BTreeSet::new(),
                first: String::new(),
                literal: false,
            });
        }
        Ok(all)
    }

    /// Builds one, and keeps it if it proves itself. Answers what the questions read now.
    async fn try_one(
        &mut self,
        candidate: &Candidate,
        reason: &str,
        questions: &[Question],
        before: Vec<Option<f64>>,
    ) -> Result<Vec<Option<f64>>> {
        let name = &candidate.definition.name;
        self.job.phase(format!("building {name}"));
        let built = build_definition(
            self.session,
            &self.names,
            &candidate.definition,
            self.by,
            false,
            self.job,
        )
        .await;
        match built {
            Ok(()) => {}
            Err(error) if self.job.is_stopped().is_some() => return Err(error),
            Err(Error::IndexExists { .. }) => {
                self.skip(name, "an index of this name is there");
                return Ok(before);
            }
            Err(error) => {
                self.session.clean(self.job).await;
                if !self.session.alive().await {
                    return Err(error);
                }
                self.skip(name, &error.to_string());
                return Ok(before);
            }
        }
        // Also the statistics of the table: a plan may change by them alone.
        let sql = super::store::analyze(&self.names.quoted());
        self.session.slowly(&sql, self.job).await?;
        let after = measure(self.session, questions, self.job).await;
        let after = match after {
            Ok(after) => after,
            Err(error) => {
                // Not proved: it does not stay.
                let undisturbed = Job::default();
                self.session
                    .remove(&self.names.schema, name, &undisturbed)
                    .await?;
                return Err(error);
            }
        };
        if let Some(why) = mistake(questions, &before, &after) {
            self.job.phase(format!("reverting {name}"));
            self.note("reverted", name, &candidate.body, &why).await?;
            let schema = self.names.schema.clone();
            self.session.remove(&schema, name, &Job::default()).await?;
            self.outcome
                .reverted
                .push(json!({ "name": name, "reason": why }));
            return Ok(before);
        }
        self.note("created", name, &candidate.body, reason).await?;
        self.outcome.created.push(name.clone());
        Ok(after)
    }

    async fn drop(&mut self, name: &str, why: &str) -> Result<()> {
        self.job.phase(format!("dropping {name}"));
        self.note("dropped", name, "", why).await?;
        let schema = self.names.schema.clone();
        self.session.remove(&schema, name, self.job).await?;
        self.outcome.dropped.push(name.to_owned());
        Ok(())
    }

    /// Rebuilds what is invalid or bloated, drops what another does: the module's own only.
    async fn tidy(&mut self, allowed: Allowed) -> Result<()> {
        let moved = self.session.move_on(&self.names, self.by, self.job).await?;
        self.outcome.rebuilt.extend(moved);
        let table = self.session.table.oid;
        let analysed = analysis::all(&mut self.session.conn, table, &self.names).await?;
        for one in analysed {
            let name = one.index.name.clone();
            let created = self.outcome.created.contains(&name);
            match one.verdict {
                Verdict::Drop if created => {}
                Verdict::Drop if one.index.ours().is_none() => {
                    self.skip(
                        &name,
                        "it is not this module's: drop it by hand, if it is to go",
                    );
                }
                Verdict::Drop if !allowed.drop => self.skip(&name, "autoDrop is off"),
                Verdict::Drop => {
                    let why = one.why();
                    self.drop(&name, &why).await?;
                }
                Verdict::Invalid if one.index.ours().is_none() && !one.index.constraint => {
                    self.skip(
                        &name,
                        "it is invalid, and not this module's: rebuildIndex() mends it",
                    );
                }
                Verdict::Rebuild | Verdict::Invalid => {
                    let why = one.why();
                    self.session
                        .reindex(&one.index.schema, &name, self.job)
                        .await?;
                    self.note("rebuilt", &name, "", &why).await?;
                    self.outcome.rebuilt.push(name);
                }
                Verdict::Keep => {}
            }
        }
        Ok(())
    }
}
