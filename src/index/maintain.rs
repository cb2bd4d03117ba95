//! Maintenance inside the process: on a schedule with jitter, outside of quiet hours, stopped when
//! the client closes. One maintainer at a time: whoever finds another at work waits for its next turn.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, PoisonError, Weak},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value as Wire, json};

use super::decisions;
use super::job::Job;
use super::manage::Indexes;
use super::optimize::Allowed;
use super::recommend::Options;
use crate::model::{
    Error, Result,
    duration::duration,
    path::Path,
    wire::{boolean, known_keys, object, text, whole},
};

/// How often, unless another interval is asked for.
const INTERVAL: Duration = Duration::from_hours(1);
/// Decisions that the report shows.
const SHOWN: i64 = 30;

/// The option `maintenance`.
#[derive(Clone, Debug)]
pub struct Maintenance {
    interval: Duration,
    quiet: Option<Quiet>,
    allowed: Allowed,
    options: Options,
}

/// Local hours in which nothing is built.
#[derive(Clone, Debug)]
struct Quiet {
    from: i8,
    to: i8,
    zone: TimeZone,
}

impl Quiet {
    fn covers(&self, at: Timestamp) -> bool {
        let hour = at.to_zoned(self.zone.clone()).hour();
        if self.from <= self.to {
            (self.from..self.to).contains(&hour)
        } else {
            hour >= self.from || hour < self.to
        }
    }
}

impl Maintenance {
    /// Reads the option; `None` where nothing is to be maintained.
    ///
    /// # Errors
    /// INVALID_QUERY with the path.
    pub fn parse(wire: &Wire) -> Result<Option<Self>> {
        if wire.is_null() {
            return Ok(None);
        }
        let top = Path::Root;
        let root = top.key("maintenance");
        let members = object(wire, &root, "an object of options")?;
        let known = [
            "enabled",
            "interval",
            "quietHours",
            "autoCreate",
            "autoDrop",
            "maxIndexes",
            "maxBytes",
        ];
        known_keys(members, &root, &known)?;
        let flag = |key: &str, default: bool| {
            let here = root.key(key);
            members.get(key).map_or(Ok(default), |w| boolean(w, &here))
        };
        let interval = match members.get("interval") {
            Some(wire) => duration(wire, &root.key("interval"))?,
            None => INTERVAL,
        };
        let quiet = match members.get("quietHours") {
            Some(wire) => Some(quiet(wire, &root.key("quietHours"))?),
            None => None,
        };
        let mut budget = serde_json::Map::new();
        for key in ["maxIndexes", "maxBytes"] {
            if let Some(wire) = members.get(key) {
                budget.insert(key.to_owned(), whole(wire, &root.key(key))?.into());
            }
        }
        let parsed = Self {
            interval,
            quiet,
            allowed: Allowed {
                create: flag("autoCreate", false)?,
                drop: flag("autoDrop", false)?,
            },
            options: Options::parse(&Wire::Object(budget))?,
        };
        Ok(flag("enabled", true)?.then_some(parsed))
    }
}

fn quiet(wire: &Wire, path: &Path<'_>) -> Result<Quiet> {
    let members = object(wire, path, "such as { from: 8, to: 18 }")?;
    known_keys(members, path, &["from", "to", "timeZone"])?;
    let hour = |key: &str| -> Result<i8> {
        let here = path.key(key);
        let given = members
            .get(key)
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        match i8::try_from(whole(given, &here)?) {
            Ok(hour @ 0..=24) => Ok(hour),
            _ => Err(Error::invalid(here, "must be an hour from 0 to 24")),
        }
    };
    let here = path.key("timeZone");
    let zone = match members.get("timeZone") {
        None => TimeZone::system(),
        Some(wire) => TimeZone::get(text(wire, &here)?).map_err(|_| {
            Error::invalid(
                here,
                "is not a time zone of the IANA database such as 'Europe/Berlin'",
            )
        })?,
    };
    Ok(Quiet {
        from: hour("from")?,
        to: hour("to")?,
        zone,
    })
}

/// How maintenance goes.
#[derive(Clone, Debug, Default)]
pub struct Status {
    runs: u64,
    last: Option<String>,
    outcome: Option<String>,
    took: Duration,
}

impl Status {
    fn to_json(&self) -> Wire {
        json!({
            "runs": self.runs,
            "lastRun": self.last,
            "outcome": self.outcome,
            "duration": self.took.as_secs_f64() * 1000.0,
        })
    }
}

/// Whether the first wait is over, or the client closed.
async fn waited(indexes: &Weak<Indexes>, pause: Duration) -> Option<Arc<Indexes>> {
    let closing = indexes.upgrade()?.closing();
    tokio::select! {
        () = tokio::time::sleep(pause) => {}
        _ = closing.stopped() => return None,
    }
    indexes.upgrade()
}

/// Up to a tenth more or less, so that processes that were started together do not keep step.
#[allow(clippy::cast_precision_loss)] // A random number.
fn jittered(interval: Duration, turn: u64) -> Duration {
    let random = RandomState::new().hash_one(turn) % 1000;
    interval.mul_f64(0.9 + random as f64 / 5000.0)
}

