//! Under which name an answer is kept: everything that it depends on, whole.

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::xxh3_128;

use crate::sql::{Bind, Statement};

/// All that an answer depends on. Compared whole: two queries whose hashes meet stay apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Where: database, role, search path, zone, table, and how integers arrive.
    pub realm: String,
    /// The canonical statement and its values.
    pub query: String,
    /// The event table, as callers name it.
    pub table: String,
    hash: u128,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.hash);
    }
}

impl Key {
    /// The key of a statement. `cursor` is where its page begins.
    pub fn new(realm: String, table: String, statement: &Statement, cursor: Option<&str>) -> Self {
        // Debug: a text and a JSON string of the same characters are written differently, and no text can
        // end early.
        let values: Vec<&Bind> = statement.binds.iter().collect();
        let query = format!(
            "{}\n{values:?}\n{:?}\n{cursor:?}",
            statement.sql, statement.columns
        );
        let hash = xxh3_128(format!("{realm}\n{query}").as_bytes());
        Self {
            realm,
            query,
            table,
            hash,
        }
    }

    /// The name in the API: `events:` and a hash.
    pub fn name(&self) -> String {
        format!("{}:{:032x}", self.table, self.hash)
    }

    /// Its hash, as the name has it.
    pub fn hash(&self) -> String {
        format!("{:032x}", self.hash)
    }

    /// Bytes of memory.
    pub fn weight(&self) -> u64 {
        (self.realm.len() + self.query.len() + self.table.len() + size_of::<Self>()) as u64
    }
}
