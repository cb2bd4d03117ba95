//! Building, dropping and rebuilding, so that an interruption at any point leaves nothing half-done.
//!
//! An index is built under a name of its own and gets the wanted one when it is whole, in the
//! transaction that also says whose it is. Whoever looks at a name finds an index that serves, or
//! none; what a builder that died left behind carries a name that says so, and the next one sweeps
//! it out. Dropping goes the same way back.

use xxhash_rust::xxh3::xxh3_64;

use super::catalog::{self, Functions};
use super::comment::Comment;
use super::definition::{Definition, RESERVED};
use super::job::Job;
use super::session::{LOCK_WAIT, Session};
use super::store;
use crate::ddl;
use crate::exec::fault;
use crate::model::{
    Error, Result,
    table::{TableNames, quote_ident},
};
use crate::sql::Called;

/// How often a build is begun anew after a deadlock.
const ATTEMPTS: u32 = 3;

/// The name of an index while it is built, or while it goes.
pub fn passing(kind: &str, of: &str) -> String {
    format!("{RESERVED}{kind}~{:016x}", xxh3_64(of.as_bytes()))
}

/// The name of a partition's part of an index.
fn part_name(index: &str, partition: &TableNames) -> String {
    let whole = TableNames {
        name: format!("{index}_{}", partition.name),
        ..partition.clone()
    };
    whole.derived("", "_part")
}

/// What is built: the definition's end, and where it goes.
pub struct Plan<'a> {
    /// The event table.
    pub names: &'a TableNames,
    /// The index's name, when it is whole.
    pub name: &'a str,
    /// Whether it is unique.
    pub unique: bool,
    /// From the table on.
    pub body: &'a str,
    /// What its comment says.
    pub comment: &'a Comment,
    /// Whether it takes the place of one of this name.
    pub replaces: bool,
    /// Whether there is an expression in it, of which the planner knows nothing yet.
    pub analyze: bool,
}

impl Session {
    /// Builds an index. The session holds the lock.
    ///
    /// # Errors
    /// Why not. What is left of it then is for [`Session::clean`].
    pub async fn build(&mut self, plan: &Plan<'_>, job: &Job) -> Result<()> {
        let mut attempt = 1;
        loop {
            let error = match self.build_once(plan, job).await {
                Ok(()) => break,
                Err(error) => error,
            };
            let deadlock =
                matches!(&error, Error::Database { sql_state, .. } if sql_state == "40P01");
            if !deadlock || attempt == ATTEMPTS {
                return Err(error);
            }
            self.clean(job).await;
            attempt += 1;
        }
        if plan.analyze {
            job.phase("taking statistics");
            let sql = store::analyze(&plan.names.quoted());
            if let Err(error) = self.slowly(&sql, job).await {
                tracing::warn!(target: "tamma_events::indexes", %error, "no statistics were taken; autovacuum will come to it");
            }
        }
        Ok(())
    }

    async fn build_once(&mut self, plan: &Plan<'_>, job: &Job) -> Result<()> {
        let passing_name = passing("new", plan.name);
        if self.table.partitioned {
            self.build_tree(plan, &passing_name, job).await?;
        } else {
            let sql = store::create_index(
                &passing_name,
                plan.unique,
                true,
                &plan.names.quoted(),
                plan.body,
            );
            self.slowly(&sql, job).await.map_err(refused)?;
        }
        self.publish(plan, &passing_name, job).await
    }

    /// The moment that an index is there, and its predecessor, where it had one, no longer.
    async fn publish(&mut self, plan: &Plan<'_>, passing_name: &str, job: &Job) -> Result<()> {
        job.check()?;
        let schema = &plan.names.schema;
        let old = passing("old", plan.name);
        let mut statements = Vec::new();
        if plan.replaces {
            statements.push(store::rename_index(schema, plan.name, &old));
        }
        statements.push(store::rename_index(schema, passing_name, plan.name));
        statements.push(store::comment(schema, plan.name, &plan.comment.to_text()));
        // From here on it is done, whatever the caller wants.
        let sql = store::together(&statements);
        self.briefly(&sql, &Job::default())
            .await
            .map_err(|error| match error {
                Error::Database { sql_state, .. } if sql_state == "42P07" => Error::IndexExists {
                    path: "name".to_owned(),
                    name: plan.name.to_owned(),
                },
                other => other,
            })?;
        if plan.replaces {
            let partitioned = self.table.partitioned;
            if let Err(error) = self.drop_index(schema, &old, partitioned, job).await {
                tracing::warn!(target: "tamma_events::indexes", index = plan.name, %error, "its predecessor will be dropped by the next that builds");
            }
        }
        Ok(())
    }

