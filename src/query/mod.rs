//! The caller's question: parsed, checked, with the path of what is wrong.

mod condition;
mod cursor;
mod filter;
mod hints;
mod operand;
mod parse;

pub use condition::{CompareOp, Condition, Leaf, MatchKind, Test};
pub use cursor::{Cursor, KeyValue};
pub use hints::Hints;
pub use parse::{EventQuery, NullsOrder, OrderBy, Output, SortDirection};

#[cfg(test)]
mod tests;
