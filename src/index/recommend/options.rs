//! What is asked of recommending and of optimizing.

use serde_json::Value as Wire;

use super::super::search::Budget;
use crate::model::{
    Error, Result,
    path::Path,
    wire::{known_keys, object, whole},
};

/// Indexes that are recommended at once, unless another number is asked for.
const MOST: u64 = 10;

/// What all of them may add to what storing an event costs, as a share of it, likewise.
const MOST_TAX: f64 = 0.25;

/// What is asked of recommending and of optimizing.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much may be built.
    pub budget: Budget,
    /// Nothing is built.
    pub dry_run: bool,
    /// HypoPG is used where it is there.
    pub hypopg: bool,
    /// Indexes to be tried whatever is thought of them: for tests of what happens to bad ones.
    pub planted: Vec<Wire>,
}

impl Options {
    /// Reads the options.
    ///
    /// # Errors
    /// INVALID_QUERY with the path.
    #[allow(clippy::cast_precision_loss)] // Bytes.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let members = object(wire, &root, "an object of options")?;
        known_keys(
            members,
            &root,
            &[
                "maxIndexes",
                "maxBytes",
                "maxWriteTax",
                "dryRun",
                "hypopg",
                "planted",
            ],
        )?;
        let number = |key: &str| -> Result<Option<u64>> {
            members
                .get(key)
                .map(|w| whole(w, &root.key(key)))
                .transpose()
        };
        let tax = match members.get("maxWriteTax") {
            None => MOST_TAX,
            Some(wire) => wire.as_f64().filter(|share| *share >= 0.0).ok_or_else(|| {
                Error::invalid(root.key("maxWriteTax"), "must be a share, such as 0.25")
            })?,
        };
        let flag =
            |key: &str, default: bool| members.get(key).and_then(Wire::as_bool).unwrap_or(default);
        Ok(Self {
            budget: Budget {
                count: usize::try_from(number("maxIndexes")?.unwrap_or(MOST)).unwrap_or(usize::MAX),
                bytes: number("maxBytes")?.map_or(f64::INFINITY, |n| n as f64),
                tax,
            },
            dry_run: flag("dryRun", false),
            hypopg: flag("hypopg", true),
            planted: members
                .get("planted")
                .and_then(Wire::as_array)
                .cloned()
                .unwrap_or_default(),
        })
    }
}

/// The options of a call.
///
/// # Errors
/// INVALID_QUERY with the path.
pub fn parse_options(text: &str) -> Result<Options> {
    let wire: Wire = serde_json::from_str(text)
        .map_err(|e| Error::invalid("options", format!("is not JSON: {e}")))?;
    Options::parse(&wire)
}
