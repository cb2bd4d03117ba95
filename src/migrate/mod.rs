//! The schema: created, or an existing event table adopted, and kept as the options ask.
//!
//! The SQL is in `migrations/`, whose README says how files become statements. What was applied is
//! recorded; what can be seen in the catalogs (triggers, the nonce) is looked at each time instead.
//!
//! Several processes may start at once: one holds a lock for its session and works, the others ask
//! for it until they see that nothing is left to do. Each step is one transaction, or a concurrent
//! index build whose remains are recognised, so whoever comes after a crash goes on from there.
//! Locks that stop writers are waited for briefly, and again, never long.
//!
//! The session must be a real one: behind a pooler in transaction mode its lock and settings would
//! be another client's.

mod catalog;
mod engine;
mod error;
mod fitness;
mod indexes;
mod plan;
mod render;
mod row;
mod session;
mod store;
mod templates;

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, migrate::Migrate, postgres::PgConnectOptions,
    postgres::types::Oid,
};

pub use error::MigrateError;

use self::{
    indexes::Build,
    plan::Plan,
    render::lock_key,
    session::{Step, Work},
    templates::{EVENTS, Kind, Numbered, QUERY_TABLES},
};
use crate::model::table::TableNames;

/// What the schema should be.
#[derive(Clone, Debug)]
pub struct MigrateOptions {
    /// The event table.
    pub table: TableNames,
    /// Whether UPDATE, DELETE and TRUNCATE of events are refused. `None`: where this module made the
    /// table.
    pub immutable: Option<bool>,
    /// How long a step may be held up by others' locks: 30 seconds, unless set.
    pub lock_wait: Duration,
}

impl MigrateOptions {
    /// The defaults for a table.
    pub fn new(table: TableNames) -> Self {
        Self {
            table,
            immutable: None,
            lock_wait: Duration::from_secs(30),
        }
    }
}

/// What a migration did, by the names of the files in `migrations/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrateReport {
    /// Done now.
    pub applied: Vec<String>,
    /// Numbered migrations that were done before.
    pub already_applied: Vec<String>,
}

/// Brings the schema up to date.
///
/// Where that is so already, a role that may read the module's tables is enough. Otherwise it must be
/// able to create objects in the schema and, where the event table exists, to act as its owner, to
/// whom then all belongs.
///
/// # Errors
/// [`MigrateError::NotAdoptable`] with every reason, before anything is changed;
/// [`MigrateError::LockTimeout`] where others are in the way for too long; and the others' own.
pub async fn migrate(
    connect: &PgConnectOptions,
    options: &MigrateOptions,
) -> Result<MigrateReport, MigrateError> {
    options.table.check()?;
    let mut conn = session::open(connect).await?;
    let outcome = migrate_with(&mut conn, options).await;
    // What matters has been answered by now; the server notices a lost connection by itself.
    let _ = conn.close().await;
    outcome
}

async fn migrate_with(
    conn: &mut PgConnection,
    options: &MigrateOptions,
) -> Result<MigrateReport, MigrateError> {
    let names = &options.table;
    // An ordinary start has nothing to do, and needs no lock to see that. Beside a migration under
    // way the statements of this look see different states: then only "nothing to do" counts, which
    // no mixture of them can feign, and everything else is read again under the lock.
    if let Ok(plan) = Plan::read(conn, options).await
        && plan.is_done()
    {
        return Ok(plan.report());
    }
    let key = lock_key(&[&names.schema, &names.name]);
    session::lock(conn, key, options.lock_wait).await?;
    // Another process may have done it all in the meantime.
    let mut plan = Plan::read(conn, options).await?;
    if plan.is_done() {
        return Ok(plan.report());
    }
    if let Some(owner) = plan.owner_to_become()? {
        store::become_role(conn, &owner).await.map_err(|e| {
            MigrateError::database(&format!("acting as {owner}"), &plan.server.role, e)
        })?;
        plan = Plan::read(conn, options).await?;
    }
    plan.check_privileges(names)?;
    Run {
        conn,
        options,
        role: plan.server.role.clone(),
        table: plan.relation.as_ref().map(|r| r.oid),
        plan: &plan,
    }
    .all()
    .await
}

/// A migration in progress.
struct Run<'a> {
    conn: &'a mut PgConnection,
    options: &'a MigrateOptions,
    plan: &'a Plan,
    role: String,
    /// Known once the event table is there.
    table: Option<Oid>,
}

