//! How full an index is: measured where the extensions are there, else estimated from the widths
//! that the planner knows.

use sqlx::PgConnection;

use super::{Analysed, catalog};
use crate::exec::fault;
use crate::model::Result;

/// How full PostgreSQL builds the leaves of a btree.
const FULL: f64 = 90.0;

impl Analysed {
    /// How full it is; measured where the extensions are there, else estimated.
    #[allow(clippy::cast_precision_loss)] // Bytes.
    pub(super) async fn look_inside(
        &mut self,
        conn: &mut PgConnection,
        stattuple: Option<&str>,
        inspect: Option<&str>,
    ) -> Result<()> {
        let index = &self.index;
        let (width, described) = catalog::entry_width(conn, index.oid).await.map_err(fault)?;
        if index.expressions && !described {
            self.reasons.push(
                "the planner has no statistics of its expression yet: ANALYZE takes them"
                    .to_owned(),
            );
        }
        match index.method.as_str() {
            "btree" => {
                if let Some(schema) = stattuple
                    && let Ok((density, fragmentation)) =
                        catalog::leaves(conn, schema, index.oid).await
                {
                    self.measured = true;
                    self.bloat = (1.0 - density / FULL).clamp(0.0, 1.0);
                    self.fragmentation = (fragmentation / 100.0).clamp(0.0, 1.0);
                } else if index.size > 8192 * 8 && index.tuples > 0.0 {
                    // A line pointer, a header, the values; equal keys may share an entry, so this is
                    // the most that it should take.
                    let entry = 4.0 + 8.0 + (width / 8.0).ceil() * 8.0;
                    let full = index.tuples * entry / (FULL / 100.0) / (8192.0 - 40.0) * 8192.0;
                    self.bloat = (1.0 - (full + 16_384.0) / index.size as f64).clamp(0.0, 1.0);
                }
            }
            "gin" => {
                if let Some(schema) = stattuple {
                    self.pending = catalog::pending_pages(conn, schema, index.oid).await.ok();
                }
            }
            "brin" => {
                if let Some(schema) = inspect {
                    self.unsummarized = catalog::unsummarized(conn, schema, index.oid).await.ok();
                }
            }
            _ => {}
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss)] // Bytes.
    pub(super) fn wasted(&self) -> f64 {
        self.bloat * self.index.size as f64
    }
}
