//! What Node sees. napi types live here and nowhere else.
//!
//! Unsafe code is allowed here because N-API is C. The rules that keep it sound: a raw `napi_env`
//! is used only on its own JavaScript thread, inside a call from Node; a deferred is settled once,
//! there; nothing that Node owns is borrowed across an await.

#![allow(unsafe_code)]
// napi hands strings and buffers over by value.
#![allow(clippy::needless_pass_by_value)]

mod analytics;
mod answer;
mod cache;
mod call;
mod client;
mod export;
mod file_lock;
mod importer;
mod inbox;
mod indexes;
mod kept;
mod logs;
mod matching;
mod monitor;
mod port;
mod runtime;
mod value;
