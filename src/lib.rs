//! The Rust core of `@tamma/events`: fast, exact, explained answers from a PostgreSQL event log.
//!
//! Dependencies between the layers point down only:
//!
//! ```text
//! bindings   napi classes that hold an inner and delegate; the only place that knows Node
//! exec       pool, deadlines, cancel, streams, row encoding
//! migrate    the schema, and how an existing table is adopted
//! ingest     append and bulk import
//! plan       logical plan, rules (one file each)
//! sql        AST to SQL; the only place that writes a caller's query as SQL
//! query      the caller's question, parsed and checked; cursors; fingerprints
//! model      events, field paths, values, time; errors: no I/O
//! ```

pub mod bindings;
