//! Stages, checked one after the other.

mod column;
mod group;
mod matched;

use serde_json::Value as Wire;

use self::group::{Pending, unfilled};
use super::row::{Column, Row};
use super::step::{MatchStage, Pipeline, Step};
use crate::model::{
    Error, Result,
    field::Holds,
    path::Path,
    time::Timestamp,
    wire::{known_keys, list, object, text, whole},
};
use crate::query::{
    Condition, filter,
    operand::time,
    order,
    scope::{Scope, Source},
};

const STAGES: &str = "match, bucket, group, having, project, window, facet, sequence, pattern, outliers, sort, limit, offset";
const MAX_STAGES: usize = 100;
const MAX_COLUMNS: usize = 500;

impl Pipeline {
    /// Parses stages over events. Paths of errors begin with the stage: `[2].group`.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let mut parser = Parser {
            row: Row::events(),
            steps: Vec::new(),
            names: 0,
            times: (None, None),
            bucket: None,
            matched: None,
            inside: false,
        };
        parser.stages(wire, &Path::Root)?;
        Ok(Self {
            matched: parser.matched,
            steps: parser.steps,
            row: parser.row,
        })
    }
}

struct Parser {
    row: Row,
    steps: Vec<Step>,
    /// Columns named so far.
    names: usize,
    /// What `match` stages say of the time that is looked at.
    times: (Option<Timestamp>, Option<Timestamp>),
    /// A `bucket` that the next `group` groups by.
    bucket: Option<Pending>,
    /// The stage that makes matches of events.
    matched: Option<MatchStage>,
    inside: bool,
}

impl Parser {
    fn stages(&mut self, wire: &Wire, path: &Path<'_>) -> Result<()> {
        let items = list(wire, path, "stages")?;
        if items.len() > MAX_STAGES {
            return Err(Error::invalid(path, "has more than 100 stages"));
        }
        for (i, item) in items.iter().enumerate() {
            let here = path.index(i);
            let members = object(item, &here, "a stage such as { match: … }")?;
            let mut parts = members.iter();
            let (Some((name, part)), None) = (parts.next(), parts.next()) else {
                return Err(Error::invalid(here, "must have one member: its stage"));
            };
            self.stage(name, part, &here)?;
            if self.row.columns.len() > MAX_COLUMNS {
                return Err(Error::invalid(here, "makes more than 500 columns"));
            }
            if name == "facet" && i + 1 < items.len() {
                return Err(Error::invalid(
                    path.index(i + 1),
                    "comes behind a facet, which is the last stage: facets have stages of their own",
                ));
            }
        }
        match &self.bucket {
            Some(Pending {
                filled: Some((.., path)),
                ..
            }) => Err(unfilled(path)),
            _ => Ok(()),
        }
    }

    fn stage(&mut self, name: &str, part: &Wire, stage: &Path<'_>) -> Result<()> {
        let path = &stage.key(name);
        if let Some(Pending {
            filled: Some((.., path)),
            ..
        }) = &self.bucket
            && name != "group"
        {
            return Err(unfilled(path));
        }
        match name {
            "match" => self.matching(part, path),
            "having" if self.row.grouped => self.matching(part, path),
            "having" => Err(Error::invalid(
                path,
                "needs a group before it: conditions on events are a match",
            )),
            "bucket" => self.bucket(part, path),
            "group" => self.group(part, path),
            "project" => self.project(part, path),
            "window" => self.window(part, path),
            "outliers" => self.outliers(part, path),
            "sort" => {
                let row = &self.row;
                let keys = order::parse(part, path, &|name| row.field(name))?;
                self.row.order = order::total_order(&keys, &self.row.keys);
                Ok(())
            }
            "limit" => {
                let step = Step::Limit(whole(part, path)?, self.row.total_order());
                self.cut(step);
                Ok(())
            }
            "offset" => {
                let step = Step::Offset(whole(part, path)?, self.row.total_order());
                self.cut(step);
                Ok(())
            }
            "facet" => self.facet(part, path),
            "sequence" | "pattern" => self.matched(name, part, path),
            _ => Err(Error::invalid(
                path,
                format!("is no stage; known are {STAGES}"),
            )),
        }
    }

    fn cut(&mut self, step: Step) {
        self.row.order = self.row.total_order();
        self.steps.push(step);
        self.times = (None, None);
    }

