//! Reading the events of a query, key by key, and finding the matches among them.
//!
//! What fits into memory comes in no order and is put in order here. More than that is sorted by the
//! server, and read one key at a time.

use serde_json::Value as Wire;
use sqlx::Row;

use super::answer::{Answer, Matches};
use super::gathered::ROW;
use super::making::Making;
use crate::exec::{BigintMode, Connection, Frame, Stop, arguments, sql_text};
use crate::model::field::Kind;
use crate::query::matching::Matching;
use crate::sql::{
    Target, explain,
    matching::{self, KeyList, Matched, Projection},
};

/// What the events of all keys may take in memory, whatever the limit of a result is.
const MAX_GATHERED: u64 = 256 << 20;
/// Keys with a rare step that are looked up one by one.
const MAX_KEYS: u64 = 1_000;
/// Conditions whose rarity is worth asking for.
const MAX_ESTIMATED: u32 = 8;

impl Answer {
    /// Reads what the query is matched in, and finds its matches.
    pub(super) async fn look_for<'a>(
        &'a self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        mode: BigintMode,
        target: &Target,
    ) -> Result<Box<dyn Matches + 'a>, Stop> {
        let limit = frame.engine.config.limits.max_result_bytes;
        let mut projection = self.projection();
        let end = self.end(connection, &projection, target).await?;
        let mut conditions = Vec::new();
        for bit in self.estimated_bits() {
            let statement = matching::one_condition(&projection, bit, target);
            conditions.push((bit, estimate(connection, &statement).await?.0));
        }
        projection.rare = rare(&conditions);
        let mut keys = None;
        if let Some(statement) = keys_with_rare(&projection, &conditions, target) {
            let found = texts(connection, &statement).await?;
            if found.is_empty() {
                let nothing = self.matches(statement.kinds, mode, end);
                return nothing.map_err(Stop::Refused);
            }
            keys = are_few(&found).then_some([KeyList::Texts(found)]);
        }
        let projection = projection.of_keys(keys.as_ref().map(<[_; 1]>::as_slice));
        let (room, most) = room(limit);
        let statement = matching::gathered(&projection, target, most + 1);
        let making = Making {
            answer: self,
            kinds: statement.kinds.clone(),
            mode,
            end,
            width: projection.fields.len(),
            limit,
            watch: frame.watch.clone(),
        };
        if self.may_gather(&making.kinds)
            && fits(
                self.expected(frame, connection, &conditions, &statement)
                    .await?,
                most,
            )
            && let Some(gathered) = making.gather(connection, &statement, room).await?
        {
            return making.match_gathered(&gathered, 0).map_err(Stop::Refused);
        }
        let statement = matching::rows(&projection, target);
        if !self.may_gather(&making.kinds) && self.is_hinted() {
            let (_, plan) = estimate(connection, &statement).await?;
            self.tell_shared(frame, &plan);
        }
        making.one_by_one(connection, &statement).await
    }

    /// The time of the last event, where it matters.
    pub(super) async fn end(
        &self,
        connection: &mut Connection,
        projection: &Projection<'_>,
        target: &Target,
    ) -> Result<i64, Stop> {
        match &self.matching {
            Matching::Sequence(sequence) if sequence.can_be_open() => {
                time_of(connection, &matching::end(projection, target)).await
            }
            _ => Ok(0),
        }
    }

    /// The order of keys shows in that of a pattern's matches, and JSON's is the server's.
    pub(super) fn may_gather(&self, kinds: &[Kind]) -> bool {
        !(self.is_ordered() && kinds.contains(&Kind::Json))
    }

    /// Whether the order of keys shows.
    pub(super) fn is_ordered(&self) -> bool {
        match &self.matching {
            Matching::Pattern(_) => true,
            // An event that has several keys may be the last of matches of each.
            Matching::Sequence(sequence) => {
                let mut keys = sequence.conditions.0.iter().map(|(_, fields)| fields);
                let first = keys.next();
                keys.any(|fields| Some(fields) != first)
            }
            Matching::Funnel(_) | Matching::Retention(_) => false,
        }
    }

    /// How many rows the server expects of a statement: asked for where those of its conditions do not
    /// tell that they are few, or it is to be said how it is read.
    async fn expected(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        conditions: &[(usize, f64)],
        statement: &Matched,
    ) -> Result<f64, Stop> {
        let all: f64 = conditions.iter().map(|(_, rows)| rows).sum();
        if !self.is_hinted() && !conditions.is_empty() && all < 100_000.0 {
            return Ok(all);
        }
        let (rows, plan) = estimate(connection, statement).await?;
        self.tell_shared(frame, &plan);
        Ok(rows)
    }

    /// The required bits whose rarity may matter.
    pub(super) fn estimated_bits(&self) -> Vec<usize> {
        let projection = self.projection();
        let mut keys = projection.conditions.iter().map(|(_, key)| key);
        if keys.any(Vec::is_empty)
            || !(2..=MAX_ESTIMATED).contains(&projection.required.count_ones())
        {
            return Vec::new();
        }
        (0..projection.conditions.len())
            .filter(|bit| projection.required >> bit & 1 == 1)
            .collect()
    }
}

