//! Questions of analysis: statistics of a field, and processes over cases. Parsed and checked as
//! queries are; [`crate::sql::analyse`] makes one statement of each.

use serde_json::{Map, Value as Wire};

use super::condition::Condition;
use super::filter;
use super::hints::Hints;
use super::operand::time;
use super::scope::{Scope, Source};
use super::select::Selected;
use crate::model::{
    Error, Result,
    field::Field,
    path::Path,
    time::Timestamp,
    wire::{field, instead, known_keys, list, object, shown, text, whole},
};

/// A checked question.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// Which events it is about.
    pub filter: Condition,
    /// What is asked.
    pub question: Question,
    /// How to run it.
    pub hints: Hints,
}

/// What is asked of the events.
#[derive(Clone, Debug)]
pub enum Question {
    /// Moments and percentiles of the numbers of a field.
    Statistics {
        /// The field.
        field: Field,
        /// One summary for each group of these.
        keys: Vec<Selected>,
        /// Shares from 0 to 1.
        percentiles: Vec<f64>,
    },
    /// How many numbers fall into each of so many bins of the same width.
    Histogram {
        /// The field.
        field: Field,
        /// How many.
        bins: u64,
        /// The lower edge of the first; the least number where left out.
        min: Option<f64>,
        /// The upper edge of the last; the greatest number where left out.
        max: Option<f64>,
    },
    /// How two fields go together.
    Correlation {
        /// The one.
        x: Field,
        /// The other.
        y: Field,
    },
    /// Numbers far from the others.
    Outliers {
        /// The field.
        field: Field,
        /// What far means.
        rule: OutlierRule,
    },
    /// What follows what.
    Flow {
        /// The fields that make a case.
        by: Vec<Field>,
    },
    /// The courses that cases take.
    Variants {
        /// The fields that make a case.
        by: Vec<Field>,
        /// The most courses.
        limit: Option<u64>,
    },
    /// How long cases stay in a state.
    TimeInState {
        /// The fields that make a case.
        by: Vec<Field>,
        /// Where an event says its case's state.
        state: Field,
        /// When the last visits end.
        until: Option<Timestamp>,
    },
}

/// Which numbers are far from the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlierRule {
    /// How the distance is measured.
    pub method: OutlierMethod,
    /// Beyond which score.
    pub threshold: f64,
}

/// How the distance of a number from the others is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlierMethod {
    /// From the median, by the median absolute deviation.
    Mad,
    /// From the quartiles, by the distance between them.
    Iqr,
    /// From the mean, by the standard deviation.
    Zscore,
}

const MAX_BINS: u64 = 10_000;
const MAX_PERCENTILES: usize = 100;
const PERCENTILES: [f64; 6] = [0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

impl Analysis {
    /// Parses `{ op, filter, hints, … }`, whose other members are the arguments of the method `op`.
    ///
    /// # Errors
    /// The path of what is wrong.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let members = object(wire, &root, "a question")?;
        let args = Arguments {
            members,
            root: &root,
            scope: Scope::of(Source::Events),
        };
        let question = match members.get("op").and_then(Wire::as_str) {
            Some("statistics") => args.statistics()?,
            Some("histogram") => args.histogram()?,
            Some("correlation") => args.correlation()?,
            Some("outliers") => args.outliers()?,
            Some("flow") => args.flow()?,
            Some("variants") => args.variants()?,
            Some("timeInState") => args.time_in_state()?,
            _ => return Err(Error::invalid("op", "is no question of this version")),
        };
        Ok(Self {
            filter: members.get("filter").map_or_else(
                || Ok(Condition::always()),
                |wire| filter::parse(wire, &root.key("filter"), &args.scope),
            )?,
            question,
            hints: members.get("hints").map_or(Ok(Hints::default()), |wire| {
                Hints::parse(wire, &root.key("hints"))
            })?,
        })
    }
}

struct Arguments<'a> {
    members: &'a Map<String, Wire>,
    root: &'a Path<'a>,
    scope: Scope,
}

