//! The Prometheus text exposition format, version 0.0.4.

use std::fmt::{Display, Write};

use super::Monitor;
use super::histogram::{BOUNDS, Bounded, millis};
use crate::exec::Engine;

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP tamma_events_{name} {help}");
        let _ = writeln!(self.0, "# TYPE tamma_events_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        // Writing to a `String` does not fail.
        let _ = writeln!(self.0, "tamma_events_{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, times: &Bounded) {
        self.head(name, "histogram", help);
        let mut below = 0;
        for (bound, n) in BOUNDS.iter().zip(times.within) {
            below += n;
            let labels = format!("{{le=\"{}\"}}", millis(*bound) / 1000.0);
            self.line(&format!("{name}_bucket"), &labels, below);
        }
        let count = times.all.count();
        self.line(&format!("{name}_bucket"), "{le=\"+Inf\"}", count);
        self.line(&format!("{name}_sum"), "", times.all.total() / 1000.0);
        self.line(&format!("{name}_count"), "", count);
    }
}

impl Monitor {
    /// All figures for Prometheus. No label holds a text of the caller's.
    pub fn metrics(&self, engine: &Engine) -> String {
        let (size, idle, max) = engine.pool.counts();
        let running = engine.registry.running().len();
        let (logged, log_failures) = self.logged();
        let mut page = Page(String::with_capacity(4096));
        let state = self.state();
        let totals = state.totals;

        page.head("queries_total", "counter", "Queries that ended, by how.");
        for (status, n) in [
            ("done", totals.done),
            ("cancelled", totals.cancelled),
            ("timeout", totals.timed_out),
            ("failed", totals.failed),
        ] {
            page.line("queries_total", &format!("{{status=\"{status}\"}}"), n);
        }
        page.one(
            "slow_queries_total",
            "counter",
            "Queries that took longer than monitor.slowQueryThreshold.",
            totals.slow,
        );
        page.one(
            "rows_total",
            "counter",
            "Rows that queries returned.",
            totals.rows,
        );
        page.one(
            "result_bytes_total",
            "counter",
            "Bytes of JSON that queries returned.",
            totals.bytes,
        );
        page.histogram(
            "query_duration_seconds",
            "How long queries took, waiting included.",
            &state.times,
        );
        page.histogram(
            "pool_acquire_seconds",
            "How long queries waited for their place and a connection.",
            &state.waits,
        );
        page.one("queries_running", "gauge", "Queries that run now.", running);
        page.one(
            "queries_waiting",
            "gauge",
            "Queries that wait for a place.",
            engine.governor.waiting(),
        );
        page.head(
            "pool_connections",
            "gauge",
            "Connections of the pool, by state.",
        );
        page.line("pool_connections", "{state=\"idle\"}", idle);
        page.line(
            "pool_connections",
            "{state=\"used\"}",
            size.saturating_sub(idle),
        );
        page.one(
            "pool_connections_max",
            "gauge",
            "The most connections of the pool.",
            max,
        );
        page.one(
            "fingerprints",
            "gauge",
            "Fingerprints that statistics are kept of.",
            state.fingerprints.len(),
        );
        page.one(
            "fingerprints_evicted_total",
            "counter",
            "Fingerprints whose statistics made room for others.",
            state.fingerprints.evicted,
        );
        page.one(
            "log_rows_total",
            "counter",
            "Queries that were written to query_performance_log.",
            logged,
        );
        page.one(
            "log_dropped_total",
            "counter",
            "Queries that were to be logged and found no room, or could not be written.",
            state.buffer.dropped,
        );
        page.one(
            "log_failures_total",
            "counter",
            "Batches that could not be written to query_performance_log.",
            log_failures,
        );
        page.0
    }
}
