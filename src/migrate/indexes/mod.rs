//! Builds the indexes of the event table.
//!
//! A build of a table that holds rows must not stop writers, so it is CONCURRENTLY and outside a
//! transaction. Such a build that fails leaves an invalid index of the name, which costs writes,
//! serves no query, and is taken for done by IF NOT EXISTS: it is looked for and built again.

mod catalog;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::types::Oid};

use super::{
    error::MigrateError,
    render::render_index,
    session::{self, Step, Work},
    store,
    templates::Numbered,
};
use crate::ddl::{self, session::is_lock_failure};
use crate::model::table::TableNames;

/// An index to be there, and where and for whom.
pub(super) struct Build<'a> {
    pub(super) template: &'a Numbered,
    /// What follows the table's name in the index's.
    pub(super) suffix: &'static str,
    pub(super) names: &'a TableNames,
    pub(super) role: &'a str,
    pub(super) table: Oid,
    pub(super) partitioned: bool,
    /// Made in this very run: it holds no rows.
    pub(super) fresh: bool,
    pub(super) wait: Duration,
}

/// One table of the event table's tree, and its index.
#[derive(Clone)]
struct Node {
    /// Schema and name of the table.
    table: TableNames,
    index: String,
}

impl Node {
    fn new(table: TableNames, suffix: &str) -> Self {
        let index = table.derived("idx_", suffix);
        Self { table, index }
    }

    fn quoted_index(&self) -> String {
        self.table.beside(&self.index)
    }
}

impl Build<'_> {
    /// Makes sure that the table has the index, under the module's name or another. Answers whether
    /// it had to be built.
    pub(super) async fn ensure(&self, conn: &mut PgConnection) -> Result<bool, MigrateError> {
        let root = Node::new(self.names.clone(), self.suffix);
        if self.fresh {
            let sql = self.render(&root, &root.table.quoted(), false);
            self.briefly(conn, &sql).await?;
            return Ok(true);
        }
        if let Some(same) = self.same(conn).await? {
            tracing::info!(serves = same, "an index of the table serves already");
            return Ok(false);
        }
        let found = self.find(conn, &root).await?;
        if found.is_some_and(|found| found.valid || found.table != self.table) {
            return Err(MigrateError::NotAdoptable {
                table: self.names.quoted(),
                reasons: vec![format!(
                    "index {:?} exists and is another than this module's: rename it",
                    root.index
                )],
            });
        }
        if self.partitioned {
            self.tree(conn, root).await?;
        } else {
            self.build(conn, &root).await?;
        }
        Ok(true)
    }

    /// Whether the table has the same index under any name: the owner's own, or one that was built
    /// just before a crash kept it from being recorded. The server says what is the same, of an
    /// index on an empty table that is never committed.
    async fn same(&self, conn: &mut PgConnection) -> Result<Option<String>, MigrateError> {
        let probe = Node::new(
            TableNames {
                name: self.names.derived("", "_probe"),
                ..self.names.clone()
            },
            self.suffix,
        );
        let sql = format!(
            "{}; {}",
            store::create_like(&probe.table, self.names),
            self.render(&probe, &probe.table.quoted(), false)
        );
        let find = async {
            let mut tx = conn.begin().await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await?;
            let same = catalog::same(&mut tx, self.table, &probe.quoted_index()).await?;
            tx.rollback().await?;
            Ok(same)
        };
        find.await.map_err(|e| self.fail(e))
    }

    /// One table's index, concurrently; an invalid one of the name goes first.
    async fn build(&self, conn: &mut PgConnection, node: &Node) -> Result<(), MigrateError> {
        self.drop_invalid(conn, node).await?;
        let sql = self.render(node, &node.table.quoted(), true);
        let built = self.concurrently(conn, &sql).await;
        if built.is_err() {
            // It would cost writes until the next run, which drops it where this cannot.
            if let Err(error) = self.drop_invalid(conn, node).await {
                tracing::warn!(index = node.index, %error, "an invalid index is left behind");
            }
        }
        built
    }

    async fn drop_invalid(&self, conn: &mut PgConnection, node: &Node) -> Result<(), MigrateError> {
        match self.find(conn, node).await? {
            Some(found) if !found.valid => {
                let sql = ddl::store::drop_index(&node.quoted_index());
                self.concurrently(conn, &sql).await
            }
            _ => Ok(()),
        }
    }

    /// PostgreSQL builds no partitioned index concurrently. So: one on the parent alone, invalid
    /// until each partition's own, built concurrently, is attached to it.
    async fn tree(&self, conn: &mut PgConnection, root: Node) -> Result<(), MigrateError> {
        let mut attach = Vec::new();
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            if self.find(conn, &parent).await?.is_none() {
                let only = format!("ONLY {}", parent.table.quoted());
                let sql = self.render(&parent, &only, false);
                self.briefly(conn, &sql).await?;
            }
            let partitions =
                ddl::catalog::partitions(conn, &parent.table.quoted(), &parent.quoted_index())
                    .await
                    .map_err(|e| self.fail(e))?;
            for partition in partitions {
                let table = TableNames {
                    schema: partition.schema,
                    name: partition.name,
                    columns: self.names.columns.clone(),
                };
                let child = Node::new(table, self.suffix);
                attach.push(ddl::store::attach_index(
                    &parent.quoted_index(),
                    &child.quoted_index(),
                ));
                if partition.partitioned {
                    parents.push(child);
                } else if !self.find(conn, &child).await?.is_some_and(|i| i.valid) {
                    // Else a crash came between building and attaching.
                    self.build(conn, &child).await?;
                }
            }
        }
        // Leaves first: an index becomes valid when the last of its partitions' valid ones comes.
        for sql in attach.iter().rev() {
            self.briefly(conn, sql).await?;
        }
        Ok(())
    }

    fn render(&self, node: &Node, target: &str, concurrently: bool) -> String {
        let create = ddl::store::create_index(&node.index, concurrently);
        render_index(self.template.sql, self.names, create, target)
    }

    async fn find(
        &self,
        conn: &mut PgConnection,
        node: &Node,
    ) -> Result<Option<catalog::Index>, MigrateError> {
        catalog::find(conn, &node.table.schema, &node.index)
            .await
            .map_err(|e| self.fail(e))
    }

    /// A statement whose lock stops writers.
    async fn briefly(&self, conn: &mut PgConnection, sql: &str) -> Result<(), MigrateError> {
        let title = self.template.title();
        let step = Step {
            title: &title,
            role: self.role,
            table: Some(self.table),
        };
        session::carry_out(conn, &step, Work::Sql(sql), self.wait).await
    }

    /// A statement that lets writers go on, and waits for each transaction older than itself.
    async fn concurrently(&self, conn: &mut PgConnection, sql: &str) -> Result<(), MigrateError> {
        ddl::store::set_lock_timeout(conn, self.wait)
            .await
            .map_err(|e| self.fail(e))?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await;
        match done {
            Ok(_) => Ok(()),
            Err(error) if is_lock_failure(&error) => Err(MigrateError::LockTimeout {
                step: self.template.title(),
                waited: self.wait,
                blockers: ddl::catalog::snapshot_holders(conn)
                    .await
                    .map_err(|e| self.fail(e))?,
            }),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&self, source: sqlx::Error) -> MigrateError {
        MigrateError::database(&self.template.title(), self.role, source)
    }
}
