//! Answers as JSON text: a value, or `{"error":{…}}`, which `lib/errors.js` throws.

use std::sync::Arc;

use napi::{Env, Result};
use serde_json::{Value as Wire, json};

use super::port::Port;
use super::value::Made;
use crate::exec::{IntoAscii, describe};
use crate::model;

/// A result as JSON text.
pub fn answer(result: model::Result<Wire>) -> String {
    result
        .unwrap_or_else(|error| json!({ "error": describe(&error, None) }))
        .to_string()
}

/// A promise of the answer that some work on the runtime will give.
pub fn promised(
    port: &Arc<Port>,
    env: Env,
    work: impl Future<Output = model::Result<Wire>> + Send + 'static,
) -> Result<Made> {
    let text = async move { answer(work.await).into_bytes_ascii() };
    port.promise(env.raw(), text).map(Made)
}
