//! The caller's question: parsed, checked, with the path of what is wrong.

mod aggregate;
mod analysis;
mod condition;
mod cursor;
mod filter;
mod freshness;
mod group;
mod hints;
mod join;
pub mod matching;
mod operand;
mod order;
mod parse;
pub mod pipeline;
mod scope;
mod select;
mod since;
mod window;

pub use aggregate::{Aggregate, EVENT_ORDER, Function};
pub use analysis::{Analysis, OutlierMethod, OutlierRule, Question};
pub use condition::{CompareOp, Condition, Leaf, MatchKind, Test};
pub use cursor::{Cursor, KeyValue};
pub use filter::event_filter;
pub use freshness::{Consistency, Freshness};
pub use group::Grouping;
pub use hints::{Hints, Priority, ReadFrom};
pub use join::Join;
pub use order::{NullsOrder, OrderBy, SortDirection};
pub use parse::EventQuery;
pub use scope::Source;
pub use select::Selected;
pub use since::Since;
pub use window::{Bucket, Every, Fill, Window};

#[cfg(test)]
mod tests;
