//! What an earlier answer could not see, as a condition on the events' transaction ids.

use super::field::EVENTS;
use super::writer::{Bind, Writer};
use crate::model::{
    snapshot::{Range, Seen},
    table::TRANSACTION_ID,
};
use crate::query::Since;

impl Writer<'_> {
    /// The condition of `since`, behind `open`.
    ///
    /// Where it is known what the statement shall look at, that is ranges with both ends: an index scan
    /// of each reads nothing but what is wanted, however long some other transaction has been running.
    /// For people it is the predicate that they mean.
    pub fn unseen(&mut self, since: &Since, open: &str) -> &mut Self {
        match &since.upto {
            Some(upto) => {
                self.sql(open);
                self.ranges(&since.seen.news(upto))
            }
            None if since.seen == Seen::NOTHING => self,
            None => {
                self.sql(open);
                self.not_visible_in(&since.seen)
            }
        }
    }

    /// The transaction id is in one of the ranges. An equality would do for a range of one, but is
    /// taken for all rows of a table that was adopted, where there is one distinct value.
    pub fn ranges(&mut self, ranges: &[Range]) -> &mut Self {
        if ranges.is_empty() {
            return self.sql("false");
        }
        self.sql("(").join(ranges, " OR ", |w, (from, to)| {
            w.column(EVENTS, TRANSACTION_ID)
                .sql(" >= ")
                .transaction(*from);
            if *to < u64::MAX {
                w.sql(" AND ")
                    .column(EVENTS, TRANSACTION_ID)
                    .sql(" < ")
                    .transaction(*to);
            }
        });
        self.sql(")")
    }

    fn not_visible_in(&mut self, seen: &Seen) -> &mut Self {
        self.column(EVENTS, TRANSACTION_ID)
            .sql(" >= ")
            .transaction(seen.snapshot.xmin())
            .sql(" AND NOT pg_visible_in_snapshot(")
            .column(EVENTS, TRANSACTION_ID)
            .sql(", ");
        self.typed(Bind::Text(seen.snapshot.to_string()), "pg_snapshot")
            .sql(")");
        if let Some(own) = seen.own {
            self.sql(" AND ")
                .column(EVENTS, TRANSACTION_ID)
                .sql(" <> ")
                .transaction(own);
        }
        self
    }

    /// There is no cast from a number: `xid8` reads text.
    fn transaction(&mut self, id: u64) -> &mut Self {
        self.typed(Bind::Text(id.to_string()), "xid8")
    }
}
