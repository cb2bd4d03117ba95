//! Groups and their aggregates.

use serde_json::{Map, Value as Wire};

use super::aggregate::Aggregate;
use super::condition::Condition;
use super::scope::Scope;
use super::select::Selected;
use super::window::{Bucket, Window};
use crate::model::{
    Error, Result,
    field::{Field, FieldError, Kind, Output},
    path::Path,
    wire::{field, known_keys, list, object, text},
};

/// How rows are gathered, and what is kept of each group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grouping {
    /// By time: the first column, `bucket`.
    pub bucket: Option<Bucket>,
    /// By fields.
    pub keys: Vec<Selected>,
    /// What is computed of each group.
    pub aggregates: Vec<Aggregate>,
    /// What an aggregated row must satisfy.
    pub having: Option<Condition>,
}

/// A column of the aggregated rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The field that it is grouped by, or that it is an aggregate of and shares its values with.
    pub field: Option<Field>,
    /// What it is to conditions and orders.
    pub output: Output,
}

const BUCKET: &str = "bucket";
const MAX_GROUPS: usize = 100;
const MAX_AGGREGATES: usize = 500;

impl Grouping {
    /// Parses the parts of a query that group; `None` where it does not.
    pub fn parse(
        members: &Map<String, Wire>,
        root: &Path<'_>,
        scope: &Scope,
        window: Option<&Window>,
    ) -> Result<Option<Self>> {
        let parts = ["groupBy", "aggregates", "timeBucket"];
        if !parts.iter().any(|part| members.contains_key(*part)) {
            return match members.get("having") {
                None => Ok(None),
                Some(_) => Err(Error::invalid(
                    "having",
                    "needs groups or aggregates: conditions on events go into filter.where",
                )),
            };
        }
        let bucket = match members.get("timeBucket") {
            None => None,
            Some(_) if !scope.reads_events() => {
                return Err(Error::invalid("timeBucket", "is for events"));
            }
            Some(wire) => Some(Bucket::parse(wire, &root.key("timeBucket"), window)?),
        };
        let mut grouping = Self {
            bucket,
            keys: keys(members, root, scope)?,
            aggregates: Vec::new(),
            having: None,
        };
        grouping.add_aggregates(members, root, scope)?;
        if let Some(wire) = members.get("having") {
            grouping.having = Some(having(wire, &root.key("having"), &grouping)?);
        }
        Ok(Some(grouping))
    }

    fn add_aggregates(
        &mut self,
        members: &Map<String, Wire>,
        root: &Path<'_>,
        scope: &Scope,
    ) -> Result<()> {
        let Some(wire) = members.get("aggregates") else {
            return Ok(());
        };
        let path = root.key("aggregates");
        let items = list(wire, &path, "aggregates")?;
        if items.len() > MAX_AGGREGATES {
            return Err(Error::invalid(path, "has more than 500 aggregates"));
        }
        for (i, item) in items.iter().enumerate() {
            let here = path.index(i);
            let aggregate =
                Aggregate::parse(item, &here, &|name| scope.field(name), scope.reads_events())?;
            if self.columns().iter().any(|c| c.name == aggregate.name) {
                return Err(Error::invalid(
                    here.key("as"),
                    format!(
                        "{:?} is the name of another column: give it one of its own",
                        aggregate.name
                    ),
                ));
            }
            self.aggregates.push(aggregate);
        }
        Ok(())
    }

    /// The columns of the aggregated rows: the bucket, the groups, the aggregates.
    pub fn columns(&self) -> Vec<Column> {
        let bucket = self
            .bucket
            .iter()
            .map(|_| (BUCKET.to_owned(), None, Kind::Time, false, false));
        let keys = self.keys.iter().map(|key| {
            let field = &key.field;
            (
                key.name.clone(),
                Some(field.clone()),
                field.kind(),
                false,
                field.nullable(),
            )
        });
        let aggregates = self.aggregates.iter().map(|aggregate| {
            let (kind, number) = aggregate.kind();
            (aggregate.name.clone(), None, kind, number, true)
        });
        bucket
            .chain(keys)
            .chain(aggregates)
            .enumerate()
            .map(|(column, (name, field, kind, number, nullable))| Column {
                name,
                field,
                output: Output {
                    column,
                    kind,
                    number,
                    nullable,
                },
            })
            .collect()
    }

    /// The columns that tell the groups apart.
    pub fn key_columns(&self) -> Vec<Column> {
        let mut columns = self.columns();
        columns.truncate(usize::from(self.bucket.is_some()) + self.keys.len());
        columns
    }

    /// The column of a name: a column's own, or another way to write a group's field.
    ///
    /// # Errors
    /// [`FieldError::Unknown`]
    pub fn field(&self, name: &str) -> Result<Field, FieldError> {
        let columns = self.columns();
        let named = columns.iter().find(|column| column.name == name);
        named
            .or_else(|| {
                let field = Field::parse(name).ok()?;
                columns.iter().find(|c| c.field.as_ref() == Some(&field))
            })
            .map(|column| Field::Output(column.output))
            .ok_or(FieldError::Unknown)
    }

    /// Whether there is one row whatever there is to aggregate.
    pub const fn is_whole(&self) -> bool {
        self.bucket.is_none() && self.keys.is_empty()
    }

    /// Whether rows can come of no event.
    pub fn makes_rows(&self) -> bool {
        self.is_whole() || self.bucket.as_ref().is_some_and(|b| b.fill.is_some())
    }
}

fn keys(members: &Map<String, Wire>, root: &Path<'_>, scope: &Scope) -> Result<Vec<Selected>> {
    let Some(wire) = members.get("groupBy") else {
        return Ok(Vec::new());
    };
    let path = root.key("groupBy");
    let mut keys: Vec<Selected> = Vec::new();
    for (i, item) in list(wire, &path, "fields")?.iter().enumerate() {
        let here = path.index(i);
        let name = text(item, &here)?;
        let field = field(item, &here, |name| scope.field(name))?;
        // A field that is a group already makes no other groups.
        if keys.iter().any(|key| key.name == name) {
            continue;
        }
        if keys.len() == MAX_GROUPS {
            return Err(Error::invalid(path, "has more than 100 fields"));
        }
        keys.push(Selected {
            name: name.to_owned(),
            field,
        });
    }
    Ok(keys)
}

/// A condition, or an event filter that has nothing but `where`.
fn having(wire: &Wire, path: &Path<'_>, grouping: &Grouping) -> Result<Condition> {
    let members = object(wire, path, "a condition on the aggregated rows")?;
    let names = |name: &str| grouping.field(name);
    if Condition::is_condition(members) {
        return Condition::parse(wire, path, &names);
    }
    known_keys(members, path, &["where"])?;
    match members.get("where") {
        Some(condition) => Condition::parse(condition, &path.key("where"), &names),
        None => Ok(Condition::always()),
    }
}
