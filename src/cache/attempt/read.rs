//! Reading an answer anew: with a stamp, so that it can be believed later, or plainly where the server
//! can't give one.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Brought, Cached, Outcome};
use crate::cache::answer::{Answer, Body};
use crate::cache::stamp::{Refusal, Stamp};
use crate::exec::{Connection, Frame, Stop, may_be_outdated};
use crate::model::Result;
use crate::sql::fill;

impl Cached {
    /// Reads the answer anew.
    pub async fn read(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
    ) -> Result<Brought, Stop> {
        let target = frame.engine.target();
        loop {
            let partitioned = self.cache.partitioned.load(Ordering::Relaxed);
            let planned = &self.plan.planned.statement;
            let stamped = fill(&self.plan.query, &target, planned, partitioned);
            let sent = Instant::now();
            let (body, said) = self.rows(frame, connection, &stamped).await?;
            if said.is_partitioned() && !partitioned {
                // Once more, with a fingerprint of all partitions.
                self.cache.partitioned.store(true, Ordering::Relaxed);
                continue;
            }
            let refusal = said.refusal();
            self.note(frame, connection, refusal).await?;
            let seen = said.stamp.snapshot.to_string();
            let answer = self.made(body, seen, refusal.is_none().then_some(said.stamp), sent);
            return Ok(self.brought_anew(answer, refusal));
        }
    }

    /// An answer that was just read.
    pub fn made(
        &self,
        body: Body,
        seen: String,
        stamp: Option<Stamp>,
        sent: Instant,
    ) -> Arc<Answer> {
        let wish = &self.plan.freshness;
        let ttl = wish.ttl.or(self.cache.options.ttl);
        Arc::new(Answer {
            body: Arc::new(body),
            stamp,
            seen,
            checked: sent,
            cost: sent.elapsed(),
            gain: Arc::default(),
            expires: ttl.and_then(|ttl| sent.checked_add(ttl)),
            tags: wish.tags.clone().into(),
        })
    }

    /// Reads the answer without a stamp: only its age is known.
    pub async fn read_plainly(&self, frame: &Frame<'_>, refusal: Refusal) -> Result<Brought> {
        if let Some(strategy) = &self.plan.strategy {
            return self.compute_plainly(frame, &**strategy, refusal).await;
        }
        let mut lease = frame.lease().await?;
        let floor = frame.engine.pool.seen_snapshot();
        let sent = Instant::now();
        let planned = &self.plan.planned.statement;
        let connection = lease.connection();
        let mut read = self.plain_rows(frame, connection, planned).await;
        if let Err(Stop::Driver(error)) = &read
            && may_be_outdated(error)
        {
            read = match connection.forget_statements().await {
                Ok(()) => self.plain_rows(frame, connection, planned).await,
                Err(error) => Err(Stop::Driver(error)),
            };
        }
        lease.settle(&read);
        let (body, snapshot) = read?;
        let seen = snapshot.unwrap_or_else(|| floor.to_string());
        Ok(self.brought_plainly(self.made(body, seen, None, sent), refusal))
    }

    /// An answer of which only the age is known.
    pub fn brought_plainly(&self, answer: Arc<Answer>, refusal: Refusal) -> Brought {
        let bounded = self.needed.allows_inexact();
        Brought {
            answer,
            outcome: if bounded { Outcome::Miss } else { Outcome::Off },
            refusal: (!bounded).then_some(refusal),
        }
    }
}
