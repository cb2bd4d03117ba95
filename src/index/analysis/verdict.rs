//! What should become of an index, and why: what is invalid, what another does, what nobody uses,
//! what is mostly empty.

use super::catalog::Counted;
use super::{Analysed, Listed};
use crate::model::table::TableNames;

/// An index that was not used for so long serves nobody.
const UNUSED_SECONDS: f64 = 7.0 * 86_400.0;
/// So much of an index may be empty before it is rebuilt, if it is so large.
const BLOATED: f64 = 0.5;
const BLOATED_BYTES: f64 = 1_048_576.0;
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
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::Rebuild => "rebuild",
            Self::Invalid => "invalid",
        }
    }
}

impl Analysed {
    pub(super) fn compare(&mut self, other: &Listed, names: &TableNames) {
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

    pub(super) fn judge(&mut self, counted: &Counted, names: &TableNames) {
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
}

/// Whether a btree's keys begin with another's, so that it serves whatever that does.
fn covers(wide: &Listed, narrow: &Listed) -> bool {
    wide.method == "btree"
        && narrow.include.is_empty()
        && wide.keys.len() > narrow.keys.len()
        && wide.keys.starts_with(&narrow.keys)
}
