//! From a query's text to what is sent: parsed, checked, rewritten by the rules of `src/plan`, compiled;
//! and remembered, so that a query of a shape that was seen before pays for none of it.

mod advice;
mod catalog;
mod known;
mod lift;
mod template;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
};

use sqlx::PgConnection;

use self::known::Known;
use super::engine::Engine;
use super::request::Planned;
use super::shape::Shape;
use super::since::CatchUp;
use crate::model::{Result, time::Timestamp};
use crate::plan::{Calibration, Facts, Indexes, Optimized, RULES, Rule, optimize_by};
use crate::query::EventQuery;
use crate::sql::{Purpose, Statement};

/// What a client knows for planning.
#[derive(Default)]
pub struct Planning {
    /// Rules that are left out: for tests and benchmarks, which compare with and without.
    without: RwLock<HashSet<String>>,
    known: Known,
    indexes: RwLock<Option<Arc<Indexes>>>,
    /// What runs took.
    pub calibration: Calibration,
}

/// A query that is checked and planned.
#[derive(Clone, Debug)]
pub struct Ready {
    /// As it was asked.
    pub query: EventQuery,
    /// What is sent.
    pub statement: Statement,
    /// Whether no event can satisfy it.
    pub is_empty: bool,
    /// What monitoring calls it.
    pub shape: Arc<Shape>,
    /// The path of its regular expression.
    pub regex: Option<String>,
}

impl Engine {
    /// A query, rewritten by the rules.
    pub fn optimize(&self, query: &EventQuery) -> Optimized {
        let target = self.target();
        let indexes = self.indexes();
        let facts = Facts {
            target: &target,
            indexes: indexes.as_deref(),
        };
        let without = (self.planning.without.read()).unwrap_or_else(PoisonError::into_inner);
        if without.is_empty() {
            return optimize_by(RULES, query, &facts);
        }
        let rules: Vec<&dyn Rule> = (RULES.iter().copied())
            .filter(|rule| !without.contains(rule.name()))
            .collect();
        optimize_by(&rules, query, &facts)
    }

    /// What a checked query comes to.
    ///
    /// # Errors
    /// INVALID_QUERY
    pub fn plan(&self, query: &EventQuery, purpose: Purpose) -> Result<Planned> {
        self.plan_at(query, purpose, None)
    }

    /// The same with a clock for its windows.
    ///
    /// # Errors
    /// INVALID_QUERY
    pub fn plan_at(
        &self,
        query: &EventQuery,
        purpose: Purpose,
        clock: Option<Timestamp>,
    ) -> Result<Planned> {
        let optimized = self.optimize(query);
        Ok(Planned {
            statement: optimized.compile(query, &self.target(), purpose, clock)?,
            // The token of `since` is of the moment, also where there are no rows.
            is_empty: query.since.is_none() && optimized.plan.is_empty(),
            catch_up: CatchUp::of(query, purpose, clock),
        })
    }

    /// The indexes of the event table, as they were last read.
    pub fn indexes(&self) -> Option<Arc<Indexes>> {
        let indexes = self.planning.indexes.read();
        indexes.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads them anew; plans that others were made under are forgotten. A server that does not tell is
    /// asked without them.
    pub async fn learn_indexes(&self, driver: &mut PgConnection) {
        let found = catalog::indexes(driver, &self.target().table).await;
        let found = found.ok().map(Arc::new);
        let changed = {
            let indexes = self.planning.indexes.write();
            let mut indexes = indexes.unwrap_or_else(PoisonError::into_inner);
            let list = |indexes: &Option<Arc<Indexes>>| indexes.as_ref().map(|i| i.list.clone());
            let changed = list(&indexes) != list(&found);
            *indexes = found;
            changed
        };
        if changed {
            self.forget_plans();
        }
    }

    /// Leaves rules out from now on, by their names. For tests and benchmarks.
    pub fn leave_out(&self, names: Vec<String>) {
        let mut without = (self.planning.without.write()).unwrap_or_else(PoisonError::into_inner);
        *without = names.into_iter().collect();
        self.planning.known.forget();
    }
}
