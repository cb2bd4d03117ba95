//! Answers that processes share through Redis.
//!
//! Redis is never waited for: a query gives it some milliseconds, and where it fails again and again it
//! is left alone for a while. What comes from it is where a check begins, so an outage, an eviction or an
//! old copy costs a read and never a wrong answer.
//!
//! What is forgotten by hand stands in a list in Redis, each with a number, and each entry carries the number
//! that was the last when it was written: it is void where anything behind it covers it, or where the
//! number is not in the list any more. While Redis can't be told, this process takes nothing from it.
//!
//! Who releases what: the task that holds the connection ends with this value; writes run in tasks of
//! their own, few at once, each with a deadline.

mod log;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::prelude::{
    Builder, Client, ClientLike, Config, Expiration, KeysInterface, ListInterface, LuaInterface,
    ReconnectPolicy,
};
use serde_json::{Value as Wire, json};
use tokio::{sync::Semaphore, task::JoinHandle};

use self::log::Log;
use super::answer::Answer;
use super::blob;
use super::breaker::Breaker;
use super::key::Key;
use super::scope::Scope;
use super::stats::Counter;
use crate::model::{
    Error, Result,
    path::Path,
    wire::{known_keys, object, text},
};

/// Where Redis is.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisOptions {
    url: String,
    prefix: String,
}

impl std::fmt::Debug for RedisOptions {
    /// Without the url, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redis {:?}", self.prefix)
    }
}

/// Plain or by TLS: one server, a cluster, or what sentinels watch.
const SCHEMES: [&str; 6] = [
    "redis://",
    "rediss://",
    "redis-cluster://",
    "rediss-cluster://",
    "redis-sentinel://",
    "rediss-sentinel://",
];
/// The longest that a query waits for it.
const DEADLINE: Duration = Duration::from_millis(25);
/// The same for what no query waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Writes at once.
const WRITES: usize = 8;
/// Where an entry does not say how long it is kept.
const KEPT: Duration = Duration::from_hours(24);

/// The shared tier.
pub struct Redis {
    client: Client,
    connection: JoinHandle<Result<(), fred::error::Error>>,
    prefix: String,
    breaker: Breaker,
    /// What was forgotten by hand, and Redis does not know yet.
    untold: Mutex<Vec<Scope>>,
    /// The list as it was read last.
    log: Mutex<Arc<Log>>,
    telling: tokio::sync::Mutex<()>,
    writes: Semaphore,
    hits: Counter,
    misses: Counter,
    errors: Counter,
}

