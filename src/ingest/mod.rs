//! Writing events: a few in one transaction, or a file of them by COPY.

mod append;
mod condition;
mod conditional;
mod copy;
mod event;
mod import;
mod json;
mod store;

pub use import::{ImportReport, Importer};