impl Arguments<'_> {
    fn known(&self, known: &[&str]) -> Result<()> {
        let all = [known, &["op", "filter", "hints"]].concat();
        known_keys(self.members, self.root, &all)
    }

    fn field(&self, key: &'static str) -> Result<Field> {
        let here = self.root.key(key);
        let wire = (self.members.get(key)).ok_or_else(|| Error::invalid(here, "is missing"))?;
        field(wire, &here, |name| self.scope.field(name))
    }

    fn fields(&self, key: &'static str) -> Result<Vec<Selected>> {
        let here = self.root.key(key);
        let Some(wire) = self.members.get(key) else {
            return Ok(Vec::new());
        };
        let mut fields: Vec<Selected> = Vec::new();
        for (i, item) in list(wire, &here, "fields")?.iter().enumerate() {
            let place = here.index(i);
            let name = text(item, &place)?.to_owned();
            let field = field(item, &place, |name| self.scope.field(name))?;
            if fields.iter().all(|known| known.name != name) {
                fields.push(Selected { name, field });
            }
        }
        if fields.len() > MAX_PERCENTILES {
            return Err(Error::invalid(here, "has more than 100 fields"));
        }
        Ok(fields)
    }

    fn by(&self) -> Result<Vec<Field>> {
        if !self.members.contains_key("by") {
            return Err(Error::invalid(
                "by",
                "is missing: the fields that make a case, such as ['tags.issueId']",
            ));
        }
        Ok((self.fields("by")?.into_iter())
            .map(|selected| selected.field)
            .collect())
    }

    fn statistics(&self) -> Result<Question> {
        self.known(&["field", "percentiles", "groupBy"])?;
        Ok(Question::Statistics {
            field: self.field("field")?,
            keys: self.fields("groupBy")?,
            percentiles: self.percentiles()?,
        })
    }

    fn percentiles(&self) -> Result<Vec<f64>> {
        let here = self.root.key("percentiles");
        let Some(wire) = self.members.get("percentiles") else {
            return Ok(PERCENTILES.into());
        };
        let items = list(wire, &here, "shares from 0 to 1")?;
        if items.len() > MAX_PERCENTILES {
            return Err(Error::invalid(here, "has more than 100 shares"));
        }
        let shares = items.iter().enumerate().map(|(i, item)| {
            let share = item.as_f64().filter(|share| (0.0..=1.0).contains(share));
            share.ok_or_else(|| {
                Error::invalid(
                    here.index(i),
                    format!("must be a number from 0 to 1{}", instead(item, "a number")),
                )
            })
        });
        shares.collect()
    }

    fn histogram(&self) -> Result<Question> {
        self.known(&["field", "bins", "min", "max"])?;
        let bins = match self.members.get("bins") {
            None => 10,
            Some(wire) => whole(wire, &self.root.key("bins"))?,
        };
        if !(1..=MAX_BINS).contains(&bins) {
            return Err(Error::invalid("bins", "must be from 1 to 10,000"));
        }
        let (min, max) = (self.number("min")?, self.number("max")?);
        if let (Some(min), Some(max)) = (min, max)
            && min >= max
        {
            return Err(Error::invalid("min", "must be less than max"));
        }
        Ok(Question::Histogram {
            field: self.field("field")?,
            bins,
            min,
            max,
        })
    }

    fn number(&self, key: &'static str) -> Result<Option<f64>> {
        let here = self.root.key(key);
        let wire = self.members.get(key);
        wire.map(|wire| {
            let number = wire.as_f64().filter(|number| number.is_finite());
            number.ok_or_else(|| {
                Error::invalid(here, format!("must be a number, not {}", shown(wire)))
            })
        })
        .transpose()
    }

    fn correlation(&self) -> Result<Question> {
        self.known(&["x", "y"])?;
        Ok(Question::Correlation {
            x: self.field("x")?,
            y: self.field("y")?,
        })
    }

    fn outliers(&self) -> Result<Question> {
        self.known(&["field", "method", "threshold"])?;
        Ok(Question::Outliers {
            field: self.field("field")?,
            rule: OutlierRule::parse(self.members, self.root)?,
        })
    }

    fn flow(&self) -> Result<Question> {
        self.known(&["by"])?;
        Ok(Question::Flow { by: self.by()? })
    }

    fn variants(&self) -> Result<Question> {
        self.known(&["by", "limit"])?;
        let limit = self.members.get("limit");
        Ok(Question::Variants {
            by: self.by()?,
            limit: limit
                .map(|wire| whole(wire, &self.root.key("limit")))
                .transpose()?,
        })
    }

    fn time_in_state(&self) -> Result<Question> {
        self.known(&["by", "state", "until"])?;
        let until = self.members.get("until");
        Ok(Question::TimeInState {
            by: self.by()?,
            state: self.field("state")?,
            until: until
                .map(|wire| time(wire, &self.root.key("until")))
                .transpose()?,
        })
    }
}

impl OutlierRule {
    /// Parses `method` and `threshold`.
    ///
    /// # Errors
    /// INVALID_QUERY
    pub fn parse(members: &Map<String, Wire>, path: &Path<'_>) -> Result<Self> {
        let method = match members.get("method").map(|wire| (wire, wire.as_str())) {
            None | Some((_, Some("mad"))) => OutlierMethod::Mad,
            Some((_, Some("iqr"))) => OutlierMethod::Iqr,
            Some((_, Some("zscore"))) => OutlierMethod::Zscore,
            Some((wire, _)) => {
                return Err(Error::invalid(
                    path.key("method"),
                    format!("must be 'mad', 'iqr' or 'zscore', not {}", shown(wire)),
                ));
            }
        };
        let usual = match method {
            OutlierMethod::Mad => 3.5,
            OutlierMethod::Iqr => 1.5,
            OutlierMethod::Zscore => 3.0,
        };
        let threshold = match members.get("threshold") {
            None => usual,
            Some(wire) => (wire.as_f64())
                .filter(|threshold| threshold.is_finite() && *threshold >= 0.0)
                .ok_or_else(|| {
                    Error::invalid(
                        path.key("threshold"),
                        format!("must be a number from 0 up{}", instead(wire, "a number")),
                    )
                })?,
        };
        Ok(Self { method, threshold })
    }
}
