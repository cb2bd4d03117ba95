//! Statistics on the candidates' expressions: without them an estimate of `->>` is a guess, of the
//! questions as they are just as well as with an index.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::super::store;
use super::{WhatIf, catalog, run};

use crate::model::Result;

/// Expressions that statistics are taken of.
const MOST_STATISTICS: usize = 32;

/// Runs what may fail without the transaction failing. False where it did.
async fn tried(conn: &mut PgConnection, sql: &str) -> Result<bool> {
    run(conn, catalog::SAVEPOINT).await?;
    match store::run(conn, sql).await {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::debug!(target: "tamma_events::indexes", %error, "not available for what-if");
            run(conn, catalog::BACK).await?;
            Ok(false)
        }
    }
}

impl WhatIf<'_> {
    pub(super) fn expressions(&self) -> Vec<String> {
        let keys = (self.candidates.iter()).flat_map(|one| &one.definition.keys);
        let expressions = keys.map(|key| &key.sql).filter(|sql| sql.starts_with('('));
        let all: BTreeSet<_> = expressions.cloned().collect();
        all.into_iter().take(MOST_STATISTICS).collect()
    }

    /// Takes them of the table, inside the transaction that is rolled back.
    pub(super) async fn take_statistics(&mut self) -> Result<()> {
        let expressions = self.expressions();
        if expressions.is_empty() {
            return Ok(());
        }
        let table = self.names.quoted();
        let mut all: Vec<_> = (expressions.iter().enumerate())
            .map(|(number, sql)| {
                let name = self.names.beside(&format!("tamma~whatif~{number}"));
                store::create_statistics(&name, &table, sql)
            })
            .collect();
        all.push(store::analyze(&table));
        tried(self.conn, &store::together(&all)).await?;
        Ok(())
    }
}
