//! What became of hints, in the words of the API.

use serde_json::{Value as Wire, json};

use crate::exec::frame::Frame;
use crate::query::Hints;

/// What is said of one hint before the run.
pub enum Verdict {
    /// The plan uses the index; by which settings.
    Followed(String),
    /// It does not; why.
    Refused(String),
}

impl Verdict {
    /// Why it does not.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Followed(_) => None,
            Self::Refused(reason) => Some(reason.clone()),
        }
    }
}

/// What the counters of the server said of an index after the run.
pub enum Proof {
    /// Only the plan was wanted.
    NotRun,
    /// The server counts no scans.
    NotCounted,
    /// So many scans.
    Scans(i64),
    /// None, and the plan is still the same.
    NeverReached,
    /// None, and the plan is another by now.
    PlanChanged,
}

impl Proof {
    fn describe(&self, how: &str) -> String {
        match self {
            Self::NotRun => how.to_owned(),
            Self::NotCounted => {
                format!("{how}; in the plan (track_counts is off: no scan was counted)")
            }
            Self::Scans(1) => format!("{how}; scanned once"),
            Self::Scans(n) => format!("{how}; scanned {n} times"),
            _ => format!("{how}; in the plan, and the run came to need nothing of it"),
        }
    }
}

fn named(hints: &Hints) -> impl Iterator<Item = (&'static str, &String)> {
    let used = hints.use_index.iter().map(|name| ("useIndex", name));
    used.chain(hints.force_index.iter().map(|name| ("forceIndex", name)))
}

fn refused(hint: &str, name: &str, reason: &str) -> Wire {
    json!({ "hint": hint, "value": name, "honoured": false, "reason": reason })
}

/// Tells what became of the hints of a query that ran.
pub fn tell(
    frame: &Frame<'_>,
    hints: &Hints,
    verdicts: &[Verdict],
    proofs: &[Proof],
    indexes: &[String],
) {
    let outcomes = named(hints).zip(verdicts).zip(proofs);
    let outcomes = outcomes.map(|(((hint, name), verdict), proof)| match (verdict, proof) {
        (Verdict::Refused(reason), _) => refused(hint, name, reason),
        (Verdict::Followed(_), Proof::PlanChanged) => refused(
            hint,
            name,
            "the plan changed between EXPLAIN and the run, as when statistics are made anew",
        ),
        (Verdict::Followed(how), proof) => {
            json!({ "hint": hint, "value": name, "honoured": true, "how": proof.describe(how) })
        }
    });
    frame.ticket.set_indexes(indexes);
    frame.tell(|told| {
        told.hints.extend(outcomes);
        told.indexes = Some(indexes.to_vec());
    });
}

/// Tells what became of the hints of a query that was answered without the server.
pub fn nothing_read(frame: &Frame<'_>, hints: &Hints) {
    if !hints.name_indexes() {
        return;
    }
    let reason = "no event can satisfy the filter: nothing was read";
    frame.tell(|told| {
        (told.hints).extend(named(hints).map(|(hint, name)| refused(hint, name, reason)));
        told.indexes = Some(Vec::new());
    });
}
