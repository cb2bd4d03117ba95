//! Between the question and its SQL: what can be known before the database is asked.

mod contradiction;

pub use contradiction::is_contradiction;
