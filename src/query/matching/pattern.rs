//! A row pattern, with the semantics of SQL:2016's MATCH_RECOGNIZE.

use serde_json::{Map, Value as Wire};

use super::expression::{Expression, expression};
use super::predicate::{Part, Predicate, predicate};
use super::sequence::{Conditions, micros};
use super::syntax::{self, Node};
use super::{either, key_fields};
use crate::model::{
    Error, Result,
    field::Field,
    path::Path,
    wire::{known_keys, object, shown, text},
};
use crate::query::condition::Condition;
use crate::query::scope::Scope;

/// A checked pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The names of the fields of a match's key, in order.
    pub key: Vec<String>,
    /// The same fields.
    pub by: Vec<Field>,
    /// What is matched.
    pub node: Node,
    /// The variables by number.
    pub variables: Vec<Variable>,
    /// What the server judges, by bit.
    pub conditions: Conditions,
    /// The fields whose values the matcher needs.
    pub fields: Vec<Field>,
    /// From the first event to the last, in microseconds, inclusive.
    pub within: Option<i64>,
    /// Whether events that no variable could accept are passed over.
    pub relevant: bool,
    /// Where matching goes on behind a match.
    pub skip: Skip,
    /// Values by name, computed over each match.
    pub measures: Vec<(String, Expression)>,
    /// Which rows are told.
    pub rows: Rows,
    /// Whether matches without events are told.
    pub show_empty: bool,
}

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What its events satisfy; `None` for any event.
    pub predicate: Option<Predicate>,
    /// The bit of a condition that each of its events holds; `None` for any event.
    pub bound: Option<u32>,
}

/// Where matching goes on behind a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Skip {
    /// Behind its last event.
    PastLast,
    /// Behind its first event.
    ToNext,
    /// At the first event of a variable.
    ToFirst(u32),
    /// At the last event of a variable.
    ToLast(u32),
}

/// Which rows are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// One for each match.
    One,
    /// With the measures at each event.
    All,
    /// And the events that are in no match.
    AllWithUnmatched,
}

const KEYS: [&str; 9] = [
    "by",
    "pattern",
    "define",
    "within",
    "contiguity",
    "afterMatch",
    "measures",
    "rows",
    "emptyMatches",
];
const MAX_CONDITIONS: usize = 62;

/// A pattern while it is read.
pub struct Building<'s> {
    /// What names of fields stand for.
    pub scope: &'s Scope,
    names: Vec<String>,
    fields: Vec<Field>,
}

impl Building<'_> {
    /// The place of a field among those that are read.
    pub fn field(&mut self, field: Field) -> u32 {
        let known = self.fields.iter().position(|f| *f == field);
        let place = known.unwrap_or_else(|| {
            self.fields.push(field);
            self.fields.len() - 1
        });
        u32::try_from(place).unwrap_or_default()
    }

    /// The number of a variable of the pattern.
    pub fn variable(&self, wire: &Wire, path: &Path<'_>) -> Result<u32> {
        let name = text(wire, path)?;
        let known = self.names.iter().position(|known| known == name);
        known
            .and_then(|known| u32::try_from(known).ok())
            .ok_or_else(|| Error::invalid(path, "is no variable of the pattern"))
    }
}

impl Pattern {
    /// Parses a pattern as the API writes it.
    ///
    /// # Errors
    /// The path of what is wrong, and the position in the pattern's text.
    pub fn parse(wire: &Wire, path: &Path<'_>, scope: &Scope) -> Result<Self> {
        let members = object(
            wire,
            path,
            "a pattern such as { by: […], pattern: 'A B', define: {…} }",
        )?;
        known_keys(members, path, &KEYS)?;
        let needed = |key: &'static str| {
            let here = path.key(key);
            members
                .get(key)
                .ok_or_else(|| Error::invalid(here, "is missing"))
        };
        let by = key_fields(needed("by")?, &path.key("by"), scope)?;
        let here = path.key("pattern");
        let (node, names) = syntax::parse(text(needed("pattern")?, &here)?).map_err(|wrong| {
            Error::PatternText {
                path: here.to_string(),
                problem: wrong.problem.into(),
                position: wrong.position,
            }
        })?;
        let mut building = Building {
            scope,
            names,
            fields: Vec::new(),
        };
        let (key, by): (Vec<_>, Vec<_>) = by.into_iter().unzip();
        let mut conditions = Conditions::default();
        let define = needed("define")?;
        let variables = define_all(
            define,
            &path.key("define"),
            &mut building,
            &by,
            &mut conditions,
        )?;
        let measures = measures(members, path, &mut building)?;
        let word = |key: &'static str, words: &[&str]| word(members, path, key, words);
        let rows = match word("rows", &["one", "all", "allWithUnmatched"])? {
            0 => Rows::One,
            1 => Rows::All,
            _ => Rows::AllWithUnmatched,
        };
        if rows == Rows::AllWithUnmatched && node.excludes() {
            return Err(Error::invalid(
                path.key("rows"),
                "does not go with an exclusion: an event left out would look like an unmatched one",
            ));
        }
        Ok(Self {
            within: members
                .get("within")
                .map(|wire| micros(wire, &path.key("within")))
                .transpose()?,
            relevant: word("contiguity", &["strict", "relevant"])? == 1,
            skip: skip(members, path, &building)?,
            show_empty: word("emptyMatches", &["show", "omit"])? == 0,
            fields: building.fields,
            key,
            by,
            node,
            variables,
            conditions,
            measures,
            rows,
        })
    }

    /// The bits that some event of every match has.
    pub fn required(&self) -> u64 {
        if self.rows == Rows::AllWithUnmatched {
            return 0;
        }
        let required = self.node.required();
        let bits = (0..)
            .zip(&self.variables)
            .filter_map(|(v, variable)| variable.bound.filter(|_| required >> v & 1 == 1));
        bits.fold(0, |all, bit| all | 1 << bit)
    }

    /// The bits of which every event that is looked at has one; `None` where all events are.
    pub fn relevant_bits(&self) -> Option<u64> {
        if !self.relevant {
            return None;
        }
        let mut bounds = self.variables.iter().map(|v| v.bound);
        bounds.try_fold(0, |bits, bound| Some(bits | 1 << bound?))
    }
}

