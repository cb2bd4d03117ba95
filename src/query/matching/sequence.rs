//! A sequence: steps in time order, with Elastic EQL's semantics.

use std::time::Duration;

use serde_json::{Map, Value as Wire};

use super::{either, key_fields};
use crate::model::{
    Error, Result,
    duration::duration,
    field::Field,
    path::Path,
    wire::{boolean, known_keys, list, object, shown, text, whole},
};
use crate::query::condition::Condition;
use crate::query::scope::Scope;

/// A checked sequence.
///
/// Conditions are numbered: each is one bit of an event's mask, and equal ones share theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// The names of the fields of a match's key, in order.
    pub key: Vec<String>,
    /// The conditions of steps and of `until`, by bit.
    pub conditions: Conditions,
    /// The present steps, each once for every run: at least one.
    pub stages: Vec<Part>,
    /// What must not occur.
    pub absent: Vec<Absent>,
    /// From the first event to the last, in microseconds, inclusive.
    pub max_span: Option<i64>,
    /// What ends every partial match before it.
    pub until: Option<Until>,
    /// Which of the candidates that overlap are matches.
    pub mode: MatchMode,
    /// The most matches, where the caller set it.
    pub max_matches: Option<u64>,
    /// The named steps and their stages, from the first to the one behind the last.
    pub names: Vec<(String, usize, usize)>,
}

/// Conditions by bit, each with the fields that its events are partitioned by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conditions(pub Vec<(Condition, Vec<Field>)>);

/// A present step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The bit of its condition.
    pub bit: u32,
    /// The time since the stage before it.
    pub gap: Gap,
}

/// A span of time, in microseconds, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// At least.
    pub min: i64,
    /// At most; `i64::MAX` for no end.
    pub max: i64,
}

impl Gap {
    /// Any time.
    pub const ANY: Self = Self {
        min: 0,
        max: i64::MAX,
    };
}

/// An absent step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Absent {
    /// The bit of its condition.
    pub bit: u32,
    /// The stage that it stands before; the number of stages for a trailing one.
    pub before: usize,
    /// Since the stage before it, where it must not occur.
    pub gap: Gap,
}

/// What ends partial matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Until {
    /// The bit of its condition.
    pub bit: u32,
}

/// Which of the candidates that overlap are matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MatchMode {
    /// The latest partial wins.
    #[default]
    Latest,
    /// The first partial wins.
    First,
    /// Every combination.
    All,
}

const KEYS: [&str; 6] = ["steps", "by", "maxSpan", "until", "match", "maxMatches"];
const STEP_KEYS: [&str; 6] = ["as", "where", "by", "runs", "absent", "gap"];
/// Bits of a mask, the sign not among them.
const MAX_CONDITIONS: usize = 62;
const MAX_STAGES: usize = 1000;

/// Where a step takes its key from.
struct Keys {
    shared: Vec<(String, Field)>,
    /// Whether a step's own fields stand behind the shared ones, or instead of them.
    added: bool,
}

