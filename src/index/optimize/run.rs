//! A run: each recommended index built, tried, and kept or reverted; then what is there tidied up.
//! Every decision is written down.

use std::collections::BTreeSet;

use serde_json::{Value as Wire, json};

use super::super::analysis::{self, Verdict};
use super::super::candidates::Candidate;
use super::super::decisions::{self, Decision};
use super::super::definition::Definition;
use super::super::job::Job;
use super::super::manage::{build_definition, columns};
use super::super::recommend::{Advice, Creation, Options};
use super::super::session::Session;
use super::super::store;
use super::super::workload::Question;
use super::Allowed;
use super::proof::{measure, mistake};
use crate::model::{Error, Result, table::TableNames};

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) created: Vec<String>,
    pub(super) dropped: Vec<String>,
    pub(super) rebuilt: Vec<String>,
    pub(super) reverted: Vec<Wire>,
    pub(super) skipped: Vec<Wire>,
}

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) session: &'a mut Session,
    pub(super) names: TableNames,
    pub(super) by: &'static str,
    pub(super) job: &'a Job,
    pub(super) outcome: Outcome,
}

impl Run<'_> {
    pub(super) fn would(&mut self, advice: &Advice) {
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

    pub(super) async fn all(
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
                questions: BTreeSet::new(),
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
        let sql = store::analyze(&self.names.quoted());
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
