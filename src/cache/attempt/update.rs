//! Answers that the strategy which made them brings up to date: by what it has kept of them, and what a
//! kept answer's stamp could not see. Where it can't, the answer is made anew.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Brought, Cached, Outcome, asked, is_believed};
use crate::cache::answer::Answer;
use crate::cache::stamp::{Said, Stamp};
use crate::exec::{Connection, Frame, Outdated, Stop, Strategy};
use crate::model::Result;
use crate::sql::{Base, check};

impl Cached {
    /// The kept answer with what is new; `None` where it has to be made anew.
    pub async fn update(
        &self,
        frame: &Frame<'_>,
        strategy: &dyn Strategy,
        answer: &Arc<Answer>,
    ) -> Result<Option<Brought>> {
        let (Some(stamp), Some(kept)) = (&answer.stamp, &answer.body.again) else {
            return Ok(None);
        };
        let base = self.base(answer, stamp);
        let mut lease = frame.lease_in(true).await?;
        let sent = Instant::now();
        let looked = self.look_again(frame, lease.connection(), base).await;
        let Some(said) = (match looked {
            Ok(said) => Some(said).filter(|said| self.may_update(stamp, said, base)),
            // Making it anew comes upon what is wrong once more, and says so.
            Err(Stop::Driver(error)) => {
                let failed: Result<(), Stop> = Err(Stop::Driver(error));
                lease.end_transaction(&failed).await;
                return Ok(None);
            }
            Err(stop) => {
                let failed: Result<(), Stop> = Err(stop);
                lease.end_transaction(&failed).await;
                failed?;
                return Ok(None);
            }
        }) else {
            lease.release();
            return Ok(None);
        };
        let parts: Vec<&[u8]> = (answer.body.batches.iter())
            .chain([&answer.body.tail])
            .map(|part| &part.json[..])
            .collect();
        let outdated = Outdated {
            kept,
            batches: &parts,
            base,
        };
        let Some(answered) = frame.updated(strategy, lease, outdated).await? else {
            return Ok(None);
        };
        let body = Arc::new(self.body_of(answered)?);
        Ok(Some(Brought {
            answer: Arc::new(Answer {
                body,
                ..answer.confirmed(said.stamp, sent)
            }),
            outcome: Outcome::Delta,
            refusal: None,
        }))
    }

    /// Begins a transaction and asks in it what is new.
    async fn look_again(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        base: Base<'_>,
    ) -> Result<Said, Stop> {
        // A transaction's end would undo it.
        connection.plan_once(false).await?;
        let snapshot = connection.begin_snapshot().await?;
        frame.engine.pool.note_snapshot(&snapshot);
        let statement = check(&self.plan.query, &frame.engine.target(), base);
        asked(connection, &statement).await
    }

    /// Whether all that has changed is that there are new events, and not too many.
    fn may_update(&self, stamp: &Stamp, said: &Said, base: Base<'_>) -> bool {
        let partitioned = self.cache.partitioned.load(Ordering::Relaxed);
        is_believed(stamp, said)
            && said.stamp.edges == stamp.edges
            && partitioned == base.partitioned
            && (said.news()).is_some_and(|news| !news.left && news.events <= base.most_new)
    }
}
