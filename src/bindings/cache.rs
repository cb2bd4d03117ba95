//! The cache, as JavaScript holds it.

use std::{sync::Arc, time::Duration};

use napi::{Env, Result};
use napi_derive::napi;
use serde_json::{Value as Wire, json};

use super::answer::{answer, promised};
use super::client::NativeClient;
use super::port::Port;
use super::value::Made;
use crate::cache::{Cache, Found, Options, Scope};
use crate::exec::Engine;
use crate::model::{self, Error, duration::duration, path::Path};

/// Kept answers. Answers are JSON text.
#[napi]
pub struct NativeCache {
    engine: Arc<Engine>,
    port: Arc<Port>,
    cache: Arc<Cache>,
}

#[napi]
impl NativeCache {
    /// The cache of a client.
    #[napi(factory, catch_unwind)]
    pub fn of(client: &NativeClient) -> Self {
        let (engine, port) = client.parts();
        Self {
            engine,
            port,
            cache: client.cache(),
        }
    }

    /// The key of a query's result, as `{"key"}`.
    #[napi(catch_unwind)]
    pub fn key_of(&self, query: String) -> String {
        let key = self.cache.key_of(&self.engine, &query);
        answer(key.map(|key| json!({ "key": key })))
    }

    /// What is kept under a key: `{"batches": […]}`, `{"held": text}` or `{}`.
    #[napi(catch_unwind)]
    pub fn find(&self, key: String) -> String {
        match self.cache.find(&key, |seen| self.engine.token(seen)) {
            // JSON in ASCII.
            Some(Found::Answer(text)) => String::from_utf8_lossy(&text).into_owned(),
            Some(Found::Held(text)) => json!({ "held": &*text }).to_string(),
            None => "{}".to_owned(),
        }
    }

    /// Keeps a text under a key. `ttl` is JSON.
    #[napi(catch_unwind)]
    pub fn hold(&self, key: String, text: String, ttl: Option<String>) -> String {
        answer(ttl_of(ttl).map(|ttl| {
            self.cache.hold(key, &text, ttl);
            json!({})
        }))
    }

    /// Forgets by `key`, `pattern`, `table`, or `all`: here at once, elsewhere once it resolves, or as soon
    /// as the others can be told.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn forget(&self, env: Env, kind: String, name: String) -> Result<Made> {
        let name = if kind == "all" {
            self.engine.config.table.name.clone()
        } else {
            name
        };
        let forgetting = Scope::of(&kind, name).map(|scope| self.cache.forget(scope));
        promised(&self.port, env, async move {
            let unknown = || Error::Internal("no such kind of forgetting".into());
            forgetting.ok_or_else(unknown)?.await;
            Ok(json!({}))
        })
    }

    /// The queries that asked for the cache lately, as `{"queries": [JSON texts]}`.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn workload(&self, env: Env, most: u32) -> Result<Made> {
        let (engine, cache) = (Arc::clone(&self.engine), Arc::clone(&self.cache));
        promised(&self.port, env, async move {
            let queries = cache.workload(&engine, most as usize).await?;
            Ok(json!({ "queries": queries }))
        })
    }

    /// Drops what has expired.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn optimize(&self, env: Env) -> Result<Made> {
        let (engine, cache) = (Arc::clone(&self.engine), Arc::clone(&self.cache));
        promised(&self.port, env, async move {
            cache.optimize(&engine).await.map(|()| json!({}))
        })
    }

    /// `CacheStats`.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> String {
        answer(Ok(self.cache.told()))
    }
}

fn ttl_of(ttl: Option<String>) -> model::Result<Option<Duration>> {
    let Some(text) = ttl else { return Ok(None) };
    let wire: Wire = serde_json::from_str(&text)
        .map_err(|e| Error::invalid("ttl", format!("is not JSON: {e}")))?;
    duration(&wire, &Path::Root.key("ttl")).map(Some)
}

/// The client's `cache` option, from JSON text.
pub fn cache_options(text: &str) -> model::Result<Options> {
    let wire: Wire = serde_json::from_str(text)
        .map_err(|e| Error::invalid("cache", format!("is not JSON: {e}")))?;
    Options::parse(&wire)
}
