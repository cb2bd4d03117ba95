//! Sequences and patterns: the server judges each event by itself and sends what is left of it as a
//! mask of bits, in the order of keys and times; the matchers here look at the order.
//!
//! The matchers do no I/O and see one partition at a time.

mod answer;
mod cohorts;
mod explain;
mod gathered;
mod hinted;
mod kept;
mod key;
mod making;
mod measure;
mod output;
mod partition;
mod pattern;
mod patterns;
mod read;
mod run;
mod sequence;
mod sequences;
mod stage;
mod update;

pub use answer::Answer;
pub use explain::{explain, explain_stage};
pub use measure::measure;
pub use run::{asked_cohorts, enter, is_asked, shape};

use crate::exec::Watch;
use crate::model::{Error, Result};

/// The events of one partition, by position: in the order of time, and of ids where times are equal.
#[derive(Clone, Copy)]
pub struct Events<'a> {
    /// Whether the run is over, where there is one.
    pub watch: Option<&'a Watch>,
    /// When, in microseconds.
    pub times: &'a [i64],
    /// Which conditions hold, by bit.
    pub masks: &'a [u64],
}

/// So many events, or steps among them, are taken before a matcher looks whether its run is over.
const LOOKS: usize = 1 << 14;

impl Events<'_> {
    /// Looks, every so many events, whether the run is over.
    ///
    /// # Errors
    /// It is.
    pub fn go_on(&self, taken: usize) -> Result<()> {
        if taken % LOOKS == LOOKS - 1 && self.watch.is_some_and(Watch::is_over) {
            return Err(Error::Cancelled);
        }
        Ok(())
    }
}
