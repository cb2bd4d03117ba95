//! Answers that survive the process, in the table `query_cache`.
//!
//! The table is never waited for longer than a moment, and what comes from it is where a check begins: a
//! table that is missing, locked, read-only or out of date costs reads and never a wrong answer. It is
//! written in the background. An entry that changes all the time is written rarely: an old copy is as
//! good, as long as reading what is new since is quicker than reading all.
//!
//! Who releases what: writes open a connection and close it; the one that reads is closed once it has
//! been idle, when the client is closed, or with this value.

use std::{
    collections::HashMap,
    future::Future,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, atomic::AtomicBool, atomic::Ordering},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value as Wire, json};
use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use super::answer::Answer;
use super::blob;
use super::breaker::Breaker;
use super::plan::Plan;
use super::scope::Scope;
use super::stats::Counter;
use super::store::{self, Entry};
use crate::exec::{Engine, fault};
use crate::model::Error;

/// The longest that a query waits for the table: a lock alone gives up sooner.
const PATIENCE: Duration = Duration::from_secs(1);
/// The longest that what is written at once may take; and at close, where somebody waits.
const WORK: Duration = Duration::from_secs(30);
const GOODBYE: Duration = Duration::from_secs(1);
/// How often what waits is written.
const PAUSE: Duration = Duration::from_secs(1);
/// An entry is written again no sooner.
const AGAIN: Duration = Duration::from_secs(30);
/// How often the table is pruned.
const PRUNED: Duration = Duration::from_mins(1);
/// How long the table is left alone when it is missing, or may not be used.
const BARRED: Duration = Duration::from_mins(1);
/// A connection that reads is closed after this without use.
const IDLE: Duration = Duration::from_secs(10);
/// Where an entry does not say how long it is kept, and the longest.
const KEPT: Duration = Duration::from_hours(24);
const LONGEST: Duration = Duration::from_hours(24 * 3650);
/// Entries that wait; of one that finds no room the next version may.
const MOST_WAITING: usize = 1000;
/// A larger answer is read anew: the server takes long to store it.
const LARGEST: usize = 16 << 20;

/// The tier in the database.
pub struct Table {
    engine: Weak<Engine>,
    /// Bytes that the entries may take.
    budget: u64,
    breaker: Breaker,
    reader: tokio::sync::Mutex<Option<(PgConnection, Instant)>>,
    writing: tokio::sync::Mutex<()>,
    waiting: Mutex<Waiting>,
    problem: Mutex<Option<String>>,
    closed: AtomicBool,
    hits: Counter,
    misses: Counter,
    errors: Counter,
    written: Counter,
}

#[derive(Default)]
struct Waiting {
    entries: HashMap<String, (Arc<Plan>, Arc<Answer>)>,
    written: HashMap<String, Instant>,
    used: HashMap<String, i32>,
    pruned: Option<Instant>,
}

impl Table {
    /// The tier of a client, that writes for as long as both are there. Needs a tokio runtime around it.
    pub fn new(engine: &Arc<Engine>, budget: u64) -> Arc<Self> {
        let table = Arc::new(Self {
            engine: Arc::downgrade(engine),
            budget,
            breaker: Breaker::default(),
            reader: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            waiting: Mutex::default(),
            problem: Mutex::default(),
            closed: AtomicBool::new(false),
            hits: Counter::default(),
            misses: Counter::default(),
            errors: Counter::default(),
            written: Counter::default(),
        });
        tokio::spawn(work(Arc::downgrade(&table)));
        table
    }

    /// What is kept under a name.
    pub async fn get(&self, name: &str) -> Option<Vec<u8>> {
        let engine = self.engine.upgrade()?;
        if self.breaker.is_resting() || self.is_closed() {
            return None;
        }
        let asked = Box::pin(async {
            let mut reader = self.reader.lock().await;
            // Taken out: where this future is dropped in the middle, the connection goes with it.
            let mut driver = match reader.take() {
                Some((driver, _)) => driver,
                None => store::connect(&engine.config.server).await?,
            };
            let found = store::get(&mut driver, &engine.target().table, name).await?;
            *reader = Some((driver, Instant::now()));
            Ok(found)
        });
        let found = self.within(PATIENCE, asked).await?;
        let blob = found.and_then(|text| BASE64.decode(text).ok());
        if blob.is_some() {
            self.hits.add(1);
            let mut waiting = self.waiting();
            if waiting.used.len() < MOST_WAITING {
                let times = waiting.used.entry(name.to_owned()).or_default();
                *times = times.saturating_add(1);
            }
        } else {
            self.misses.add(1);
        }
        blob
    }