impl Indexes {
    /// Maintains the table's indexes for as long as the client is there. The task ends with it:
    /// it holds the manager only while it works.
    pub fn maintain(self: &Arc<Self>, maintenance: Maintenance) {
        let indexes = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut turn = 0;
            loop {
                turn += 1;
                let pause = jittered(maintenance.interval, turn);
                let Some(indexes) = waited(&indexes, pause).await else {
                    return;
                };
                indexes.maintain_once(&maintenance).await;
            }
        });
    }

    async fn maintain_once(self: &Arc<Self>, maintenance: &Maintenance) {
        let began = Instant::now();
        let outcome = match &maintenance.quiet {
            Some(quiet) if quiet.covers(Timestamp::now()) => Ok("quiet hours".to_owned()),
            _ => self.turn(maintenance).await,
        };
        let outcome = match outcome {
            Ok(told) => told,
            Err(Error::Closed) => return,
            Err(error) => {
                tracing::warn!(target: "tamma_events::indexes", %error, "maintenance could not do its work");
                error.to_string()
            }
        };
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = Status {
            runs: status.runs + 1,
            last: Some(Timestamp::now().to_string()),
            outcome: Some(outcome),
            took: began.elapsed(),
        };
    }

    async fn turn(self: &Arc<Self>, maintenance: &Maintenance) -> Result<String> {
        let job = Arc::new(Job::default());
        let engine = self.engine()?;
        let questions = if maintenance.allowed.create {
            self.questions(&engine, None)?
        } else {
            Vec::new()
        };
        let told = self
            .optimize_with(
                questions,
                &maintenance.options,
                maintenance.allowed,
                "maintenance",
                &job,
            )
            .await;
        match told {
            // Another process maintains: that is as good.
            Err(Error::Database { sql_state, message }) if sql_state == "55P03" => Ok(message),
            Err(error) => Err(error),
            Ok(told) => {
                let count = |key: &str| told[key].as_array().map_or(0, Vec::len);
                Ok(format!(
                    "{} built, {} reverted, {} dropped, {} rebuilt or moved on",
                    count("created"),
                    count("reverted"),
                    count("dropped"),
                    count("rebuilt")
                ))
            }
        }
    }

    /// What the report shows: each index, what was decided lately, and how maintenance goes.
    ///
    /// # Errors
    /// The server's.
    pub async fn report(self: &Arc<Self>) -> Result<Wire> {
        let indexes = self.analyze_all().await?;
        let names = self.names()?;
        let mut session = self.session().await?;
        let decided = decisions::recent(&mut session.conn, &names, SHOWN).await;
        session.close().await;
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(json!({ "indexes": indexes, "decisions": decided, "maintenance": status.to_json() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet_at(from: u8, to: u8, zone: &str, at: &str) -> bool {
        let wire = json!({ "from": from, "to": to, "timeZone": zone });
        let root = Path::Root;
        quiet(&wire, &root).unwrap().covers(at.parse().unwrap())
    }

    #[test]
    fn quiet_hours_are_local_and_go_over_midnight() {
        // Berlin is an hour ahead of UTC in winter, two in summer.
        assert!(quiet_at(8, 18, "Europe/Berlin", "2026-01-15T07:00:00Z"));
        assert!(!quiet_at(8, 18, "Europe/Berlin", "2026-01-15T06:59:59Z"));
        assert!(quiet_at(8, 18, "Europe/Berlin", "2026-07-15T06:00:00Z"));
        assert!(!quiet_at(8, 18, "Europe/Berlin", "2026-01-15T17:00:00Z"));
        assert!(quiet_at(22, 6, "UTC", "2026-01-15T23:30:00Z"));
        assert!(quiet_at(22, 6, "UTC", "2026-01-15T05:59:00Z"));
        assert!(!quiet_at(22, 6, "UTC", "2026-01-15T06:00:00Z"));
        assert!(quiet_at(0, 24, "UTC", "2026-01-15T12:00:00Z"));
    }

    #[test]
    fn the_option_is_checked_by_path() {
        let path = |wire: Wire| {
            Maintenance::parse(&wire)
                .unwrap_err()
                .path()
                .map(str::to_owned)
        };
        assert_eq!(
            path(json!({ "intervall": 1 })).as_deref(),
            Some("maintenance.intervall")
        );
        assert_eq!(
            path(json!({ "interval": "soon" })).as_deref(),
            Some("maintenance.interval")
        );
        assert_eq!(
            path(json!({ "autoDrop": 1 })).as_deref(),
            Some("maintenance.autoDrop")
        );
        assert_eq!(
            path(json!({ "quietHours": { "from": 8, "to": 30 } })).as_deref(),
            Some("maintenance.quietHours.to")
        );
        assert_eq!(
            path(json!({ "quietHours": { "from": 8, "to": 9, "timeZone": "Mars" } })).as_deref(),
            Some("maintenance.quietHours.timeZone")
        );
        assert!(
            Maintenance::parse(&json!({ "enabled": false }))
                .unwrap()
                .is_none()
        );
        assert!(Maintenance::parse(&json!({})).unwrap().is_some());
    }

    #[test]
    fn jitter_stays_near() {
        for turn in 0..1000 {
            let pause = jittered(Duration::from_secs(100), turn).as_secs_f64();
            assert!((89.9..110.1).contains(&pause), "{pause}");
        }
    }
}
