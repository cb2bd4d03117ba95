//! Running statements: connections, deadlines, cancelling, streams and rows.

mod arguments;
mod batch;
mod cancel;
mod catalog;
mod config;
mod connection;
mod encode;
mod engine;
mod explain;
mod fault;
mod governor;
mod pool;
mod registry;
mod run;
mod user;

pub use batch::Batch;
pub use config::{BigintMode, Config, Limits};
pub use connection::Connection;
pub use engine::Engine;
pub use explain::ExplainOptions;
pub use fault::{database_fault, fault};
pub use pool::{Lease, Pool};
pub use registry::{Reason, Ticket};
pub use run::{Mode, Run, RunOptions};
pub use user::UserSql;
