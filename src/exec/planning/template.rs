//! A planned query with its constants taken out, to be filled with those of another query of its shape.
//!
//! A template is made from a probe: the query's own text with other constants in it, each unlike all
//! others, so that where a probe turns up in the checked query or among the statement's values, that is
//! its place. It is kept only where filling it gives what parsing and planning gave, for the query at
//! hand and for a second probe. What rules decide by comparing constants with each other (a range that
//! is empty, a value twice in a list) is excluded by shape, or looked at when it is filled.

use std::ops::Range;

use serde_json::Value as Wire;
use uuid::Uuid;

use super::Ready;
use crate::model::{
    field::{Column, Field},
    time::Timestamp,
    value::{Json, JsonType, Value, write_text},
};
use crate::query::{CompareOp, Condition, EventQuery, Leaf, Test, Window};
use crate::sql::Bind;

/// A planned query without its constants.
pub struct Template {
    ready: Ready,
    /// Of each value in the filter, in the order that they are met: which constant it is.
    values: Vec<Option<usize>>,
    /// The same of the statement's values; those of lists one after the other.
    binds: Vec<Option<usize>>,
    table: String,
}

/// Constants of a probe, in place of those of a text.
pub struct Probe {
    /// The text with them.
    pub text: String,
    tokens: Vec<String>,
}

impl Probe {
    /// Number `nth` of a query's probes. Each constant keeps its form, and its order among times.
    pub fn of(text: &str, constants: &[Range<usize>], nth: u64) -> Option<Self> {
        let mut out = String::with_capacity(text.len() + 32);
        let mut tokens = Vec::with_capacity(constants.len());
        let mut from = 0;
        let times: Vec<_> = (constants.iter())
            .map(|range| Timestamp::parse(&string(&text[range.clone()])?).ok())
            .collect();
        for (i, range) in constants.iter().enumerate() {
            let place = match times[i] {
                None => i,
                Some(at) => times.iter().flatten().filter(|other| **other < at).count(),
            };
            let token = probe(&text[range.clone()], place as u64, nth)?;
            out.push_str(&text[from..range.start]);
            out.push_str(&token);
            tokens.push(token);
            from = range.end;
        }
        out.push_str(&text[from..]);
        Some(Self { text: out, tokens })
    }

    /// The constants, as they stand in the text.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(String::as_str)
    }
}

fn probe(token: &str, place: u64, nth: u64) -> Option<String> {
    let unlike = 7_919 * (nth + 1) + place;
    if !token.starts_with('"') {
        return Some(format!("{}", 1_000_000 + unlike));
    }
    let text = string(token)?;
    let other = if Uuid::try_parse(&text).is_ok() {
        Uuid::from_u128(u128::from(unlike) << 64).to_string()
    } else if Timestamp::parse(&text).is_ok() {
        Timestamp::from_micros(i64::try_from(unlike).ok()? * 1_000_000_000).to_string()
    } else {
        format!("probe {unlike}")
    };
    let mut out = String::new();
    write_text(&other, &mut out);
    Some(out)
}

/// The characters of a JSON string.
fn string(token: &str) -> Option<String> {
    let inner = token.get(1..token.len().checked_sub(1)?)?;
    let text = if inner.contains('\\') {
        serde_json::from_str(token).ok()?
    } else {
        inner.to_owned()
    };
    (!text.contains('\0')).then_some(text)
}

impl Template {
    /// The template of a probe that was planned; `None` for queries whose plan could be another with
    /// other constants.
    pub fn of(ready: Ready, probe: &Probe, table: String) -> Option<Self> {
        if !is_plain(&ready.query) || ready.is_empty {
            return None;
        }
        let tokens: Vec<_> = probe.tokens.iter().map(|token| Constant(token)).collect();
        let place = |is: &dyn Fn(&Constant<'_>) -> bool| tokens.iter().position(is);
        let mut values = Vec::new();
        each_value(&ready.query.filter, &mut |value| {
            values.push(place(&|token| {
                token.value_like(value).as_ref() == Some(value)
            }));
        });
        let mut binds = Vec::new();
        for bind in &ready.statement.binds {
            each_item(bind, &mut |item| {
                binds.push(place(&|token| {
                    token.item_like(&item).as_ref() == Some(&item)
                }));
            });
        }
        Some(Self {
            ready,
            values,
            binds,
            table,
        })
    }

    /// The query with these constants; `None` where one of them is not of the probe's kind, or where
    /// the plan could be another: then it is parsed and planned.
    pub fn fill<'t>(&self, tokens: impl Iterator<Item = &'t str>) -> Option<Ready> {
        let tokens: Vec<_> = tokens.map(Constant).collect();
        let mut ready = self.ready.clone();
        let mut places = self.values.iter();
        let mut whole = true;
        change_values(&mut ready.query.filter, &mut |value| {
            let Some(Some(place)) = places.next() else {
                return;
            };
            match tokens.get(*place).and_then(|token| token.value_like(value)) {
                Some(new) => *value = new,
                None => whole = false,
            }
        });
        if !whole || !is_unambiguous(&ready.query.filter) {
            return None;
        }
        let mut places = self.binds.iter();
        for bind in &mut ready.statement.binds {
            change_items(bind, &mut |item| {
                let Some(place) = places.next()? else {
                    return Some(item);
                };
                tokens.get(*place)?.item_like(&item)
            })?;
        }
        ready.statement.identity = ready.query.identity(&self.table);
        Some(ready)
    }
}

