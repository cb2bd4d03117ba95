//! Between the question and its SQL: what can be known before the database is asked.
//!
//! A checked query becomes a [`Logical`] plan; named [`rules`] rewrite it until none has anything to
//! say. What the rules decide beside the query itself (how a test is written, which arms are read
//! apart) is the plan's [`Access`](crate::sql::Access), which the compiler in `src/sql` follows.

mod calibration;
mod indexes;
mod logical;
mod normal;
mod optimizer;
mod order;
mod rewritten;
mod rules;
mod satisfiable;
mod slices;
mod text;

pub use calibration::{Calibration, Confidence};
pub use indexes::{Index, Indexes, field as index_field, predicate as index_predicate};
pub use logical::Logical;
pub use optimizer::{AppliedRule, Facts, Optimized, optimize, optimize_by};
pub use rewritten::rewrite;
pub use rules::{RULES, Rule};
pub use satisfiable::is_contradiction;
pub use slices::{Cut, Meet, Slicing, cuts, slicing, times};
pub use text::{condition as condition_text, field as field_text};
