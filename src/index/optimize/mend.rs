//! What is worse off with what was built: an index in the order of time helps many questions, and
//! lures the planner into reading by it where it takes a rare tag for a common one. So it is told how
//! common each is, by statistics on the expressions, before the many lose theirs.

use xxhash_rust::xxh3::xxh3_64;

use super::super::candidates::sparse_fields;
use super::super::catalog;
use super::super::store;
use super::super::workload::Question;
use super::run::Run;
use crate::exec::fault;
use crate::model::Result;
use crate::sql::index_expression;

impl Run<'_> {
    /// Has statistics kept of the expressions that these questions compare. False where they are.
    pub(super) async fn mend(&mut self, hurt: &[Question]) -> Result<bool> {
        let mut new = false;
        for field in sparse_fields(hurt, &self.names) {
            let expression = index_expression(&field, &self.names);
            let hash = xxh3_64(expression.as_bytes()) & 0xffff_ffff;
            let name = self.names.derived("stat_", &format!("_{hash:08x}"));
            let conn = &mut self.session.conn;
            let known = catalog::has_statistics(conn, self.session.table.oid, &name).await;
            if known.map_err(fault)? {
                continue;
            }
            let (quoted, table) = (self.names.beside(&name), self.names.quoted());
            let sql = store::create_statistics(&quoted, &table, &expression);
            match self.session.slowly(&sql, self.job).await {
                Ok(()) => new = true,
                Err(error) if self.job.is_stopped().is_some() => return Err(error),
                Err(error) if !self.session.alive().await => return Err(error),
                // The planner goes on guessing.
                Err(error) => {
                    tracing::debug!(target: "tamma_events::indexes", %error, "no statistics of an expression");
                }
            }
        }
        Ok(new)
    }
}
