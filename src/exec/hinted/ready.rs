//! A hinted query that is ready to be run, with the facts about the indexes that it names.

use std::hash::{Hash as _, Hasher as _};

use xxhash_rust::xxh3::Xxh3;

use super::catalog::Facts;
use crate::query::{EventQuery, Hints};
use crate::sql::{Statement, Target};

/// A query that is ready to be run, and what it is made from.
pub struct Ready<'a> {
    /// Its plan is wanted, not its rows; with `true` it runs all the same.
    pub explain: Option<bool>,
    pub query: &'a EventQuery,
    pub statement: &'a Statement,
    /// Preferred, then required.
    pub names: Vec<&'a str>,
    pub facts: &'a Facts,
    /// Its statement over another table, where it is not the query's own.
    pub over: Option<&'a Over<'a>>,
}

/// A statement over another event table.
pub type Over<'a> = dyn Fn(&Target) -> Statement + Send + Sync + 'a;

impl Ready<'_> {
    pub const fn hints(&self) -> &Hints {
        &self.query.hints
    }

    pub fn is_forced(&self, nth: usize) -> bool {
        nth >= self.hints().use_index.len()
    }

    /// The indexes that there are.
    pub fn oids(&self) -> Vec<sqlx::postgres::types::Oid> {
        let found = self.facts.indexes.iter().flatten();
        found.flat_map(|index| index.oids.iter().copied()).collect()
    }

    /// Of one index's own, among counts in the order of [`Ready::oids`].
    pub fn count(&self, nth: usize, counts: &[i64]) -> i64 {
        let before = self.facts.indexes[..nth].iter().flatten();
        let start: usize = before.map(|index| index.oids.len()).sum();
        let own = self.facts.indexes[nth].as_ref().map_or(0, |i| i.oids.len());
        counts.iter().skip(start).take(own).sum()
    }

    pub fn key(&self, with_values: bool) -> u64 {
        let mut hasher = Xxh3::new();
        self.statement.sql.hash(&mut hasher);
        self.names.hash(&mut hasher);
        self.hints().use_index.len().hash(&mut hasher);
        // An index that comes, goes or becomes valid is a new question.
        for index in &self.facts.indexes {
            index
                .as_ref()
                .map(|i| (i.oid.0, i.is_valid))
                .hash(&mut hasher);
        }
        if with_values {
            format!("{:?}", self.statement.binds).hash(&mut hasher);
        }
        hasher.finish()
    }
}
