//! The cache, looked after by hand: what is kept under a key, results that callers keep themselves, and
//! forgetting by key, glob and table.
//!
//! Forgetting is for memory and for entries whose freshness is only their age: an exact entry is never
//! wrong. An answer whose statement was sent before something was forgotten is not kept any more, or one
//! that was on its way would bring back what its caller wanted gone.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moka::sync::Cache as Memory;
use serde_json::json;

use super::{Answer, Cache, Key, scope::Scope, table};
use crate::exec::{Engine, IntoAscii};
use crate::model::Result;

/// A result that a caller keeps: opaque text.
#[derive(Clone, Debug)]
pub struct Held {
    text: Arc<str>,
    expires: Option<Instant>,
}

/// What callers keep, beside the answers of queries.
pub struct ByHand {
    held: Memory<String, Held>,
    /// When something was forgotten last.
    forgotten: Mutex<Option<Instant>>,
}

/// What is found under a key.
pub enum Found {
    /// What a caller has kept.
    Held(Arc<str>),
    /// The batches of a query's answer, as one JSON text.
    Answer(Vec<u8>),
}

/// The share of the cache's memory that callers may fill.
const SHARE: u64 = 4;

impl ByHand {
    pub(super) fn new(max_memory: u64) -> Self {
        let held = Memory::builder()
            .max_capacity(max_memory / SHARE)
            .weigher(|key: &String, held: &Held| {
                u32::try_from(key.len() + held.text.len() + 160).unwrap_or(u32::MAX)
            })
            .build();
        Self {
            held,
            forgotten: Mutex::default(),
        }
    }

    /// Entries, and the bytes that they take.
    pub(super) fn size(&self) -> (u64, u64) {
        self.held.run_pending_tasks();
        (self.held.entry_count(), self.held.weighted_size())
    }

    /// Whether a statement that was sent then may have missed that its answer was to be forgotten.
    pub(super) fn is_forgotten(&self, sent: Instant) -> bool {
        let forgotten = self
            .forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        forgotten.is_some_and(|at| sent <= at)
    }

    fn note(&self) {
        let mut forgotten = self
            .forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *forgotten = Some(Instant::now());
    }
}

impl Cache {
    /// What is kept under a key, whatever its age.
    pub fn find(&self, name: &str, token: impl Fn(&str) -> String) -> Option<Found> {
        if let Some(held) = self.by_hand.held.get(name) {
            if held.expires.is_none_or(|at| at > Instant::now()) {
                return Some(Found::Held(held.text));
            }
            self.by_hand.held.invalidate(name);
        }
        let (_, answer) = self.named(|key, _| key.name() == name).pop()?;
        let end = json!({
            "queryId": name,
            "token": token(&answer.seen),
            "rowCount": answer.body.rows,
            "executionTime": answer.cost.as_secs_f64() * 1000.0,
            "cache": "memory",
        });
        let mut text = b"{\"batches\":[".to_vec();
        for batch in answer.body.batches() {
            text.extend_from_slice(&batch.into_json());
            text.push(b',');
        }
        let end = end.to_string().into_bytes_ascii();
        text.extend_from_slice(&answer.body.last(&end).into_json());
        text.extend_from_slice(b"]}");
        Some(Found::Answer(text))
    }

    /// Keeps a caller's text. It answers no query.
    pub fn hold(self: &Arc<Self>, name: String, text: &str, ttl: Option<Duration>) {
        self.peers.listen(self);
        let ttl = ttl.or(self.options.ttl);
        if text.len() as u64 > self.options.max_memory / SHARE {
            self.stats.rejected.add(1);
            self.by_hand.held.invalidate(&name);
            return;
        }
        let expires = ttl.and_then(|ttl| Instant::now().checked_add(ttl));
        let text = Arc::from(text);
        self.by_hand.held.insert(name, Held { text, expires });
    }

    /// Forgets what is asked for, here at once, and elsewhere when the future has run, or as soon as that
    /// can be told.
    pub fn forget(self: &Arc<Self>, scope: Scope) -> impl Future<Output = ()> + use<> {
        self.apply(&scope);
        let cache = Arc::clone(self);
        async move {
            if let Some(table) = &cache.table {
                table.settle().await;
            }
            let redis = async {
                if let Some(redis) = &cache.redis {
                    redis.forget(scope.clone()).await;
                }
            };
            tokio::join!(redis, cache.peers.tell(scope.clone()));
        }
    }

    /// Forgets what is kept of an event table, and by hand.
    pub(super) fn forget_all(&self) {
        self.by_hand.note();
        self.memory.invalidate_all();
        self.by_hand.held.invalidate_all();
    }

    /// The queries that asked for the cache lately, here and, by the table, in other processes and earlier
    /// ones: what a warm-up begins with.
    ///
    /// # Errors
    /// Why the server could not be asked. That there is no such table, or no right to read it, is none.
    pub async fn workload(&self, engine: &Engine, most: usize) -> Result<Vec<String>> {
        let mut texts = table::queries(engine, most).await?;
        for text in self.plans.texts() {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        texts.truncate(most);
        Ok(texts)
    }

    /// Drops what has expired, here and in the database, and what has cost more than it saved; what did
    /// not pay a while ago is tried again.
    ///
    /// # Errors
    /// Why the server could not be asked. That there is no such table, or no right to change it, is none.
    pub async fn optimize(&self, engine: &Arc<Engine>) -> Result<()> {
        self.sweep();
        self.losers.clear();
        // What a process that keeps nothing there has no opinion on is how much the others may keep.
        let budget = if self.options.persistent {
            self.options.max_memory
        } else {
            u64::MAX
        };
        table::prune(engine, budget).await
    }

    /// Drops what has expired or did not pay, at once and not when it is next met.
    fn sweep(&self) {
        let now = Instant::now();
        for (key, _) in self.named(|_, answer| answer.is_expired() || answer.gain.is_negative()) {
            self.memory.invalidate(&key);
        }
        let old = |held: &Held| held.expires.is_some_and(|at| at <= now);
        let expired: Vec<_> = (self.by_hand.held.iter())
            .filter(|(_, held)| old(held))
            .map(|(key, _)| key)
            .collect();
        for key in expired {
            self.by_hand.held.invalidate(&*key);
        }
        self.memory.run_pending_tasks();
        self.by_hand.held.run_pending_tasks();
    }

    fn named(&self, is_it: impl Fn(&Key, &Answer) -> bool) -> Vec<(Arc<Key>, Arc<Answer>)> {
        (self.memory.iter())
            .filter(|(key, answer)| is_it(key, answer))
            .map(|(key, answer)| (Arc::clone(&*key), answer))
            .collect()
    }

    /// Forgets what is asked for in this process.
    pub(super) fn apply(&self, scope: &Scope) {
        // Before the look: what is kept from here on was asked for from here on.
        self.by_hand.note();
        if let Some(table) = &self.table {
            table.forget(scope);
        }
        let answers = self.named(|key, answer| scope.covers(&key.name(), &key.table, &answer.tags));
        let held: Vec<_> = (self.by_hand.held.iter())
            .filter(|(key, _)| scope.covers_held(key))
            .map(|(key, _)| key)
            .collect();
        (self.stats.invalidations).add((answers.len() + held.len()) as u64);
        for (key, _) in answers {
            self.memory.invalidate(&key);
        }
        for key in held {
            self.by_hand.held.invalidate(&*key);
        }
    }
}
