//! Grouped answers: what is kept is what each group is made from, and new events add to it.
//!
//! A cached answer and one read anew come from the same statement over the same contributions, so they
//! are equal to the last digit, whatever was merged on the way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use futures_util::TryStreamExt;

use super::answer::{Answer, Body};
use super::attempt::{Brought, Cached, Outcome, Verdict, is_believed, is_null, said, unexpected};
use super::stamp::{Said, Stamp};
use super::states::States;
use crate::exec::{Connection, Frame, Stop, arguments, sql_text};
use crate::model::time::Timestamp;
use crate::query::Grouping;
use crate::sql::{Merge, Partial, StampedStates, compacted, fill_states, new_states};

impl Cached {
    /// Reads the groups anew.
    pub async fn read_groups(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        (grouping, merge): (&Grouping, Merge),
    ) -> Result<Brought, Stop> {
        let target = frame.engine.target();
        loop {
            let partitioned = self.cache.partitioned.load(Ordering::Relaxed);
            let stamped = fill_states(&self.plan.query, grouping, &target, (merge, partitioned))
                .map_err(Stop::Refused)?;
            let sent = Instant::now();
            let (mut states, said) = self.contributions(connection, &stamped, merge).await?;
            if said.is_partitioned() && !partitioned {
                // Once more, with a fingerprint of all partitions.
                self.cache.partitioned.store(true, Ordering::Relaxed);
                continue;
            }
            states.settle();
            let refusal = said.refusal();
            self.note(frame, connection, refusal).await?;
            let body = (self.groups_of(frame, connection, states, said.stamp.clock)).await?;
            let seen = said.stamp.snapshot.to_string();
            frame.engine.pool.note_snapshot(&seen);
            let answer = self.made(body, seen, refusal.is_none().then_some(said.stamp), sent);
            return Ok(self.brought_anew(answer, refusal));
        }
    }

    /// Asks what is new, and adds it.
    pub async fn add_new(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        (answer, stamp): (&Arc<Answer>, &Stamp),
        (grouping, states): (&Grouping, &States),
    ) -> Result<Verdict, Stop> {
        let told = &self.cache.stats;
        let merge = states.merge();
        let target = frame.engine.target();
        let base = self.base(answer, stamp);
        let stamped = new_states(&self.plan.query, grouping, &target, (merge, base))
            .map_err(Stop::Refused)?;
        let sent = Instant::now();
        let (new, said) = self.contributions(connection, &stamped, merge).await?;
        told.checks.add(1);
        let Some(news) = said.news().filter(|_| is_believed(stamp, &said)) else {
            return Ok(Verdict::Void);
        };
        told.new_events.add(news.events);
        if news.left || news.events > base.most_new {
            return Ok(Verdict::Void);
        }
        self.note_seen(frame, &said);
        let moved = said.stamp.edges != stamp.edges;
        if news.matching == 0 && !moved {
            return Ok(Verdict::Current(Arc::new(
                answer.confirmed(said.stamp, sent),
            )));
        }
        let mut states = if news.matching == 0 {
            states.clone()
        } else {
            states.with(&new)
        };
        // What was touched is looked up in what is kept, so it must be kept in the same way.
        let may_splice = !moved && states.is_looked_up_like(&new);
        if let (true, Some((first, _))) = (moved, said.stamp.edges) {
            states = states.since(first);
        }
        if states.is_loose() {
            states = (self.compact(frame, connection, grouping, &states)).await?;
        }
        if states.rows() > self.plan.splice.most_groups() {
            return Ok(Verdict::Void);
        }
        let clock = said.stamp.clock;
        let spliced = if may_splice {
            (self.splice(frame, connection, answer, (&states, &new), clock)).await?
        } else {
            None
        };
        let body = match spliced {
            Some(body) => {
                told.spliced.add(1);
                Body {
                    states: Some(states),
                    ..body
                }
            }
            None => self.groups_of(frame, connection, states, clock).await?,
        };
        Ok(Verdict::Merged(Arc::new(Answer {
            body: Arc::new(body),
            ..answer.confirmed(said.stamp, sent)
        })))
    }

    /// The rows that contributions come to. Reads no table, so it matters not under which snapshot.
    async fn groups_of(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        states: States,
        clock: Timestamp,
    ) -> Result<Body, Stop> {
        let statement = self.groups_statement(frame, &states.merged(), clock)?;
        let (mut body, _) = self.plain_rows(frame, connection, &statement).await?;
        body.states = (states.rows() <= self.plan.splice.most_groups()).then_some(states);
        Ok(body)
    }

    async fn compact(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        grouping: &Grouping,
        states: &States,
    ) -> Result<States, Stop> {
        let target = frame.engine.target();
        let Partial { sql, binds, types } = compacted(grouping, &target, &states.merged());
        let values = arguments(&binds).map_err(Stop::Refused)?;
        let mut compact = States::new(&types, states.merge(), self.plan.keys());
        let mut rows = sqlx::query_with(sql_text(&sql), values).fetch(&mut connection.driver);
        while let Some(row) = rows.try_next().await? {
            compact.push(&row)?;
        }
        compact.finish();
        compact.settle();
        Ok(compact)
    }
}

impl Cached {
    /// Runs a stamped statement of contributions.
    async fn contributions(
        &self,
        connection: &mut Connection,
        stamped: &StampedStates,
        merge: Merge,
    ) -> Result<(States, Said), Stop> {
        let Partial { sql, binds, types } = &stamped.partial;
        let values = arguments(binds).map_err(Stop::Refused)?;
        let mut states = States::new(types, merge, self.plan.keys());
        let mut found = None;
        let mut rows = sqlx::query_with(sql_text(sql), values).fetch(&mut connection.driver);
        while let Some(row) = rows.try_next().await? {
            if found.is_none() {
                found = Some(said(&row, types.len())?);
            }
            if !is_null(&row, Some(stamped.marker))? {
                states.push(&row)?;
            }
            // The JavaScript thread may be the one that polls.
            if states.rows() % 256 == 255 {
                tokio::task::yield_now().await;
            }
        }
        let found = found.ok_or_else(|| unexpected("a statement without its stamp"))?;
        states.finish();
        Ok((states, found))
    }

    /// An answer that was read anew, and why it is not kept where it isn't.
    pub fn brought_anew(
        &self,
        answer: Arc<Answer>,
        refusal: Option<super::stamp::Refusal>,
    ) -> Brought {
        let refusal = refusal.filter(|_| !self.needed.allows_inexact());
        Brought {
            answer,
            outcome: refusal.map_or(Outcome::Miss, |_| Outcome::Off),
            refusal,
        }
    }
}
