//! Indexes of the event table: built, analysed, recommended, tuned.

mod build;
mod catalog;
mod comment;
mod definition;
mod job;
mod list;
mod manage;
mod session;
mod storage;
mod store;

pub use definition::Definition;
pub use job::{Job, Stop};
pub use manage::Indexes;