    /// PostgreSQL builds no partitioned index concurrently. So: one on the parent alone, invalid
    /// until each partition's own, built concurrently, is attached to it.
    async fn build_tree(&mut self, plan: &Plan<'_>, root: &str, job: &Job) -> Result<()> {
        let mut attach = Vec::new();
        let mut renames = Vec::new();
        let mut parents = vec![(plan.names.clone(), root.to_owned())];
        while let Some((table, index)) = parents.pop() {
            let only = format!("ONLY {}", table.quoted());
            let sql = store::create_index(&index, plan.unique, false, &only, plan.body);
            self.briefly(&sql, job).await.map_err(refused)?;
            let quoted_index = table.beside(&index);
            let partitions =
                ddl::catalog::partitions(&mut self.conn, &table.quoted(), &quoted_index)
                    .await
                    .map_err(fault)?;
            for partition in partitions {
                let below = TableNames {
                    schema: partition.schema,
                    name: partition.name,
                    columns: table.columns.clone(),
                };
                let name = passing("new", &format!("{}\0{}", plan.name, below.quoted()));
                attach.push(ddl::store::attach_index(
                    &quoted_index,
                    &below.beside(&name),
                ));
                renames.push((below.clone(), name.clone()));
                if partition.partitioned {
                    parents.push((below, name));
                } else {
                    let sql =
                        store::create_index(&name, plan.unique, true, &below.quoted(), plan.body);
                    self.slowly(&sql, job).await.map_err(refused)?;
                }
            }
        }
        // Leaves first: an index becomes valid when the last of its partitions' valid ones comes.
        for sql in attach.iter().rev() {
            self.briefly(sql, job).await?;
        }
        // Parts of an index whose predecessor is still there keep clear of its parts' names.
        for (table, name) in renames {
            let part = part_name(plan.name, &table);
            let free = catalog::named(&mut self.conn, &table.schema, &part)
                .await
                .map_err(fault)?
                .is_none();
            let to = if free {
                part
            } else {
                part_name(&format!("{:08x}", xxh3_64(name.as_bytes()) >> 32), &table)
            };
            self.briefly(&store::rename_index(&table.schema, &name, &to), job)
                .await?;
        }
        Ok(())
    }

    /// After a failure: on this connection where it still works, else on another. Dropping waits for
    /// those who use the table, so it can be told to stop; then the next that builds goes on.
    pub async fn clean(&mut self, job: &Job) {
        if !self.is_locked() {
            return;
        }
        self.wait = LOCK_WAIT;
        let cleaned = if self.alive().await {
            self.sweep(job).await
        } else {
            self.renew(job).await
        };
        if let Err(error) = cleaned {
            tracing::warn!(target: "tamma_events::indexes", %error, "a half-built index is left to the next that builds");
        }
    }

    /// Drops an index of the event table by its name.
    ///
    /// # Errors
    /// The server's; then it is still there.
    pub async fn remove(&mut self, schema: &str, name: &str, job: &Job) -> Result<()> {
        let going = passing("old", name);
        self.briefly(&store::rename_index(schema, name, &going), job)
            .await?;
        let dropped = self
            .drop_index(schema, &going, self.table.partitioned, job)
            .await;
        let Err(error) = dropped else {
            return Ok(());
        };
        if !self.alive().await {
            // Another session finishes what was begun.
            return match self.renew(&Job::default()).await {
                Ok(()) => Ok(()),
                Err(_) => Err(error),
            };
        }
        // Half dropped it is invalid, and goes with the next sweep; else it gets its name back.
        let list = catalog::list(&mut self.conn, self.table.oid)
            .await
            .map_err(fault)?;
        if list.iter().any(|index| index.name == going && index.valid) {
            self.briefly(&store::rename_index(schema, &going, name), &Job::default())
                .await?;
        }
        Err(error)
    }

    /// Builds an index anew, in place.
    ///
    /// # Errors
    /// The server's; then the index is as it was.
    pub async fn reindex(&mut self, schema: &str, name: &str, job: &Job) -> Result<()> {
        job.phase("rebuilding");
        self.slowly(&store::reindex(schema, name), job)
            .await
            .map_err(refused)
    }

    /// Looks up what a definition names in the catalogs, before anything is built.
    ///
    /// # Errors
    /// INDEX_INVALID with the path.
    pub async fn prove(&mut self, definition: &Definition) -> Result<()> {
        for (
            Called {
                name,
                arguments,
                civil,
            },
            path,
        ) in &definition.functions
        {
            let found = catalog::functions(&mut self.conn, name, *arguments)
                .await
                .map_err(fault)?;
            let problem = match found {
                Functions::Missing => format!(
                    "calls {name:?}, and PostgreSQL has no such function of {arguments} arguments"
                ),
                Functions::Immutable => continue,
                Functions::Mixed if *civil => continue,
                Functions::Mixed | Functions::Other => format!(
                    "calls {name:?}, which is not immutable: an index needs the same answer every time"
                ),
            };
            return Err(Error::index_invalid(path, problem));
        }
        for key in &definition.keys {
            if let Some(class) = &key.operator_class {
                let known =
                    catalog::operator_class(&mut self.conn, definition.method.name(), class)
                        .await
                        .map_err(fault)?;
                if !known {
                    return Err(Error::index_invalid(
                        format!("{}.operatorClass", key.path),
                        format!(
                            "is no operator class of {} here: {}",
                            definition.method.name(),
                            quote_ident(class)
                        ),
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What the server says of a definition that it does not take.
fn refused(error: Error) -> Error {
    let Error::Database { sql_state, message } = error else {
        return error;
    };
    let about = match sql_state.as_str() {
        "23505" => "unique",
        // Not immutable; no such operator class or function; types that do not fit; not offered; a key
        // that is too long for a page; a value of an event that the expression fails for.
        "42P17" | "42704" | "42883" | "42804" | "42P21" | "42P22" | "0A000" | "42601" | "54000"
        | "22P02" | "22003" | "22023" => "columns",
        _ => return Error::Database { sql_state, message },
    };
    Error::index_invalid(about, message)
}
