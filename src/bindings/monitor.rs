//! The monitor, as JavaScript holds it.

use std::sync::Arc;

use napi::{Env, Result};
use napi_derive::napi;
use serde_json::{Value as Wire, json};

use super::answer::{answer, promised};
use super::client::NativeClient;
use super::port::Port;
use super::value::Made;
use crate::cache::Cache;
use crate::exec::Engine;
use crate::model::{self, Error};
use crate::monitor::{Monitor, Options, Order};

/// What runs, what ran and how well. Answers are JSON text, except for `metrics`.
#[napi]
pub struct NativeMonitor {
    engine: Arc<Engine>,
    monitor: Arc<Monitor>,
    cache: Arc<Cache>,
    port: Arc<Port>,
}

#[napi]
impl NativeMonitor {
    /// The monitor of a client.
    #[napi(factory, catch_unwind)]
    pub fn of(client: &NativeClient) -> Self {
        let (engine, port) = client.parts();
        Self {
            engine,
            port,
            monitor: client.monitor(),
            cache: client.cache(),
        }
    }

    /// Statistics by fingerprint. `order` is one that `lib/monitor` has checked.
    #[napi(catch_unwind)]
    pub fn fingerprints(&self, order: String, limit: Option<u32>) -> String {
        let order = Order::parse(&order).unwrap_or(Order::TotalTime);
        let limit = limit.map(|n| n as usize);
        answer(Ok(self.monitor.fingerprints(order, limit)))
    }

    /// The queries that run.
    #[napi(catch_unwind)]
    pub fn running(&self) -> String {
        answer(Ok(self.monitor.running(&self.engine)))
    }

    /// One run.
    #[napi(catch_unwind)]
    pub fn query(&self, query_id: String) -> String {
        answer(self.monitor.query(&self.engine, &query_id))
    }

    /// Runs that took longer than so many milliseconds.
    #[napi(catch_unwind)]
    pub fn slow(&self, threshold: Option<f64>) -> String {
        answer(Ok(self.monitor.slow(threshold)))
    }

    /// The pool.
    #[napi(catch_unwind)]
    pub fn pool(&self) -> String {
        answer(Ok(self.monitor.pool(&self.engine)))
    }

    /// What the report is drawn from.
    #[napi(catch_unwind)]
    pub fn history(&self) -> String {
        answer(Ok(self.monitor.history()))
    }

    /// Prometheus text.
    #[napi(catch_unwind)]
    pub fn metrics(&self) -> String {
        self.monitor.metrics(&self.engine)
    }

    /// Resolves with the health report.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn health(&self, env: Env) -> Result<Made> {
        let (engine, monitor) = (Arc::clone(&self.engine), Arc::clone(&self.monitor));
        let cache = Arc::clone(&self.cache);
        promised(&self.port, env, async move {
            let mut health = monitor.health(&engine).await;
            cache.add_health(&mut health);
            Ok(health)
        })
    }

    /// Resolves once what waits was written, or could not be.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn flush(&self, env: Env) -> Result<Made> {
        let (engine, monitor) = (Arc::clone(&self.engine), Arc::clone(&self.monitor));
        promised(&self.port, env, async move {
            monitor.flush(&engine).await;
            Ok(json!({}))
        })
    }

    /// Looks at plans now. Resolves with those that have changed.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn plan_changes(&self, env: Env) -> Result<Made> {
        let (engine, monitor) = (Arc::clone(&self.engine), Arc::clone(&self.monitor));
        promised(&self.port, env, async move {
            // Where the server cannot say, what is known already still is; health says why.
            let _ = monitor.look_at_plans(&engine).await;
            Ok(monitor.plan_changes())
        })
    }

    /// The plan changes that are known of.
    #[napi(catch_unwind)]
    pub fn known_plan_changes(&self) -> String {
        answer(Ok(self.monitor.plan_changes()))
    }

    /// Keeps a fingerprint on a plan, or lets it go.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn pin(&self, env: Env, fingerprint: String, plan_hash: Option<String>) -> Result<Made> {
        let (engine, monitor) = (Arc::clone(&self.engine), Arc::clone(&self.monitor));
        promised(&self.port, env, async move {
            monitor
                .pin(&engine, &fingerprint, plan_hash.as_deref())
                .await?;
            Ok(json!({}))
        })
    }

    /// Forgets what was counted.
    #[napi(catch_unwind)]
    pub fn reset(&self) {
        self.monitor.reset();
    }
}

/// The client's `monitor` option, from JSON text.
pub fn monitor_options(text: &str) -> model::Result<Options> {
    let wire: Wire = serde_json::from_str(text)
        .map_err(|e| Error::invalid("monitor", format!("is not JSON: {e}")))?;
    Options::parse(&wire)
}
