//! What each index is worth: its use, its size, its state, and whether another does its work.

use std::sync::Arc;

use serde_json::{Value as Wire, json};
use sqlx::{PgConnection, postgres::types::Oid};

use super::candidates::Candidate;
use super::catalog::{self, Counted, History, Listed};
use super::definition::Method;
use super::manage::Indexes;
use super::recommend::normal;
use super::store;
use super::whatif::extension;
use crate::exec::fault;
use crate::model::{Error, Result, table::TableNames};

/// An index that was not used for so long serves nobody.
const UNUSED_SECONDS: f64 = 7.0 * 86_400.0;
/// So much of an index may be empty before it is rebuilt, if it is so large.
const BLOATED: f64 = 0.5;
const BLOATED_BYTES: f64 = 1_048_576.0;
/// How full PostgreSQL builds the leaves of a btree.
const FULL: f64 = 90.0;
/// Pages of a pending list that queries have to read through.
const PENDING: i64 = 1000;

/// What should become of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is worth what it costs.
    Keep,
    /// It is not.
    Drop,
    /// It would be worth more if it were built anew.
    Rebuild,
    /// No query may use it.
    Invalid,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::Rebuild => "rebuild",
            Self::Invalid => "invalid",
        }
    }
}

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
    let list = catalog::list(conn, table).await.map_err(fault)?;
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

    /// How full it is; measured where the extensions are there, else estimated.
    #[allow(clippy::cast_precision_loss)] // Bytes.
    async fn look_inside(
        &mut self,
        conn: &mut PgConnection,
        stattuple: Option<&str>,
        inspect: Option<&str>,
    ) -> Result<()> {
        let index = &self.index;
        let (width, described) = catalog::entry_width(conn, index.oid).await.map_err(fault)?;
        if index.expressions && !described {
            self.reasons.push(
                "the planner has no statistics of its expression yet: ANALYZE takes them"
                    .to_owned(),
            );
        }
        match index.method.as_str() {
            "btree" => {
                if let Some(schema) = stattuple
                    && let Ok((density, fragmentation)) =
                        catalog::leaves(conn, schema, index.oid).await
                {
                    self.measured = true;
                    self.bloat = (1.0 - density / FULL).clamp(0.0, 1.0);
                    self.fragmentation = (fragmentation / 100.0).clamp(0.0, 1.0);
                } else if index.size > 8192 * 8 && index.tuples > 0.0 {
                    // A line pointer, a header, the values; equal keys may share an entry, so this is
                    // the most that it should take.
                    let entry = 4.0 + 8.0 + (width / 8.0).ceil() * 8.0;
                    let full = index.tuples * entry / (FULL / 100.0) / (8192.0 - 40.0) * 8192.0;
                    self.bloat = (1.0 - (full + 16_384.0) / index.size as f64).clamp(0.0, 1.0);
                }
            }
            "gin" => {
                if let Some(schema) = stattuple {
                    self.pending = catalog::pending_pages(conn, schema, index.oid).await.ok();
                }
            }
            "brin" => {
                if let Some(schema) = inspect {
                    self.unsummarized = catalog::unsummarized(conn, schema, index.oid).await.ok();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn compare(&mut self, other: &Listed, names: &TableNames) {
        let index = &self.index;
        if !other.valid || other.method != index.method || other.partial != index.partial {
            return;
        }
        if other.keys == index.keys
            && other.include == index.include
            && other.unique == index.unique
        {
            self.duplicates.push(other.name.clone());
        } else if covers(other, index) && !index.unique && !index.migrated(names) {
            self.covered_by.push(other.name.clone());
        }
    }

    fn judge(&mut self, counted: &Counted, names: &TableNames) {
        let needed = self.index.constraint || self.index.migrated(names);
        // Of duplicates the first stays: what a constraint needs, what the migrations made, by name.
        let spare = |name: &str| name < self.index.name.as_str();
        if !self.index.valid {
            self.verdict = Verdict::Invalid;
            self.reasons.push(
                "a build that failed left it invalid: it costs writes and serves no query"
                    .to_owned(),
            );
        } else if !needed
            && self
                .duplicates
                .iter()
                .any(|name| spare(name) || name.starts_with("idx_") || name.ends_with("_pkey"))
        {
            self.verdict = Verdict::Drop;
            self.reasons
                .push(format!("the same as {}", self.duplicates.join(", ")));
        } else if !needed && !self.covered_by.is_empty() {
            self.verdict = Verdict::Drop;
            self.reasons.push(format!(
                "{} begins with the same keys",
                self.covered_by.join(", ")
            ));
        } else if !needed
            && !self.index.unique
            && self.scans == 0
            && counted.seconds > UNUSED_SECONDS
        {
            self.verdict = Verdict::Drop;
            self.reasons.push(format!(
                "not used since {}",
                counted.since.as_deref().unwrap_or("the server started")
            ));
        } else if self.bloat > BLOATED && self.wasted() > BLOATED_BYTES {
            self.verdict = Verdict::Rebuild;
            self.reasons
                .push(format!("{:.0} % of it is empty", self.bloat * 100.0));
        }
        if self.index.constraint {
            self.reasons.push("a constraint needs it".to_owned());
        } else if self.index.migrated(names) {
            self.reasons.push("this module reads by it".to_owned());
        }
        if let Some(pending) = self.pending.filter(|pages| *pages > PENDING) {
            self.reasons
                .push(format!("{pending} pages wait to be merged: VACUUM does it"));
        }
        if let Some(ranges) = self.unsummarized.filter(|ranges| *ranges > 1) {
            self.reasons.push(format!(
                "{ranges} ranges have no summary yet: VACUUM does it"
            ));
        }
        if self.verdict == Verdict::Keep && !needed {
            self.reasons.push(if self.scans > 0 {
                format!("used {} times", self.scans)
            } else {
                "not used yet, and not watched for long".to_owned()
            });
        }
    }

    #[allow(clippy::cast_precision_loss)] // Bytes.
    fn wasted(&self) -> f64 {
        self.bloat * self.index.size as f64
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

/// Whether a btree's keys begin with another's, so that it serves whatever that does.
fn covers(wide: &Listed, narrow: &Listed) -> bool {
    wide.method == "btree"
        && narrow.include.is_empty()
        && wide.keys.len() > narrow.keys.len()
        && wide.keys.starts_with(&narrow.keys)
}

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
