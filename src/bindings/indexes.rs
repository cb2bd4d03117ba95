//! The index manager, as JavaScript holds it.

use std::sync::{Arc, Weak};

use napi::{Env, Result};
use napi_derive::napi;
use serde_json::{Value as Wire, json};

use super::answer::{answer, promised};
use super::client::NativeClient;
use super::port::Port;
use super::value::Made;
use crate::exec::Engine;
use crate::index::{Indexes, Job, Maintenance, Recorded, Stop};
use crate::model;
use crate::monitor::Monitor;

/// Indexes of the event table. Everything goes in and out as JSON text.
#[napi]
pub struct NativeIndexes {
    indexes: Arc<Indexes>,
    port: Arc<Port>,
}

/// A piece of work on indexes: how far it is, and how it is stopped.
#[napi]
pub struct NativeIndexJob {
    job: Arc<Job>,
}

#[napi]
impl NativeIndexJob {
    /// Work that has not begun.
    #[napi(factory, catch_unwind)]
    pub fn open() -> Self {
        Self {
            job: Arc::default(),
        }
    }

    /// How far it is, as `Progress`.
    #[napi(catch_unwind)]
    pub fn progress(&self) -> String {
        self.job.to_json().to_string()
    }

    /// Asks it to stop; its promise tells when it has.
    #[napi(catch_unwind)]
    pub fn stop(&self) {
        self.job.stop(Stop::Cancelled);
    }
}

#[napi]
impl NativeIndexes {
    /// The index manager of a client.
    #[napi(factory, catch_unwind)]
    pub fn of(client: &NativeClient) -> Self {
        let (_, port) = client.parts();
        Self {
            indexes: client.indexes(),
            port,
        }
    }

    /// Builds an index.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn create(&self, env: Env, job: &NativeIndexJob, definition: String) -> Result<Made> {
        let job = Arc::clone(&job.job);
        self.work(env, |indexes| async move {
            indexes.create(&definition, &job).await
        })
    }

    /// Drops an index.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn remove(&self, env: Env, job: &NativeIndexJob, name: String) -> Result<Made> {
        let job = Arc::clone(&job.job);
        self.work(
            env,
            |indexes| async move { indexes.remove(&name, &job).await },
        )
    }

    /// Builds an index anew.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn rebuild(&self, env: Env, job: &NativeIndexJob, name: String) -> Result<Made> {
        let job = Arc::clone(&job.job);
        self.work(
            env,
            |indexes| async move { indexes.rebuild(&name, &job).await },
        )
    }

    /// The indexes of the event table.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn list(&self, env: Env) -> Result<Made> {
        self.work(env, |indexes| async move { indexes.list().await })
    }
}

#[napi]
impl NativeIndexes {
    /// One index, analysed.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn analyze(&self, env: Env, name: String) -> Result<Made> {
        self.work(env, |indexes| async move { indexes.analyze(&name).await })
    }

    /// What the report shows.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn report(&self, env: Env) -> Result<Made> {
        self.work(env, |indexes| async move { indexes.report().await })
    }

    /// How the indexes are used.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn usage(&self, env: Env) -> Result<Made> {
        self.work(env, |indexes| async move { indexes.usage().await })
    }

    /// How large they are.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn sizes(&self, env: Env) -> Result<Made> {
        self.work(env, |indexes| async move { indexes.sizes().await })
    }

    /// How full they are.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn fragmentation(&self, env: Env) -> Result<Made> {
        self.work(env, |indexes| async move { indexes.fragmentation().await })
    }

    /// What would pay, for patterns or for what was recorded.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn recommend(&self, env: Env, patterns: Option<String>, options: String) -> Result<Made> {
        self.work(env, |indexes| async move {
            indexes.recommend(patterns, &options).await
        })
    }

    /// All candidates for patterns.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn candidates(&self, env: Env, patterns: String) -> Result<Made> {
        self.work(
            env,
            |indexes| async move { indexes.candidates(&patterns).await },
        )
    }

    /// Builds what pays, and keeps what proves itself.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn optimize(
        &self,
        env: Env,
        job: &NativeIndexJob,
        patterns: Option<String>,
        options: String,
    ) -> Result<Made> {
        let job = Arc::clone(&job.job);
        self.work(env, |indexes| async move {
            indexes.optimize(patterns, &options, &job).await
        })
    }

    /// Begins maintenance, which ends with the client.
    #[napi(catch_unwind)]
    pub fn maintain(&self, options: String) -> Result<String> {
        let wire: Wire = serde_json::from_str(&options).unwrap_or_default();
        let _inside = super::runtime::handle()?.enter();
        Ok(answer(Maintenance::parse(&wire).map(|maintenance| {
            if let Some(maintenance) = maintenance {
                self.indexes.maintain(maintenance);
            }
            json!({})
        })))
    }
}

/// What the monitor counted, with the engine's examples of it.
struct Watched {
    engine: Weak<Engine>,
    monitor: Arc<Monitor>,
}

impl Recorded for Watched {
    #[allow(clippy::cast_precision_loss)] // Counts.
    fn recorded(&self) -> Vec<(Wire, f64)> {
        let Some(engine) = self.engine.upgrade() else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for (fingerprint, calls) in self.monitor.calls() {
            let examples = engine.examples.of(fingerprint);
            let each = calls as f64 / examples.len().max(1) as f64;
            let wires = examples
                .iter()
                .filter_map(|text| serde_json::from_str(text).ok());
            all.extend(wires.map(|wire| (wire, each)));
        }
        all
    }
}

/// The index manager of a client, which learns from its monitor.
pub fn managed(engine: &Arc<Engine>, monitor: &Arc<Monitor>) -> Arc<Indexes> {
    let watched = Watched {
        engine: Arc::downgrade(engine),
        monitor: Arc::clone(monitor),
    };
    Indexes::new(engine, Some(Arc::new(watched)))
}

impl NativeIndexes {
    fn work<F>(
        &self,
        env: Env,
        work: impl FnOnce(Arc<Indexes>) -> F + Send + 'static,
    ) -> Result<Made>
    where
        F: Future<Output = model::Result<Wire>> + Send + 'static,
    {
        promised(&self.port, env, work(Arc::clone(&self.indexes)))
    }
}
