//! Cached answers that are never stale: each knows the snapshot that it was read under, and is brought
//! up to date by reading only the events that this snapshot could not see.
//!
//! Nothing is invalidated by messages that could be lost. A strict read asks the database, in one
//! statement over an index, whether anything is new, and merges it. `sql::exact` has the statements,
//! [`stamp`] the rules by which an entry is believed, [`slot`] who asks when, [`attempt`] the run.

mod ahead;
mod answer;
mod attempt;
mod blob;
mod block;
mod breaker;
mod by_hand;
mod explain;
mod fresh;
mod glob;
mod grouped;
mod key;
mod options;
mod peers;
mod plan;
mod redis;
mod scope;
mod slot;
mod splice;
mod stamp;
mod states;
mod stats;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod worth;

use std::sync::{Arc, Mutex, PoisonError, atomic::AtomicBool};
use std::time::{Duration, Instant};

use serde_json::{Value as Wire, json};

use moka::{notification::RemovalCause, sync::Cache as Memory};

pub use answer::{Answer, Body};
pub use by_hand::{ByHand, Found};
pub use key::Key;
pub use options::Options;
pub use plan::{Plan, Question};
pub use redis::RedisOptions;
pub use scope::Scope;
pub use stamp::{Refusal, Stamp};
pub use stats::Stats;

use crate::exec::{Engine, Mode, Run, RunOptions};
use crate::model::Result;
use attempt::{Cached, Outcome};
use plan::Plans;
use slot::Slots;

/// The cache of one client.
pub struct Cache {
    /// What it was asked to be.
    pub options: Options,
    /// What it has done.
    pub stats: Arc<Stats>,
    memory: Memory<Arc<Key>, Arc<Answer>>,
    losers: worth::Losers,
    by_hand: ByHand,
    redis: Option<Arc<redis::Redis>>,
    table: Option<Arc<table::Table>>,
    peers: Arc<peers::Peers>,
    ahead: ahead::Ahead,
    slots: Slots,
    plans: Plans,
    /// Why answers can't be exact for now, and until when nothing else is tried.
    inexact: Mutex<Option<(Refusal, Instant)>>,
    /// Whether the event table was found to have partitions.
    partitioned: AtomicBool,
    /// Whether the last check found that no transaction had ended since the look before.
    is_quiet: AtomicBool,
}

/// How long the server is not asked again after it could not give what exactness needs.
const RETRY: Duration = Duration::from_secs(2);
/// One entry may take this share of the memory.
const LARGEST_SHARE: u64 = 4;

