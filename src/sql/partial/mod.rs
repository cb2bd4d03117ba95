//! A grouped query in parts: what a slice of the events contributes to each group, and the groups
//! that the contributions of all slices come to.
//!
//! The server merges: the contributions come back to it as arrays, one for each column, in the place
//! of the events. Everything behind the groups (`having`, fills, the order, the cut, the cursor) is
//! written by the same code as for one statement, and `numeric` sums lose nothing on the way, so the
//! answer is the same to the last digit.

mod merge;
mod slice;
mod state;

pub use self::merge::{Merged, compacted, merged};
pub use self::slice::{MergeKey, Share, bucket_starts, partial, rows_of};
pub use self::state::{has_states, states};

use super::field::EVENTS;
use super::writer::{Bind, Writer};
use crate::model::field::{Column, Kind};
use crate::query::Grouping;

/// What slices contribute to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// No two slices know the same group: each gives whole groups.
    Apart,
    /// States that merge: sums and counts, extremes, the first and the last.
    States,
}

/// The type of a column that a slice gives, in the server's own binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// `int8`
    Integer,
    /// `numeric`
    Numeric,
    /// `float8`
    Float,
    /// `text`
    Text,
    /// `uuid`
    Uuid,
    /// `timestamptz`
    Time,
    /// `jsonb`
    Json,
}

impl Typed {
    /// As a cast has it.
    const fn name(self) -> &'static str {
        match self {
            Self::Integer => "::int8",
            Self::Numeric => "::numeric",
            Self::Float => "::float8",
            Self::Text => "::text",
            Self::Uuid => "::uuid",
            Self::Time => "::timestamptz",
            Self::Json => "::jsonb",
        }
    }

    /// The OIDs of the type and of its arrays (`pg_type.dat`).
    pub const fn oids(self) -> (u32, u32) {
        match self {
            Self::Integer => (20, 1016),
            Self::Numeric => (1700, 1231),
            Self::Float => (701, 1022),
            Self::Text => (25, 1009),
            Self::Uuid => (2950, 2951),
            Self::Time => (1184, 1185),
            Self::Json => (3802, 3807),
        }
    }

    /// The type of such an OID.
    pub fn of_oid(oid: u32) -> Option<Self> {
        use Typed::{Float, Integer, Json, Numeric, Text, Time, Uuid};
        let all = [Integer, Numeric, Float, Text, Uuid, Time, Json];
        all.into_iter().find(|typed| typed.oids().0 == oid)
    }

    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Uuid => Self::Uuid,
            Kind::Time => Self::Time,
            Kind::Json => Self::Json,
        }
    }
}

/// The statement of one slice.
#[derive(Clone, Debug)]
pub struct Partial {
    /// The text.
    pub sql: String,
    /// Its values, in order.
    pub binds: Vec<Bind>,
    /// Its columns.
    pub types: Vec<Typed>,
}

type Write<'q> = Box<dyn Fn(&mut Writer<'_>) + 'q>;

/// The values that groups are told apart by.
fn keys(grouping: &Grouping) -> impl Iterator<Item = (Write<'_>, Kind)> {
    let bucket = grouping.bucket.iter().map(|bucket| {
        let write: Write<'_> = Box::new(move |w| {
            w.bucket_start(bucket, &|w| {
                w.event_column(EVENTS, Column::Timestamp);
            });
        });
        (write, Kind::Time)
    });
    let fields = grouping.keys.iter().map(|key| {
        let write: Write<'_> = Box::new(move |w| {
            w.value(&key.field);
        });
        (write, key.field.kind())
    });
    bucket.chain(fields)
}

impl Writer<'_> {
    fn group_by_place(&mut self, keys: usize) -> &mut Self {
        if keys > 0 {
            self.sql(" GROUP BY ").join(1..=keys, ", ", |w, place| {
                w.number(place as u64);
            });
        }
        self
    }
}