/// The definitions, by variable.
fn define_all(
    wire: &Wire,
    path: &Path<'_>,
    building: &mut Building<'_>,
    by: &[Field],
    conditions: &mut Conditions,
) -> Result<Vec<Variable>> {
    let defined = object(
        wire,
        path,
        "an object of variables and what their events satisfy",
    )?;
    if let Some(name) = defined.keys().find(|name| !building.names.contains(*name)) {
        return Err(Error::invalid(
            path.key(name),
            "is no variable of the pattern",
        ));
    }
    let mut bit = |condition: Condition| {
        let entry = (condition, by.to_vec());
        let known = conditions.0.iter().position(|e| *e == entry);
        let place = known.unwrap_or_else(|| {
            conditions.0.push(entry);
            conditions.0.len() - 1
        });
        if place >= MAX_CONDITIONS {
            return Err(Error::invalid(
                path,
                "has more than 62 different conditions",
            ));
        }
        Ok(u32::try_from(place).unwrap_or_default())
    };
    let names = building.names.clone();
    let variables = names.into_iter().map(|name| {
        let Some(wire) = defined.get(&name) else {
            return Ok(Variable {
                name,
                predicate: None,
                bound: None,
            });
        };
        let here = path.key(&name);
        let is_predicate = wire.as_object().is_some_and(|members| {
            Condition::is_condition(members)
                || members.contains_key("left")
                || members.contains_key("right")
        });
        let part = if is_predicate {
            predicate(wire, &here, building, true, 0)?
        } else {
            Part::Sql(either(wire, &here, building.scope)?)
        };
        let bound = part.bound();
        let (predicate, bound) = if let Part::Sql(condition) = &part
            && condition.is_always()
        {
            (None, None)
        } else {
            let bound = (!bound.is_always()).then(|| bit(bound)).transpose()?;
            (Some(part.finish(&mut bit)?), bound)
        };
        Ok(Variable {
            name,
            predicate,
            bound,
        })
    });
    variables.collect()
}

fn measures(
    members: &Map<String, Wire>,
    path: &Path<'_>,
    building: &mut Building<'_>,
) -> Result<Vec<(String, Expression)>> {
    let Some(wire) = members.get("measures") else {
        return Ok(Vec::new());
    };
    let here = path.key("measures");
    let measures = object(wire, &here, "an object of names and expressions")?;
    measures
        .iter()
        .map(|(name, wire)| {
            Ok((
                name.clone(),
                expression(wire, &here.key(name), building, 0)?,
            ))
        })
        .collect()
}

fn word(
    members: &Map<String, Wire>,
    path: &Path<'_>,
    key: &'static str,
    words: &[&str],
) -> Result<usize> {
    let Some(wire) = members.get(key) else {
        return Ok(0);
    };
    let place = wire
        .as_str()
        .and_then(|word| words.iter().position(|w| *w == word));
    place.ok_or_else(|| {
        let words = words.join("' or '");
        Error::invalid(
            path.key(key),
            format!("must be '{words}', not {}", shown(wire)),
        )
    })
}

fn skip(members: &Map<String, Wire>, path: &Path<'_>, building: &Building<'_>) -> Result<Skip> {
    let Some(wire) = members.get("afterMatch") else {
        return Ok(Skip::PastLast);
    };
    let here = path.key("afterMatch");
    match wire.as_str() {
        Some("pastLast") => return Ok(Skip::PastLast),
        Some("toNext") => return Ok(Skip::ToNext),
        _ => {}
    }
    let expected = "'pastLast', 'toNext', { toFirst: … } or { toLast: … }";
    let members = object(wire, &here, expected)?;
    known_keys(members, &here, &["toFirst", "toLast"])?;
    match (members.get("toFirst"), members.get("toLast")) {
        (Some(wire), None) => (building.variable(wire, &here.key("toFirst"))).map(Skip::ToFirst),
        (None, Some(wire)) => building
            .variable(wire, &here.key("toLast"))
            .map(Skip::ToLast),
        _ => Err(Error::invalid(here, format!("must be {expected}"))),
    }
}
