//! Predicates that look at other events than the one at hand.