/// A JSON scalar's text.
struct Constant<'t>(&'t str);

impl Constant<'_> {
    /// As a value of the same kind.
    fn value_like(&self, like: &Value) -> Option<Value> {
        Some(match like {
            Value::Text(_) => Value::Text(self.text()?),
            Value::Uuid(_) => Value::Uuid(self.uuid()?),
            Value::Time(_) => Value::Time(Timestamp::parse(&self.text()?).ok()?),
            Value::Json(_) => Value::Json(self.json()?),
        })
    }

    /// As a bound value of the same type.
    fn item_like(&self, like: &Bind) -> Option<Bind> {
        Some(match like {
            Bind::Text(_) => Bind::Text(self.text()?),
            Bind::Uuid(_) => Bind::Uuid(self.uuid()?),
            Bind::Time(_) => Bind::Time(Timestamp::parse(&self.text()?).ok()?),
            Bind::Json(_) => Bind::Json(self.json()?.text),
            _ => return None,
        })
    }

    fn text(&self) -> Option<String> {
        self.0.starts_with('"').then(|| string(self.0)).flatten()
    }

    fn uuid(&self) -> Option<Uuid> {
        let text = self.text().filter(|text| text.len() == 36)?;
        Uuid::try_parse(&text).ok()
    }

    fn json(&self) -> Option<Json> {
        if let Some(text) = self.text() {
            let mut out = String::with_capacity(text.len() + 2);
            write_text(&text, &mut out);
            return Some(Json {
                kind: JsonType::String,
                text: out,
            });
        }
        let wire: Wire = serde_json::from_str(self.0).ok()?;
        wire.is_number().then(|| Json::of(&wire))
    }
}

/// Whether what the rules make of a query does not depend on how its constants compare, apart from
/// what [`is_unambiguous`] looks at.
fn is_plain(query: &EventQuery) -> bool {
    let aggregates = query.grouping.iter().flat_map(|g| &g.aggregates);
    query.id.is_none()
        && query.since.is_none()
        && query.after.is_none()
        && query.joins.is_empty()
        && !matches!(query.window, Some(Window::Between(..)))
        && query.grouping.as_ref().is_none_or(|g| g.having.is_none())
        && aggregates.into_iter().all(|a| a.filter.is_none())
        && fields_stand_alone(&query.filter)
}

/// Whether no field is tested twice, two bounds of the time apart.
fn fields_stand_alone(filter: &Condition) -> bool {
    let mut leaves = Vec::new();
    leaves_of(filter, &mut leaves);
    let is_bound = |leaf: &Leaf| {
        leaf.field == Field::Column(Column::Timestamp)
            && matches!(&leaf.test, Test::Compare(op, _) if !matches!(op, CompareOp::Eq | CompareOp::Ne))
    };
    let bounds: Vec<_> = leaves.iter().filter(|leaf| is_bound(leaf)).collect();
    // Found in a nested condition they are no range.
    let is_range = bounds.len() <= 2
        && (bounds.len() < 2
            || matches!(filter, Condition::And(arms)
            if arms.iter().filter(|arm| matches!(arm, Condition::Leaf(leaf) if is_bound(leaf))).count() == 2));
    let mut fields: Vec<_> = (leaves.iter())
        .filter(|leaf| !is_bound(leaf))
        .map(|leaf| &leaf.field)
        .collect();
    let all = fields.len();
    fields.sort_unstable();
    fields.dedup();
    let times = Field::Column(Column::Timestamp);
    fields.len() == all
        && is_range
        && (bounds.is_empty() || !fields.contains(&&times))
        && leaves
            .iter()
            .all(|leaf| !matches!(leaf.test, Test::Between(..)))
}

