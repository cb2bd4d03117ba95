//! Grouped answers of which new events touch a part: the groups that they touch are made anew, and take
//! the place of those that were.
//!
//! Two kinds of answers can be put together so, and both only where what the server would give for the
//! whole is known for certain; all others are made from all groups again. In the order of their
//! buckets, groups of one bucket stand together, and what is in other buckets does not change
//! ([`parts`]). And the first so many of an order come from those that were first, and those that were
//! touched ([`leaders`]).

mod leaders;
mod parts;

pub use leaders::{Leaders, RESERVE};
pub use parts::{Mark, Part, spliced};

use std::collections::HashSet;

use super::answer::{Answer, Body};
use super::attempt::Cached;
use super::states::{MOST_GROUPS, MOST_SENT, States};
use crate::exec::{Connection, Frame, Stop};
use crate::model::{
    field::{Field, Output},
    time::Timestamp,
};
use crate::query::{EventQuery, Grouping, SortDirection};
use crate::sql::{Merged, Purpose, Statement, merged};

/// How an answer is put together from groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splice {
    /// From all of them.
    Whole,
    /// From the buckets that were touched, among the others.
    Buckets {
        /// The last one first.
        descending: bool,
    },
    /// From the first so many, and those that were touched.
    Leaders {
        /// How many the caller wants.
        limit: u64,
    },
}

/// Longer lists are made from all groups.
const MOST_LEADERS: u64 = 2000;

impl Splice {
    /// How answers of a query are put together.
    pub fn of(query: &EventQuery) -> Self {
        let Some(grouping) = &query.grouping else {
            return Self::Whole;
        };
        // What fills an empty bucket comes from others, and whole groups from nothing at all.
        if grouping.makes_rows() || query.offset.is_some_and(|rows| rows > 0) {
            return Self::Whole;
        }
        match query.limit {
            Some(limit) if limit <= MOST_LEADERS => Self::Leaders { limit },
            None if query.after.is_none() => Self::by_bucket(query, grouping),
            _ => Self::Whole,
        }
    }

    fn by_bucket(query: &EventQuery, grouping: &Grouping) -> Self {
        let order = query.order();
        match order.first() {
            Some(first)
                if grouping.bucket.is_some()
                    && matches!(first.field, Field::Output(Output { column: 0, .. })) =>
            {
                Self::Buckets {
                    descending: first.direction == SortDirection::Desc,
                }
            }
            _ => Self::Whole,
        }
    }

    /// How many groups are kept.
    pub const fn most_groups(self) -> i32 {
        match self {
            Self::Whole => MOST_SENT,
            Self::Buckets { .. } | Self::Leaders { .. } => MOST_GROUPS,
        }
    }

    /// By how many of its first values a group is looked up.
    pub fn keys(self, grouping: &Grouping) -> Option<usize> {
        match self {
            Self::Whole => None,
            Self::Buckets { .. } => Some(1),
            Self::Leaders { .. } => Some(grouping.key_columns().len()),
        }
    }
}

impl Cached {
    /// The statement of the rows that contributions come to, and how many rows it can give.
    pub fn groups_statement(
        &self,
        frame: &Frame<'_>,
        given: &Merged,
        clock: Timestamp,
    ) -> Result<Statement, Stop> {
        let (query, target) = (&self.plan.query, frame.engine.target());
        let longer;
        let asked = match self.plan.splice {
            Splice::Leaders { limit } => {
                longer = EventQuery {
                    limit: Some(limit + RESERVE),
                    ..query.clone()
                };
                &longer
            }
            _ => query,
        };
        let statement =
            merged(asked, &target, Purpose::Buffered, given, clock).map_err(Stop::Refused)?;
        Ok(Statement {
            limit: query.limit,
            ..statement
        })
    }

    /// The answer with the groups that were touched made anew; `None` where it has to be made from all
    /// of them. `states` holds what `new` has too.
    pub async fn splice(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        answer: &Answer,
        (states, new): (&States, &States),
        clock: Timestamp,
    ) -> Result<Option<Body>, Stop> {
        match self.plan.splice {
            Splice::Whole => Ok(None),
            Splice::Leaders { limit } => {
                let Some(leaders) = answer.body.leaders.as_ref() else {
                    return Ok(None);
                };
                if !new.are_bytewise() {
                    return Ok(None);
                }
                let touched: HashSet<&[u8]> = new.keys().collect();
                let given = states.of_keys(leaders.keys().chain(touched.iter().copied()));
                let statement = self.groups_statement(frame, &given, clock)?;
                let (mut body, _) = self.plain_rows(frame, connection, &statement).await?;
                let first = body.leaders.take();
                body.leaders = first.and_then(|first| leaders.followed_by(first, &touched, limit));
                Ok(body.leaders.is_some().then_some(body))
            }
            Splice::Buckets { descending } => {
                let touched: HashSet<Timestamp> = new.buckets().collect();
                let given = states.of_keys(new.keys());
                let statement = self.groups_statement(frame, &given, clock)?;
                let (anew, _) = self.plain_rows(frame, connection, &statement).await?;
                let limits = frame.engine.config.limits;
                let body = spliced(&answer.body, &anew, &touched, descending);
                // What is too large is refused in one place.
                Ok(body.filter(|body| {
                    body.rows <= limits.max_rows && body.bytes() as u64 <= limits.max_result_bytes
                }))
            }
        }
    }
}
