//! Rows that may be sent more than once.

use std::{
    ops::Deref,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// The text of a batch up to its last row, or all of it. Whoever reads it may keep what it comes to.
#[derive(Debug)]
pub struct Rows {
    id: u64,
    json: Box<[u8]>,
    sent: AtomicBool,
}

impl Rows {
    /// Rows of a number of their own.
    pub fn new(json: Vec<u8>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            json: json.into(),
            sent: AtomicBool::new(false),
        }
    }

    /// No other rows of this process have this number.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Whether they were sent before. From now on they were.
    pub fn are_sent_again(&self) -> bool {
        self.sent.swap(true, Ordering::Relaxed)
    }
}

impl Deref for Rows {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.json
    }
}
