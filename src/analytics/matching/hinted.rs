//! Hints of queries for matches: indexes for the statement that reads the events, proved as for any query,
//! and processes of the server that share it.

use futures_util::future::BoxFuture;
use serde_json::{Value as Wire, json};

use super::answer::{Answer, Matches};
use super::making::Making;
use super::read::{estimate, fits, room};
use super::run::statement_of;
use crate::exec::{Asked, Batch, BigintMode, Connection, Frame, Mode, Stop, Strategy};
use crate::model::Result;
use crate::sql::{
    Statement, Target, explain,
    matching::{self, Matched},
};

/// Processes beside the first where a hint does not say how many.
const WORKERS: u64 = 2;
/// More than the server has by default.
const MOST_WORKERS: u64 = 64;

impl Answer {
    /// Whether its hints say how its events are read.
    pub(super) fn is_hinted(&self) -> bool {
        self.query.hints.name_indexes() || self.query.hints.parallel.is_some()
    }

    /// The statement that reads the events of all keys: of an index hint it is the one that is meant.
    pub(super) fn whole(&self, target: &Target, in_memory: bool, most: u64) -> Matched {
        let projection = self.projection();
        if in_memory {
            matching::gathered(&projection, target, most + 1)
        } else {
            matching::rows(&projection, target)
        }
    }

    /// Whether the rows of all keys are expected to fit into memory.
    async fn expects_to_gather(
        &self,
        connection: &mut Connection,
        target: &Target,
        most: u64,
    ) -> Result<bool, Stop> {
        let statement = self.whole(target, true, most);
        Ok(self.may_gather(&statement.kinds)
            && fits(estimate(connection, &statement).await?.0, most))
    }

    /// Finds the matches of events that are read by the indexes that hints name.
    pub(super) async fn find_by_index<'a>(
        &'a self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        mode: BigintMode,
    ) -> Result<(Box<dyn Matches + 'a>, String), Stop> {
        let target = frame.engine.target();
        let limit = frame.engine.config.limits.max_result_bytes;
        let (room, most) = room(limit);
        let in_memory = self.expects_to_gather(connection, &target, most).await?;
        let whole = self.whole(&target, in_memory, most);
        let statement = plain(&whole);
        let over = |target: &Target| plain(&self.whole(target, in_memory, most));
        let tables = [target.table.quoted()];
        let asked = Asked {
            query: &self.query,
            statement: &statement,
            tables: &tables,
            explain: None,
            over: Some(&over),
        };
        let followed = asked.follow(frame, connection).await?;
        let snapshot = connection.begin_snapshot().await?;
        frame.engine.pool.note_snapshot(&snapshot);
        let commented = |matched: Matched| Matched {
            sql: followed.comment().to_owned() + &matched.sql,
            ..matched
        };
        let mut making = Making {
            answer: self,
            kinds: whole.kinds.clone(),
            mode,
            end: 0,
            width: self.projection().fields.len(),
            limit,
            watch: frame.watch.clone(),
        };
        let mut gathered = None;
        let mut matches = None;
        if in_memory {
            gathered = making.gather(connection, &commented(whole), room).await?;
        }
        if gathered.is_none() {
            let sorted = commented(self.whole(&target, false, most));
            matches = Some(making.one_by_one(connection, &sorted).await?);
        }
        followed.prove(frame, connection).await?;
        // Behind the proof: this reads the table too.
        making.end = self.end(connection, &self.projection(), &target).await?;
        let matches = match (matches, gathered) {
            (Some(mut matches), _) => {
                matches.end_at(making.end);
                matches
            }
            (None, Some(gathered)) => making.match_gathered(&gathered, 0).map_err(Stop::Refused)?,
            (None, None) => self
                .matches(making.kinds, mode, making.end)
                .map_err(Stop::Refused)?,
        };
        Ok((matches, snapshot))
    }

    /// Has processes of the server share what is read, or not, where a hint says so; in a transaction.
    pub(super) async fn share(&self, connection: &mut Connection) -> Result<(), Stop> {
        let hints = &self.query.hints;
        match hints.parallel {
            Some(true) => {
                let workers = hints.workers.map_or(WORKERS, |n| n.clamp(1, MOST_WORKERS));
                let workers = u32::try_from(workers).unwrap_or(1);
                Ok(connection.processes(workers).await?)
            }
            Some(false) => Ok(connection.one_process().await?),
            None => Ok(()),
        }
    }

    /// Says how many processes share a statement.
    pub(super) fn tell_shared(&self, frame: &Frame<'_>, plan: &Wire) {
        if self.query.hints.parallel == Some(true) {
            let outcome = shared(plan);
            frame.tell(|told| told.hints.push(outcome));
        }
    }
}

