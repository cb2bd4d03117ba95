//! The tier of HypoPG: the planner is told of indexes that are not there, with statistics on their
//! expressions.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::super::search::Config;
use super::super::store;
use super::{WhatIf, catalog, cost, run};
use crate::exec::fault;
use crate::model::Result;

/// Expressions that statistics are taken of.
const MOST_STATISTICS: usize = 8;

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
    pub(super) async fn take_statistics(&mut self) -> Result<()> {
        let mut expressions = BTreeSet::new();
        for candidate in &self.candidates {
            let keys = candidate.definition.keys.iter();
            expressions.extend(
                keys.map(|key| key.sql.clone())
                    .filter(|sql| sql.starts_with('(')),
            );
        }
        if expressions.is_empty() {
            return Ok(());
        }
        let mut all: Vec<_> = expressions
            .iter()
            .take(MOST_STATISTICS)
            .enumerate()
            .map(|(number, sql)| catalog::statistics(&self.names, number, sql))
            .collect();
        all.push(store::analyze(&self.names.quoted()));
        tried(self.conn, &store::together(&all)).await?;
        Ok(())
    }

    pub(super) async fn hypothetical(&mut self, question: usize, config: &Config) -> Result<f64> {
        let Some(schema) = self.hypopg.clone() else {
            return Ok(self.base[question]);
        };
        for place in config {
            let candidate = &self.candidates[*place];
            let create = store::create_index(
                &candidate.definition.name,
                false,
                false,
                &self.names.quoted(),
                &candidate.body,
            );
            let bytes = catalog::hypothetical(self.conn, &schema, &create)
                .await
                .map_err(fault)?;
            if bytes > 0.0 && candidate.definition.predicate.is_none() {
                self.figures[*place].bytes = bytes;
            }
        }
        let cost = cost(self.conn, &self.questions[question].statement).await;
        run(self.conn, &catalog::forget(&schema)).await?;
        cost
    }
}
