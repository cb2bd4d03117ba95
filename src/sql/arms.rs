//! A query read in several arms, each in its order and as far as its limit: see
//! [`Access::arms`](super::Access).

use super::field::EVENTS;
use super::keyset::SortKey;
use super::writer::Writer;
use crate::model::{Result, field::Column};
use crate::query::{EventQuery, KeyValue};

impl Writer<'_> {
    /// `FROM (…) AS e`: the first rows of each arm, all together.
    ///
    /// # Errors
    /// INVALID_QUERY at `after` for a cursor of another query.
    pub fn read_arms(
        &mut self,
        query: &EventQuery,
        (columns, keys): (&[Column], &[SortKey<'_>]),
        after: Option<&[KeyValue]>,
        buffered: bool,
    ) -> Result<()> {
        let rows = query.limit.map(|limit| {
            let wanted = limit.saturating_add(query.offset.unwrap_or(0));
            wanted.saturating_add(buffered.into())
        });
        self.sql(" FROM (");
        let access = self.access;
        for (i, filter) in access.arms.iter().enumerate() {
            self.sql(if i > 0 {
                " UNION ALL (SELECT "
            } else {
                "(SELECT "
            });
            self.join(columns, ", ", |w, column| {
                w.event_column(EVENTS, *column);
            });
            let arm = EventQuery {
                filter: filter.clone(),
                ..query.clone()
            };
            let filtered = self.relations(&arm).row_filter(&arm);
            if let Some(after) = after {
                self.sql(if filtered { " AND " } else { " WHERE " })
                    .behind(keys, after)?;
            }
            self.order_by(keys);
            if let Some(rows) = rows {
                self.sql(" LIMIT ").number(rows);
            }
            self.sql(")");
        }
        self.sql(") AS e");
        Ok(())
    }
}