impl Sequence {
    /// Parses a sequence as the API writes it.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(wire: &Wire, path: &Path<'_>, scope: &Scope) -> Result<Self> {
        let members = object(wire, path, "a sequence such as { steps: [{ where: … }] }")?;
        known_keys(members, path, &KEYS)?;
        let here = path.key("steps");
        let steps = members
            .get("steps")
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        let steps = list(steps, &here, "steps")?;
        let shared = members
            .get("by")
            .map_or(Ok(Vec::new()), |by| key_fields(by, &path.key("by"), scope))?;
        // As in EQL, fields of the steps stand behind those of the sequence. Where only some steps
        // have fields of their own, these replace the sequence's.
        let all_have = steps.iter().all(|step| step.get("by").is_some());
        let keys = Keys {
            added: all_have,
            shared,
        };
        let mut building = Building {
            scope,
            keys,
            key: None,
            conditions: Conditions::default(),
            stages: Vec::new(),
            absent: Vec::new(),
            names: Vec::new(),
        };
        for (i, step) in steps.iter().enumerate() {
            building.step(step, &here.index(i))?;
        }
        if building.stages.is_empty() {
            return Err(Error::invalid(
                here,
                "has only absent steps: at least one must be present",
            ));
        }
        let until = match members.get("until") {
            None => None,
            Some(until) => Some(building.until(until, &path.key("until"))?),
        };
        let micros = |key: &'static str| {
            members
                .get(key)
                .map(|wire| micros(wire, &path.key(key)))
                .transpose()
        };
        Ok(Self {
            max_span: micros("maxSpan")?,
            mode: mode(members, path)?,
            max_matches: max_matches(members, path)?,
            key: building.key.unwrap_or_default(),
            conditions: building.conditions,
            stages: building.stages,
            absent: building.absent,
            names: building.names,
            until,
        })
    }

    /// The bits that an event of every match has.
    pub fn required(&self) -> u64 {
        self.stages
            .iter()
            .fold(0, |bits, part| bits | 1 << part.bit)
    }

    /// Whether a match can be open: an absent step stands behind the last present one.
    pub fn can_be_open(&self) -> bool {
        self.absent.iter().any(|a| a.before == self.stages.len())
    }
}

struct Building<'s> {
    scope: &'s Scope,
    keys: Keys,
    key: Option<Vec<String>>,
    conditions: Conditions,
    stages: Vec<Part>,
    absent: Vec<Absent>,
    names: Vec<(String, usize, usize)>,
}

impl Building<'_> {
    fn step(&mut self, wire: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(wire, path, "a step such as { where: { eventTypes: […] } }")?;
        known_keys(members, path, &STEP_KEYS)?;
        let bit = self.condition(members, path)?;
        let absent = members
            .get("absent")
            .map_or(Ok(false), |wire| boolean(wire, &path.key("absent")))?;
        let runs = runs(members, path, absent)?;
        let gap = match members.get("gap") {
            None => Gap::ANY,
            Some(_) if self.stages.is_empty() => {
                return Err(Error::invalid(
                    path.key("gap"),
                    "is the time since the step before, and no present step is before this one",
                ));
            }
            Some(wire) => gap(wire, &path.key("gap"))?,
        };
        let at = self.stages.len();
        let name = self.name(members, path)?;
        if absent {
            self.absent.push(Absent {
                bit,
                before: at,
                gap,
            });
            return Ok(());
        }
        if at + runs > MAX_STAGES {
            return Err(Error::invalid(
                path,
                "makes the sequence longer than 1,000 events",
            ));
        }
        self.stages.push(Part { bit, gap });
        let again = Part { bit, gap: Gap::ANY };
        self.stages.resize(at + runs, again);
        if let Some(name) = name {
            self.names.push((name, at, at + runs));
        }
        Ok(())
    }

    fn name(&self, members: &Map<String, Wire>, path: &Path<'_>) -> Result<Option<String>> {
        let Some(wire) = members.get("as") else {
            return Ok(None);
        };
        let here = path.key("as");
        let name = text(wire, &here)?;
        if name.is_empty() {
            return Err(Error::invalid(here, "is empty"));
        }
        if self.names.iter().any(|(known, ..)| known == name) {
            return Err(Error::invalid(here, "is the name of another step"));
        }
        Ok(Some(name.to_owned()))
    }

    fn until(&mut self, wire: &Wire, path: &Path<'_>) -> Result<Until> {
        let members = object(wire, path, "an event to end at, such as { where: … }")?;
        known_keys(members, path, &["where", "by"])?;
        Ok(Until {
            bit: self.condition(members, path)?,
        })
    }

    /// The bit of a step's condition under its key.
    fn condition(&mut self, members: &Map<String, Wire>, path: &Path<'_>) -> Result<u32> {
        let here = path.key("where");
        let wire = members
            .get("where")
            .ok_or_else(|| Error::invalid(here, "is missing; {} is any event"))?;
        let condition = either(wire, &here, self.scope)?;
        let fields = self.fields(members, path)?;
        let known = &mut self.conditions.0;
        let entry = (condition, fields);
        let bit = known.iter().position(|e| *e == entry).unwrap_or_else(|| {
            known.push(entry);
            known.len() - 1
        });
        if bit >= MAX_CONDITIONS {
            return Err(Error::invalid(
                path,
                "is one more than the 62 different steps that a sequence can have",
            ));
        }
        Ok(u32::try_from(bit).unwrap_or_default())
    }

    /// The fields that make the key of a step's events.
    fn fields(&mut self, members: &Map<String, Wire>, path: &Path<'_>) -> Result<Vec<Field>> {
        let here = path.key("by");
        let own = members
            .get("by")
            .map(|by| key_fields(by, &here, self.scope))
            .transpose()?;
        let named = match own {
            None => self.keys.shared.clone(),
            Some(own) if self.keys.added => [self.keys.shared.clone(), own].concat(),
            Some(own) => own,
        };
        let key = self
            .key
            .get_or_insert_with(|| named.iter().map(|(name, _)| name.clone()).collect());
        if key.len() != named.len() {
            return Err(Error::invalid(
                here,
                format!(
                    "makes a key of {} fields, and that of the first step has {}: keys that are to be equal are equally long",
                    named.len(),
                    key.len()
                ),
            ));
        }
        if !members.contains_key("by") && !self.keys.added {
            // The sequence's own names win over those of a step that differs.
            *key = named.iter().map(|(name, _)| name.clone()).collect();
        }
        Ok(named.into_iter().map(|(_, field)| field).collect())
    }
}

