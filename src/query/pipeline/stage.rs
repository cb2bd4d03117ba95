//! Stages, checked one after the other.

use serde_json::{Map, Value as Wire};

use super::computed::{Expression, Type};
use super::row::{Column, Row, holds};
use super::window::{WindowCall, WindowFunction};
use crate::model::{
    Error, Result,
    field::{Field, Holds, Kind},
    path::Path,
    time::Timestamp,
    wire::{field, known_keys, list, object, text, whole},
};
use crate::query::{
    Aggregate, Bucket, Condition, Function, OrderBy, OutlierRule, Selected, Window, filter,
    operand::time,
    order,
    scope::{Scope, Source},
};

/// A checked pipeline.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// What is done, in order. `sort` is no step: rows carry their order.
    pub steps: Vec<Step>,
    /// The row that comes out.
    pub row: Row,
}

/// A step, with the row that it gets.
#[derive(Clone, Debug)]
pub enum Step {
    /// Keeps rows.
    Match(Condition),
    /// Adds the start of the bucket of a time.
    Bucket(Bucket, Field, Column),
    /// Gathers rows.
    Group {
        /// By what, and as which columns.
        keys: Vec<(Field, Column)>,
        /// What is computed of each group.
        aggregates: Vec<(Aggregate, Column)>,
        /// Rows of empty buckets of this window: the bucket is the first key.
        filled: Option<(Bucket, Window)>,
    },
    /// Makes rows of these columns alone.
    Project(Vec<(Expression, Column)>),
    /// Adds what a window function gives.
    Window(WindowCall, Column),
    /// Keeps rows that are far from the others, and says how far.
    Outliers {
        /// The number.
        field: Field,
        /// What far means.
        rule: OutlierRule,
        /// How far.
        score: Column,
        /// From what.
        expected: Column,
    },
    /// Keeps the first rows of this order.
    Limit(u64, Vec<OrderBy>),
    /// Leaves out the first rows of this order.
    Offset(u64, Vec<OrderBy>),
    /// Several pipelines over the same rows: a column of rows each.
    Facet(Vec<(Column, Pipeline)>),
}

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
            inside: false,
        };
        parser.stages(wire, &Path::Root)?;
        Ok(Self {
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
    inside: bool,
}

struct Pending {
    column: Column,
    /// Where it is filled: the rule, its window and its path.
    filled: Option<(Bucket, Window, String)>,
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
            "sequence" | "pattern" => Err(Error::Unsupported {
                path: path.to_string(),
                what: "this version has no such stage: findSequences and findPatterns give matches"
                    .into(),
            }),
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

    fn bucket(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let at = match self.row.field("timestamp") {
            Ok(field) if field.kind() == Kind::Time => field,
            _ => {
                return Err(Error::invalid(
                    path,
                    "needs rows with a timestamp: put it before the group or keep the field",
                ));
            }
        };
        let window = match self.times {
            (Some(from), Some(to)) if from <= to => Some(Window::Between(Some(from), Some(to))),
            _ => None,
        };
        let bucket = Bucket::parse(part, path, window.as_ref())?;
        if self.row.has("bucket") {
            return Err(Error::invalid(
                path,
                "is the second: there is a column bucket",
            ));
        }
        let mut column = self.column(Some("bucket"), Holds::Time);
        column.nullable = false;
        let fill = path.key("fill");
        let filled = match (&bucket.fill, window) {
            (Some(_), Some(window)) => {
                let plain = self.row.event
                    && self.row.columns.is_empty()
                    && self.steps.iter().all(|step| matches!(step, Step::Match(_)));
                if !plain {
                    return Err(Error::invalid(
                        fill,
                        "is for events that were matched and nothing else: put the bucket behind the match",
                    ));
                }
                Some((bucket.clone(), window, fill.to_string()))
            }
            _ => None,
        };
        if filled.is_none() {
            self.steps.push(Step::Bucket(bucket, at, column.clone()));
            self.row.columns.push(column.clone());
        }
        self.bucket = Some(Pending { column, filled });
        Ok(())
    }

    fn group(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(
            part,
            path,
            "a group such as { by: ['type'], aggregates: […] }",
        )?;
        known_keys(members, path, &["by", "aggregates"])?;
        let mut keys: Vec<(Field, Column)> = Vec::new();
        let mut filled = None;
        let mut in_time = false;
        if let Some(Pending {
            column,
            filled: fill,
        }) = self.bucket.take()
        {
            in_time = true;
            let mut named = self.column(Some("bucket"), Holds::Time);
            named.nullable = false;
            keys.push((column.field(), named));
            filled = fill.map(|(bucket, window, _)| (bucket, window));
        }
        if let Some(wire) = members.get("by") {
            let here = path.key("by");
            for (i, item) in list(wire, &here, "fields")?.iter().enumerate() {
                let place = here.index(i);
                let name = text(item, &place)?;
                if keys.iter().any(|(_, c)| c.name.as_deref() == Some(name)) {
                    continue;
                }
                let row = &self.row;
                let field = field(item, &place, |name| row.field(name))?;
                let sql = self.name();
                let column = Column::of_field(Some(name.to_owned()), sql, &field, &self.row);
                keys.push((field, column));
            }
        }
        let aggregates = self.aggregates(members, path, &keys)?;
        let columns: Vec<Column> = (keys.iter().map(|(_, column)| column))
            .chain(aggregates.iter().map(|(_, column)| column))
            .cloned()
            .collect();
        let fields: Vec<Field> = keys.iter().map(|(_, column)| column.field()).collect();
        let natural: Vec<OrderBy> = fields.iter().cloned().map(OrderBy::ascending).collect();
        self.row = Row {
            event: false,
            columns,
            order: if in_time { natural.clone() } else { Vec::new() },
            natural,
            keys: fields,
            grouped: true,
        };
        self.times = (None, None);
        self.steps.push(Step::Group {
            keys,
            aggregates,
            filled,
        });
        Ok(())
    }

    fn aggregates(
        &mut self,
        members: &Map<String, Wire>,
        path: &Path<'_>,
        keys: &[(Field, Column)],
    ) -> Result<Vec<(Aggregate, Column)>> {
        let here = path.key("aggregates");
        let wire = members
            .get("aggregates")
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        let none = wire.as_array().is_some_and(Vec::is_empty) && !keys.is_empty();
        let items: &[Wire] = if none {
            &[]
        } else {
            list(wire, &here, "aggregates")?
        };
        let mut aggregates: Vec<(Aggregate, Column)> = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let place = here.index(i);
            let row = &self.row;
            let aggregate = Aggregate::parse(item, &place, &|name| row.field(name), row.event)?;
            let name = aggregate.name.as_str();
            let taken = keys.iter().map(|(_, column)| column);
            let mut taken = taken.chain(aggregates.iter().map(|(_, column)| column));
            if taken.any(|column| column.name.as_deref() == Some(name)) {
                return Err(Error::invalid(
                    place.key("as"),
                    format!("{name:?} is the name of another column: give it one of its own"),
                ));
            }
            let (kind, number) = aggregate.kind();
            let scalar = aggregate.field.as_ref().is_some_and(Field::is_json_scalar);
            let name = aggregate.name.clone();
            let held = if number { Holds::Number } else { holds(kind) };
            let column = Column {
                computed: aggregate.is_computed(),
                json_scalar: scalar && !number,
                nullable: !aggregate.counts(),
                ..self.column(Some(&name), held)
            };
            aggregates.push((aggregate, column));
        }
        Ok(aggregates)
    }

    fn project(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let mut columns: Vec<(Expression, Column)> = Vec::new();
        for (name, wire) in named(part, path, "an object of names and fields")? {
            let here = path.key(name);
            if name.is_empty() || name.len() > 1024 || name.contains('\0') {
                return Err(Error::invalid(here, "is no name for a column"));
            }
            let expression = Expression::parse(wire, &here, &self.row)?;
            let column = match (&expression, expression.r#type()) {
                (Expression::Field(field), _) => {
                    let sql = self.name();
                    Column::of_field(Some(name.to_owned()), sql, field, &self.row)
                }
                (_, Type::Number) => self.column(Some(name), Holds::Number),
                (_, Type::Text) => self.column(Some(name), Holds::Text),
                (_, Type::Time) => self.column(Some(name), Holds::Time),
                (_, Type::Json) => Column {
                    json_scalar: true,
                    ..self.column(Some(name), Holds::Jsonb)
                },
            };
            columns.push((expression, column));
        }
        // What rows are told apart and ordered by comes along, unnamed where it was not asked for.
        let before = self.row.clone();
        let mut carried = |parser: &mut Self, field: &Field| {
            let read = Expression::Field(field.clone());
            if let Some((_, column)) = columns.iter().find(|(known, _)| *known == read) {
                return column.field();
            }
            let sql = parser.name();
            let column = Column::of_field(None, sql, field, &before);
            let carried = column.field();
            columns.push((read, column));
            carried
        };
        let keys: Vec<Field> = (before.keys.iter())
            .map(|field| carried(self, field))
            .collect();
        let mut ordered = |parser: &mut Self, order: &[OrderBy]| -> Vec<OrderBy> {
            let order = order.iter().map(|key| OrderBy {
                field: carried(parser, &key.field),
                ..key.clone()
            });
            order.collect()
        };
        let natural = ordered(self, &before.natural);
        let order = ordered(self, &before.order);
        self.row = Row {
            event: false,
            columns: columns.iter().map(|(_, column)| column.clone()).collect(),
            keys,
            natural,
            order,
            grouped: before.grouped,
        };
        self.bucket = None;
        self.times = (None, None);
        self.steps.push(Step::Project(columns));
        Ok(())
    }

    fn window(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(part, path, "a window function")?;
        let call = WindowCall::parse(members, path, &self.row)?;
        let name = self.new_name(members.get("as"), &path.key("as"))?;
        let column = match (&call.function, &call.field) {
            (WindowFunction::Lag(_) | WindowFunction::Lead(_), Some(field)) => {
                let sql = self.name();
                Column {
                    nullable: true,
                    ..Column::of_field(Some(name.to_owned()), sql, field, &self.row)
                }
            }
            (function, _) => Column {
                computed: !matches!(
                    function,
                    WindowFunction::Rank | WindowFunction::RowNumber | WindowFunction::RunningSum
                ),
                ..self.column(Some(name), Holds::Number)
            },
        };
        self.row.columns.push(column.clone());
        self.times = (None, None);
        self.steps.push(Step::Window(call, column));
        Ok(())
    }

    fn outliers(&mut self, part: &Wire, path: &Path<'_>) -> Result<()> {
        let members = object(part, path, "{ field, method, threshold }")?;
        known_keys(members, path, &["field", "method", "threshold"])?;
        let here = path.key("field");
        let wire = members
            .get("field")
            .ok_or_else(|| Error::invalid(here, "is missing"))?;
        let row = &self.row;
        let field = field(wire, &here, |name| row.field(name))?;
        let rule = OutlierRule::parse(members, path)?;
        if let Some(taken) = ["score", "expected"].iter().find(|name| row.has(name)) {
            return Err(Error::invalid(
                path,
                format!("adds the columns score and expected, and there is a column {taken}"),
            ));
        }
        let score = self.column(Some("score"), Holds::Number);
        let expected = self.column(Some("expected"), Holds::Number);
        self.row.columns.extend([score.clone(), expected.clone()]);
        self.times = (None, None);
        self.steps.push(Step::Outliers {
            field,
            rule,
            score,
            expected,
        });
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
                inside: true,
            };
            inner.stages(stages, &path.key(name))?;
            self.names = inner.names;
            let column = self.column(Some(name), Holds::Jsonb);
            facets.push((
                column,
                Pipeline {
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

fn unfilled(path: &str) -> Error {
    Error::invalid(
        path,
        "needs a group right behind its bucket: only groups can be filled",
    )
}

/// Groups as queries have them, for what fills empty buckets.
pub fn selected(keys: &[(Field, Column)]) -> Vec<Selected> {
    let selected = keys.iter().map(|(field, column)| Selected {
        name: column.name.clone().unwrap_or_default(),
        field: field.clone(),
    });
    selected.collect()
}

/// Whether an aggregate comes as a double, whose digits a cast would cut.
pub const fn is_double(aggregate: &Aggregate) -> bool {
    matches!(aggregate.function, Function::Percentile(_))
}
