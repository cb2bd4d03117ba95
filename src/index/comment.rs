//! What stands on an index of this module's: whose it is, and how it is moved on. Any process can
//! go on from there.

use serde_json::{Value as Wire, json};

/// Before the JSON.
const MARK: &str = "@tamma/events ";

/// The comment of an index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comment {
    /// Who made it: `createIndex`, `optimizeIndexes` or `maintenance`.
    pub by: String,
    /// Its cut-off, where it is a rolling one.
    pub cutoff: Option<String>,
    /// The caller's definition.
    pub definition: Wire,
}

impl Comment {
    /// As it stands on the index.
    pub fn to_text(&self) -> String {
        format!(
            "{MARK}{}",
            json!({ "by": self.by, "cutoff": self.cutoff, "definition": self.definition })
        )
    }

    /// Reads a comment; `None` where it is somebody else's.
    pub fn parse(text: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(text.strip_prefix(MARK)?).ok()?;
        Some(Self {
            by: wire["by"].as_str()?.to_owned(),
            cutoff: wire["cutoff"].as_str().map(str::to_owned),
            definition: wire["definition"].clone(),
        })
    }
}