    /// A name for a column in the statement: no column of a table is likely to have it.
    fn name(&mut self) -> String {
        self.names += 1;
        format!("~{}", self.names)
    }

    fn column(&mut self, name: Option<&str>, holds: Holds) -> Column {
        Column {
            name: name.map(str::to_owned),
            sql: self.name(),
            holds,
            nullable: true,
            computed: holds == Holds::Number,
            json_scalar: false,
        }
    }

    /// The name that a stage gives to a column it adds.
    fn new_name<'w>(&self, wire: Option<&'w Wire>, path: &Path<'_>) -> Result<&'w str> {
        let wire = wire.ok_or_else(|| Error::invalid(path, "is missing"))?;
        let name = text(wire, path)?;
        if name.is_empty() || name.len() > 1024 {
            return Err(Error::invalid(path, "is empty or longer than 1,024 bytes"));
        }
        if self.row.has(name) {
            return Err(Error::invalid(path, "is the name of another column"));
        }
        Ok(name)
    }

    fn matching(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(part, path, "an event filter or a condition")?;
        let row = &self.row;
        let names = |name: &str| row.field(name);
        if Condition::is_condition(members) {
            let condition = Condition::parse(part, path, &names)?;
            self.steps.push(Step::Match(condition));
            return Ok(());
        }
        let mut all = Vec::new();
        if row.event {
            // `where` may name columns that stages added.
            let mut rest = members.clone();
            rest.remove("where");
            all.push(filter::parse(
                &Wire::Object(rest),
                path,
                &Scope::of(Source::Events),
            )?);
            let bound = |key: &'static str| {
                let wire = members.get(key);
                wire.map(|wire| time(wire, &path.key(key))).transpose()
            };
            let (from, to) = (bound("startTime")?, bound("endTime")?);
            self.times = (
                self.times.0.max(from),
                self.times.1.into_iter().chain(to).min(),
            );
        } else {
            known_keys(members, path, &["where"])?;
        }
        if let Some(condition) = members.get("where") {
            all.push(Condition::parse(condition, &path.key("where"), &names)?);
        }
        self.steps.push(Step::Match(Condition::And(all)));
        Ok(())
    }

    fn facet(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        if self.inside {
            return Err(Error::invalid(path, "is inside another facet"));
        }
        let mut facets = Vec::new();
        for (name, stages) in named(part, path, "an object of names and stages")? {
            if name.is_empty() || name.contains('\0') {
                return Err(Error::invalid(path.key(name), "is no name for a column"));
            }
            let mut inner = Self {
                row: self.row.clone(),
                steps: Vec::new(),
                names: self.names,
                times: (None, None),
                bucket: (self.bucket.as_ref()).map(|pending| Pending {
                    column: pending.column.clone(),
                    filled: None,
                }),
                matched: None,
                inside: true,
            };
            inner.stages(stages, &path.key(name))?;
            self.names = inner.names;
            let column = self.column(Some(name), Holds::Jsonb);
            facets.push((
                column,
                Pipeline {
                    matched: None,
                    steps: inner.steps,
                    row: inner.row,
                },
            ));
        }
        self.row = Row {
            event: false,
            columns: facets.iter().map(|(column, _)| column.clone()).collect(),
            keys: Vec::new(),
            natural: Vec::new(),
            order: Vec::new(),
            grouped: false,
        };
        self.steps.push(Step::Facet(facets));
        Ok(())
    }
}

/// The members of an object in the caller's order, which `lib/analytics/pipeline.js` hands over as a
/// list of pairs: JSON here has none.
fn named<'w>(
    part: &'w Wire,
    path: &Path<'_>,
    what: &'static str,
) -> Result<Vec<(&'w str, &'w Wire)>> {
    let pairs = part.as_array().filter(|pairs| !pairs.is_empty());
    let Some(pairs) = pairs else {
        let problem = if object(part, path, what)?.is_empty() {
            "is empty"
        } else {
            "must be a plain object"
        };
        return Err(Error::invalid(path, problem));
    };
    let members = pairs
        .iter()
        .map(|pair| match pair.as_array().map(Vec::as_slice) {
            Some([Wire::String(name), value]) => Ok((name.as_str(), value)),
            _ => Err(Error::invalid(path, format!("must be {what}"))),
        });
    members.collect()
}
