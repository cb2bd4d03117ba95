//! What the core has to say, as JavaScript takes it.

use std::sync::Arc;

use napi::{Env, Result};
use napi_derive::napi;
use serde_json::{Value as Wire, json};
use tokio::sync::{Mutex, mpsc};

use super::answer::answer;
use super::client::NativeClient;
use super::port::Port;
use super::value::Made;
use crate::exec::IntoAscii;
use crate::monitor::Listening;

/// Records of one client's log. It knows nothing of the client, so that waiting for a record does
/// not keep a client that nobody else holds.
#[napi]
pub struct NativeLogs {
    records: Arc<Mutex<mpsc::Receiver<Wire>>>,
    port: Arc<Port>,
}

/// Records of one answer.
const MANY: usize = 100;

#[napi]
impl NativeLogs {
    /// Listens for as long as the client is there.
    #[napi(factory, catch_unwind)]
    pub fn of(client: &NativeClient) -> Self {
        let (engine, port) = client.parts();
        let (listening, records) = crate::monitor::listen(engine.number);
        client.keep_listening(listening);
        Self {
            records: Arc::new(Mutex::new(records)),
            port,
        }
    }

    /// Resolves with the next records, a list; with none once the client is gone. Keeps no process
    /// alive.
    #[napi(catch_unwind, ts_return_type = "Promise<string>")]
    pub fn next(&self, env: Env) -> Result<Made> {
        let records = Arc::clone(&self.records);
        let text = async move {
            let mut several = Vec::new();
            records.lock().await.recv_many(&mut several, MANY).await;
            answer(Ok(json!(several))).into_bytes_ascii()
        };
        self.port.promise_unheld(env.raw(), text).map(Made)
    }
}

/// Where a client keeps its listening.
pub type Kept = std::sync::Mutex<Option<Listening>>;
