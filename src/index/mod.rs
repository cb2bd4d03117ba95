//! Indexes of the event table: built, analysed, recommended, tuned.

mod analysis;
mod build;
mod candidates;
mod catalog;
mod comment;
mod decisions;
mod definition;
mod job;
mod list;
mod maintain;
mod manage;
mod optimize;
mod recommend;
mod rolling;
mod search;
mod session;
mod storage;
mod store;
mod whatif;
mod workload;

#[cfg(test)]
mod tests;

pub use definition::Definition;
pub use job::{Job, Stop};
pub use maintain::Maintenance;
pub use manage::Indexes;
pub use workload::Recorded;
