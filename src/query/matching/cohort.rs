//! Funnels and retention: questions to how far keys get, and when they come back.

use serde_json::{Map, Value as Wire};

use super::sequence::{Conditions, micros};
use super::{either, key_fields};
use crate::model::{
    Error, Result,
    field::Field,
    path::Path,
    wire::{known_keys, list, object, shown, text, whole},
};
use crate::query::condition::Condition;
use crate::query::filter;
use crate::query::scope::{Scope, Source};

/// How far keys get through steps, as ClickHouse's `windowFunnel` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Funnel {
    /// The names of the steps.
    pub names: Vec<String>,
    /// The bit of each step's condition.
    pub steps: Vec<u32>,
    /// The conditions, by bit.
    pub conditions: Conditions,
    /// The longest time since the first step, in microseconds, inclusive.
    pub window: i64,
    /// What interrupts.
    pub mode: FunnelMode,
    /// Which events are looked at.
    pub filter: Condition,
}

/// What interrupts a funnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FunnelMode {
    /// Nothing: other events may come between.
    Default,
    /// Any other event than the next step's.
    StrictOrder,
    /// Nothing, but the times of the steps increase.
    StrictIncrease,
    /// An event of a step that was reached already.
    StrictDeduplication,
}

/// When keys come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The first condition begins, the second returns.
    pub conditions: Conditions,
    /// The length of a period, in microseconds.
    pub period: i64,
    /// How many are counted, that of the beginning among them.
    pub periods: usize,
    /// Which events are looked at.
    pub filter: Condition,
}

const STEP_KEYS: [&str; 6] = ["as", "where", "by", "runs", "absent", "gap"];

impl Funnel {
    /// Parses a funnel.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(members: &Map<String, Wire>) -> Result<Self> {
        let (root, scope) = (Path::Root, Scope::of(Source::Events));
        known_keys(
            members,
            &root,
            &["op", "steps", "by", "window", "mode", "filter", "hints"],
        )?;
        let by = keys(members, &root, &scope)?;
        let here = root.key("steps");
        let steps = list(needed(members, &root, "steps")?, &here, "steps")?;
        let mut funnel = Self {
            names: Vec::new(),
            steps: Vec::new(),
            conditions: Conditions::default(),
            window: micros(needed(members, &root, "window")?, &root.key("window"))?,
            mode: mode(members, &root)?,
            filter: filtered(members, &root, &scope)?,
        };
        for (i, step) in steps.iter().enumerate() {
            funnel.step(step, &here.index(i), &scope, &by)?;
        }
        Ok(funnel)
    }

    fn step(&mut self, wire: &Wire, path: &Path<'_>, scope: &Scope, by: &[Field]) -> Result<()> {
        let members = object(wire, path, "a step such as { where: { eventTypes: […] } }")?;
        known_keys(members, path, &STEP_KEYS)?;
        if let Some(other) = STEP_KEYS[2..].iter().find(|k| members.contains_key(**k)) {
            return Err(Error::invalid(
                path.key(other),
                "is for sequences: a step of a funnel has as and where",
            ));
        }
        let name = match members.get("as") {
            Some(wire) => text(wire, &path.key("as"))?.to_owned(),
            None => format!("step {}", self.steps.len() + 1),
        };
        if self.names.contains(&name) {
            return Err(Error::invalid(
                path.key("as"),
                "is the name of another step",
            ));
        }
        let condition = either(needed(members, path, "where")?, &path.key("where"), scope)?;
        let known = &mut self.conditions.0;
        let place = known.iter().position(|(c, _)| *c == condition);
        let bit = place.unwrap_or_else(|| {
            known.push((condition, by.to_vec()));
            known.len() - 1
        });
        if self.steps.len() >= 32 {
            return Err(Error::invalid(
                path,
                "is one more than the 32 steps of a funnel",
            ));
        }
        self.names.push(name);
        self.steps.push(u32::try_from(bit).unwrap_or_default());
        Ok(())
    }
}

impl Retention {
    /// Parses a question for retention.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(members: &Map<String, Wire>) -> Result<Self> {
        let (root, scope) = (Path::Root, Scope::of(Source::Events));
        let known = [
            "op",
            "by",
            "start",
            "returning",
            "period",
            "periods",
            "filter",
            "hints",
        ];
        known_keys(members, &root, &known)?;
        let by = keys(members, &root, &scope)?;
        let condition = |key: &'static str| {
            let wire = needed(members, &root, key)?;
            let condition = filter::parse(wire, &root.key(key), &scope)?;
            Ok::<_, Error>((condition, by.clone()))
        };
        let conditions = Conditions(vec![condition("start")?, condition("returning")?]);
        let here = root.key("periods");
        let periods = whole(needed(members, &root, "periods")?, &here)?;
        let Ok(periods @ 1..=1000) = usize::try_from(periods) else {
            return Err(Error::invalid(here, "must be from 1 to 1,000"));
        };
        Ok(Self {
            conditions,
            period: micros(needed(members, &root, "period")?, &root.key("period"))?,
            periods,
            filter: filtered(members, &root, &scope)?,
        })
    }
}

fn needed<'w>(
    members: &'w Map<String, Wire>,
    path: &Path<'_>,
    key: &'static str,
) -> Result<&'w Wire> {
    members
        .get(key)
        .ok_or_else(|| Error::invalid(path.key(key), "is missing"))
}

fn keys(members: &Map<String, Wire>, root: &Path<'_>, scope: &Scope) -> Result<Vec<Field>> {
    let by = key_fields(needed(members, root, "by")?, &root.key("by"), scope)?;
    Ok(by.into_iter().map(|(_, field)| field).collect())
}

fn filtered(members: &Map<String, Wire>, root: &Path<'_>, scope: &Scope) -> Result<Condition> {
    members.get("filter").map_or_else(
        || Ok(Condition::always()),
        |wire| filter::parse(wire, &root.key("filter"), scope),
    )
}

fn mode(members: &Map<String, Wire>, root: &Path<'_>) -> Result<FunnelMode> {
    let Some(wire) = members.get("mode") else {
        return Ok(FunnelMode::Default);
    };
    match wire.as_str() {
        Some("default") => Ok(FunnelMode::Default),
        Some("strictOrder") => Ok(FunnelMode::StrictOrder),
        Some("strictIncrease") => Ok(FunnelMode::StrictIncrease),
        Some("strictDeduplication") => Ok(FunnelMode::StrictDeduplication),
        _ => Err(Error::invalid(
            root.key("mode"),
            format!(
                "must be 'default', 'strictOrder', 'strictIncrease' or 'strictDeduplication', not {}",
                shown(wire)
            ),
        )),
    }
}