impl Run<'_> {
    async fn all(mut self) -> Result<MigrateReport, MigrateError> {
        let names = &self.options.table;
        let mut report = self.plan.report();
        if !self.plan.server.schema_exists {
            self.create_schema().await?;
        }
        if !self.plan.pending.is_empty() {
            // sqlx's own lock is not taken: it is waited for in a statement, see `session::lock`.
            self.conn
                .ensure_migrations_table(&templates::record(names))
                .await
                .map_err(|e| self.fail("creating the record", session::unwrap_migrate_error(e)))?;
        }
        let mut indexed = false;
        for numbered in templates::numbered(self.plan.origin) {
            if self.plan.pending.contains(&numbered.version) {
                match numbered.kind {
                    Kind::Script => self.script(numbered).await?,
                    Kind::Index { suffix } => indexed |= self.index(numbered, suffix).await?,
                }
                tracing::info!(migration = numbered.title(), "applied");
                report.applied.push(numbered.title());
            }
            if numbered.version == EVENTS {
                // Before anything that takes its time: from here on the table is guarded.
                self.table = catalog::relation(self.conn, names)
                    .await
                    .map_err(|e| self.fail("reading the event table", e))?
                    .map(|relation| relation.oid);
                for setting in &self.plan.settings {
                    self.sql(setting.title(), &setting.render(names)).await?;
                    tracing::info!(setting = setting.title(), "brought about");
                    report.applied.push(setting.title().to_owned());
                }
            }
        }
        if indexed && !self.fresh() {
            self.analyze().await;
        }
        Ok(report)
    }

    fn fresh(&self) -> bool {
        self.plan.relation.is_none()
    }

    async fn create_schema(&mut self) -> Result<(), MigrateError> {
        let schema = &self.options.table.schema;
        let sql = store::create_schema(schema, lock_key(&["schema", schema]));
        self.sql("creating the schema", &sql).await
    }

    async fn script(&mut self, numbered: &Numbered) -> Result<(), MigrateError> {
        // Another event table of the schema brought them, maybe another owner's.
        if numbered.version == QUERY_TABLES && self.plan.query_tables_exist {
            return self.record(numbered).await;
        }
        let migration = numbered.to_migration(&self.options.table);
        let record = templates::record(&self.options.table);
        self.work(&numbered.title(), Work::Migration(&migration, &record))
            .await
    }

    async fn index(
        &mut self,
        numbered: &Numbered,
        suffix: &'static str,
    ) -> Result<bool, MigrateError> {
        let build = Build {
            template: numbered,
            suffix,
            names: &self.options.table,
            role: &self.role,
            // Always there: the migration before has created or found it.
            table: self.table.unwrap_or_default(),
            partitioned: self.plan.relation.as_ref().is_some_and(|r| r.kind == "p"),
            fresh: self.fresh(),
            wait: self.options.lock_wait,
        };
        let needed = build.ensure(self.conn).await?;
        self.record(numbered).await?;
        Ok(needed)
    }

    /// Records a migration as applied without running it.
    async fn record(&mut self, numbered: &Numbered) -> Result<(), MigrateError> {
        let migration = numbered.to_migration(&self.options.table);
        let record = templates::record(&self.options.table);
        self.conn
            .skip(&record, &migration)
            .await
            .map_err(|e| self.fail(&numbered.title(), session::unwrap_migrate_error(e)))
    }

    /// The planner knows nothing of a new expression index until then.
    async fn analyze(&mut self) {
        let sql = store::analyze(&self.options.table);
        let done = sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *self.conn)
            .await;
        if let Err(error) = done {
            tracing::warn!(%error, "no statistics were taken; autovacuum will come to it");
        }
    }

    async fn sql(&mut self, title: &str, sql: &str) -> Result<(), MigrateError> {
        self.work(title, Work::Sql(sql)).await
    }

    async fn work(&mut self, title: &str, work: Work<'_>) -> Result<(), MigrateError> {
        let step = Step {
            title,
            role: &self.role,
            table: self.table,
        };
        session::carry_out(self.conn, &step, work, self.options.lock_wait).await
    }

    fn fail(&self, step: &str, source: sqlx::Error) -> MigrateError {
        MigrateError::database(step, &self.role, source)
    }
}
