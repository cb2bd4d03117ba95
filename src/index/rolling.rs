//! Partial indexes of recent events. A predicate cannot ask for the time, so the cut-off is a
//! literal that is moved on: the next index is built beside the one that serves, and takes its name
//! in the transaction that takes it from the other. What is needed for that stands on the index, so
//! any process can go on.

use super::build::passing;
use super::catalog;
use super::comment::Comment;
use super::decisions::{self, Decision};
use super::definition::Definition;
use super::job::Job;
use super::manage::{build_definition, columns};
use super::session::Session;
use crate::exec::fault;
use crate::model::{Result, table::TableNames};

/// A rolling index as it stands.
struct Standing {
    definition: Definition,
    comment: Comment,
}

impl Session {
    /// Moves the rolling indexes whose time has come. The session holds the lock. Answers their names.
    ///
    /// # Errors
    /// The server's; what was moved before stays moved.
    pub async fn move_on(
        &mut self,
        names: &TableNames,
        by: &str,
        job: &Job,
    ) -> Result<Vec<String>> {
        let list = catalog::list(&mut self.conn, self.table.oid)
            .await
            .map_err(fault)?;
        let mut moved = Vec::new();
        for index in list {
            let Some(standing) = Standing::of(&index.name, index.ours(), names) else {
                continue;
            };
            if !index.valid || self.is_due(&standing).await? {
                job.check()?;
                self.move_one(names, &standing, by, job).await?;
                moved.push(index.name);
            }
        }
        Ok(moved)
    }

    async fn is_due(&mut self, standing: &Standing) -> Result<bool> {
        let (Some(rolling), Some(cutoff)) = (standing.definition.rolling, &standing.comment.cutoff)
        else {
            return Ok(false);
        };
        let late = rolling.keep + rolling.refresh_every;
        let micros = i64::try_from(late.as_micros()).unwrap_or(i64::MAX);
        let latest = catalog::moment_ago(&mut self.conn, micros)
            .await
            .map_err(fault)?;
        // Both as ISO 8601 in UTC, which sorts as time does.
        Ok(*cutoff <= latest)
    }

    async fn move_one(
        &mut self,
        names: &TableNames,
        standing: &Standing,
        by: &str,
        job: &Job,
    ) -> Result<()> {
        let name = &standing.definition.name;
        job.phase(format!("moving {name} on"));
        build_definition(
            self,
            names,
            &standing.definition,
            &standing.comment.by,
            true,
            job,
        )
        .await?;
        tracing::debug!(target: "tamma_events::indexes", going = passing("old", name), "its predecessor went");
        let decision = Decision {
            action: "moved",
            index: name,
            body: "",
            reason: "the cut-off of its recent events had become old",
        };
        decisions::note(&mut self.conn, names, by, &decision).await
    }
}

impl Standing {
    /// A rolling index of this module's; `None` for any other.
    fn of(name: &str, comment: Option<Comment>, names: &TableNames) -> Option<Self> {
        let comment = comment?;
        comment.cutoff.as_ref()?;
        let mut wire = comment.definition.clone();
        // Whoever renamed it meant it.
        wire["name"] = name.into();
        let definition = Definition::parse(&wire, names, &columns(names)).ok()?;
        definition.rolling?;
        Some(Self {
            definition,
            comment,
        })
    }
}

/// Whether an index is a rolling one of this module's, to be rebuilt by moving it on.
pub async fn rebuild(
    session: &mut Session,
    names: &TableNames,
    index: &catalog::Listed,
    job: &Job,
) -> Result<bool> {
    let Some(standing) = Standing::of(&index.name, index.ours(), names) else {
        return Ok(false);
    };
    session
        .move_one(names, &standing, "rebuildIndex", job)
        .await?;
    Ok(true)
}
