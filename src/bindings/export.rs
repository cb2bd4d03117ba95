//! Exports, as JavaScript asks for them: the stream of a run whose batches are chunks of bytes, one
//! byte a character, and words on its progress.

use std::sync::Arc;

use napi_derive::napi;
use serde::Deserialize;
use serde_json::Value as Wire;

use super::call::{begin, run_options};
use super::client::NativeClient;
use super::inbox::NativeStream;
use super::port::Port;
use crate::exec::{Engine, Run};
use crate::{analytics, export, model};

/// Exports of a client.
#[napi]
pub struct NativeExporter {
    engine: Arc<Engine>,
    port: Arc<Port>,
}

#[derive(Deserialize)]
struct Call {
    query: Option<Wire>,
    pipeline: Option<Wire>,
    export: Wire,
}

#[napi]
impl NativeExporter {
    /// The exports of a client.
    #[napi(factory, catch_unwind)]
    pub fn of(client: &NativeClient) -> Self {
        let (engine, port) = client.parts();
        Self { engine, port }
    }

    /// Exports a query or a pipeline: `{"query" or "pipeline", "export"}`. Batches are `#`, the rows so
    /// far, a line break and bytes; or JSON, the last with an `end` or an `error`.
    #[napi(catch_unwind)]
    pub fn stream(&self, call: String, options: Option<String>) -> NativeStream {
        let run = self.enter(&call, options);
        NativeStream::new(begin(&self.engine, &self.port, run))
    }
}

impl NativeExporter {
    fn enter(&self, call: &str, options: Option<String>) -> model::Result<Run> {
        let call: Call = serde_json::from_str(call)
            .map_err(|e| model::Error::invalid("", format!("is not JSON: {e}")))?;
        let options = run_options(options)?;
        let wanted = export::Options::parse(&call.export)?;
        match (call.query, call.pipeline) {
            (Some(query), _) => export::enter_query(&self.engine, query, wanted, options),
            (None, Some(stages)) => {
                analytics::export_pipeline(&self.engine, &stages, wanted, options)
            }
            (None, None) => Err(model::Error::invalid("query", "is missing")),
        }
    }
}
