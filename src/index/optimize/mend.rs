//! What is worse off with what was built: an index in the order of time helps many questions, and
//! lures the planner into reading by it where another index would be needed. That one is looked for,
//! before the many lose theirs.

use super::super::decisions;
use super::super::recommend::{Options, advise};
use super::super::search::Budget;
use super::super::workload::Question;
use super::run::{Run, Trial};
use crate::model::Result;

/// How often a run looks for what makes up for a harm.
pub(super) const MENDS: u32 = 2;

impl Run<'_> {
    /// Builds what would help these questions, now that so many are built; answers what it did build.
    pub(super) async fn mend(&mut self, hurt: Vec<Question>, built: usize) -> Result<Vec<Trial>> {
        let budget = Budget {
            count: self.options.budget.count.saturating_sub(built),
            ..self.options.budget
        };
        if budget.count == 0 {
            return Ok(Vec::new());
        }
        self.job.phase("weighing what would mend a harm");
        let options = Options {
            budget,
            ..self.options.clone()
        };
        let refused = decisions::refused(&mut self.session.conn, &self.names).await;
        let conn = &mut self.session.conn;
        let advice = advise(conn, self.engine, hurt, &options, &refused).await?;
        let mut more = Vec::new();
        for one in &advice.create {
            if self.build(&one.candidate).await? {
                more.push(Trial::of(one));
            }
        }
        Ok(more)
    }
}
