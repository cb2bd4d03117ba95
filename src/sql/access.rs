//! How a query is read, where that is not said by the query itself: decided by the rules of
//! `src/plan`, followed by the compiler. The default is the plain statement.

use crate::query::Condition;

/// What was decided of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// A number between two numbers needs no test of its type: jsonb orders all numbers together.
    pub bounds_tell_type: bool,
    /// What holds of each joined relation's rows beside the join itself, written where it is joined.
    pub join_bounds: Vec<Condition>,
}

/// Nothing was decided.
pub static PLAIN: Access = Access {
    bounds_tell_type: false,
    join_bounds: Vec::new(),
};
