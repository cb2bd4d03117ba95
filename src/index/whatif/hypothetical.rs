//! The tier of HypoPG: the planner is told of indexes that are not there.

use std::collections::BTreeMap;

use super::super::search::Config;
use super::super::store;
use super::explain::price;
use super::{Answer, WhatIf, catalog, run};
use crate::exec::fault;
use crate::model::Result;

impl WhatIf<'_> {
    /// Costs of questions with these, and which of them each plan used.
    pub(super) async fn hypothetical(
        &mut self,
        schema: &str,
        config: &Config,
        questions: &[usize],
    ) -> Result<Vec<Answer>> {
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
            answers.push(Answer {
                cost: price.cost,
                used: used.collect(),
                rows: price.rows,
                ahead: price.one_ahead(),
            });
        }
        run(self.conn, &catalog::forget(schema)).await?;
        Ok(answers)
    }
}
