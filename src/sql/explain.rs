//! EXPLAIN: its statement, and its answer as a tree of steps.

use std::fmt;

use serde_json::{Map, Value as Wire, json};
use xxhash_rust::xxh3::Xxh3;

use crate::model::{Error, Result};

/// The EXPLAIN of a statement, which takes the same binds.
pub fn statement(sql: &str, analyze: bool) -> String {
    let options = if analyze { "ANALYZE, BUFFERS, " } else { "" };
    format!("EXPLAIN ({options}FORMAT JSON) {sql}")
}

/// One node of a plan.
#[derive(Clone, Debug, Default)]
pub struct Step {
    operation: String,
    relation: Option<String>,
    index: Option<String>,
    condition: Option<String>,
    rows: f64,
    /// Bytes of a row.
    width: f64,
    cost: f64,
    actual: Option<Actual>,
    details: Map<String, Wire>,
    children: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
struct Actual {
    rows: f64,
    loops: f64,
    millis: f64,
    hit: f64,
    read: f64,
}

/// A plan of PostgreSQL's.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    root: Step,
    /// Measured milliseconds, where it was analyzed.
    measured: Option<f64>,
}

impl Plan {
    /// The plan of a query that is answered without the server.
    pub fn nothing() -> Self {
        let root = Step {
            operation: "Nothing".to_owned(),
            condition: Some("false".to_owned()),
            ..Step::default()
        };
        Self {
            root,
            measured: Some(0.0),
        }
    }

    /// Reads the document that `EXPLAIN (FORMAT JSON)` answers with.
    ///
    /// # Errors
    /// A document of another form.
    pub fn parse(document: &Wire) -> Result<Self> {
        let node = document
            .get("Plan")
            .ok_or_else(|| Error::Internal("EXPLAIN gave no plan".into()))?;
        let measured = document.get("Execution Time").and_then(Wire::as_f64);
        Ok(Self {
            root: step(node),
            measured,
        })
    }

    /// The plan as the API gives it, with the text of its tree in `text`.
    pub fn to_json(&self) -> Wire {
        let mut hasher = Xxh3::new();
        self.root.hash_shape(&mut hasher);
        json!({
            "steps": [self.root.to_json()],
            "estimatedCost": self.root.cost,
            "estimatedRows": self.root.rows,
            "indexesUsed": self.indexes(),
            // PostgreSQL's cost unit is a sequential page read; without a calibration this is all
            // that can be said of time.
            "executionTime": self.measured.unwrap_or(self.root.cost / 100.0),
            "planHash": format!("{:016x}", hasher.digest()),
            "warnings": self.warnings(),
            "text": self.to_string(),
        })
    }

    /// What PostgreSQL expects to pay, in its own unit.
    pub const fn cost(&self) -> f64 {
        self.root.cost
    }

    /// The names of the indexes that it reads.
    pub fn indexes(&self) -> Vec<String> {
        let mut indexes = Vec::new();
        self.root.collect_indexes(&mut indexes);
        indexes
    }

    /// Milliseconds, where it was measured.
    pub const fn measured(&self) -> Option<f64> {
        self.measured
    }

    /// The kind of node that most of the cost is expected of.
    pub fn dominant(&self) -> &str {
        self.root.dominant().0
    }

    /// How many rows it expects.
    pub const fn rows(&self) -> f64 {
        self.root.rows
    }

    /// How many bytes of them.
    pub fn bytes(&self) -> f64 {
        self.root.rows * self.root.width
    }

    /// What can be mended, and how, as far as the plan shows it.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.root.warn(&mut warnings);
        warnings
    }
}

/// The tree, for people.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.write(0, f)?;
        match self.measured {
            Some(millis) => writeln!(f, "measured {millis:.2} ms"),
            None => Ok(()),
        }
    }
}

fn step(node: &Wire) -> Step {
    let text = |key: &str| node[key].as_str().map(str::to_owned);
    let number = |key: &str| node[key].as_f64().unwrap_or(0.0);
    let conditions: Vec<String> = [
        "Index Cond",
        "Recheck Cond",
        "Hash Cond",
        "Merge Cond",
        "Join Filter",
        "Filter",
        "One-Time Filter",
    ]
    .iter()
    .filter_map(|key| text(key))
    .collect();
    let loops = node["Actual Loops"].as_f64().unwrap_or(1.0);
    let actual = node["Actual Rows"].as_f64().map(|rows| Actual {
        rows: rows * loops,
        loops: loops.max(1.0),
        millis: number("Actual Total Time") * loops,
        hit: number("Shared Hit Blocks"),
        read: number("Shared Read Blocks"),
    });
    let mut details = Map::new();
    for key in [
        "Sort Key",
        "Sort Method",
        "Sort Space Type",
        "Sort Space Used",
        "Rows Removed by Filter",
        "Scan Direction",
        "Workers Launched",
        "Heap Fetches",
        "Exact Heap Blocks",
        "Lossy Heap Blocks",
    ] {
        if let Some(value) = node.get(key) {
            details.insert(key.to_owned(), value.clone());
        }
    }
    Step {
        operation: text("Node Type").unwrap_or_default(),
        relation: text("Relation Name"),
        index: text("Index Name"),
        condition: (!conditions.is_empty()).then(|| conditions.join(" AND ")),
        rows: number("Plan Rows"),
        width: number("Plan Width"),
        cost: number("Total Cost"),
        actual,
        details,
        children: node["Plans"]
            .as_array()
            .map(|plans| plans.iter().map(step).collect())
            .unwrap_or_default(),
    }
}

