//! An import under way, as JavaScript holds it.

use std::sync::Arc;

use napi::{Env, Result, bindgen_prelude::Buffer};
use napi_derive::napi;
use serde_json::json;
use tokio::sync::Mutex;

use super::answer::promised;
use super::client::NativeClient;
use super::port::Port;
use super::value::Made;
use crate::exec::Engine;
use crate::ingest::Importer;
use crate::model::Error;

/// Takes newline-delimited JSON, cut anywhere. Collected before its end, it stops importing.
#[napi]
pub struct NativeImport {
    engine: Arc<Engine>,
    port: Arc<Port>,
    /// Begun by the first push. A lock, since a push may be under way when the next one comes.
    import: Arc<Mutex<Option<Importer>>>,
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
            max_listed: max_listed as usize,
        }
    }

    /// Takes more of the source. Resolves when there is room for more.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn push(&self, env: Env, bytes: Buffer) -> Result<Made> {
        let (engine, import, max_listed) = (
            Arc::clone(&self.engine),
            Arc::clone(&self.import),
            self.max_listed,
        );
        // Copied: the buffer is JavaScript's, and may be freed on its thread only.
        let bytes = bytes.to_vec();
        promised(&self.port, env, async move {
            let mut import = import.lock().await;
            if import.is_none() {
                *import = Some(Importer::begin(&engine, max_listed).await?);
            }
            let importer = import.as_mut().ok_or(Error::Closed)?;
            importer.push(&bytes).await?;
            Ok(json!({ "lines": importer.lines() }))
        })
    }

    /// Resolves with the report once everything is stored.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn finish(&self, env: Env) -> Result<Made> {
        let (engine, import, max_listed) = (
            Arc::clone(&self.engine),
            Arc::clone(&self.import),
            self.max_listed,
        );
        promised(&self.port, env, async move {
            let taken = import.lock().await.take();
            let mut importer = match taken {
                Some(importer) => importer,
                // An empty source.
                None => Importer::begin(&engine, max_listed).await?,
            };
            let report = importer.finish().await?;
            serde_json::to_value(report).map_err(|e| Error::Internal(e.to_string().into()))
        })
    }

    /// Stops. Resolves when the connection is free again; chunks that were stored stay.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn abort(&self, env: Env) -> Result<Made> {
        let import = Arc::clone(&self.import);
        promised(&self.port, env, async move {
            let taken = import.lock().await.take();
            if let Some(importer) = taken {
                importer.abort().await;
            }
            Ok(json!({}))
        })
    }
}
