//! What a client was asked to be.

use std::{str::FromStr, time::Duration};

use serde_json::Value as Wire;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::model::{
    Error, Result,
    path::Path,
    table::TableNames,
    wire::{known_keys, list, object, shown, text, whole},
};

/// The options of a client, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach the server.
    pub server: PgConnectOptions,
    /// How to reach those that follow it.
    pub replicas: Vec<PgConnectOptions>,
    /// The event table; its schema is found along the search path where `None`.
    pub schema: Option<String>,
    /// The event table's name and columns. `table.schema` is set once it is known.
    pub table: TableNames,
    /// Sizes and times of the pool.
    pub pool: PoolConfig,
    /// What a query may take.
    pub limits: Limits,
    /// How integers beyond 2^53 reach JavaScript.
    pub bigint: BigintMode,
    /// Whether migrating adds (or removes) the triggers that refuse changes.
    pub immutable: Option<bool>,
}

/// Sizes and times of the pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// The most connections, the one that cancels not counted.
    pub max: usize,
    /// The longest wait for a connection.
    pub acquire_timeout: Duration,
    /// An idle connection is closed after this.
    pub idle_timeout: Duration,
    /// A connection is closed after this, once it is idle.
    pub max_lifetime: Duration,
}

/// What a query may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The cap of every run's time, where one was set.
    pub timeout: Option<Duration>,
    /// Rows of a buffered result.
    pub max_rows: u64,
    /// Bytes of a buffered result, as JSON text.
    pub max_result_bytes: u64,
    /// Queries running at once.
    pub max_concurrent: usize,
    /// Queries waiting for a place.
    pub max_queued: usize,
    /// Connections that answer one parallel query.
    pub max_workers: usize,
}

/// The time of a buffered query where neither the call nor the client names one.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// How integers beyond 2^53 reach JavaScript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BigintMode {
    /// As numbers; PRECISION_LOSS where that would round.
    Number,
    /// As decimal text.
    String,
    /// As `bigint`, made from marked text by `lib/rows.js`.
    Bigint,
}

const KEYS: [&str; 7] = [
    "url",
    "replicas",
    "table",
    "pool",
    "limits",
    "bigint",
    "immutable",
];

impl Config {
    /// Parses the options that concern the core.
    ///
    /// # Errors
    /// INVALID_QUERY with the option's path; the url itself is never part of a message.
    pub fn from_json(json: &str) -> Result<Self> {
        let wire: Wire = serde_json::from_str(json)
            .map_err(|e| Error::invalid("options", format!("is not JSON: {e}")))?;
        let root = Path::Root;
        let members = object(&wire, &root, "an object of options")?;
        known_keys(members, &root, &KEYS)?;
        let server = server(members.get("url"), &root.key("url"))?;
        let replicas = replicas(members.get("replicas"), &root.key("replicas"))?;
        let (schema, table) = table(members.get("table"), &root.key("table"))?;
        let pool = pool(members.get("pool"), &root.key("pool"))?;
        let limits = limits(members.get("limits"), &root.key("limits"), pool.max)?;
        let bigint = match members
            .get("bigint")
            .map(|w| text(w, &root.key("bigint")))
            .transpose()?
        {
            None | Some("number") => BigintMode::Number,
            Some("string") => BigintMode::String,
            Some("bigint") => BigintMode::Bigint,
            Some(_) => {
                return Err(Error::invalid(
                    "bigint",
                    "must be 'number', 'string' or 'bigint'",
                ));
            }
        };
        let immutable = members.get("immutable").and_then(Wire::as_bool);
        Ok(Self {
            server,
            replicas,
            schema,
            table,
            pool,
            limits,
            bigint,
            immutable,
        })
    }
}

/// More than anyone has.
const MOST_REPLICAS: usize = 32;

fn replicas(wire: Option<&Wire>, path: &Path<'_>) -> Result<Vec<PgConnectOptions>> {
    let Some(wire) = wire else {
        return Ok(Vec::new());
    };
    let urls = list(wire, path, "urls of replicas")?;
    if urls.len() > MOST_REPLICAS {
        let problem = format!("names more than {MOST_REPLICAS} replicas");
        return Err(Error::invalid(path, problem));
    }
    (urls.iter().enumerate())
        .map(|(i, url)| server(Some(url), &path.index(i)))
        .collect()
}

fn server(url: Option<&Wire>, path: &Path<'_>) -> Result<PgConnectOptions> {
    let url = url.and_then(Wire::as_str).unwrap_or_default();
    let problem = || {
        Error::invalid(
            path,
            "is not a PostgreSQL url such as postgres://user:password@host:5432/database",
        )
    };
    if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
        return Err(problem());
    }
    // The parser's own message can quote the url.
    let server = PgConnectOptions::from_str(url).map_err(|_| problem())?;
    // Every statement of ours is logged by ourselves, without its values.
    Ok(server
        .application_name("tamma-events")
        .statement_cache_capacity(256)
        .disable_statement_logging())
}