impl Step {
    fn to_json(&self) -> Wire {
        let mut told = json!({ "operation": self.operation, "estimatedRows": self.rows, "estimatedCost": self.cost });
        for (key, value) in [
            ("relation", &self.relation),
            ("index", &self.index),
            ("condition", &self.condition),
        ] {
            if let Some(value) = value {
                told[key] = value.as_str().into();
            }
        }
        if let Some(actual) = self.actual {
            told["actualRows"] = actual.rows.into();
            told["actualTime"] = actual.millis.into();
            told["buffers"] = json!({ "hit": actual.hit, "read": actual.read });
        }
        if !self.details.is_empty() {
            told["details"] = Wire::Object(self.details.clone());
        }
        if !self.children.is_empty() {
            told["children"] = self.children.iter().map(Self::to_json).collect();
        }
        told
    }

    /// Its own cost is what its children's leave of it.
    fn dominant(&self) -> (&str, f64) {
        let below: f64 = self.children.iter().map(|child| child.cost).sum();
        let own = (self.operation.as_str(), self.cost - below);
        let all = self.children.iter().map(Self::dominant);
        all.fold(own, |a, b| if b.1 > a.1 { b } else { a })
    }

    fn collect_indexes(&self, names: &mut Vec<String>) {
        if let Some(index) = &self.index
            && !names.contains(index)
        {
            names.push(index.clone());
        }
        self.children
            .iter()
            .for_each(|child| child.collect_indexes(names));
    }

    /// What changes when the database changes its mind: the nodes, where they read, and their order.
    fn hash_shape(&self, hasher: &mut Xxh3) {
        for part in [
            Some(&self.operation),
            self.relation.as_ref(),
            self.index.as_ref(),
        ] {
            hasher.update(part.map_or("-", String::as_str).as_bytes());
            hasher.update(&[0]);
        }
        for child in &self.children {
            hasher.update(b"(");
            child.hash_shape(hasher);
            hasher.update(b")");
        }
    }

    fn warn(&self, warnings: &mut Vec<String>) {
        if self.details.get("Sort Space Type").and_then(Wire::as_str) == Some("Disk") {
            warnings.push(format!(
                "a sort of {} kB spilled to disk: raise work_mem, or sort by an index",
                self.details["Sort Space Used"]
            ));
        }
        if let Some(actual) = self.actual {
            // Each turn of a loop is expected to give as many.
            let (more, less) = ((actual.rows / actual.loops).max(1.0), self.rows.max(1.0));
            if (more / less).max(less / more) >= 10.0 && more.max(less) >= 1000.0 {
                let place = self.relation.as_deref().unwrap_or(&self.operation);
                warnings.push(format!(
                    "{place}: {} rows were expected and {} came: ANALYZE may help",
                    self.rows, actual.rows
                ));
            }
        }
        self.children.iter().for_each(|child| child.warn(warnings));
    }

    fn write(&self, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = "  ".repeat(depth);
        write!(
            f,
            "{indent}{}{}",
            if depth > 0 { "-> " } else { "" },
            self.operation
        )?;
        if let Some(index) = &self.index {
            write!(f, " using {index}")?;
        }
        if let Some(relation) = &self.relation {
            write!(f, " on {relation}")?;
        }
        write!(f, "  ({} rows, cost {:.1}", self.rows, self.cost)?;
        if let Some(Actual {
            rows,
            millis,
            hit,
            read,
            ..
        }) = self.actual
        {
            write!(
                f,
                "; really {rows} rows in {millis:.2} ms, {hit} pages from cache and {read} read"
            )?;
        }
        writeln!(f, ")")?;
        if let Some(condition) = &self.condition {
            writeln!(f, "{indent}     {condition}")?;
        }
        self.children
            .iter()
            .try_for_each(|child| child.write(depth + 1, f))
    }
}
