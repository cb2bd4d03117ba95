//! Events, field paths, values, time and errors. No I/O.

pub mod catalog;
pub mod duration;
pub mod error;
pub mod field;
pub mod path;
pub mod snapshot;
pub mod table;
pub mod time;
pub mod token;
pub mod value;
pub mod wire;

pub use error::{Error, Result};
