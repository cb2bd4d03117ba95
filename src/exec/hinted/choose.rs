//! Which planner settings follow most hints: rungs are tried one after the other, the gentlest first,
//! and what was found is remembered.

use std::time::Instant;

use super::catalog::{self, Index};
use super::ladder::{LADDER, Rung, indexes_of};
use super::memory::Remembered;
use super::ready::Ready;
use super::verdict::Verdict;
use super::{begin, forced_path, not_honoured, reason};
use crate::exec::connection::Connection;
use crate::exec::frame::Frame;
use crate::exec::stop::Stop;

/// What a rung gives.
pub struct Try {
    rung: usize,
    /// Before the statement in its text, where `pg_hint_plan` reads it.
    pub comment: String,
    /// Indexes of its plan.
    pub used: Vec<String>,
    /// Scans before it was planned.
    pub before: Vec<i64>,
}

impl Try {
    fn uses(&self, index: &Index) -> bool {
        index.names.iter().any(|name| self.used.contains(name))
    }
}

impl Ready<'_> {
    /// The gentlest settings that follow most hints, the required ones first, and what is said of
    /// each. Those settings are in force afterwards.
    pub async fn choose(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
    ) -> Result<(Try, Vec<Verdict>), Stop> {
        let ready = self;
        let memory = &frame.engine.hinted;
        let keys = (ready.key(false), ready.key(true));
        let possible = (ready.facts.indexes.iter().flatten())
            .filter(|index| reason::at_sight(index, ready.facts).is_none())
            .count();
        let is_whole = |found: &Try| {
            let (forced, preferred) = score(ready, found);
            forced + preferred == possible
        };
        let mut first = 0;
        // What is required is tried each time.
        if ready.hints().force_index.is_empty()
            && let Some(Remembered::Settled { rung, reasons, .. }) = memory.recall(keys.1)
        {
            let again = attempt(connection, ready, rung, String::new()).await?;
            if let Some(verdicts) = as_before(ready, &again, reasons) {
                return Ok((again, verdicts));
            }
        } else if let Some(Remembered::Rung(rung)) = memory.recall(keys.0) {
            first = rung;
        }
        let mut best = attempt(connection, ready, first, String::new()).await?;
        let mut in_force = true;
        if !is_whole(&best) {
            for (rung, comment) in steps(ready) {
                if comment.is_empty() && rung == first {
                    continue;
                }
                let found = attempt(connection, ready, rung, comment).await?;
                in_force = score(ready, &found) > score(ready, &best);
                if in_force {
                    best = found;
                    if is_whole(&best) {
                        break;
                    }
                }
            }
        }
        self.judge(frame, connection, (best, in_force), keys).await
    }

    /// Says what became of each hint under the settings that were chosen.
    async fn judge(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        (best, mut in_force): (Try, bool),
        (by_text, by_value): (u64, u64),
    ) -> Result<(Try, Vec<Verdict>), Stop> {
        let ready = self;
        let memory = &frame.engine.hinted;
        let mut verdicts = Vec::with_capacity(ready.names.len());
        for (nth, found) in ready.facts.indexes.iter().enumerate() {
            let reason = match found {
                Some(index) if best.uses(index) => {
                    verdicts.push(Verdict::Followed(how(&best)));
                    continue;
                }
                None => "there is no index of this name".to_owned(),
                Some(index) => {
                    if let Some(reason) = reason::at_sight(index, ready.facts) {
                        reason
                    } else {
                        in_force = false;
                        reason::why_not(frame.engine, connection, ready, index, &best.used).await?
                    }
                }
            };
            if ready.is_forced(nth) && ready.explain != Some(false) {
                let path = forced_path(ready, nth);
                let refused = not_honoured(path, ready.names[nth], &reason);
                return Err(Stop::Refused(refused));
            }
            verdicts.push(Verdict::Refused(reason));
        }
        if best.comment.is_empty() {
            let followed = verdicts.iter().all(|v| matches!(v, Verdict::Followed(_)));
            if followed {
                memory.keep(by_text, Remembered::Rung(best.rung));
            } else {
                let settled = Remembered::Settled {
                    rung: best.rung,
                    reasons: verdicts.iter().map(Verdict::reason).collect(),
                    at: Instant::now(),
                };
                memory.keep(by_value, settled);
            }
        }
        if in_force {
            return Ok((best, verdicts));
        }
        // Other settings were tried since, or a probe has ended the transaction.
        connection.roll_back().await?;
        begin(frame, connection).await?;
        let again = attempt(connection, ready, best.rung, best.comment).await?;
        Ok((again, verdicts))
    }
}

/// What was said of each hint a moment ago, where the same indexes are still used.
fn as_before(ready: &Ready<'_>, now: &Try, reasons: Vec<Option<String>>) -> Option<Vec<Verdict>> {
    let verdicts = ready.facts.indexes.iter().zip(reasons);
    verdicts
        .map(|(index, reason)| match (index, reason) {
            (Some(index), None) => now.uses(index).then(|| Verdict::Followed(how(now))),
            (Some(index), Some(_)) if now.uses(index) => None,
            (_, reason) => reason.map(Verdict::Refused),
        })
        .collect()
}

/// The rungs that a query may climb. Where an extension takes hints by name it is asked right after
/// the planner itself.
fn steps(ready: &Ready<'_>) -> Vec<(usize, String)> {
    let mut steps = vec![(0, String::new())];
    if ready.facts.hint_plan {
        let comments = reason::comments(ready).into_iter();
        steps.extend(comments.map(|comment| (0, comment)));
    }
    let alone = ready.query.joins.is_empty();
    let rungs = (1..LADDER.len()).filter(|rung| !(alone && LADDER[*rung].joins));
    steps.extend(rungs.map(|rung| (rung, String::new())));
    steps
}

fn how(chosen: &Try) -> String {
    if chosen.comment.is_empty() {
        LADDER[chosen.rung].describe()
    } else {
        format!("pg_hint_plan: {}", chosen.comment.trim())
    }
}

/// How many of the required and of the preferred indexes a plan uses.
fn score(ready: &Ready<'_>, found: &Try) -> (usize, usize) {
    let mut score = (0, 0);
    for (nth, index) in ready.facts.indexes.iter().enumerate() {
        if index.as_ref().is_some_and(|index| found.uses(index)) {
            if ready.is_forced(nth) {
                score.0 += 1;
            } else {
                score.1 += 1;
            }
        }
    }
    score
}

async fn attempt(
    connection: &mut Connection,
    ready: &Ready<'_>,
    rung: usize,
    comment: String,
) -> Result<Try, Stop> {
    let driver = &mut connection.driver;
    let settings: &Rung = &LADDER[rung];
    let before = catalog::settle(driver, settings, &ready.oids()).await?;
    let document = catalog::plan(driver, ready.statement, &comment).await?;
    let used = indexes_of(&document);
    Ok(Try {
        rung,
        comment,
        used,
        before,
    })
}
