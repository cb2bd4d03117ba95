//! The runtime: one for the process, whatever the number of clients and worker threads.

use std::sync::OnceLock;

use napi::bindgen_prelude::retain_current_module_for_unload_safety;
use tokio::runtime::{Builder, Handle, Runtime};

/// Never shut down: worker threads come and go, and a task of one may still have to cancel its
/// statement on the server when the thread has ended.
static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// The runtime's handle.
///
/// # Errors
/// The system refused to start its threads.
pub fn handle() -> napi::Result<&'static Handle> {
    let started = RUNTIME.get_or_init(|| {
        // The runtime's threads run this module's code: it must never be unmapped under them,
        // as Node would when the last worker thread that loaded it ends.
        retain_current_module_for_unload_safety();
        let built = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("tamma-events")
            .enable_all()
            .build();
        built.map_err(|e| e.to_string())
    });
    match started {
        Ok(runtime) => Ok(runtime.handle()),
        Err(why) => Err(napi::Error::from_reason(format!(
            "cannot start the runtime's threads: {why}"
        ))),
    }
}
