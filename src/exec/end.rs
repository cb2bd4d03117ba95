//! What is said of a whole result behind its last row.

use serde::Serialize;
use serde_json::Value as Wire;

use super::ascii::IntoAscii;

/// The members of a result beside its rows, as `lib/run.js` reads them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct End<'a> {
    /// The run.
    pub query_id: &'a str,
    /// What the answer has seen.
    pub token: String,
    /// Of all batches.
    pub row_count: u64,
    /// Milliseconds.
    pub execution_time: f64,
    /// What the cache did, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<&'static str>,
    /// Where the next page begins, where rows are left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// What became of hints, as `HintOutcome`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Wire>,
    /// The indexes that the plan uses, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indexes_used: Option<Vec<String>>,
}

impl End<'_> {
    /// JSON text in ASCII.
    pub fn to_ascii(&self) -> Vec<u8> {
        // Strings, numbers and JSON values: none of them has a key or a form that JSON lacks.
        serde_json::to_string(self)
            .unwrap_or_default()
            .into_bytes_ascii()
    }
}