impl Cache {
    /// An empty cache of a client. Needs a tokio runtime around it.
    pub fn new(options: Options, engine: &Arc<Engine>) -> Arc<Self> {
        let stats: Arc<Stats> = Arc::default();
        let told = Arc::clone(&stats);
        let memory = Memory::builder()
            .max_capacity(options.max_memory)
            .weigher(|key: &Arc<Key>, answer: &Arc<Answer>| {
                u32::try_from(key.weight() + answer.weight()).unwrap_or(u32::MAX)
            })
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    told.evictions.add(1);
                }
            })
            .build();
        // Its url was checked with the options.
        let redis = (options.redis.as_ref()).and_then(|redis| redis::Redis::connect(redis).ok());
        let table = (options.persistent).then(|| table::Table::new(engine, options.max_memory));
        let by_hand = ByHand::new(options.max_memory);
        Arc::new(Self {
            options,
            by_hand,
            redis,
            table,
            peers: peers::Peers::new(engine),
            ahead: ahead::Ahead::new(),
            stats,
            memory,
            losers: worth::Losers::new(),
            slots: Slots::default(),
            plans: Plans::default(),
            inexact: Mutex::default(),
            partitioned: AtomicBool::new(false),
            is_quiet: AtomicBool::new(false),
        })
    }

    /// Enters a run that the cache may answer; `None` where it has no part in it.
    ///
    /// # Errors
    /// What is wrong with the query or its options; CLOSED.
    pub fn enter(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        query: &str,
        options: &RunOptions,
    ) -> Result<Option<Run>> {
        // A snapshot that is held is what its queries are to see.
        if options.snapshot.is_some() {
            return Ok(None);
        }
        let started = Instant::now();
        let Some(plan) = self.plan_of(engine, query)? else {
            return Ok(None);
        };
        (self.enter_plan(engine, &plan, options, started)).map(Some)
    }

    /// Enters the run of a question that is no query, which the cache answers where it may.
    ///
    /// # Errors
    /// What is wrong with its options; CLOSED.
    pub fn enter_question(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        mut asked: Question,
        options: RunOptions,
        mode: Mode,
    ) -> Result<Run> {
        let started = Instant::now();
        if let Some(freshness) = asked.hints.cache.take() {
            // A snapshot that is held is what its questions are to see.
            if mode == Mode::Buffered && options.snapshot.is_none() {
                let plan = Arc::new(Plan::of_question(engine, asked, freshness));
                return self.enter_plan(engine, &plan, &options, started);
            }
            asked.hints.declined.push(("cache", "on".to_owned()));
        }
        match asked.strategy {
            Some(strategy) => {
                engine.enter_strategy(strategy, asked.shape, &asked.hints, options, mode)
            }
            None => engine.enter_compiled(asked.statement, &asked.hints, options, mode),
        }
    }

    fn enter_plan(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        plan: &Arc<Plan>,
        options: &RunOptions,
        started: Instant,
    ) -> Result<Run> {
        let needed = self.options.freshness(&plan.freshness, engine)?;
        let run_options = RunOptions {
            query_id: options.query_id.clone().or_else(|| plan.query.id.clone()),
            ..options.clone()
        };
        let strategy = Cached {
            cache: Arc::clone(self),
            plan: Arc::clone(plan),
            needed,
        };
        let run = engine.enter_strategy(
            Box::new(strategy),
            Arc::clone(&plan.shape),
            &plan.query.hints,
            run_options,
            Mode::Buffered,
        )?;
        Ok(Run {
            regex: plan.regex.clone(),
            started,
            ..run
        })
    }

    fn plan_of(&self, engine: &Arc<Engine>, query: &str) -> Result<Option<Arc<Plan>>> {
        // The hint has no other name, so a query without the word has none.
        if !query.contains("\"cache\"") {
            return Ok(None);
        }
        self.plans.of(engine, query)
    }

    /// The key of a query's result.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn key_of(&self, engine: &Arc<Engine>, query: &str) -> Result<String> {
        Plan::key_of(engine, query)
    }

    /// What is kept under a plan's key.
    pub fn kept(&self, key: &Arc<Key>) -> Option<Arc<Answer>> {
        let answer = self.memory.get(key)?;
        if answer.is_expired() {
            self.memory.invalidate(key);
            return None;
        }
        Some(answer)
    }

    /// Keeps an answer, unless a newer one is kept already.
    pub fn keep(&self, key: &Arc<Key>, answer: &Arc<Answer>) {
        if answer.weight() > self.options.max_memory / LARGEST_SHARE {
            self.stats.rejected.add(1);
            return;
        }
        if self.by_hand.is_forgotten(answer.checked) || self.losers.has(key) {
            return;
        }
        if answer.gain.is_loss() {
            self.stats.rejected.add(1);
            self.losers.add(key);
            self.memory.invalidate(key);
            return;
        }
        let before = self.memory.get(key);
        if (before.as_ref()).is_some_and(|before| before.is_newer_than(answer)) {
            return;
        }
        self.memory.insert(Arc::clone(key), Arc::clone(answer));
        // What is too much is evicted here and now; the same rows, found true again, are no more than they were.
        if !before.is_some_and(|before| Arc::ptr_eq(&before.body, &answer.body)) {
            self.memory.run_pending_tasks();
        }
    }

    /// What is kept in memory, else what other processes have shared, or earlier ones; and where it was
    /// found, if not in memory.
    async fn or_shared(
        &self,
        key: &Key,
        kept: Option<Arc<Answer>>,
    ) -> (Option<Arc<Answer>>, Option<Outcome>) {
        if kept.is_some() {
            return (kept, None);
        }
        if let Some(redis) = &self.redis
            && let Some(answer) = redis.get(key).await
        {
            return (Some(Arc::new(answer)), Some(Outcome::Redis));
        }
        if let Some(table) = &self.table
            && let Some(blob) = table.get(&key.name()).await
            && let Some(answer) = blob::read(key, &blob)
        {
            return (Some(Arc::new(answer)), Some(Outcome::Table));
        }
        (None, None)
    }

    /// Shares an answer with other processes, and later ones.
    fn share(&self, plan: &Arc<Plan>, answer: &Arc<Answer>) {
        if self.by_hand.is_forgotten(answer.checked) {
            return;
        }
        if let Some(redis) = &self.redis
            && let Some(blob) = blob::write(&plan.key, answer)
        {
            let left = (answer.expires).map(|at| at.saturating_duration_since(Instant::now()));
            redis.put(&plan.key.name(), blob, left);
        }
        if let Some(table) = &self.table {
            table.put(plan, answer);
        }
    }

    /// Writes what is to survive, and lets go of what is held outside.
    pub async fn close(&self) {
        if let Some(table) = &self.table {
            table.close().await;
        }
        if let Some(redis) = &self.redis {
            redis.close().await;
        }
        self.peers.close().await;
    }

    /// Entries, and the bytes that they take.
    pub fn size(&self) -> (u64, u64) {
        self.memory.run_pending_tasks();
        let (entries, bytes) = self.by_hand.size();
        (
            self.memory.entry_count() + entries,
            self.memory.weighted_size() + bytes,
        )
    }

    /// `CacheStats`, as far as this tier knows.
    pub fn told(&self) -> Wire {
        let (entries, bytes) = self.size();
        let mut told = self.stats.to_json();
        told["entries"] = entries.into();
        told["memoryBytes"] = bytes.into();
        told["maxMemoryBytes"] = self.options.max_memory.into();
        told["redis"] = self.redis.as_ref().map_or_else(
            || json!({ "enabled": false, "connected": false, "hits": 0, "misses": 0, "errors": 0 }),
            |redis| redis.told(),
        );
        told["table"] = self.table.as_ref().map_or_else(
            || json!({ "enabled": false, "hits": 0, "misses": 0, "errors": 0, "written": 0, "problem": null }),
            |table| table.told(),
        );
        told["peers"] = self.peers.told();
        told["refreshes"] = self.ahead.done.get().into();
        told
    }

    /// Adds to a health report what it says of the cache: why it can't be exact is a problem.
    pub fn add_health(&self, health: &mut Wire) {
        let refusal = self.last_refusal();
        let tokens = health["capabilities"]["tokens"].as_bool() == Some(true);
        health["capabilities"]["cache"] = (tokens && refusal.is_none()).into();
        health["cacheHitRate"] = self.stats.hit_rate().into();
        health["cacheMemoryBytes"] = self.size().1.into();
        if let (Some(refusal), Wire::Array(problems)) = (refusal, &mut health["problems"]) {
            problems.push(format!("answers are not cached exactly: {}", refusal.reason()).into());
            health["ok"] = false.into();
        }
    }

    /// Why answers can't be exact for now.
    pub fn inexact(&self) -> Option<Refusal> {
        let noted = self.inexact.lock().unwrap_or_else(PoisonError::into_inner);
        noted
            .filter(|(_, until)| *until > Instant::now())
            .map(|(refusal, _)| refusal)
    }

    /// Why answers were not exact when that was last tried.
    pub fn last_refusal(&self) -> Option<Refusal> {
        let noted = self.inexact.lock().unwrap_or_else(PoisonError::into_inner);
        noted.map(|(refusal, _)| refusal)
    }

    fn note_exactness(&self, refusal: Option<Refusal>) {
        let mut noted = self.inexact.lock().unwrap_or_else(PoisonError::into_inner);
        *noted = refusal.map(|refusal| (refusal, Instant::now() + RETRY));
    }
}
