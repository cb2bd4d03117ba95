//! The index manager, as JavaScript holds it.

use std::sync::Arc;

use napi::{Env, Result};
use napi_derive::napi;
use serde_json::Value as Wire;

use super::answer::promised;
use super::client::NativeClient;
use super::port::Port;
use super::value::Made;
use crate::index::{Indexes, Job, Stop};
use crate::model;

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
