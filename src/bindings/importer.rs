//! An import under way, as JavaScript holds it.

use std::{sync::Arc, time::Duration};

use napi::{Env, Result, bindgen_prelude::Buffer};
use napi_derive::napi;
use serde_json::json;
use tokio::sync::Mutex;
use uuid::Uuid;

use super::answer::promised;
use super::client::NativeClient;
use super::port::Port;
use super::value::Made;
use crate::exec::Engine;
use crate::ingest::Importer;
use crate::model::Error;

/// So long may a chunk that is under way take to be stored when the import is given up; then it is cancelled.
const GRACE: Duration = Duration::from_secs(1);

/// Takes newline-delimited JSON, cut anywhere. Collected before its end, it stops importing.
#[napi]
pub struct NativeImport {
    engine: Arc<Engine>,
    port: Arc<Port>,
    /// Begun by the first push. A lock, since a push may be under way when the next one comes.
    import: Arc<Mutex<Option<Importer>>>,
    /// What its writing is cancelled by.
    id: Arc<str>,
    max_listed: usize,
}

#[napi]
impl NativeImport {
    /// An import into a client's table, which reports this many refused lines one by one.
    #[napi(factory, catch_unwind)]
    pub fn open(client: &NativeClient, max_listed: u32) -> Self {
        let (engine, port) = client.parts();
        Self {
            engine,
            port,
            import: Arc::default(),
            id: Uuid::now_v7().to_string().into(),
            max_listed: max_listed as usize,
        }
    }

    /// Takes more of the source. Resolves when there is room for more.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn push(&self, env: Env, bytes: Buffer) -> Result<Made> {
        let (engine, import, id, max_listed) = self.parts();
        // Copied: the buffer is JavaScript's, and may be freed on its thread only.
        let bytes = bytes.to_vec();
        promised(&self.port, env, async move {
            let mut import = import.lock().await;
            if import.is_none() {
                *import = Some(Importer::begin(&engine, id, max_listed).await?);
            }
            let importer = import.as_mut().ok_or(Error::Closed)?;
            importer.push(&bytes).await?;
            Ok(json!({ "lines": importer.lines() }))
        })
    }

    /// Resolves with the report once everything is stored.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn finish(&self, env: Env) -> Result<Made> {
        let (engine, import, id, max_listed) = self.parts();
        promised(&self.port, env, async move {
            // Held to the end: who gives the import up meanwhile waits for the connection.
            let mut import = import.lock().await;
            let mut importer = match import.take() {
                Some(importer) => importer,
                // An empty source.
                None => Importer::begin(&engine, id, max_listed).await?,
            };
            let report = importer.finish().await?;
            serde_json::to_value(report).map_err(|e| Error::Internal(e.to_string().into()))
        })
    }

    /// Stops. Resolves when the connection is free again; chunks that were stored stay.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn abort(&self, env: Env) -> Result<Made> {
        let (engine, import, id, _) = self.parts();
        promised(&self.port, env, async move {
            let aborted = async {
                let taken = import.lock().await.take();
                if let Some(importer) = taken {
                    importer.abort().await;
                }
            };
            let mut aborted = std::pin::pin!(aborted);
            if tokio::time::timeout(GRACE, &mut aborted).await.is_err() {
                // Another session may hold a lock on the table for as long as it likes. What is not known
                // any more has ended.
                let _ = engine.registry.cancel(&id).await;
                aborted.await;
            }
            Ok(json!({}))
        })
    }
}

type Parts = (Arc<Engine>, Arc<Mutex<Option<Importer>>>, Arc<str>, usize);

impl NativeImport {
    fn parts(&self) -> Parts {
        (
            Arc::clone(&self.engine),
            Arc::clone(&self.import),
            Arc::clone(&self.id),
            self.max_listed,
        )
    }
}
