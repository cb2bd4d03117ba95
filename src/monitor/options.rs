//! How a client wants to be watched.

use std::time::Duration;

use serde_json::Value as Wire;

use crate::model::{
    Error, Result,
    duration::duration,
    path::Path,
    wire::{boolean, known_keys, object, whole},
};

/// The option `monitor` of a client.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Queries that take longer are slow.
    pub slow: Duration,
    /// The share of runs that is logged; slow and failed ones always are.
    pub sample_rate: f64,
    /// Whether runs are logged to the database.
    pub persist: bool,
    /// How long they are kept there.
    pub retention: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            slow: Duration::from_secs(1),
            sample_rate: 1.0,
            persist: true,
            retention: Duration::from_hours(30 * 24),
        }
    }
}

impl Options {
    /// Parses the option.
    ///
    /// # Errors
    /// INVALID_QUERY with the path.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let path = root.key("monitor");
        let members = object(wire, &path, "an object of options")?;
        known_keys(
            members,
            &path,
            &["slowQueryThreshold", "sampleRate", "persist", "retention"],
        )?;
        let mut options = Self::default();
        for (key, value) in members {
            let here = path.key(key);
            match key.as_str() {
                "slowQueryThreshold" => options.slow = Duration::from_millis(whole(value, &here)?),
                "persist" => options.persist = boolean(value, &here)?,
                "retention" => options.retention = duration(value, &here)?,
                _ => {
                    options.sample_rate = value
                        .as_f64()
                        .filter(|rate| (0.0..=1.0).contains(rate))
                        .ok_or_else(|| Error::invalid(here, "must be a number from 0 to 1"))?;
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::Options;
    use serde_json::json;

    #[test]
    fn options_are_checked_by_path() {
        for (wrong, path) in [
            (json!({ "sampleRate": 1.1 }), "monitor.sampleRate"),
            (json!({ "sampleRate": "1" }), "monitor.sampleRate"),
            (
                json!({ "slowQueryThreshold": -1 }),
                "monitor.slowQueryThreshold",
            ),
            (json!({ "persist": 1 }), "monitor.persist"),
            (json!({ "retention": "soon" }), "monitor.retention"),
            (json!({ "slow": 1 }), "monitor.slow"),
            (json!(true), "monitor"),
        ] {
            assert_eq!(Options::parse(&wrong).unwrap_err().path(), Some(path));
        }
        let options = Options::parse(&json!({ "retention": "7 days", "sampleRate": 0 })).unwrap();
        assert_eq!(options.retention.as_secs(), 7 * 86_400);
        assert!(options.persist);
    }
}
