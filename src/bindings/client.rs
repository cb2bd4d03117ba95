//! The client, as JavaScript holds it.

use std::sync::{Arc, PoisonError};

use napi::{Env, Error, Result};
use napi_derive::napi;
use serde_json::{Value as Wire, json};
use tracing::Instrument;

use super::answer::{answer, promised};
use super::cache::cache_options;
use super::call::{begin, call_options, sql_call};
use super::inbox::{Inbox, NativeStream};
use super::indexes::managed;
use super::logs::Kept;
use super::monitor::monitor_options;
use super::port::Port;
use super::runtime;
use super::value::Made;
use crate::analytics::matching;
use crate::cache::Cache;
use crate::exec::{Config, Engine, ExplainOptions, Mode, Observer, Run, Shape, UserSql, describe};
use crate::index::Indexes;
use crate::model;
use crate::monitor::{Listening, Monitor};
use crate::plan::RULES;
use crate::sql::Bind;

/// A client's core. A query is its JSON text, SQL is `{"strings", "values"}`. Everything goes in and out as JSON text; errors come as `{"error":{…}}`.
#[napi]
pub struct NativeClient {
    engine: Arc<Engine>,
    port: Arc<Port>,
    monitor: Arc<Monitor>,
    indexes: Arc<Indexes>,
    cache: Arc<Cache>,
    listening: Kept,
}

#[napi]
impl NativeClient {
    /// A client of these options, those of its monitor and its cache apart. Connects to nothing yet. Throws an error whose message is the
    /// JSON of what is wrong.
    #[napi(factory, catch_unwind)]
    pub fn open(env: Env, options: String, monitor: String, cache: String) -> Result<Self> {
        let refused = |e: model::Error| Error::from_reason(describe(&e, None).to_string());
        let config = Config::from_json(&options).map_err(refused)?;
        let monitor = monitor_options(&monitor).map_err(refused)?;
        let cache = cache_options(&cache).map_err(refused)?;
        let _inside = runtime::handle()?.enter();
        let monitor = Arc::new(Monitor::new(monitor));
        let observer: Arc<dyn Observer> = Arc::<Monitor>::clone(&monitor);
        let engine = Engine::new(config, Some(observer));
        Monitor::keep_logging(&monitor, &engine);
        Monitor::keep_looking(&monitor, &engine);
        let indexes = managed(&engine, &monitor);
        let cache = Cache::new(cache, &engine);
        Ok(Self {
            indexes,
            engine,
            port: Port::of(env.raw())?,
            monitor,
            cache,
            listening: Kept::default(),
        })
    }

