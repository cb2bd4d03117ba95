//! Running statements: connections, deadlines, cancelling, streams and rows.

mod arguments;
mod ascii;
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
mod interrupt;
mod normal;
mod number;
mod observe;
mod pool;
mod registry;
mod request;
mod run;
mod shape;
mod tables;
mod user;

pub use ascii::IntoAscii;
pub use batch::{Batch, describe};
pub use config::Config;

pub use arguments::{arguments, sql_text};
pub use engine::Engine;
pub use explain::ExplainOptions;
pub use fault::{fault, spares_connection};
pub use observe::{Ended, Observer, Status};
pub use pool::{Lease, Pool};
pub use registry::{Reason, Running, Ticket};
pub use request::{Mode, RunOptions};
pub use run::{Run, token};
pub use shape::Shape;
pub use user::UserSql;
