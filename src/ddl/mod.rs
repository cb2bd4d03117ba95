//! What changes of the schema share: a session of their own, locks that are asked for with patience,
//! and the statements of indexes that are built while others write.
//!
//! Migrations and the index manager stand on it; neither knows the other.

pub mod catalog;
pub mod session;
pub mod store;