    /// Connects. Resolves with the server's version.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn connect(&self, env: Env) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(&self.port, env, async move {
            engine
                .connect()
                .await
                .map(|version| json!({ "version": version }))
        })
    }

    /// The SQL of a query, as `{"sql", "parameters"}`.
    #[napi(catch_unwind)]
    pub fn compile(&self, query: String) -> String {
        let told = self.engine.show(&query).map(|shown| {
            let parameters: Vec<Wire> = shown.binds.iter().map(Bind::to_json).collect();
            json!({ "sql": shown.sql, "parameters": parameters })
        });
        answer(told)
    }

    /// What monitoring calls a query or the caller's own SQL, as `{"fingerprint", "queryText"}`.
    #[napi(catch_unwind)]
    pub fn shape(&self, call: String, is_sql: bool) -> String {
        let shape = if is_sql {
            sql_call(&call)
                .and_then(|call| UserSql::new(&call.strings, call.values))
                .map(|user| Shape::of_user(user.text()))
        } else {
            matching::shape(&self.engine, &call)
                .and_then(|shape| shape.map_or_else(|| self.engine.shape(&call), Ok))
        };
        answer(shape.map(|s| json!({ "fingerprint": s.hex(), "queryText": s.text })))
    }

    /// Where the server and the table are, by the names that OpenTelemetry gives them.
    #[napi(catch_unwind)]
    pub fn address(&self) -> String {
        address(&self.engine)
    }

    /// Runs a query, or the caller's own SQL. Resolves with its only batch, or with the first and
    /// the stream of the others.
    #[napi(
        catch_unwind,
        ts_return_type = "Promise<string | [string, NativeStream]>"
    )]
    pub fn execute(
        &self,
        env: Env,
        call: String,
        is_sql: bool,
        options: Option<String>,
    ) -> Result<Made> {
        let run = self.enter(&call, is_sql, options, Mode::Buffered);
        self.begin(run).next(env.raw(), true).map(Made)
    }

    /// Runs a query, or the caller's own SQL. Its batches come as they are made; those of a
    /// buffered run obey the limits of a buffered result.
    #[napi(catch_unwind)]
    pub fn stream(
        &self,
        call: String,
        is_sql: bool,
        buffered: bool,
        options: Option<String>,
    ) -> NativeStream {
        let mode = if buffered {
            Mode::Buffered
        } else {
            Mode::Stream
        };
        NativeStream::new(self.begin(self.enter(&call, is_sql, options, mode)))
    }

    /// The plan of a query.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn explain(&self, env: Env, query: String, options: Option<String>) -> Result<Made> {
        let (engine, cache) = (Arc::clone(&self.engine), self.cache());
        promised(&self.port, env, async move {
            let options = call_options(options)?;
            let options = ExplainOptions {
                analyze: options.analyze,
                run: options.run(),
            };
            let (id, timeout) = (options.run.query_id.clone(), options.run.timeout);
            let told = async {
                if let Some(plan) = matching::explain(&engine, &cache, &query, &options).await? {
                    return Ok(plan);
                }
                let mut told = engine.explain(&query, options).await?;
                cache.explain(&engine, &query, &mut told).await?;
                Ok(told)
            };
            engine.prepared(id, timeout, Box::pin(told)).await
        })
    }

    /// What a query is expected to cost.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn estimate(&self, env: Env, query: String) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(
            &self.port,
            env,
            async move { engine.estimate(&query).await },
        )
    }

    /// A query with every rule applied.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn optimize(&self, env: Env, query: String) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(
            &self.port,
            env,
            async move { engine.optimized(&query).await },
        )
    }

    /// For benchmarks: plans queries again and again, and gives the nanoseconds that each time took.
    #[napi(catch_unwind)]
    pub fn time_planning(&self, texts: Vec<String>, times: u32, afresh: bool) -> Result<Vec<u32>> {
        (self.engine.time_planning(&texts, times as usize, afresh))
            .map_err(|e| Error::from_reason(e.to_string()))
    }

    /// For tests and benchmarks: leaves rules out from now on, by their names.
    #[napi(catch_unwind)]
    pub fn leave_out_rules(&self, names: Vec<String>) {
        self.engine.leave_out(names);
    }

    /// For tests and benchmarks: the names of all rules.
    #[napi(catch_unwind)]
    pub fn rule_names() -> Vec<String> {
        RULES.iter().map(|rule| rule.name().to_owned()).collect()
    }

    /// Stops a query. Resolves once it has stopped on the server.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn cancel(&self, env: Env, query_id: String) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(&self.port, env, async move {
            engine.cancel(&query_id).await.map(|()| json!({}))
        })
    }

    /// Takes a snapshot and holds it. Resolves with its number and its token.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn hold_snapshot(&self, env: Env) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(&self.port, env, async move {
            let (number, seen) = engine.hold_snapshot().await?;
            Ok(json!({ "number": number, "token": engine.token(&seen) }))
        })
    }

    /// Lets a snapshot go. Resolves once its transaction has ended.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn release_snapshot(&self, env: Env, number: f64) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(&self.port, env, async move {
            // Made by `hold_snapshot`, from a counter.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            engine.snapshots.release(number as u64).await;
            Ok(json!({}))
        })
    }

    /// Brings the schema up to date. Resolves with what was applied.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn migrate(&self, env: Env) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        let span = tracing::info_span!(target: "tamma_events", "migrate", client = engine.number);
        let work = async move { engine.migrate().await };
        promised(&self.port, env, work.instrument(span))
    }

    /// Reads the rows of a query and throws them away. Resolves with their number.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn drain(&self, env: Env, query: String) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(&self.port, env, async move {
            Ok(json!({ "rows": engine.drain(&query).await? }))
        })
    }

    /// Stores events, a JSON list, in one transaction, where a condition is given only if it holds.
    /// Resolves with the receipt.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn append(&self, env: Env, events: String, condition: Option<String>) -> Result<Made> {
        let engine = Arc::clone(&self.engine);
        promised(&self.port, env, async move {
            engine.append(&events, condition.as_deref()).await
        })
    }

    /// Ends all that runs. Resolves once the connections are gone.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn close(&self, env: Env) -> Result<Made> {
        let (engine, monitor) = (Arc::clone(&self.engine), self.monitor());
        let (indexes, cache) = (self.indexes(), self.cache());
        let listening = (self.listening.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        promised(&self.port, env, async move {
            indexes.close().await;
            engine.close().await;
            // After the last run has ended.
            monitor.finish(&engine).await;
            cache.close().await;
            drop(listening);
            Ok(json!({}))
        })
    }
}

impl NativeClient {
    /// What an import shares with its client.
    pub fn parts(&self) -> (Arc<Engine>, Arc<Port>) {
        (Arc::clone(&self.engine), Arc::clone(&self.port))
    }

    /// Its cache.
    pub fn cache(&self) -> Arc<Cache> {
        Arc::clone(&self.cache)
    }

    /// Its monitor.
    pub fn monitor(&self) -> Arc<Monitor> {
        Arc::clone(&self.monitor)
    }

    /// Its index manager.
    pub fn indexes(&self) -> Arc<Indexes> {
        Arc::clone(&self.indexes)
    }

    /// Listens to the log until the client is closed or collected.
    pub fn keep_listening(&self, listening: Listening) {
        *self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(listening);
    }

    fn enter(
        &self,
        call: &str,
        is_sql: bool,
        options: Option<String>,
        mode: Mode,
    ) -> model::Result<Run> {
        let options = call_options(options)?.run();
        if !is_sql {
            if let Some(run) = matching::enter(&self.engine, &self.cache, call, &options, mode)? {
                return Ok(run);
            }
            if mode == Mode::Buffered
                && let Some(run) = self.cache.enter(&self.engine, call, &options)?
            {
                return Ok(run);
            }
            return self.engine.enter(call, options, mode);
        }
        let call = sql_call(call)?;
        self.engine
            .enter_sql(&call.strings, call.values, options, mode)
    }

    fn begin(&self, run: model::Result<Run>) -> Arc<Inbox> {
        begin(&self.engine, &self.port, run)
    }
}

/// Where the server and the table are, by the names that OpenTelemetry gives them.
pub fn address(engine: &Engine) -> String {
    let server = &engine.config.server;
    answer(Ok(json!({
        "server.address": server.get_host(),
        "server.port": server.get_port(),
        "db.namespace": server.get_database(),
        "db.collection.name": engine.target().table.name,
    })))
}
