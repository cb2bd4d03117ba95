//! Matches as a stage of a pipeline: found as those of a query are, and handed on to a statement.

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::json;
use uuid::Uuid;

use super::answer::{Answer, Matches, Texts};
use super::patterns;
use crate::exec::{BigintMode, Connection, Engine, Frame, Stop};
use crate::export::Finds;
use crate::model::{Error, Result};
use crate::query::{
    Condition, EventQuery,
    matching::Matching,
    pipeline::{MatchStage, Step},
};
use crate::sql::{Bind, Statement, event_source};

/// A value beyond this is refused by the server.
const MAX_BYTES: u64 = 1 << 29;

impl Answer {
    /// The answer of a stage; `then` works on its matches, where these are not the answer themselves.
    ///
    /// # Errors
    /// INVALID_QUERY where a pattern is too large.
    pub fn of_stage(engine: &Engine, stage: &MatchStage, then: Option<Statement>) -> Result<Self> {
        if let Matching::Pattern(pattern) = &stage.matching {
            patterns::check(pattern)?;
        }
        let mut query = EventQuery::parse(&json!({ "filter": {} }), &engine.catalog())?;
        let source = event_source(stage, &engine.target());
        if source.is_none() {
            let conditions = stage.before.iter().filter_map(|step| match step {
                Step::Match(condition) => Some(condition.clone()),
                _ => None,
            });
            query.filter = Condition::And(conditions.collect());
        }
        Ok(Self {
            query,
            source,
            matching: stage.matching.clone(),
            then,
        })
    }

    /// Finds the matches and binds them to what works on them.
    pub(super) async fn bound(
        &self,
        frame: &Frame<'_>,
        connection: &mut Connection,
        then: &Statement,
    ) -> Result<Statement, Stop> {
        let mode = self.mode(frame.engine.config.bigint);
        let matches = self.find(frame, connection, mode).await?;
        Self::bound_to(frame, &*matches, then)
    }

    /// How the integers of its matches are written: a mark of a bigint is nothing that the server could
    /// store.
    pub(super) const fn mode(&self, mode: BigintMode) -> BigintMode {
        match mode {
            BigintMode::Bigint if self.then.is_some() => BigintMode::String,
            mode => mode,
        }
    }

    /// Binds matches to what works on them.
    pub(super) fn bound_to(
        frame: &Frame<'_>,
        matches: &dyn Matches,
        then: &Statement,
    ) -> Result<Statement, Stop> {
        let limit = frame.engine.config.limits.max_result_bytes.min(MAX_BYTES);
        let rows = tokio::task::block_in_place(|| texts(matches, limit));
        let mut statement = then.clone();
        statement.binds[0] = Bind::Jsons(rows.map_err(Stop::Refused)?);
        Ok(statement)
    }
}

/// Each match as a list of what is told of it, with the ids in the place of its events.
fn texts(matches: &dyn Matches, limit: u64) -> Result<Vec<String>> {
    let mut texts = Vec::with_capacity(matches.len());
    let (mut bytes, mut ids) = (0, Vec::new());
    for i in 0..matches.len() {
        ids.clear();
        matches.ids(i, &mut ids);
        let named: Texts = ids.iter().map(|id| (*id, quoted(*id))).collect();
        let mut text = vec![b'['];
        matches.write(i, &named, &mut text)?;
        text.push(b']');
        bytes += text.len() as u64;
        if bytes > limit {
            return Err(Error::MatchLimit(
                format!("the matches that the next stages work on take more than {limit} bytes: narrow what is matched, or raise limits.maxResultBytes").into(),
            ));
        }
        let text = String::from_utf8(text);
        texts.push(text.map_err(|_| Error::Internal("a match that is no text".into()))?);
    }
    Ok(texts)
}

fn quoted(id: Uuid) -> Box<[u8]> {
    format!("\"{id}\"").into_bytes().into()
}

impl Finds for Answer {
    fn statement<'a>(
        &'a self,
        frame: &'a Frame<'a>,
        connection: &'a mut Connection,
    ) -> BoxFuture<'a, Result<Statement, Stop>> {
        async move {
            match &self.then {
                Some(then) => self.bound(frame, connection, then).await,
                None => Err(Stop::Refused(Error::Internal(
                    "matches without a statement".into(),
                ))),
            }
        }
        .boxed()
    }
}
