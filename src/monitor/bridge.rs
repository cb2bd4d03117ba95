//! What the crate has to say, on its way to the `onLog` of the client that it is about.
//!
//! Events come by `tracing`; a process has one subscriber for all its clients. It is installed when
//! the first client wants to listen, and takes the events of this crate alone: a driver's could
//! quote what no log may. The number of a client is the id of its span.

use std::{
    cell::RefCell,
    fmt::Debug,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

use serde_json::{Map, Value as Wire, json};
use tokio::sync::mpsc;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Records that wait for a client's thread; more are dropped.
const WAITING: usize = 1000;
/// The span of no client.
const NOBODY: u64 = u64::MAX;
const CRATE: &str = "tamma_events";

static SINKS: Mutex<Vec<(u64, mpsc::Sender<Wire>)>> = Mutex::new(Vec::new());
static INSTALLED: Once = Once::new();

thread_local! {
    /// The clients whose spans this thread is inside of.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

fn sinks() -> MutexGuard<'static, Vec<(u64, mpsc::Sender<Wire>)>> {
    SINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client that listens, until this is dropped.
pub struct Listening(u64);

/// Begins to listen for what concerns a client, or no client in particular.
pub fn listen(client: u64) -> (Listening, mpsc::Receiver<Wire>) {
    INSTALLED.call_once(|| {
        // Fails where the process has a subscriber already: then that one is told.
        let _ = tracing::subscriber::set_global_default(Bridge);
    });
    let (sender, records) = mpsc::channel(WAITING);
    sinks().push((client, sender));
    (Listening(client), records)
}

impl Drop for Listening {
    fn drop(&mut self) {
        sinks().retain(|(client, _)| *client != self.0);
    }
}

struct Bridge;

impl Subscriber for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target == CRATE || target.starts_with("tamma_events::")
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        span::Id::from_u64(fields.client.unwrap_or(NOBODY).max(1))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let inside = INSIDE.with_borrow(|inside| inside.last().copied());
        let client = fields.client.or(inside).filter(|c| *c != NOBODY);
        let metadata = event.metadata();
        let record = json!({
            "level": word(*metadata.level()),
            "target": metadata.target(),
            "message": fields.message,
            "fields": fields.others,
        });
        for (listener, sink) in &*sinks() {
            if client.is_none_or(|client| client == *listener) {
                // Full: its thread is busy. The client is gone: so is whoever listened.
                let _ = sink.try_send(record.clone());
            }
        }
    }

    fn enter(&self, span: &span::Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(span.into_u64()));
    }

    fn exit(&self, _: &span::Id) {
        INSIDE.with_borrow_mut(|inside| inside.truncate(inside.len().saturating_sub(1)));
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

#[derive(Default)]
struct Fields {
    client: Option<u64>,
    message: String,
    others: Map<String, Wire>,
}

impl Fields {
    fn keep(&mut self, field: &Field, value: impl Into<Wire>) {
        self.others.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "client" {
            self.client = Some(value);
        } else {
            self.keep(field, value);
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.keep(field, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::listen;

    #[test]
    fn a_client_hears_what_concerns_it() {
        let (first, mut to_first) = listen(1001);
        let (_second, mut to_second) = listen(1002);
        tracing::warn!(client = 1001_u64, answer = 42, "for the first");
        tracing::info_span!("work", client = 1002_u64).in_scope(|| {
            tracing::info!(of = "span", "for the second");
        });
        tracing::error!(target: "sqlx::query", "s3cret");
        let record = to_first.try_recv().unwrap();
        assert_eq!(record["message"], "for the first");
        assert_eq!(
            (&record["level"], &record["fields"]["answer"]),
            (&"warn".into(), &42.into())
        );
        assert!(to_first.try_recv().is_err());
        assert_eq!(to_second.try_recv().unwrap()["fields"]["of"], "span");
        assert!(to_second.try_recv().is_err());
        drop(first);
        assert!(to_first.blocking_recv().is_none());
    }
}