/// What became of the hint `parallel`, by the plan.
fn shared(plan: &Wire) -> Wire {
    fn workers(node: &Wire) -> u64 {
        let below = node["Plans"].as_array().into_iter().flatten().map(workers);
        let own = node["Workers Planned"].as_u64().unwrap_or(0);
        below.fold(own, u64::max)
    }
    match workers(&plan["Plan"]) {
        0 => {
            json!({ "hint": "parallel", "value": "true", "honoured": false, "reason": "the server plans no workers for the events of these matches: the table is small, an index finds them, or max_parallel_workers is 0" })
        }
        n => {
            json!({ "hint": "parallel", "value": "true", "honoured": true, "how": format!("workers of the server that read beside the first process: {n}; matched by as many threads as there is work for") })
        }
    }
}

fn plain(matched: &Matched) -> Statement {
    let width = matched.kinds.len() + 3;
    statement_of(matched.sql.clone(), matched.binds.clone(), width)
}

/// The plan of the statement that reads the events, under the hints of the query.
pub struct Planned {
    /// Of which query.
    pub answer: Answer,
    /// Whether it runs.
    pub analyze: bool,
}

impl Strategy for Planned {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        Box::pin(async move {
            let mut lease = frame.lease().await?;
            let planned = self.in_transaction(frame, lease.connection()).await;
            lease.settle(&planned);
            Ok(planned?)
        })
    }
}

impl Planned {
    async fn in_transaction(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
    ) -> Result<Batch, Stop> {
        let planned = self.plan(frame, connection).await;
        connection.end_reading(planned).await
    }

    async fn plan(&self, frame: &Frame<'_>, connection: &mut Connection) -> Result<Batch, Stop> {
        debug_assert_eq!(frame.mode, Mode::Buffered);
        let answer = &self.answer;
        let target = frame.engine.target();
        let (_, most) = room(frame.engine.config.limits.max_result_bytes);
        let in_memory = answer.expects_to_gather(connection, &target, most).await?;
        let statement = plain(&answer.whole(&target, in_memory, most));
        let over = |target: &Target| plain(&answer.whole(target, in_memory, most));
        let tables = [target.table.quoted()];
        let explained = |comment: &str| Statement {
            sql: comment.to_owned() + &explain::statement(&statement.sql, self.analyze),
            ..statement_of(String::new(), statement.binds.clone(), 1)
        };
        if !answer.query.hints.name_indexes() {
            let snapshot = connection.begin_snapshot().await?;
            answer.share(connection).await?;
            let (_, plan) = estimate(connection, &answer.whole(&target, in_memory, most)).await?;
            answer.tell_shared(frame, &plan);
            let shown = explained("");
            let writer = frame.rows(connection, &shown, false).await?;
            return Ok(frame.finish(writer, &snapshot));
        }
        let asked = Asked {
            query: &answer.query,
            statement: &statement,
            tables: &tables,
            explain: Some(self.analyze),
            over: Some(&over),
        };
        let followed = asked.follow(frame, connection).await?;
        let shown = explained(followed.comment());
        let writer = frame.rows(connection, &shown, false).await?;
        followed.prove(frame, connection).await?;
        let floor = frame.engine.pool.seen_snapshot();
        Ok(frame.finish(writer, &floor))
    }
}
