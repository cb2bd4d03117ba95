//! Rules to a fixed point, each change checked.

use super::indexes::Indexes;
use super::logical::Logical;
use super::normal::normal;
use super::rules::{RULES, Rule};
use crate::model::{Result, time::Timestamp};
use crate::query::{EventQuery, Grouping};
use crate::sql::{Purpose, Statement, Target, compile_plan};

/// What a rewrite may rely on beside the query.
pub struct Facts<'a> {
    /// The table and its database.
    pub target: &'a Target,
    /// The indexes of the event table, where they are known.
    pub indexes: Option<&'a Indexes>,
}

/// A rewrite that was made, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedRule {
    /// The rule's name.
    pub rule: &'static str,
    /// The parts of the plan that it changed, in words.
    pub before: String,
    /// What they became.
    pub after: String,
    /// Why that is better.
    pub reason: String,
}

/// A rewritten query.
#[derive(Clone, Debug)]
pub struct Optimized {
    /// The plan.
    pub plan: Logical,
    /// What was done to it, in order.
    pub rules: Vec<AppliedRule>,
}

/// Every rule has said its piece long before; a pair that undoes each other's work ends here.
const PASSES: usize = 8;

/// Rewrites a query. A rule whose result would be another answer is a bug: its change is not taken.
pub fn optimize(query: &EventQuery, facts: &Facts<'_>) -> Optimized {
    optimize_by(RULES, query, facts)
}

/// The same, by these rules.
pub fn optimize_by(rules: &[&dyn Rule], query: &EventQuery, facts: &Facts<'_>) -> Optimized {
    let mut plan = Logical::of(query.clone());
    plan.query.filter = normal(&query.filter);
    let mut applied: Vec<AppliedRule> = Vec::new();
    for _ in 0..PASSES {
        let mut changed = false;
        for rule in rules {
            let Some(change) = rule.apply(&plan, facts) else {
                continue;
            };
            if change.plan == plan {
                continue;
            }
            if !answers_alike(&plan.query, &change.plan.query) {
                debug_assert!(false, "the rule {} changes the answer", rule.name());
                tracing::error!(target: "tamma_events", rule = rule.name(), "a rule would have changed the answer: its change was not made");
                continue;
            }
            applied.push(AppliedRule {
                rule: rule.name(),
                before: plan.lines_beside(&change.plan),
                after: change.plan.lines_beside(&plan),
                reason: change.reason,
            });
            plan = change.plan;
            changed = true;
        }
        if !changed {
            break;
        }
    }
    Optimized {
        plan,
        rules: applied,
    }
}

/// What no rule may change: the relations, the columns, their order and how many rows.
fn answers_alike(a: &EventQuery, b: &EventQuery) -> bool {
    let columns = |query: &EventQuery| query.grouping.as_ref().map(Grouping::columns);
    a.from == b.from
        && a.joins == b.joins
        && a.select == b.select
        && a.window == b.window
        && a.since == b.since
        && columns(a) == columns(b)
        && a.order() == b.order()
        && (a.limit, a.offset, &a.after) == (b.limit, b.offset, &b.after)
}

impl Optimized {
    /// The statement. Its cursors are those of the query as it was asked.
    ///
    /// # Errors
    /// As [`compile`](crate::sql::compile).
    pub fn compile(
        &self,
        asked: &EventQuery,
        target: &Target,
        purpose: Purpose,
        clock: Option<Timestamp>,
    ) -> Result<Statement> {
        let identity = asked.identity(&target.table.quoted());
        let Logical { query, access } = &self.plan;
        compile_plan(query, access, target, (purpose, identity), clock)
    }
}
