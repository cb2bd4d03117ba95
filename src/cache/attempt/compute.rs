//! Answers that a strategy makes: it answers in a transaction whose stamp was taken first, and what it
//! would have sent is kept.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use memchr::memmem;
use serde_json::Value as Wire;

use super::{Brought, Cached, asked, lacks};
use crate::cache::LARGEST_SHARE;
use crate::cache::answer::Body;
use crate::cache::splice::Part;
use crate::cache::stamp::{Refusal, Said};
use crate::exec::{Answered, Batch, Connection, Frame, Stop, Strategy};
use crate::model::{Error, Result};
use crate::sql::stamp;

/// Between the rows of the last batch and what is said of them all. No string has this in it, where
/// quotes are escaped, and of what rows have the last one is meant.
const END: &[u8] = b"],\"end\":";

impl Cached {
    /// Makes the answer anew.
    pub async fn compute(&self, frame: &Frame<'_>, strategy: &dyn Strategy) -> Result<Brought> {
        loop {
            let partitioned = self.cache.partitioned.load(Ordering::Relaxed);
            let mut lease = frame.lease_in(true).await?;
            let sent = Instant::now();
            let begun = self.begin(frame, lease.connection(), partitioned).await;
            let said = match begun {
                Ok(said) => said,
                Err(stop) => {
                    let lacking = match &stop {
                        Stop::Driver(error) => lacks(error),
                        _ => None,
                    };
                    let failed: Result<(), Stop> = Err(stop);
                    lease.end_transaction(&failed).await;
                    let Some(refusal) = lacking else {
                        failed?;
                        continue;
                    };
                    self.cache.note_exactness(Some(refusal));
                    return self.compute_plainly(frame, strategy, refusal).await;
                }
            };
            if said.is_partitioned() && !partitioned {
                // Once more, with a fingerprint of all partitions.
                self.cache.partitioned.store(true, Ordering::Relaxed);
                lease.release();
                continue;
            }
            let refusal = said.refusal();
            self.cache.note_exactness(refusal);
            let answered = frame.answered(strategy, Some(lease)).await?;
            if refusal == Some(Refusal::NoNonce) {
                // The transaction could not write.
                let mut lease = frame.lease().await?;
                let noted = self.note(frame, lease.connection(), refusal).await;
                lease.settle(&noted);
                noted?;
            }
            let seen = said.stamp.snapshot.to_string();
            let stamp = refusal.is_none().then_some(said.stamp);
            let answer = self.made(self.body_of(answered)?, seen, stamp, sent);
            return Ok(self.brought_anew(answer, refusal));
        }
    }

    /// Makes the answer without a stamp: only its age is known.
    pub async fn compute_plainly(
        &self,
        frame: &Frame<'_>,
        strategy: &dyn Strategy,
        refusal: Refusal,
    ) -> Result<Brought> {
        let floor = frame.engine.pool.seen_snapshot();
        let sent = Instant::now();
        let answered = frame.answered(strategy, None).await?;
        let answer = self.made(self.body_of(answered)?, floor.to_string(), None, sent);
        Ok(self.brought_plainly(answer, refusal))
    }

    /// What a strategy would have sent, as it is kept. What would bring it up to date goes along where
    /// there is room for both.
    pub fn body_of(&self, answered: Answered) -> Result<Body> {
        let most = usize::try_from(self.cache.options.max_memory / LARGEST_SHARE).unwrap_or(0);
        let mut body = body(answered.batches, answered.last)?;
        let room = most.saturating_sub(body.bytes() * 2);
        body.again = answered.kept.filter(|kept| kept.weight() <= room);
        Ok(body)
    }

    /// Begins a transaction and takes the stamp of all that is read in it.
    async fn begin(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        partitioned: bool,
    ) -> Result<Said, Stop> {
        let snapshot = connection.begin_snapshot().await?;
        frame.engine.pool.note_snapshot(&snapshot);
        let statement = stamp(&self.plan.query, &frame.engine.target(), partitioned);
        asked(connection, &statement).await
    }
}

/// What a strategy would have sent, as it is kept.
fn body(batches: Vec<Batch>, last: Batch) -> Result<Body> {
    let unread = || Error::Internal("an answer without its end".into());
    let mut tail = last.into_json();
    let at = memmem::rfind(&tail, END).ok_or_else(unread)?;
    let end = tail.get(at + END.len()..tail.len() - 1);
    let end: Wire = end
        .and_then(|end| serde_json::from_slice(end).ok())
        .ok_or_else(unread)?;
    let rows = end["rowCount"].as_u64().ok_or_else(unread)?;
    tail.truncate(at);
    Ok(Body {
        batches: (batches.into_iter())
            .map(|batch| Arc::new(Part::new(batch.into_json(), Vec::new())))
            .collect(),
        tail: Arc::new(Part::new(tail, Vec::new())),
        rows,
        cursor: None,
        kept: None,
        states: None,
        again: None,
        leaders: None,
    })
}

#[cfg(test)]
mod tests {
    use super::body;
    use crate::exec::Batch;

    #[test]
    fn a_body_ends_where_its_rows_do() {
        let json = br#"{"columns":["a"],"rows":[{"x":[1],"end":{"rowCount":9}},"],\"end\":"],"end":{"queryId":"q","rowCount":2}}"#;
        let last = Batch::new(json.to_vec(), true);
        let body = body(Vec::new(), last).unwrap();
        assert_eq!(body.rows, 2);
        let again = body.last(br#"{"queryId":"q","rowCount":2}"#);
        assert_eq!(again.into_json(), json.to_vec());
    }
}