/// A span of time in microseconds.
pub(super) fn micros(wire: &Wire, path: &Path<'_>) -> Result<i64> {
    let span: Duration = duration(wire, path)?;
    // At most 1,000 years.
    Ok(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))
}

fn gap(wire: &Wire, path: &Path<'_>) -> Result<Gap> {
    let members = object(wire, path, "a gap such as { max: '1 hour' }")?;
    known_keys(members, path, &["min", "max"])?;
    let bound = |key: &'static str| {
        members
            .get(key)
            .map(|wire| micros(wire, &path.key(key)))
            .transpose()
    };
    let gap = Gap {
        min: bound("min")?.unwrap_or(0),
        max: bound("max")?.unwrap_or(i64::MAX),
    };
    if gap.min > gap.max {
        return Err(Error::invalid(path.key("min"), "is longer than max"));
    }
    Ok(gap)
}

fn runs(members: &Map<String, Wire>, path: &Path<'_>, absent: bool) -> Result<usize> {
    let Some(wire) = members.get("runs") else {
        return Ok(1);
    };
    let here = path.key("runs");
    if absent {
        return Err(Error::invalid(here, "does not go with absent"));
    }
    match usize::try_from(whole(wire, &here)?) {
        Ok(0) => Err(Error::invalid(here, "must be at least 1")),
        Ok(runs) if runs <= MAX_STAGES => Ok(runs),
        _ => Err(Error::invalid(
            here,
            "makes the sequence longer than 1,000 events",
        )),
    }
}

fn mode(members: &Map<String, Wire>, path: &Path<'_>) -> Result<MatchMode> {
    let Some(wire) = members.get("match") else {
        return Ok(MatchMode::default());
    };
    match wire.as_str() {
        Some("latest") => Ok(MatchMode::Latest),
        Some("first") => Ok(MatchMode::First),
        Some("all") => Ok(MatchMode::All),
        _ => Err(Error::invalid(
            path.key("match"),
            format!("must be 'latest', 'first' or 'all', not {}", shown(wire)),
        )),
    }
}

fn max_matches(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Option<u64>> {
    let Some(wire) = members.get("maxMatches") else {
        return Ok(None);
    };
    let here = path.key("maxMatches");
    match whole(wire, &here)? {
        0 => Err(Error::invalid(here, "must be at least 1")),
        n => Ok(Some(n)),
    }
}
