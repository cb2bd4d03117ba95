//! Whether a kept answer is still true, asked of the database, and what is merged into it where it isn't
//! quite. The reasons not to believe one stand here together.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use uuid::Uuid;

use super::{Cached, Verdict, said};
use crate::cache::answer::Answer;
use crate::cache::plan::Merge;
use crate::cache::stamp::{Said, Stamp};
use crate::exec::{Connection, Frame, Stop, arguments, sql_text};
use crate::sql::{Base, check, merged_list, most_new};

impl Cached {
    /// What a check begins from.
    pub fn base<'s>(&self, answer: &Answer, stamp: &'s Stamp) -> Base<'s> {
        Base {
            snapshot: &stamp.snapshot,
            clock: stamp.clock,
            partitioned: self.cache.partitioned.load(Ordering::Relaxed),
            most_new: most_new(answer.cost),
        }
    }

    /// Whether a kept answer is still true, or can be made so by what is new.
    pub async fn check(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        answer: &Arc<Answer>,
        stamp: &Stamp,
    ) -> Result<Verdict, Stop> {
        let stats = &self.cache.stats;
        let base = self.base(answer, stamp);
        let (sql, binds) = check(&self.plan.query, &frame.engine.target(), base);
        let values = arguments(&binds).map_err(Stop::Refused)?;
        let sent = Instant::now();
        let row = sqlx::query_with(sql_text(&sql), values)
            .fetch_one(&mut connection.driver)
            .await?;
        stats.checks.add(1);
        let said = said(&row, 0)?;
        let Some(news) = said.news().filter(|_| is_believed(stamp, &said)) else {
            return Ok(Verdict::Void);
        };
        stats.new_events.add(news.events);
        if news.left || news.events > base.most_new {
            return Ok(Verdict::Void);
        }
        // Of a series, time alone makes buckets.
        if self.plan.strategy.is_some() && said.stamp.edges != stamp.edges {
            return Ok(Verdict::Void);
        }
        if news.matching == 0 {
            self.note_seen(frame, &said);
            return Ok(Verdict::Current(Arc::new(
                answer.confirmed(said.stamp, sent),
            )));
        }
        match (self.plan.merge, &answer.body.kept) {
            (Merge::Rows, Some(kept)) => {
                self.merge_rows(frame, connection, answer, stamp, kept)
                    .await
            }
            _ => Ok(Verdict::Void),
        }
    }

    async fn merge_rows(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        answer: &Arc<Answer>,
        stamp: &Stamp,
        kept: &[Uuid],
    ) -> Result<Verdict, Stop> {
        let target = frame.engine.target();
        let base = self.base(answer, stamp);
        let stamped =
            merged_list(&self.plan.query, &target, base, kept.to_vec()).map_err(Stop::Refused)?;
        let sent = Instant::now();
        let (body, said) = self.rows(frame, connection, &stamped).await?;
        let news = said.news().filter(|_| is_believed(stamp, &said));
        if news.is_none_or(|news| news.left || news.events > base.most_new) {
            return Ok(Verdict::Void);
        }
        Ok(Verdict::Merged(Arc::new(Answer {
            body: Arc::new(body),
            ..answer.confirmed(said.stamp, sent)
        })))
    }
}

/// Whether the circumstances of a check are those of the stamp that it began from.
pub fn is_believed(stamp: &Stamp, said: &Said) -> bool {
    said.refusal().is_none() && !said.is_rotated() && stamp.leads_to(&said.stamp)
}
