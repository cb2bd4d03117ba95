//! What each index is worth: its use, its size, its state, and whether another does its work.

mod catalog;
mod inside;
mod report;
mod verdict;

use serde_json::{Value as Wire, json};
use sqlx::{PgConnection, postgres::types::Oid};

use self::catalog::History;
use super::candidates::Candidate;
use super::catalog::{Listed, list};
use super::definition::Method;
use super::recommend::normal;
use super::store;
use super::whatif::extension;
use crate::exec::fault;
use crate::model::{Result, table::TableNames};
pub use verdict::Verdict;

/// An index, analysed.
#[derive(Clone, Debug)]
pub struct Analysed {
    /// What it is.
    pub index: Listed,
    scans: i64,
    last_used: Option<String>,
    bloat: f64,
    fragmentation: f64,
    measured: bool,
    pending: Option<i64>,
    unsummarized: Option<i64>,
    duplicates: Vec<String>,
    covered_by: Vec<String>,
    /// What should become of it.
    pub verdict: Verdict,
    reasons: Vec<String>,
}

/// Analyses all indexes of the table.
///
/// # Errors
/// The server's.
pub async fn all(conn: &mut PgConnection, table: Oid, names: &TableNames) -> Result<Vec<Analysed>> {
    let list = list(conn, table).await.map_err(fault)?;
    let history = catalog::history(conn, names).await.map_err(fault)?;
    let counted = catalog::counted(conn, table).await.map_err(fault)?;
    let stattuple = extension(conn, "pgstattuple").await.map_err(fault)?;
    let inspect = extension(conn, "pageinspect").await.map_err(fault)?;
    let mut analysed = Vec::with_capacity(list.len());
    for index in &list {
        let mut one = Analysed::new(index, history.get(&index.name));
        if !index.partitioned {
            one.look_inside(conn, stattuple.as_deref(), inspect.as_deref())
                .await?;
        }
        for other in list.iter().filter(|other| other.oid != index.oid) {
            one.compare(other, names);
        }
        one.judge(&counted, names);
        analysed.push(one);
    }
    Ok(analysed)
}

impl Analysed {
    fn new(index: &Listed, history: Option<&History>) -> Self {
        // The noted days count what a reset has taken away since.
        let scans = index.scans.max(history.map_or(0, |h| h.scans));
        let last_used =
            (index.last_used.clone()).or_else(|| history.and_then(|h| h.last_used.clone()));
        Self {
            index: index.clone(),
            scans,
            last_used,
            bloat: 0.0,
            fragmentation: 0.0,
            measured: false,
            pending: None,
            unsummarized: None,
            duplicates: Vec::new(),
            covered_by: Vec::new(),
            verdict: Verdict::Keep,
            reasons: Vec::new(),
        }
    }

    /// Whether an index that is to be built does what this one does.
    pub fn is_replaced_by(&self, candidate: &Candidate, names: &TableNames) -> bool {
        let index = &self.index;
        if index.unique || index.constraint || index.migrated(names) || index.ours().is_none() {
            return false;
        }
        let theirs: Vec<_> = (candidate.definition.keys.iter())
            .map(|key| normal(&format!("{}{}", key.sql, key.suffix)))
            .collect();
        let own: Vec<_> = index.keys.iter().map(|key| normal(key)).collect();
        index.method == "btree"
            && candidate.definition.method == Method::Btree
            && index.include.is_empty()
            && index.partial.is_none()
            && candidate.definition.predicate.is_none()
            && own.len() < theirs.len()
            && theirs.starts_with(&own)
    }

    /// The first reason.
    pub fn why(&self) -> String {
        self.reasons.first().cloned().unwrap_or_default()
    }

    /// What should be done about it, as `IndexRecommendation`.
    pub fn recommendation(&self) -> Option<Wire> {
        let (action, sql) = match self.verdict {
            Verdict::Keep => return None,
            Verdict::Drop => (
                "drop",
                store::drop_index(&self.index.schema, &self.index.name, true),
            ),
            Verdict::Rebuild | Verdict::Invalid => (
                "rebuild",
                store::reindex(&self.index.schema, &self.index.name),
            ),
        };
        Some(json!({
            "action": action,
            "indexName": self.index.name,
            "sql": sql,
            "costBefore": 0,
            "costAfter": 0,
            "improvement": 0,
            "estimatedSizeBytes": if action == "drop" { 0 } else { self.index.size },
            "writeCostBytesPerEvent": 0,
            "method": "model",
            "queries": [],
            "reasons": self.reasons,
        }))
    }

    fn to_json(&self, names: &TableNames) -> Wire {
        let mut told = self.index.to_json(names);
        told["scans"] = self.scans.into();
        told["lastUsed"] = json!(self.last_used);
        told["tuplesRead"] = self.index.tuples_read.into();
        told["tuplesFetched"] = self.index.tuples_fetched.into();
        told["bloatRatio"] = self.bloat.into();
        told["fragmentation"] = self.fragmentation.into();
        if let Some(pending) = self.pending {
            told["pendingPages"] = pending.into();
        }
        if let Some(ranges) = self.unsummarized {
            told["unsummarizedRanges"] = ranges.into();
        }
        told["duplicates"] = json!(self.duplicates);
        told["coveredBy"] = json!(self.covered_by);
        told["verdict"] = self.verdict.word().into();
        told["reasons"] = json!(self.reasons);
        told
    }
}
