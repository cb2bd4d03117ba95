//! Exports: the rows of a statement as a file of a known format, in bounded memory at any size.
//!
//! A run of its own kind: rows are encoded as they come, and the encoded bytes go to a file by a thread of
//! its own ([`file`]), or to the reader in chunks. Id, cancel, timeout and the connection are those
//! of any run.

mod column;
mod columnar;
mod file;
mod options;
mod run;
mod sink;
mod text;

pub use options::{Compression, Format, Options};
pub use run::{Finds, Rows, enter, enter_query};
