//! The keys that have events which a snapshot could not see.

use super::{Matched, Projection, arms, kinds};
use crate::model::field::Kind;
use crate::sql::exact::Base;
use crate::sql::select::Target;
use crate::sql::writer::{Bind, Writer};

/// The values of one field of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyList {
    /// Texts.
    Texts(Vec<String>),
    /// JSON.
    Jsons(Vec<String>),
}

impl KeyList {
    /// An empty list of what compares so; `None` where keys of this kind can't be listed.
    pub const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Text => Some(Self::Texts(Vec::new())),
            Kind::Json => Some(Self::Jsons(Vec::new())),
            Kind::Uuid | Kind::Time => None,
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        match self {
            Self::Texts(values) | Self::Jsons(values) => values.is_empty(),
        }
    }

    /// Adds a value in the server's binary format; `None` where it is no such value.
    pub fn push(&mut self, value: &[u8]) -> Option<()> {
        let (values, text) = match self {
            Self::Texts(values) => (values, value),
            // Behind its version.
            Self::Jsons(values) => (values, value.get(1..)?),
        };
        values.push(String::from_utf8(text.to_vec()).ok()?);
        Some(())
    }

    pub(super) fn bind(&self) -> Bind {
        match self {
            Self::Texts(values) => Bind::Texts(values.clone()),
            Self::Jsons(values) => Bind::Jsons(values.clone()),
        }
    }
}

/// The keys that new events have which a matcher reads, no more than `most`.
pub fn touched(projection: &Projection<'_>, base: Base<'_>, target: &Target, most: u64) -> Matched {
    let mut w = Writer::new(&target.table);
    w.news(base.snapshot, base.most_new);
    w.stand_in = Some("d");
    let arms = arms(projection);
    let kinds = kinds(&arms);
    w.sql(" SELECT DISTINCT ")
        .join(0..kinds.len(), ", ", |w, i| {
            w.sql("f.k").number(i as u64);
        });
    w.sql(" FROM (").join(&arms, " UNION ALL ", |w, arm| {
        w.arm(projection, arm, &arms, &kinds, target);
    });
    w.sql(") AS f LIMIT ").number(most);
    let (sql, binds) = w.finish();
    Matched { sql, binds, kinds }
}
