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
mod frame;
mod governor;
mod hinted;
mod interrupt;
mod lease;
mod normal;
mod number;
mod observe;
mod pool;
mod registry;
mod request;
mod run;
mod shape;
mod single;
mod stop;
mod tables;
mod user;

pub use ascii::IntoAscii;
pub use batch::{Batch, describe};
pub use config::Config;

pub use arguments::{arguments, sql_text};
pub use engine::{Engine, query_wire};
pub use explain::ExplainOptions;
pub use fault::{fault, spares_connection};
pub use frame::{Frame, Strategy};
pub use lease::Lease;
pub use observe::{Ended, Observer, Status};
pub use pool::Pool;
pub use registry::{Reason, Running, Ticket};
pub use request::{Mode, Planned, RunOptions, Single, Source};
pub use run::Run;
pub use shape::Shape;
pub use stop::Stop;
pub use user::UserSql;
