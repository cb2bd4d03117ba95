//! What a strategy keeps of an answer, so that it can bring it up to date without making it anew.

use std::{any::Any, fmt::Debug, sync::Arc};

use crate::sql::Base;

/// What a strategy keeps of an answer beside the rows that it sent.
pub trait Kept: Any + Debug + Send + Sync {
    /// Bytes of memory.
    fn weight(&self) -> usize;
}

/// An answer that is to be brought up to date.
pub struct Outdated<'a> {
    /// What the strategy has kept of it.
    pub kept: &'a Arc<dyn Kept>,
    /// The batches that it sent, the last without its end.
    pub batches: &'a [&'a [u8]],
    /// What the answer has seen.
    pub base: Base<'a>,
}
