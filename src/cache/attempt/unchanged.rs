//! The cheapest check: whether any transaction has ended since. Where many do, it would only cost a round
//! trip, so it is asked where the last look found that none had.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use sqlx::Row;

use super::Cached;
use crate::cache::answer::Answer;
use crate::cache::stamp::{Said, Stamp};
use crate::exec::{Connection, Frame, Stop, sql_text};
use crate::sql::{is_of_the_clock, unchanged};

impl Cached {
    /// A kept answer, where nothing at all has happened since; `None` where that has to be looked at.
    pub async fn unchanged(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        (answer, stamp): (&Answer, &Stamp),
    ) -> Result<Option<Arc<Answer>>, Stop> {
        let may_be = self.cache.is_quiet.load(Ordering::Relaxed)
            && *answer.seen == *frame.engine.pool.seen_snapshot()
            && !is_of_the_clock(&self.plan.query);
        if !may_be {
            return Ok(None);
        }
        let sql = unchanged(&frame.engine.target().table);
        let sent = Instant::now();
        let row = sqlx::query(sql_text(&sql))
            .fetch_one(&mut connection.driver)
            .await?;
        self.cache.stats.checks.add(1);
        let is_so = stamp.is_now(row.try_get(0)?);
        if !is_so {
            self.cache.is_quiet.store(false, Ordering::Relaxed);
        }
        Ok(is_so.then(|| Arc::new(answer.confirmed(stamp.clone(), sent))))
    }

    /// Notes what a check saw: whether anything has happened since this client looked last.
    pub fn note_seen(&self, frame: &Frame<'_>, said: &Said) {
        let pool = &frame.engine.pool;
        let seen = said.stamp.snapshot.to_string();
        let is_quiet = *seen == *pool.seen_snapshot();
        self.cache.is_quiet.store(is_quiet, Ordering::Relaxed);
        pool.note_snapshot(&seen);
    }
}
