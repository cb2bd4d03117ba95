//! How a query is read, where that is not said by the query itself: decided by the rules of
//! `src/plan`, followed by the compiler. The default is the plain statement.

use crate::model::field::Field;
use crate::query::Condition;

/// What was decided of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// What holds of each joined relation's rows beside the join itself, written where it is joined.
    pub join_bounds: Vec<Condition>,
    /// Tags whose equality is asked of the whole column too, for an index on all tags.
    pub contained: Vec<Field>,
    /// What holds of the rows anyway, written with literals in the words of an index's predicate. The
    /// constants are the catalog's, never a caller's.
    pub literals: Vec<Condition>,
    /// Filters that make up the query's own, none of which lets through what another does: each is
    /// read in the query's order, as far as its limit.
    pub arms: Vec<Condition>,
}

/// Nothing was decided.
pub static PLAIN: Access = Access {
    join_bounds: Vec::new(),
    contained: Vec::new(),
    literals: Vec::new(),
    arms: Vec::new(),
};
