//! Pipelines: stages in order, each over the rows of the one before.
//!
//! Names are resolved here, stage by stage: every stage knows the row that it gets. What comes out is a
//! list of steps over SQL columns that [`crate::sql::pipeline`] nests into one statement: two where a
//! stage looks for matches, with the matcher between them.

mod computed;
mod row;
mod stage;
mod step;
mod window;

pub use computed::{Expression, Literal, Operator, Type};
pub use row::{Column, Row};
pub use step::{MatchPart, MatchStage, Pipeline, Step, is_double, selected};
pub use window::{WindowCall, WindowFunction};