impl RedisOptions {
    /// Parses the client's `redis` option.
    ///
    /// # Errors
    /// INVALID_QUERY with the option's path; the url is never part of a message.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let path = root.key("redis");
        let (url, prefix) = if wire.is_string() {
            (text(wire, &path)?, "tamma:")
        } else {
            let members = object(wire, &path, "a url or { url, keyPrefix }")?;
            known_keys(members, &path, &["url", "keyPrefix"])?;
            let missing = || Error::invalid(path.key("url"), "is missing");
            let url = members.get("url").ok_or_else(missing)?;
            let prefix = members.get("keyPrefix");
            let prefix = prefix
                .map(|p| text(p, &path.key("keyPrefix")))
                .transpose()?;
            (text(url, &path.key("url"))?, prefix.unwrap_or("tamma:"))
        };
        let is_redis = SCHEMES.iter().any(|scheme| url.starts_with(scheme));
        if !is_redis || Config::from_url(url).is_err() {
            return Err(Error::invalid(
                path,
                "is not a Redis url such as redis://user:password@host:6379/0",
            ));
        }
        Ok(Self {
            url: url.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

impl Redis {
    /// Begins to connect, and goes on as often as it takes. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// INVALID_QUERY where the client can't be made of the options.
    pub fn connect(options: &RedisOptions) -> Result<Arc<Self>> {
        let refused = |_| Error::invalid("redis", "cannot be connected to with these options");
        let mut config = Config::from_url(&options.url).map_err(refused)?;
        config.fail_fast = false;
        let mut builder = Builder::from_config(config);
        builder
            .with_connection_config(|connection| {
                connection.connection_timeout = PATIENCE;
                connection.internal_command_timeout = PATIENCE;
                connection.max_command_attempts = 1;
                connection.max_command_buffer_len = 1000;
            })
            .with_performance_config(|performance| performance.default_command_timeout = PATIENCE)
            .set_policy(ReconnectPolicy::new_exponential(0, 50, 2000, 2));
        let client = builder.build().map_err(refused)?;
        Ok(Arc::new(Self {
            connection: client.connect(),
            client,
            prefix: options.prefix.clone(),
            breaker: Breaker::default(),
            untold: Mutex::default(),
            log: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            writes: Semaphore::new(WRITES),
            hits: Counter::default(),
            misses: Counter::default(),
            errors: Counter::default(),
        }))
    }

    /// What is kept under a key.
    pub async fn get(&self, key: &Key) -> Option<Answer> {
        if self.breaker.is_resting() || (!self.untold().is_empty() && !self.tell().await) {
            return None;
        }
        // Boxed: the driver's futures are large, and each query's would hold room for them.
        let asked = Box::pin(async {
            let kept = self.client.get::<Option<Vec<u8>>, _>(self.key(&key.name()));
            let last = self.client.lindex::<Option<String>, _>(self.log_key(), -1);
            let (kept, last) = tokio::try_join!(kept, last)?;
            let log = match last {
                Some(last) => self.log(&last).await?,
                None => Arc::default(),
            };
            Ok((kept, log))
        });
        let (kept, log) = self.within(DEADLINE, asked).await?;
        let found = kept.and_then(|blob| {
            let (written, blob) = blob.split_first_chunk::<8>()?;
            let answer = blob::read(key, blob)?;
            let covers = |scope: &Scope| scope.covers(&key.name(), &key.table, &answer.tags);
            let stands = log.stands(u64::from_le_bytes(*written), covers);
            stands.then_some(answer)
        });
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.add(1);
        found
    }

    /// The list whose last entry is this.
    async fn log(&self, last: &str) -> Result<Arc<Log>, fred::error::Error> {
        let known = Arc::clone(&self.log.lock().unwrap_or_else(PoisonError::into_inner));
        if known.ends_with(last) {
            return Ok(known);
        }
        let entries: Vec<String> = self.client.lrange(self.log_key(), 0, -1).await?;
        let read = Arc::new(Log::read(&entries));
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&read);
        Ok(read)
    }

    /// Keeps bytes under a name, in the background; where many are on their way already, not at all.
    pub fn put(self: &Arc<Self>, name: &str, bytes: Vec<u8>, ttl: Option<Duration>) {
        if self.breaker.is_resting() || !self.untold().is_empty() {
            return;
        }
        let (tier, key) = (Arc::clone(self), self.key(name));
        drop(tokio::spawn(async move {
            let Ok(_place) = tier.writes.try_acquire() else {
                return;
            };
            let written = async {
                let number: String =
                    (tier
                        .client
                        .eval(log::LAST, vec![tier.log_key()], Vec::<String>::new()))
                    .await?;
                let mut blob = number.parse().unwrap_or(0_u64).to_le_bytes().to_vec();
                blob.extend_from_slice(&bytes);
                let millis = i64::try_from(ttl.unwrap_or(KEPT).as_millis()).unwrap_or(i64::MAX);
                let expires = Some(Expiration::PX(millis.max(1)));
                let value: fred::types::Value = blob.as_slice().into();
                tier.client
                    .set::<(), _, _>(key, value, expires, None, false)
                    .await
            };
            tier.within(PATIENCE, written).await;
        }));
    }

    /// Voids what is to be forgotten, for all processes: now, or as soon as Redis can be told.
    pub async fn forget(&self, scope: Scope) {
        self.untold().push(scope);
        self.tell().await;
    }

    async fn tell(&self) -> bool {
        if self.breaker.is_resting() {
            return false;
        }
        let _telling = self.telling.lock().await;
        let scopes = mem::take(&mut *self.untold());
        let entries: Vec<String> = (scopes.iter())
            .map(|scope| scope.to_wire().to_string())
            .collect();
        if entries.is_empty() {
            return true;
        }
        let told = Box::pin(self.client.eval::<String, _, _, _>(
            log::ADD,
            vec![self.log_key()],
            entries,
        ));
        let told = self.within(DEADLINE * 4, told).await.is_some();
        if !told {
            let mut untold = self.untold();
            let newer = mem::replace(&mut *untold, scopes);
            untold.extend(newer);
        }
        told
    }

    /// Closes the connection.
    pub async fn close(&self) {
        // Where that fails it is closed with this value.
        let _ = tokio::time::timeout(PATIENCE, self.client.quit()).await;
        self.connection.abort();
    }

    /// The part of `CacheStats`.
    pub fn told(&self) -> Wire {
        json!({
            "enabled": true,
            "connected": self.client.is_connected(),
            "hits": self.hits.get(),
            "misses": self.misses.get(),
            "errors": self.errors.get(),
        })
    }

    /// Waits so long and no longer; failures are counted, and nobody else hears of them.
    async fn within<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<T, fred::error::Error>>,
    ) -> Option<T> {
        if let Ok(Ok(answer)) = tokio::time::timeout(limit, asked).await {
            self.breaker.succeeded();
            return Some(answer);
        }
        self.errors.add(1);
        self.breaker.failed();
        None
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn log_key(&self) -> String {
        format!("{}forgotten", self.prefix)
    }

    fn untold(&self) -> MutexGuard<'_, Vec<Scope>> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
