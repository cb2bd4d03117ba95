//! Answers that processes share through Redis.
//!
//! Redis is never waited for: a query gives it some milliseconds, and where it fails again and again it
//! is left alone for a while. What comes from it is where a check begins, so an outage, an eviction or an
//! old copy costs a read and never a wrong answer.
//!
//! What is forgotten by hand raises a number that all entries carry: those of a lower one are void, for
//! all processes. While Redis can't be told, this process takes nothing from it, until it was.
//!
//! Who releases what: the task that holds the connection ends with this value; writes run in tasks of
//! their own, few at once, each with a deadline.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::prelude::{
    Builder, Client, ClientLike, Config, Expiration, KeysInterface, ReconnectPolicy,
};
use serde_json::{Value as Wire, json};
use tokio::{sync::Semaphore, task::JoinHandle};

use super::breaker::Breaker;
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
    /// Something was forgotten by hand, and Redis does not know yet.
    untold: AtomicBool,
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
            untold: AtomicBool::new(false),
            writes: Semaphore::new(WRITES),
            hits: Counter::default(),
            misses: Counter::default(),
            errors: Counter::default(),
        }))
    }

    /// What is kept under a name.
    pub async fn get(&self, name: &str) -> Option<Vec<u8>> {
        if self.breaker.is_resting() || (self.untold.load(Ordering::Acquire) && !self.tell().await)
        {
            return None;
        }
        // Boxed: the driver's futures are large, and each query's would hold room for them.
        let asked = Box::pin(async {
            let kept = self.client.get::<Option<Vec<u8>>, _>(self.key(name));
            let epoch = self.client.get::<Option<u64>, _>(self.epoch_key());
            tokio::try_join!(kept, epoch)
        });
        let (kept, epoch) = self.within(DEADLINE, asked).await?;
        let found = kept.and_then(|blob| {
            let (written, blob) = blob.split_first_chunk::<8>()?;
            (u64::from_le_bytes(*written) == epoch.unwrap_or(0)).then(|| blob.to_vec())
        });
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.add(1);
        found
    }

    /// Keeps bytes under a name, in the background; where many are on their way already, not at all.
    pub fn put(self: &Arc<Self>, name: &str, bytes: Vec<u8>, ttl: Option<Duration>) {
        if self.breaker.is_resting() || self.untold.load(Ordering::Acquire) {
            return;
        }
        let (tier, key) = (Arc::clone(self), self.key(name));
        drop(tokio::spawn(async move {
            let Ok(_place) = tier.writes.try_acquire() else {
                return;
            };
            let written = async {
                let epoch: Option<u64> = tier.client.get(tier.epoch_key()).await?;
                let mut blob = epoch.unwrap_or(0).to_le_bytes().to_vec();
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

    /// Voids all that is kept, for all processes: now, or as soon as Redis can be told.
    pub async fn forget(&self) {
        self.untold.store(true, Ordering::Release);
        self.tell().await;
    }

    async fn tell(&self) -> bool {
        if self.breaker.is_resting() {
            return false;
        }
        let told = Box::pin(self.client.incr::<u64, _>(self.epoch_key()));
        let told = self.within(DEADLINE * 4, told).await.is_some();
        if told {
            self.untold.store(false, Ordering::Release);
        }
        told
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

    fn epoch_key(&self) -> String {
        format!("{}epoch", self.prefix)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