/// Whether a list holds no value twice, and the bounds of the time leave something.
fn is_unambiguous(filter: &Condition) -> bool {
    let mut leaves = Vec::new();
    leaves_of(filter, &mut leaves);
    let (mut low, mut high) = (None, None);
    for leaf in leaves {
        match &leaf.test {
            Test::In { values, .. } => {
                let repeated = |(i, value)| values[..i].contains(value);
                if values.len() > 32 || values.iter().enumerate().any(repeated) {
                    return false;
                }
            }
            Test::Compare(op, Value::Time(at))
                if leaf.field == Field::Column(Column::Timestamp) =>
            {
                let bound = match op {
                    CompareOp::Gt | CompareOp::Gte => &mut low,
                    CompareOp::Lt | CompareOp::Lte => &mut high,
                    CompareOp::Eq | CompareOp::Ne => continue,
                };
                if bound.replace(at).is_some() {
                    return false;
                }
            }
            _ => {}
        }
    }
    !matches!((low, high), (Some(low), Some(high)) if low >= high)
}

fn leaves_of<'c>(condition: &'c Condition, leaves: &mut Vec<&'c Leaf>) {
    match condition {
        Condition::And(arms) | Condition::Or(arms) => {
            for arm in arms {
                leaves_of(arm, leaves);
            }
        }
        Condition::Not(inner) => leaves_of(inner, leaves),
        Condition::Leaf(leaf) => leaves.push(leaf),
    }
}

fn each_value(condition: &Condition, see: &mut impl FnMut(&Value)) {
    let mut leaves = Vec::new();
    leaves_of(condition, &mut leaves);
    for leaf in leaves {
        match &leaf.test {
            Test::Compare(_, value) => see(value),
            Test::In { values, .. } => values.iter().for_each(&mut *see),
            Test::Between(low, high) => [low, high].into_iter().for_each(&mut *see),
            Test::Match(..) | Test::Contains(_) | Test::Exists(_) => {}
        }
    }
}

fn change_values(condition: &mut Condition, change: &mut impl FnMut(&mut Value)) {
    match condition {
        Condition::And(arms) | Condition::Or(arms) => {
            for arm in arms {
                change_values(arm, change);
            }
        }
        Condition::Not(inner) => change_values(inner, change),
        Condition::Leaf(leaf) => match &mut leaf.test {
            Test::Compare(_, value) => change(value),
            Test::In { values, .. } => values.iter_mut().for_each(change),
            Test::Between(low, high) => [low, high].into_iter().for_each(change),
            Test::Match(..) | Test::Contains(_) | Test::Exists(_) => {}
        },
    }
}

fn each_item(bind: &Bind, see: &mut impl FnMut(Bind)) {
    match bind {
        Bind::Texts(items) => items.iter().for_each(|item| see(Bind::Text(item.clone()))),
        Bind::Uuids(items) => items.iter().for_each(|item| see(Bind::Uuid(*item))),
        Bind::Times(items) => items.iter().for_each(|item| see(Bind::Time(*item))),
        Bind::Jsons(items) => items.iter().for_each(|item| see(Bind::Json(item.clone()))),
        one => see(one.clone()),
    }
}

/// Changes the items of a bind, each into one of its type; `None` where one of them cannot be.
fn change_items(bind: &mut Bind, change: &mut impl FnMut(Bind) -> Option<Bind>) -> Option<()> {
    match bind {
        Bind::Texts(items) => {
            for item in items {
                let Bind::Text(new) = change(Bind::Text(std::mem::take(item)))? else {
                    return None;
                };
                *item = new;
            }
        }
        Bind::Uuids(items) => {
            for item in items {
                let Bind::Uuid(new) = change(Bind::Uuid(*item))? else {
                    return None;
                };
                *item = new;
            }
        }
        Bind::Times(items) => {
            for item in items {
                let Bind::Time(new) = change(Bind::Time(*item))? else {
                    return None;
                };
                *item = new;
            }
        }
        Bind::Jsons(items) => {
            for item in items {
                let Bind::Json(new) = change(Bind::Json(std::mem::take(item)))? else {
                    return None;
                };
                *item = new;
            }
        }
        one => *one = change(std::mem::replace(one, Bind::Null))?,
    }
    Some(())
}
