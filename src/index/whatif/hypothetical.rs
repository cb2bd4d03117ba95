//! The tier of HypoPG: the planner is told of indexes that are not there, with statistics on their
//! expressions.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::super::search::Config;
use super::super::store;
use super::explain::price;
use super::{WhatIf, catalog, run};
use crate::exec::fault;
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

    /// Costs of questions with these, and which of them each plan used.
    pub(super) async fn hypothetical(
        &mut self,
        schema: &str,
        config: &Config,
        questions: &[usize],
    ) -> Result<Vec<(f64, Config)>> {
        let mut named = BTreeMap::new();
        for place in config {
            let candidate = &self.candidates[*place];
            let create = store::create_index(
                &candidate.definition.name,
                false,
                false,
                &self.names.quoted(),
                &candidate.body,
            );
            let (name, bytes) = catalog::hypothetical(self.conn, schema, &create)
                .await
                .map_err(fault)?;
            named.insert(name, *place);
            if bytes > 0.0 && candidate.definition.predicate.is_none() {
                self.figures[*place].bytes = bytes;
            }
        }
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            let price = price(self.conn, &self.questions[*question].statement).await?;
            let used = price.used.iter();
            let used = used.filter_map(|name| named.get(name).copied());
            answers.push((price.cost, used.collect()));
        }
        run(self.conn, &catalog::forget(schema)).await?;
        Ok(answers)
    }
}
