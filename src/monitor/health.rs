//! The measures that the project promises, as they stand.

use std::time::Duration;

use serde_json::{Value as Wire, json};
use tokio::time::timeout;

use super::Monitor;
use super::store::{self, Server};
use crate::exec::{Engine, fault};
use crate::model::Error;

/// The longest wait for the server's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// More slow queries than this are a problem, once there are enough to tell.
const SLOW_SHARE: f64 = 0.05;
const ENOUGH: u64 = 20;

async fn ask(engine: &Engine) -> Result<Server, String> {
    if engine.pool.is_closed() {
        return Err(Error::Closed.to_string());
    }
    let table = engine.target().table.clone();
    let asked = async {
        let mut driver = store::connect(&engine.config.server).await?;
        let server = store::server(&mut driver, &table).await;
        store::close(driver).await;
        server
    };
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| fault(error).to_string()),
        Err(_) => Err(format!(
            "the server did not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

impl Monitor {
    /// Asks the server, by a connection of its own: a pool that is used up is not a server that is
    /// down.
    pub async fn health(&self, engine: &Engine) -> Wire {
        let mut problems = Vec::new();
        let server = match ask(engine).await {
            Ok(server) => Some(server),
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let extensions = server.as_ref().map_or(&[][..], |s| &s.extensions);
        let installed = |name: &str| extensions.iter().any(|e| e == name);
        let capabilities = json!({
            "events": server.as_ref().is_some_and(|s| s.events),
            "tokens": server.as_ref().is_some_and(|s| s.transactions),
            "queryLog": self.options.persist && server.as_ref().is_some_and(|s| s.log),
            "skipScan": server.as_ref().is_some_and(|s| s.number >= 180_000),
            "hypopg": installed("hypopg"),
            "pg_hint_plan": installed("pg_hint_plan"),
            "pg_stat_statements": installed("pg_stat_statements"),
            "plans": self.plans.indexed_share().is_some(),
            "cache": false,
            "indexManager": server.as_ref().is_some_and(|s| s.events),
        });
        if server.as_ref().is_some_and(|s| !s.events) {
            let table = engine.target().table.quoted();
            problems.push(format!("there is no table {table}: migrate() makes it"));
        }
        problems.extend(self.log_problem());
        problems.extend(self.plans.problems());
        let (ratio, runs) = self.slow_ratio();
        if runs >= ENOUGH && ratio >= SLOW_SHARE {
            problems.push(format!(
                "{:.0} % of {runs} queries took longer than {} ms",
                ratio * 100.0,
                self.options.slow.as_millis()
            ));
        }
        json!({
            "ok": problems.is_empty(),
            "postgres": {
                "connected": server.is_some(),
                "version": server.as_ref().map_or("", |s| s.version.as_str()),
                "extensions": extensions,
            },
            "redis": { "enabled": false, "connected": false },
            "capabilities": capabilities,
            "slowQueryRatio": ratio,
            "cacheHitRate": 0,
            "optimalIndexRatio": self.plans.indexed_share().unwrap_or(0.0),
            "cacheMemoryBytes": 0,
            "problems": problems,
        })
    }
}