fn table(wire: Option<&Wire>, path: &Path<'_>) -> Result<(Option<String>, TableNames)> {
    let mut table = TableNames::default();
    let Some(wire) = wire else {
        return Ok((None, table));
    };
    let members = object(wire, path, "an object that names the event table")?;
    known_keys(members, path, &["schema", "name", "columns"])?;
    let schema = members
        .get("schema")
        .map(|w| text(w, &path.key("schema")).map(str::to_owned))
        .transpose()?;
    if let Some(name) = members.get("name") {
        text(name, &path.key("name"))?.clone_into(&mut table.name);
    }
    if let Some(columns) = members.get("columns") {
        let here = path.key("columns");
        let names = object(columns, &here, "an object that names columns")?;
        known_keys(
            names,
            &here,
            &[
                "id",
                "type",
                "timestamp",
                "tags",
                "metadata",
                "data",
                "createdAt",
            ],
        )?;
        for (key, name) in names {
            let name = text(name, &here.key(key))?.to_owned();
            let slot = match key.as_str() {
                "id" => &mut table.columns.id,
                "type" => &mut table.columns.r#type,
                "timestamp" => &mut table.columns.timestamp,
                "tags" => &mut table.columns.tags,
                "metadata" => &mut table.columns.metadata,
                "data" => &mut table.columns.data,
                _ => &mut table.columns.created_at,
            };
            *slot = name;
        }
    }
    if let Some(schema) = &schema {
        table.schema.clone_from(schema);
    }
    table
        .check()
        .map_err(|e| Error::invalid(e.path, e.problem))?;
    Ok((schema, table))
}

fn pool(wire: Option<&Wire>, path: &Path<'_>) -> Result<PoolConfig> {
    let members = numbers(
        wire,
        path,
        &["max", "acquireTimeout", "idleTimeout", "maxLifetime"],
    )?;
    let [max, acquire, idle, lifetime] = members;
    Ok(PoolConfig {
        max: at_least_one(max.unwrap_or(10), path, "max")?,
        acquire_timeout: Duration::from_millis(acquire.unwrap_or(5000)),
        idle_timeout: Duration::from_millis(idle.unwrap_or(60_000)),
        max_lifetime: Duration::from_millis(lifetime.unwrap_or(30 * 60_000)),
    })
}

fn limits(wire: Option<&Wire>, path: &Path<'_>, connections: usize) -> Result<Limits> {
    let members = numbers(
        wire,
        path,
        &[
            "timeout",
            "maxRows",
            "maxResultBytes",
            "maxConcurrentQueries",
            "maxQueuedQueries",
            "maxWorkers",
        ],
    )?;
    let [timeout, rows, bytes, concurrent, queued, workers] = members;
    Ok(Limits {
        timeout: timeout.filter(|t| *t > 0).map(Duration::from_millis),
        max_rows: rows.unwrap_or(1_000_000),
        max_result_bytes: bytes.unwrap_or(512 << 20),
        max_concurrent: concurrent.map_or(Ok(connections), |n| {
            at_least_one(n, path, "maxConcurrentQueries")
        })?,
        max_queued: usize::try_from(queued.unwrap_or(1000)).unwrap_or(usize::MAX),
        max_workers: at_least_one(workers.unwrap_or(4), path, "maxWorkers")?,
    })
}

/// The whole numbers of an object of options, in the order of `keys`.
fn numbers<const N: usize>(
    wire: Option<&Wire>,
    path: &Path<'_>,
    keys: &[&'static str; N],
) -> Result<[Option<u64>; N]> {
    let mut values = [None; N];
    let Some(wire) = wire else { return Ok(values) };
    let members = wire
        .as_object()
        .ok_or_else(|| Error::invalid(path, format!("must be an object, not {}", shown(wire))))?;
    known_keys(members, path, keys)?;
    for (slot, key) in values.iter_mut().zip(keys) {
        *slot = members
            .get(*key)
            .map(|w| whole(w, &path.key(key)))
            .transpose()?;
    }
    Ok(values)
}

fn at_least_one(value: u64, path: &Path<'_>, key: &str) -> Result<usize> {
    match usize::try_from(value) {
        Ok(n @ 1..=10_000) => Ok(n),
        _ => Err(Error::invalid(path.key(key), "must be from 1 to 10,000")),
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn a_bad_url_is_never_shown() {
        for url in [
            "mysql://u:s3cret@h/d",
            "postgres://u:s3cret@h:port/d",
            "s3cret",
            "",
        ] {
            let error =
                Config::from_json(&serde_json::json!({ "url": url }).to_string()).unwrap_err();
            assert_eq!((error.code(), error.path()), ("INVALID_QUERY", Some("url")));
            assert!(!error.to_string().contains("s3cret"));
        }
    }

    #[test]
    fn options_are_checked_by_path() {
        let path = |options: serde_json::Value| {
            let mut options = options;
            options["url"] = "postgres://localhost/x".into();
            Config::from_json(&options.to_string())
                .unwrap_err()
                .path()
                .map(str::to_owned)
        };
        assert_eq!(
            path(serde_json::json!({ "pool": { "max": 0 } })).as_deref(),
            Some("pool.max")
        );
        assert_eq!(
            path(serde_json::json!({ "table": { "name": "" } })).as_deref(),
            Some("table.name")
        );
        assert_eq!(
            path(serde_json::json!({ "limits": { "maxrows": 1 } })).as_deref(),
            Some("limits.maxrows")
        );
        assert_eq!(
            path(serde_json::json!({ "table": { "columns": { "id": "a\u{0}" } } })).as_deref(),
            Some("table.columns.id")
        );
    }
}
