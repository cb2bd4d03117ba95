//! Between the question and its SQL: what can be known before the database is asked.

mod contradiction;
mod slices;

pub use contradiction::is_contradiction;
pub use slices::{Cut, Slicing, cuts, slicing, times};
