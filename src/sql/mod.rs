//! A checked query as SQL. The only place where a caller's query becomes SQL text.
//!
//! Values are binds. Names of columns come from the client's options and are quoted by
//! [`quote_ident`](crate::model::table::quote_ident). Keys of JSON paths are written as literals
//! where they are plain words, so that an index on the same expression serves even a generic
//! plan, and bound where they are not.

mod access;
mod aggregate;
mod analysis;
mod arms;
mod bucket;
mod condition;
mod conflict;
mod definition;
mod exact;
mod expression;
mod field;
mod group;
mod keyset;
mod literal;
pub mod matching;
mod partial;
mod pipeline;
mod relation;
mod select;
mod since;
mod user;
mod writer;

pub mod explain;

pub use access::Access;
pub use analysis::analyse;
pub use conflict::conflict;
pub use definition::{index_expression, index_predicate, text_expression};
pub use exact::{
    Base, REALM, Stamped, StampedStates, check, fill, fill_states, is_of_the_clock, merged_list,
    most_new, new_states, stamp, unchanged,
};
pub use expression::{Called, Checked, check as check_expression};
pub use literal::quote_literal;
pub use partial::{
    Merge, MergeKey, Merged, Partial, Share, Typed, bucket_starts, compacted, has_states, merged,
    partial, rows_of, states,
};
pub use pipeline::{Compiled, EventSource, event_source, pipeline};
pub use select::{
    KeySource, Purpose, SincePage, Statement, Target, compile, compile_at, compile_plan,
};
pub use user::as_json;
pub use writer::Bind;

#[cfg(test)]
mod tests;