/// The memory for the rows of all keys, and how many rows these are at most.
pub fn room(limit: u64) -> (u64, u64) {
    let room = limit.min(MAX_GATHERED);
    (room, room / ROW)
}

/// Whether so many rows as are expected come to no more than `most`.
#[allow(clippy::cast_precision_loss)] // Far below 2^53.
pub fn fits(expected: f64, most: u64) -> bool {
    expected <= most as f64
}

/// The bits that are so rare that it pays to look for the keys that have them first.
pub fn rare(conditions: &[(usize, f64)]) -> u64 {
    let all: f64 = conditions.iter().map(|(_, rows)| rows).sum();
    conditions
        .iter()
        .filter(|(_, rows)| *rows >= 0.0 && rows * 8.0 < all && all > 1000.0)
        .fold(0, |bits, (bit, _)| bits | 1 << bit)
}

/// Asks for the keys that have the rarest of the rare bits, where such keys can be listed.
pub fn keys_with_rare(
    projection: &Projection<'_>,
    conditions: &[(usize, f64)],
    target: &Target,
) -> Option<Matched> {
    let rare = conditions
        .iter()
        .filter(|(bit, _)| projection.rare >> bit & 1 == 1);
    let (bit, _) = rare.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    matching::keys_with(projection, *bit, target, MAX_KEYS + 1)
}

/// Whether keys are looked up one by one. So many that they are not are joined by the server.
pub fn are_few(keys: &[String]) -> bool {
    keys.len() as u64 <= MAX_KEYS
}

/// The texts that a statement answers.
async fn texts(connection: &mut Connection, statement: &Matched) -> Result<Vec<String>, Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let rows = sqlx::query_with(sql_text(&statement.sql), values)
        .fetch_all(&mut connection.driver)
        .await?;
    Ok(rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?)
}

/// How many rows the server expects of a statement, and its plan.
pub async fn estimate(
    connection: &mut Connection,
    statement: &Matched,
) -> Result<(f64, Wire), Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let sql = explain::statement(&statement.sql, false);
    let row = sqlx::query_with(sql_text(&sql), values)
        .fetch_one(&mut connection.driver)
        .await?;
    let mut plan: sqlx::types::Json<Wire> = row.try_get(0)?;
    let plan = plan.0[0].take();
    let rows = plan["Plan"]["Plan Rows"].as_f64().unwrap_or(f64::MAX);
    Ok((rows, plan))
}

/// The time that a statement answers; before all others where there is none.
async fn time_of(connection: &mut Connection, statement: &Matched) -> Result<i64, Stop> {
    let values = arguments(&statement.binds).map_err(Stop::Refused)?;
    let row = sqlx::query_with(sql_text(&statement.sql), values)
        .fetch_one(&mut connection.driver)
        .await?;
    let time = crate::exec::raw(&row, 0)?.and_then(|bytes| bytes.try_into().ok());
    Ok(time.map_or(i64::MIN, i64::from_be_bytes))
}
