//! What the API tells of the analysed indexes: one of them, their use, their sizes, how full they are.

use std::sync::Arc;

use serde_json::{Value as Wire, json};

use super::super::manage::Indexes;
use super::catalog::{self, Counted};
use super::{Analysed, all};
use crate::exec::fault;
use crate::model::{Error, Result, table::TableNames};

impl Indexes {
    /// All of the table's indexes, analysed.
    pub(super) async fn analysed(self: &Arc<Self>) -> Result<(TableNames, Vec<Analysed>, Counted)> {
        let names = self.names()?;
        let _entered = self.enter(&Arc::default())?;
        let mut session = self.session().await?;
        let table = session.table.oid;
        let found: Result<_> = async {
            let found = all(&mut session.conn, table, &names).await?;
            let counted = catalog::counted(&mut session.conn, table)
                .await
                .map_err(fault)?;
            Ok((found, counted))
        }
        .await;
        session.close().await;
        let (found, counted) = found?;
        Ok((names, found, counted))
    }

    /// One index, analysed.
    ///
    /// # Errors
    /// UNKNOWN_INDEX; the server's.
    pub async fn analyze(self: &Arc<Self>, name: &str) -> Result<Wire> {
        let (names, found, _) = self.analysed().await?;
        found
            .iter()
            .find(|one| one.index.name == name)
            .map(|one| one.to_json(&names))
            .ok_or_else(|| Error::UnknownIndex {
                path: "indexName".to_owned(),
                message: format!("there is no index {name:?} on the event table"),
            })
    }

    /// All of them, for the report and the command line.
    ///
    /// # Errors
    /// The server's.
    pub async fn analyze_all(self: &Arc<Self>) -> Result<Wire> {
        let (names, found, _) = self.analysed().await?;
        Ok(found.iter().map(|one| one.to_json(&names)).collect())
    }

    /// How the indexes are used.
    ///
    /// # Errors
    /// The server's.
    pub async fn usage(self: &Arc<Self>) -> Result<Wire> {
        let (names, found, counted) = self.analysed().await?;
        let optimal = self.optimal_ratio().await?;
        let indexes: Vec<_> = (found.iter())
            .map(|one| {
                json!({
                    "name": one.index.name,
                    "table": names.name,
                    "scans": one.scans,
                    "tuplesRead": one.index.tuples_read,
                    "lastUsed": one.last_used,
                    "sizeBytes": one.index.size,
                })
            })
            .collect();
        let unused: Vec<_> = (found.iter())
            .filter(|one| one.scans == 0 && !one.index.constraint && !one.index.migrated(&names))
            .map(|one| one.index.name.as_str())
            .collect();
        Ok(json!({
            "since": counted.since,
            "indexes": indexes,
            "unused": unused,
            "optimalIndexRatio": optimal,
            "sequentialScans": counted.sequential,
        }))
    }

    /// How large they are.
    ///
    /// # Errors
    /// The server's.
    #[allow(clippy::cast_precision_loss)] // Bytes.
    pub async fn sizes(self: &Arc<Self>) -> Result<Wire> {
        let (_, found, counted) = self.analysed().await?;
        let table = counted.table_bytes;
        let indexes: Vec<_> = (found.iter())
            .map(|one| {
                json!({
                    "name": one.index.name,
                    "sizeBytes": one.index.size,
                    "ratioToTable": if table > 0 { one.index.size as f64 / table as f64 } else { 0.0 },
                })
            })
            .collect();
        Ok(json!({
            "totalBytes": found.iter().map(|one| one.index.size).sum::<i64>(),
            "tableBytes": table,
            "indexes": indexes,
        }))
    }

    /// How full they are.
    ///
    /// # Errors
    /// The server's.
    pub async fn fragmentation(self: &Arc<Self>) -> Result<Wire> {
        let (_, found, _) = self.analysed().await?;
        let indexes: Vec<_> = (found.iter())
            .map(|one| {
                json!({
                    "name": one.index.name,
                    "type": one.index.method,
                    "bloatRatio": one.bloat,
                    "fragmentation": one.fragmentation,
                    "wastedBytes": one.wasted().round(),
                    "method": if one.measured { "pgstattuple" } else { "estimate" },
                })
            })
            .collect();
        Ok(json!({ "indexes": indexes }))
    }
}
