//! Questions of analysis, as JavaScript asks them. The methods are those of the client that a run in
//! `lib/run.js` and `lib/stream.js` calls, so that a question runs as a query does.

use std::sync::Arc;

use napi::{Env, Result};
use napi_derive::napi;
use serde_json::json;

use super::answer::{answer, promised};
use super::call::{begin, run_options};
use super::client::{NativeClient, address};
use super::inbox::NativeStream;
use super::port::Port;
use super::value::Made;
use crate::analytics;
use crate::cache::Cache;
use crate::exec::{Engine, Mode, Run, Shape};
use crate::model;

/// Analytics of a client. A question is its JSON text.
#[napi]
pub struct NativeAnalytics {
    engine: Arc<Engine>,
    cache: Arc<Cache>,
    port: Arc<Port>,
}

#[napi]
impl NativeAnalytics {
    /// The analytics of a client.
    #[napi(factory, catch_unwind)]
    pub fn of(client: &NativeClient) -> Self {
        let (engine, port) = client.parts();
        Self {
            engine,
            cache: client.cache(),
            port,
        }
    }

    /// Asks. Resolves with the only batch, or with the first and the stream of the others.
    #[napi(
        catch_unwind,
        ts_return_type = "Promise<string | [string, NativeStream]>"
    )]
    pub fn execute(
        &self,
        env: Env,
        question: String,
        _is_sql: bool,
        options: Option<String>,
    ) -> Result<Made> {
        let run = self.enter(&question, options, Mode::Buffered);
        let inbox = begin(&self.engine, &self.port, run);
        inbox.next(env.raw(), true).map(Made)
    }

    /// Asks. Batches come as they are made.
    #[napi(catch_unwind)]
    pub fn stream(
        &self,
        question: String,
        _is_sql: bool,
        buffered: bool,
        options: Option<String>,
    ) -> NativeStream {
        let mode = if buffered {
            Mode::Buffered
        } else {
            Mode::Stream
        };
        let run = self.enter(&question, options, mode);
        NativeStream::new(begin(&self.engine, &self.port, run))
    }

    /// The plan of a pipeline.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn explain_pipeline(&self, env: Env, question: String) -> Result<Made> {
        let (engine, cache) = (Arc::clone(&self.engine), Arc::clone(&self.cache));
        promised(&self.port, env, async move {
            analytics::explain_pipeline(&engine, &cache, &question).await
        })
    }

    /// What monitoring calls a question, as `{"fingerprint", "queryText"}`.
    #[napi(catch_unwind)]
    pub fn shape(&self, question: String, _is_sql: bool) -> String {
        let sql = analytics::show(&self.engine, &question);
        answer(sql.map(|sql| {
            let shape = Shape::of_compiled(&sql);
            json!({ "fingerprint": shape.hex(), "queryText": shape.text })
        }))
    }

    /// Where the server and the table are.
    #[napi(catch_unwind)]
    pub fn address(&self) -> String {
        address(&self.engine)
    }
}

impl NativeAnalytics {
    fn enter(&self, question: &str, options: Option<String>, mode: Mode) -> model::Result<Run> {
        let options = run_options(options)?;
        analytics::enter(&self.engine, &self.cache, question, options, mode)
    }
}
