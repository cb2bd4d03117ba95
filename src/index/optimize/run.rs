//! A run: each recommended index built, tried, and kept or reverted; then what is there tidied up.
//! Every decision is written down.

use std::collections::BTreeSet;

use serde_json::{Value as Wire, json};

use super::super::analysis::{self, Verdict};
use super::super::candidates::Candidate;
use super::super::catalog;
use super::super::comment::Comment;
use super::super::decisions::{self, Decision};
use super::super::definition::Definition;
use super::super::job::Job;
use super::super::manage::{build_definition, columns};
use super::super::recommend::{Advice, Creation, Options};
use super::super::session::Session;
use super::super::store;
use super::super::workload::Question;
use super::Allowed;
use super::proof::{Measured, hurt, measure, mistake};
use crate::exec::fault;
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

/// Who made an index that has not proved itself yet, as its comment says. One that a run left on
/// trial, because its process died, goes with the next run.
const ON_TRIAL: &str = "trial";

/// A candidate that is built and has to prove itself.
struct Trial {
    candidate: Candidate,
    /// Indexes that it makes up for.
    replaces: Vec<String>,
    reason: String,
}

impl Trial {
    /// One that was put in, for this reason.
    fn new(candidate: Candidate, reason: &str) -> Self {
        Self {
            candidate,
            replaces: Vec::new(),
            reason: reason.to_owned(),
        }
    }

    /// What is recommended.
    fn of(Creation { candidate, told }: &Creation) -> Self {
        let replaces = told["replaces"].as_array().into_iter().flatten();
        Self {
            candidate: candidate.clone(),
            replaces: replaces
                .filter_map(Wire::as_str)
                .map(str::to_owned)
                .collect(),
            reason: told["reasons"][0].as_str().unwrap_or_default().to_owned(),
        }
    }
}

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) session: &'a mut Session,
    pub(super) options: &'a Options,
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
        (questions, before): (&[Question], &[Measured]),
        allowed: Allowed,
    ) -> Result<()> {
        let planted = self.planted().await?;
        let planted = planted.into_iter().map(|one| Trial::new(one, "planted"));
        let to_build = advice.create.iter().map(Trial::of).chain(planted);
        let mut built = Vec::new();
        let kept = async {
            for trial in to_build {
                if !allowed.create {
                    self.skip(&trial.candidate.definition.name, "autoCreate is off");
                } else if self.build(&trial.candidate).await? {
                    built.push(trial);
                }
            }
            self.prove(built, questions, before, allowed).await
        }
        .await;
        if kept.is_err() && self.session.alive().await {
            // Not proved: they do not stay.
            self.end_trials().await?;
        }
        kept?;
        self.tidy(allowed).await
    }

    /// Drops what was built and has not proved itself, by this run or one that died.
    pub(super) async fn end_trials(&mut self) -> Result<()> {
        let list = catalog::list(&mut self.session.conn, self.session.table.oid)
            .await
            .map_err(fault)?;
        for index in list {
            if index.ours().is_some_and(|comment| comment.by == ON_TRIAL) {
                let undisturbed = Job::default();
                self.session
                    .remove(&index.schema, &index.name, &undisturbed)
                    .await?;
            }
        }
        Ok(())
    }

    /// Keeps what proves itself. All are looked at together: what one lures the planner into, another
    /// may make up for, or what the planner is told of the values.
    async fn prove(
        &mut self,
        mut built: Vec<Trial>,
        questions: &[Question],
        before: &[Measured],
        allowed: Allowed,
    ) -> Result<()> {
        while !built.is_empty() {
            let new: Vec<_> = (built.iter())
                .map(|trial| trial.candidate.definition.name.clone())
                .collect();
            let after = self.measured(questions).await?;
            let hurt = hurt(questions, before, &after);
            if !hurt.is_empty() && self.mend(&hurt).await? {
                continue;
            }
            let Some((name, why)) = mistake(questions, before, &after, &new) else {
                break;
            };
            let Some(place) = new.iter().position(|one| *one == name) else {
                break;
            };
            let Trial { candidate, .. } = built.remove(place);
            self.job.phase(format!("reverting {name}"));
            self.note("reverted", &name, &candidate.body, &why).await?;
            let schema = self.names.schema.clone();
            self.session.remove(&schema, &name, &Job::default()).await?;
            self.outcome
                .reverted
                .push(json!({ "name": name, "reason": why }));
        }
        let standing = catalog::list(&mut self.session.conn, self.session.table.oid)
            .await
            .map_err(fault)?;
        for trial in built {
            let Trial {
                candidate,
                replaces,
                reason,
            } = &trial;
            let name = &candidate.definition.name;
            let built = standing.iter().find(|index| index.name == *name);
            let comment = Comment {
                by: self.by.to_owned(),
                cutoff: built.and_then(catalog::Listed::ours).and_then(|c| c.cutoff),
                definition: candidate.definition.wire.clone(),
            };
            let stays = store::comment(&self.names.schema, name, &comment.to_text());
            self.session.briefly(&stays, self.job).await?;
            self.note("created", name, &candidate.body, reason).await?;
            self.outcome.created.push(name.clone());
            for replaced in replaces.iter().filter(|_| allowed.drop) {
                let why = format!("{name} serves what it served");
                self.drop(replaced, &why).await?;
            }
        }
        Ok(())
    }

    /// What the questions read now, with fresh statistics: a plan may change by them alone.
    async fn measured(&mut self, questions: &[Question]) -> Result<Vec<Measured>> {
        let sql = store::analyze(&self.names.quoted());
        self.session.slowly(&sql, self.job).await?;
        measure(self.session, questions, self.job).await
    }

    /// What tests have put in, unless it was tried before.
    async fn planted(&mut self) -> Result<Vec<Candidate>> {
        let refused = decisions::refused(&mut self.session.conn, &self.names).await;
        let mut all = Vec::new();
        for wire in &self.options.planted {
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
            });
        }
        Ok(all)
    }

    /// Builds one. False where that could not be.
    async fn build(&mut self, candidate: &Candidate) -> Result<bool> {
        let name = &candidate.definition.name;
        self.job.phase(format!("building {name}"));
        let built = build_definition(
            self.session,
            &self.names,
            &candidate.definition,
            ON_TRIAL,
            false,
            self.job,
        )
        .await;
        match built {
            Ok(()) => Ok(true),
            Err(error) if self.job.is_stopped().is_some() => Err(error),
            Err(Error::IndexExists { .. }) => {
                self.skip(name, "an index of this name is there");
                Ok(false)
            }
            Err(error) => {
                self.session.clean(self.job).await;
                if !self.session.alive().await {
                    return Err(error);
                }
                self.skip(name, &error.to_string());
                Ok(false)
            }
        }
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
