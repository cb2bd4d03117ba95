//! A run in slices: the leader and the others read theirs, and what they give is brought together.

use std::time::Instant;

use futures_util::future::{try_join, try_join_all};

use super::Slices;
use super::gather::{Gathering, gather, of_another};
use super::knowledge::Way;
use super::rows::{self, Answered, Asked};
use crate::exec::batch::Batch;
use crate::exec::connection::Connection;
use crate::exec::frame::Frame;
use crate::exec::lease::Lease;
use crate::exec::snapshot::Exported;
use crate::exec::stop::Stop;
use crate::model::{Error, Result, time::Timestamp};
use crate::plan::{Meet, Slicing};
use crate::sql::{Merged, Purpose, Share, merged, partial, rows_of};

impl Slices {
    pub async fn cut(&self, frame: &Frame<'_>, slicing: Slicing, workers: usize) -> Result<Batch> {
        let mut leader = frame.lease().await?;
        let began = Instant::now();
        let mut others = Vec::with_capacity(workers - 1);
        while others.len() + 1 < workers
            && let Some(lease) = frame.try_lease().await
        {
            others.push(lease);
        }
        if others.is_empty() {
            self.tell(frame, Err("no other connection was free".to_owned()));
            return self.alone(frame, Some(leader)).await;
        }
        let state = Gathering::default();
        let floor = frame.engine.pool.seen_snapshot();
        let connection = leader.connection();
        let outcome = self
            .sliced(frame, slicing, connection, others, &floor, &state)
            .await;
        match &outcome {
            // A page that is full before its slices are read: dropped, its lease stops the statement.
            Ok(Answered { is_over: false, .. }) => drop(leader),
            _ => leader.end_transaction(&outcome).await,
        }
        match outcome.map_err(Error::from) {
            Ok(Answered { batch, .. }) => {
                if self.purpose == Purpose::Buffered {
                    (frame.engine.slices).note(self.fingerprint, Way::Slices, began.elapsed());
                }
                Ok(batch)
            }
            Err(error) if frame.has_sent() => Err(error),
            Err(_) if state.is_full() => {
                self.tell(frame, Err("there are too many groups to merge".to_owned()));
                self.alone(frame, None).await
            }
            Err(error) if is_of_slices(&error) => {
                self.tell(frame, Err("the statements of slices failed".to_owned()));
                self.alone(frame, None).await
            }
            Err(error) => Err(error),
        }
    }

    async fn sliced(
        &self,
        frame: &Frame<'_>,
        slicing: Slicing,
        leader: &mut Connection,
        mut others: Vec<Lease>,
        floor: &str,
        state: &Gathering,
    ) -> Result<Answered, Stop> {
        // A snapshot that is held was adopted with the connection.
        let exported = match &frame.snapshot {
            Some(held) => Exported::clone(held),
            None => leader.begin_exporting().await?,
        };
        let shares = self
            .shares(frame, slicing, leader, &exported, others.len() + 1)
            .await?;
        leader.one_process().await?;
        for spare in others.drain(shares.len().min(others.len() + 1) - 1..) {
            spare.release();
        }
        self.tell(frame, Self::said(slicing, &shares));
        let (Meet::Groups(merge), Some(grouping)) = (slicing.meet, &self.query.grouping) else {
            let asked = self.rows_of(frame, &shares, slicing.meet, exported.clock)?;
            return rows::answer(frame, &self.query, &asked, leader, others, &exported).await;
        };
        let target = frame.engine.target();
        let mut parts = (0_u64..)
            .zip(&shares)
            .map(|slice| partial(&self.query, grouping, &target, slice, merge, exported.clock))
            .collect::<Result<Vec<_>>>()
            .map_err(Stop::Refused)?;
        let first = parts.remove(0);
        let theirs = (others.into_iter().zip(&parts))
            .map(|(lease, part)| of_another(lease, &exported, part, state));
        let (mut gathered, more) = try_join(
            gather(leader, &first, state),
            // The leader's own statement goes on: it has to be stopped.
            async { try_join_all(theirs).await.map_err(Stop::Ours) },
        )
        .await?;
        for slice in more {
            gathered.append(slice);
        }
        let all = Merged {
            columns: gathered.into_arrays(),
            merge,
        };
        let statement = merged(&self.query, &target, self.purpose, &all, exported.clock)
            .map_err(Stop::Refused)?;
        Ok(Answered {
            batch: frame.produce(leader, &statement, floor).await?,
            is_over: true,
        })
    }

    pub fn rows_of(
        &self,
        frame: &Frame<'_>,
        shares: &[Share],
        meet: Meet,
        clock: Timestamp,
    ) -> Result<Asked, Stop> {
        let target = frame.engine.target();
        let slices = (shares.iter())
            .map(|share| rows_of(&self.query, &target, self.purpose, share, clock))
            .collect::<Result<Vec<_>>>()
            .map_err(Stop::Refused)?;
        let mut keys = Vec::new();
        let statements = slices.into_iter().map(|(statement, order)| {
            keys = order;
            statement
        });
        let statements = statements.collect();
        if meet == Meet::AnyOrder {
            keys.clear();
        }
        Ok(Asked { statements, keys })
    }
}

/// Whether the slices' statements failed where the query's own may not: it was parsed before a change
/// of the schema, or a sum of squares is beyond what a number can be.
fn is_of_slices(error: &Error) -> bool {
    matches!(error, Error::Database { sql_state, .. }
        if matches!(sql_state.as_str(), "0A000" | "26000" | "22003") || sql_state.starts_with("42"))
}
