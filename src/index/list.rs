//! What `listIndexes`, `getIndexSize` and the like tell.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::catalog::{self, Listed};
use super::comment::Comment;
use super::manage::Indexes;
use crate::exec::fault;
use crate::model::{Result, table::TableNames};

/// What the migrations call their indexes, behind the table's name.
const MIGRATED: [&str; 5] = [
    "_timestamp",
    "_transaction_id",
    "_composite_1",
    "_composite_2",
    "_composite_3",
];

impl Listed {
    /// What stands on it, where that is this module's.
    pub(super) fn ours(&self) -> Option<Comment> {
        self.comment.as_deref().and_then(Comment::parse)
    }

    /// Whether this module made it.
    pub(super) fn managed(&self, table: &TableNames) -> bool {
        self.ours().is_some() || self.migrated(table)
    }

    /// Whether it is one of those that the migrations make.
    pub(super) fn migrated(&self, table: &TableNames) -> bool {
        MIGRATED
            .iter()
            .any(|suffix| self.name == table.derived("idx_", suffix))
    }

    pub(super) fn to_json(&self, table: &TableNames) -> Wire {
        json!({
            "name": self.name,
            "table": table.name,
            "definition": self.definition,
            "type": self.method,
            "unique": self.unique,
            "valid": self.valid,
            "partial": self.partial,
            "sizeBytes": self.size,
            "scans": self.scans,
            "lastUsed": self.last_used,
            "managed": self.managed(table),
            "constraint": self.constraint,
        })
    }
}

impl Indexes {
    /// The indexes of the event table.
    ///
    /// # Errors
    /// The server's.
    pub async fn list(self: &Arc<Self>) -> Result<Wire> {
        let names = self.names()?;
        let _entered = self.enter(&Arc::default())?;
        let mut session = self.session().await?;
        let list = catalog::list(&mut session.conn, session.table.oid)
            .await
            .map_err(fault);
        session.close().await;
        Ok(list?.iter().map(|index| index.to_json(&names)).collect())
    }
}
