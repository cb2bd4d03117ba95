//! Migrating the table of a client.

use serde_json::{Value as Wire, json};
use uuid::Uuid;

use super::{MigrateError, MigrateOptions, migrate};
use crate::exec::Engine;
use crate::model::{Error, Result};

impl Engine {
    /// Brings the schema up to date and learns anew where the table is.
    ///
    /// # Errors
    /// MIGRATION_FAILED with every reason; CLOSED where the client was closed meanwhile.
    pub async fn migrate(&self) -> Result<Wire> {
        let ticket = self.registry.enter(Uuid::now_v7().to_string().into())?;
        let options = MigrateOptions {
            immutable: self.config.immutable,
            ..MigrateOptions::new(self.target().table.clone())
        };
        let report = tokio::select! {
            report = migrate(&self.config.server, &options) => report.map_err(Error::from)?,
            // Its session ends with it; a later run goes on from where this one was.
            reason = ticket.stopped() => return Err(reason.error()),
        };
        self.connect().await?;
        Ok(json!({ "applied": report.applied, "alreadyApplied": report.already_applied }))
    }
}

impl From<MigrateError> for Error {
    fn from(error: MigrateError) -> Self {
        Self::Migration {
            path: match &error {
                MigrateError::Name(name) => Some(name.path.clone()),
                _ => None,
            },
            sql_state: error.sql_state(),
            retryable: error.retryable(),
            message: error.to_string(),
        }
    }
}
