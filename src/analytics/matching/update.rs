//! Bringing an answer up to date: the keys that new events touch are read again, whole, and matched anew;
//! what was kept of the others is still true. A match depends on the events of its key alone, and on the
//! time of the last event, which says whether it is open.

use super::answer::{Answer, Matches};
use super::gathered::Gathered;
use super::kept::{Earlier, Found, TakeUp};
use super::making::Making;
use super::read::room;
use crate::exec::{Batch, BigintMode, Connection, Frame, Outdated, Stop, arguments, raw, sql_text};
use crate::model::{Result, field::Kind};
use crate::query::matching::Matching;
use crate::sql::{
    Base,
    matching::{self, KeyList, Matched, NEW, Projection},
};

/// Keys that are read again. Where new events touch more, all are.
const MAX_TOUCHED: u64 = 1_000;

impl Answer {
    /// Answers with what was kept of an earlier answer; `None` where it has to be made anew.
    pub(super) async fn brought_up_to_date(
        &self,
        frame: &Frame<'_>,
        outdated: Outdated<'_>,
    ) -> Result<Option<Batch>> {
        let Some(earlier) = Earlier::of(&outdated) else {
            return Ok(None);
        };
        let mut lease = frame.lease().await?;
        let answered = self
            .update_in_transaction(frame, lease.connection(), earlier, outdated.base)
            .await;
        lease.settle(&answered);
        Ok(answered?)
    }

    async fn update_in_transaction(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        earlier: Earlier<'_>,
        base: Base<'_>,
    ) -> Result<Option<Batch>, Stop> {
        let answered = match connection.begin_snapshot().await {
            Ok(snapshot) => {
                self.update_from(frame, connection, (earlier, base), &snapshot)
                    .await
            }
            Err(error) => Err(Stop::Driver(error)),
        };
        connection.end_reading(answered).await
    }

    async fn update_from(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        (earlier, base): (Earlier<'_>, Base<'_>),
        snapshot: &str,
    ) -> Result<Option<Batch>, Stop> {
        let mode = self.mode(frame.engine.config.bigint);
        let matches = self
            .match_touched(frame, connection, mode, (&earlier.kept.found, base))
            .await?;
        let Some(mut matches) = matches else {
            return Ok(None);
        };
        matches.finish();
        self.give(frame, connection, matches, snapshot, Some(earlier))
            .await
            .map(Some)
    }

    /// The matches of all keys, of which only those are looked at that new events touch.
    async fn match_touched<'a>(
        &'a self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        mode: BigintMode,
        (found, base): (&Found, Base<'_>),
    ) -> Result<Option<Box<dyn Matches + 'a>>, Stop> {
        let target = frame.engine.target();
        let limit = frame.engine.config.limits.max_result_bytes;
        // These count keys: what a key had come to before is found by its older events.
        let counts = matches!(&self.matching, Matching::Funnel(_) | Matching::Retention(_));
        let projection = Projection {
            since: counts.then_some(base.snapshot),
            ..self.projection()
        };
        let statement = matching::touched(&projection, base, &target, MAX_TOUCHED + 1);
        if projection.source.is_some() || !self.may_list(&statement.kinds) {
            return Ok(None);
        }
        let Some(keys) = keys_of(connection, &statement).await? else {
            return Ok(None);
        };
        let making = Making {
            answer: self,
            end: self.end(connection, &projection, &target).await?,
            kinds: statement.kinds,
            mode,
            width: projection.fields.len(),
            limit,
            watch: frame.watch.clone(),
        };
        let (room, most) = room(limit);
        let gathered = if keys.iter().all(KeyList::is_empty) {
            Some(Gathered::new(making.kinds.clone(), making.width, room))
        } else {
            let projection = projection.of_keys(Some(&keys));
            let statement = matching::gathered(&projection, &target, most + 1);
            making.gather(connection, &statement, room).await?
        };
        let Some(gathered) = gathered else {
            return Ok(None);
        };
        let mut matches = making.match_gathered(&gathered, 0).map_err(Stop::Refused)?;
        let mut before = None;
        if counts {
            let mut older = making
                .match_gathered(&gathered, NEW)
                .map_err(Stop::Refused)?;
            before = Some(older.keep(&(0..0)));
        }
        let kept = TakeUp {
            found,
            is_read: &|fields| gathered.has(fields),
            before,
        };
        matches.take_up(&kept).map_err(Stop::Refused)?;
        Ok(Some(matches))
    }

    /// Whether keys of these fields can be listed, and put in their order here.
    fn may_list(&self, kinds: &[Kind]) -> bool {
        !kinds.is_empty()
            && self.may_gather(kinds)
            && kinds.iter().all(|kind| KeyList::of(*kind).is_some())
    }
}

/// The keys that a statement answers, field by field; `None` where there are too many, or one has a field
/// that is missing.
async fn keys_of(
    connection: &mut Connection,
    statement: &Matched,
) -> Result<Option<Vec<KeyList>>, Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let rows = sqlx::query_with(sql_text(&statement.sql), values)
        .fetch_all(&mut connection.driver)
        .await?;
    let lists = statement.kinds.iter().map(|kind| KeyList::of(*kind));
    let Some(mut lists) = lists.collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    if rows.len() as u64 > MAX_TOUCHED {
        return Ok(None);
    }
    for row in &rows {
        for (i, list) in lists.iter_mut().enumerate() {
            if raw(row, i)?.and_then(|value| list.push(value)).is_none() {
                return Ok(None);
            }
        }
    }
    Ok(Some(lists))
}