    /// Has an answer written, in the background.
    pub fn put(&self, plan: &Arc<Plan>, answer: &Arc<Answer>) {
        if self.is_closed() {
            return;
        }
        let name = plan.key.name();
        let mut waiting = self.waiting();
        if waiting.entries.len() < MOST_WAITING || waiting.entries.contains_key(&name) {
            waiting
                .entries
                .insert(name, (Arc::clone(plan), Arc::clone(answer)));
        }
    }

    /// Drops what waits and is to be forgotten.
    pub fn forget(&self, scope: &Scope) {
        let is_kept = |name: &String, (plan, answer): &mut (Arc<Plan>, Arc<Answer>)| {
            !scope.covers(name, &plan.key.table, &answer.tags)
        };
        self.waiting().entries.retain(is_kept);
    }

    /// Waits for what is just being written.
    pub async fn settle(&self) {
        let _ = timeout(GOODBYE, self.writing.lock()).await;
    }

    /// Writes what waits and lets the connections go.
    pub async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if !self.breaker.is_resting() {
            // What is not written by then is read anew.
            let _ = timeout(GOODBYE, self.write(true)).await;
        }
        let reader = timeout(GOODBYE, self.reader.lock()).await;
        if let Some((driver, _)) = reader.ok().and_then(|mut reader| reader.take()) {
            let _ = timeout(GOODBYE, store::close(driver)).await;
        }
    }

    /// The part of `CacheStats`.
    pub fn told(&self) -> Wire {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "enabled": true,
            "hits": self.hits.get(),
            "misses": self.misses.get(),
            "errors": self.errors.get(),
            "written": self.written.get(),
            "problem": *problem,
        })
    }

    /// Writes what is due, or all that waits.
    async fn write(&self, all: bool) {
        let Some(engine) = self.engine.upgrade() else {
            return;
        };
        let _writing = self.writing.lock().await;
        let (due, used, prunes) = self.waiting().take_due(all);
        if due.is_empty() && used.is_empty() && !prunes {
            return;
        }
        let table = engine.target().table.clone();
        let written = async {
            let mut driver = store::connect(&engine.config.server).await?;
            for (plan, answer) in due {
                let Some(entry) = entry_of(&plan, &answer) else {
                    continue;
                };
                store::put(&mut driver, &table, &entry).await?;
                self.written.add(1);
                let mut waiting = self.waiting();
                waiting.written.insert(entry.name, Instant::now());
            }
            if !used.is_empty() {
                let (names, times): (Vec<_>, Vec<_>) = used.into_iter().unzip();
                store::note_use(&mut driver, &table, &names, &times).await?;
            }
            if prunes {
                prune_on(&mut driver, &engine, self.budget).await?;
                self.waiting().pruned = Some(Instant::now());
            }
            store::close(driver).await;
            Ok(())
        };
        self.within(WORK, written).await;
    }

    /// Waits so long and no longer; failures are counted, and nobody else hears of them.
    async fn within<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Option<T> {
        let problem = match timeout(limit, asked).await {
            Ok(Ok(answer)) => {
                self.breaker.succeeded();
                *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return Some(answer);
            }
            Ok(Err(error)) => fault(error),
            Err(_) => Error::Timeout(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        };
        self.errors.add(1);
        match &problem {
            Error::Database { sql_state, .. } if store::is_barred(sql_state) => {
                self.breaker.rest(BARRED);
            }
            _ => self.breaker.failed(),
        }
        let told = match problem {
            Error::Database { sql_state, message } => format!("{message} ({sql_state})"),
            other => other.to_string(),
        };
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        None
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Due = Vec<(Arc<Plan>, Arc<Answer>)>;

impl Waiting {
    /// What is to be written now, what was of use since, and whether to prune as well.
    fn take_due(&mut self, all: bool) -> (Due, HashMap<String, i32>, bool) {
        self.written.retain(|_, at| at.elapsed() < AGAIN);
        let names: Vec<String> = (self.entries.keys())
            .filter(|name| all || !self.written.contains_key(*name))
            .cloned()
            .collect();
        let due: Due = names
            .iter()
            .filter_map(|name| self.entries.remove(name))
            .collect();
        let used = mem::take(&mut self.used);
        // A client that writes nothing prunes nothing.
        let prunes = !due.is_empty() && self.pruned.is_none_or(|at| at.elapsed() > PRUNED);
        (due, used, prunes && !all)
    }
}

/// Removes from the table what has expired, and of the rest what was of no use for longest, down to so
/// many bytes.
///
/// # Errors
/// Why the server could not be asked. That there is no such table, or no right to change it, is none.
pub async fn prune(engine: &Engine, budget: u64) -> Result<(), Error> {
    if engine.pool.is_closed() {
        return Err(Error::Closed);
    }
    let pruning = async {
        let mut driver = store::connect(&engine.config.server).await?;
        let done = prune_on(&mut driver, engine, budget).await;
        store::close(driver).await;
        done
    };
    match pruning.await.map_err(fault) {
        Err(Error::Database { sql_state, .. }) if store::is_barred(&sql_state) => Ok(()),
        outcome => outcome,
    }
}

/// The queries whose answers the table keeps, those of most use first.
///
/// # Errors
/// Why the server could not be asked. That there is no such table, or no right to read it, is none.
pub async fn queries(engine: &Engine, most: usize) -> Result<Vec<String>, Error> {
    if engine.pool.is_closed() {
        return Err(Error::Closed);
    }
    let reading = async {
        let mut driver = store::connect(&engine.config.server).await?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let found = store::queries(&mut driver, &engine.target().table, most).await;
        store::close(driver).await;
        found
    };
    match reading.await.map_err(fault) {
        Err(Error::Database { sql_state, .. }) if store::is_barred(&sql_state) => Ok(Vec::new()),
        outcome => outcome,
    }
}

async fn prune_on(
    driver: &mut PgConnection,
    engine: &Engine,
    budget: u64,
) -> Result<(), sqlx::Error> {
    let budget = i64::try_from(budget).unwrap_or(i64::MAX);
    store::prune(driver, &engine.target().table, budget).await
}

/// An answer as a row, where it can be one.
fn entry_of(plan: &Plan, answer: &Answer) -> Option<Entry> {
    let stamp = answer.stamp.as_ref()?;
    // JSON in the database has no NUL.
    if answer.is_expired() || answer.tags.iter().any(|tag| tag.contains('\0')) {
        return None;
    }
    let blob = blob::write(&plan.key, answer).filter(|blob| blob.len() <= LARGEST)?;
    let left = (answer.expires).map(|at| at.saturating_duration_since(Instant::now()));
    let data = json!({
        "answer": BASE64.encode(blob),
        "incarnation": format!("{} {}", stamp.nonce, stamp.started),
        "xmax": stamp.snapshot.xmax(),
        "query": plan.text,
        "table": plan.key.table,
        "tags": &*answer.tags,
        "rows": answer.body.rows,
        "bytes": answer.body.bytes(),
        "cost": answer.cost.as_secs_f64() * 1000.0,
    });
    Some(Entry {
        name: plan.key.name(),
        hash: plan.key.hash(),
        data: data.to_string(),
        seconds: left.unwrap_or(KEPT).min(LONGEST).as_secs_f64(),
    })
}

async fn work(table: Weak<Table>) {
    loop {
        sleep(PAUSE).await;
        let Some(table) = table.upgrade().filter(|table| !table.is_closed()) else {
            return;
        };
        if !table.breaker.is_resting() {
            table.write(false).await;
        }
        if let Ok(mut reader) = table.reader.try_lock()
            && (reader.as_ref()).is_some_and(|(_, used)| used.elapsed() > IDLE)
            && let Some((driver, _)) = reader.take()
        {
            store::close(driver).await;
        }
    }
}
