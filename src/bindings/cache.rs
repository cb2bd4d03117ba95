//! The cache, as JavaScript holds it.

use std::sync::Arc;

use napi_derive::napi;
use serde_json::{Value as Wire, json};

use super::answer::answer;
use super::client::NativeClient;
use crate::cache::{Cache, Options};
use crate::exec::Engine;
use crate::model::{self, Error};

/// Kept answers. Answers are JSON text.
#[napi]
pub struct NativeCache {
    engine: Arc<Engine>,
    cache: Arc<Cache>,
}

#[napi]
impl NativeCache {
    /// The cache of a client.
    #[napi(factory, catch_unwind)]
    pub fn of(client: &NativeClient) -> Self {
        Self {
            engine: client.parts().0,
            cache: client.cache(),
        }
    }

    /// The key of a query's result, as `{"key"}`.
    #[napi(catch_unwind)]
    pub fn key_of(&self, query: String) -> String {
        let key = self.cache.key_of(&self.engine, &query);
        answer(key.map(|key| json!({ "key": key })))
    }

    /// `CacheStats`.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> String {
        answer(Ok(self.cache.told()))
    }
}

/// The client's `cache` option, from JSON text.
pub fn cache_options(text: &str) -> model::Result<Options> {
    let wire: Wire = serde_json::from_str(text)
        .map_err(|e| Error::invalid("cache", format!("is not JSON: {e}")))?;
    Options::parse(&wire)
}
