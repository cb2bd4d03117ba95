//! Events, field paths, values, time and errors. No I/O.

pub mod catalog;
pub mod duration;
pub mod error;
pub mod field;
pub mod path;
pub mod table;
pub mod time;
pub mod value;
pub mod wire;

pub use error::{Error, Result};
