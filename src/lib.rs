//! The Rust core of `@tamma/events`: fast, exact, explained answers from a PostgreSQL event log.
//!
//! Dependencies between the layers point down only:
//!
//! ```text
//! bindings   napi classes that hold an inner and delegate; the only place that knows Node
//! analytics  statistics, processes, pipelines, sequences and patterns
//! index      indexes: built, analysed, recommended, tuned
//! cache      answers that are kept, and kept current by reading only what is new
//! ingest     append and bulk import
//! migrate    the schema, and how an existing table is adopted
//! monitor    what runs, what ran and how well; its log in the database
//! ddl        what schema changes share: sessions, locks, concurrent index builds
//! exec       pool, deadlines, cancel, streams, row encoding
//! plan       what can be known before the database is asked
//! sql        AST to SQL; the only place that writes a caller's query as SQL
//! query      the caller's question, parsed and checked; cursors
//! model      events, field paths, values, time; errors: no I/O
//! ```

pub mod analytics;
pub mod cache;
pub mod ddl;
pub mod exec;
pub mod export;
pub mod index;
pub mod ingest;
pub mod migrate;
pub mod model;
pub mod monitor;
pub mod plan;
pub mod query;
pub mod sql;

pub mod bindings;
