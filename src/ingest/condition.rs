//! What an append may depend on: that no event of a kind has come since something was seen.
//!
//! Correct whoever else writes:
//!
//! - Conditional appends that can meet wait for each other. Each event that satisfies a condition has
//!   one of its *items*: a tag and its value, or a type. A conditional append locks the items of its
//!   condition, and the items of its own events by a lock that it shares with those who only write
//!   them. What no item covers is all events. Locks are taken in the order of their keys, so two that
//!   meet can't wait for each other in a circle.
//! - All other writers, whatever they write with, pass the gate (`migrations/0009_append_gate.sql`),
//!   which a conditional append closes: those under way have ended before it looks, those to come begin
//!   after its commit.
//! - It looks under a snapshot that is taken behind all that, in the statement that writes.
//!
//! Who goes round the trigger (rows inserted into a partition directly or by logical replication, an
//! owner who disabled it) is seen where the commit came before that snapshot, and not waited for.

use std::collections::BTreeSet;

use serde_json::Value as Wire;
use xxhash_rust::xxh3::xxh3_64;

use super::event::Event;
use crate::model::{
    Error, Result,
    field::{Column, Field},
    path::Path,
    table::TableNames,
    token::Token,
    value::Value,
    wire::{known_keys, object, text},
};
use crate::query::{CompareOp, Condition, Leaf, Test, event_filter};

/// `AppendCondition`, checked.
pub struct AppendCondition {
    /// What must not be there.
    pub fail_if: Condition,
    /// What the caller knows of; `None` for nothing.
    pub after: Option<Token>,
    /// Where the condition's regular expression is.
    pub regex: Option<String>,
}

/// A lock of a conditional append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lock {
    /// Its key among advisory locks.
    pub key: i64,
    /// Whether it is shared.
    pub shared: bool,
}

/// More items than this are one lock on all events: the server's table of locks has room for some
/// thousands, for all its clients.
const MOST_ITEMS: usize = 64;

impl AppendCondition {
    /// Parses a condition as the API writes it.
    ///
    /// # Errors
    /// INVALID_QUERY with the path of what is wrong.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let path = root.key("condition");
        let members = object(
            wire,
            &path,
            "a condition such as { failIf: { … }, after: token }",
        )?;
        known_keys(members, &path, &["failIf", "after"])?;
        let here = path.key("failIf");
        let Some(filter) = members.get("failIf") else {
            return Err(Error::invalid(here, "is missing; {} is any event"));
        };
        let after = path.key("after");
        Ok(Self {
            fail_if: event_filter(filter, &here)?,
            after: (members.get("after"))
                .map(|wire| Token::parse(text(wire, &after)?, &after))
                .transpose()?,
            regex: crate::query::EventQuery::regex_path(filter)
                .map(|inner| format!("condition.failIf.{inner}")),
        })
    }

    /// The locks under which the condition and the events written under it hold, in their order.
    pub fn locks(&self, events: &[Event<'_>], table: &TableNames) -> Vec<Lock> {
        let all = key(table, &Item::All);
        let everything = |shared| vec![Lock { key: all, shared }];
        let Some(conditions) = items(&self.fail_if).filter(|items| items.len() <= MOST_ITEMS)
        else {
            return everything(false);
        };
        let own = items_of(events);
        if own.len() > MOST_ITEMS {
            return everything(false);
        }
        let exclusive: BTreeSet<i64> = conditions.iter().map(|item| key(table, item)).collect();
        let shared: BTreeSet<i64> = own.iter().map(|item| key(table, item)).collect();
        let mut locks = everything(true);
        locks.extend(shared.difference(&exclusive).map(|key| Lock {
            key: *key,
            shared: true,
        }));
        locks.extend(exclusive.into_iter().map(|key| Lock { key, shared: false }));
        locks.sort_unstable();
        locks
    }
}

/// What events can have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    /// Being events.
    All,
    Type(String),
    Tag(String, String),
}

/// Of which every event that satisfies the condition has one; `None` where there is nothing to say.
fn items(condition: &Condition) -> Option<BTreeSet<Item>> {
    match condition {
        Condition::Leaf(leaf) => of_leaf(leaf),
        // Any one of them will do: the one that fewest have. A tag's value is rarer than a type.
        Condition::And(all) => all.iter().filter_map(items).min_by_key(|items| {
            (
                items.iter().any(|i| matches!(i, Item::Type(_))),
                items.len(),
            )
        }),
        Condition::Or(arms) => {
            let arms: Option<Vec<_>> = arms.iter().map(items).collect();
            Some(arms?.into_iter().flatten().collect())
        }
        Condition::Not(_) => None,
    }
}

fn of_leaf(leaf: &Leaf) -> Option<BTreeSet<Item>> {
    let values = match &leaf.test {
        Test::Compare(CompareOp::Eq, value) => std::slice::from_ref(value),
        Test::In {
            values,
            negated: false,
        } => values,
        _ => return None,
    };
    values
        .iter()
        .map(|value| match (&leaf.field, value) {
            (Field::Tag(tag), Value::Text(value)) => Some(Item::Tag(tag.clone(), value.clone())),
            (Field::Column(Column::Type), Value::Text(name)) => Some(Item::Type(name.clone())),
            _ => None,
        })
        .collect()
}

fn items_of(events: &[Event<'_>]) -> BTreeSet<Item> {
    let mut all = BTreeSet::new();
    for event in events {
        all.insert(Item::Type(event.r#type.clone().into_owned()));
        // Checked: an object whose values are strings. Of a key that is there twice the last counts,
        // as in the database.
        if let Ok(Wire::Object(tags)) = serde_json::from_str(event.tags) {
            for (tag, value) in tags {
                if let Wire::String(value) = value {
                    all.insert(Item::Tag(tag, value));
                }
            }
        }
    }
    all
}

fn key(table: &TableNames, item: &Item) -> i64 {
    let parts = match item {
        Item::All => vec!["all"],
        Item::Type(name) => vec!["type", name],
        Item::Tag(tag, value) => vec!["tag", tag, value],
    };
    // No name and no value holds U+0000. Two items of one key only wait for each other in vain.
    let text = [
        &["tamma_events", "append", &table.schema, &table.name],
        &*parts,
    ]
    .concat();
    xxh3_64(text.join("\0").as_bytes()).cast_signed()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(fail_if: &Wire) -> Option<Vec<String>> {
        let wire = json!({ "failIf": fail_if });
        let parsed = AppendCondition::parse(&wire).unwrap();
        let items = items(&parsed.fail_if)?;
        Some(
            items
                .iter()
                .map(|item| match item {
                    Item::All => "all".to_owned(),
                    Item::Type(name) => name.clone(),
                    Item::Tag(tag, value) => format!("{tag}={value}"),
                })
                .collect(),
        )
    }

    #[test]
    fn every_event_of_a_condition_has_one_of_its_items() {
        let some = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            of(&json!({ "eventTypes": ["A.B"], "tags": { "r": "1" } })),
            some(&["r=1"])
        );
        assert_eq!(
            of(&json!({ "eventTypes": ["A.B", "C.D"] })),
            some(&["A.B", "C.D"])
        );
        assert_eq!(
            of(&json!({ "issueIds": ["1", "2"], "tags": { "r": "3" } })),
            some(&["r=3"])
        );
        assert_eq!(
            of(&json!({ "anyOf": [{ "types": ["A.B"], "tags": ["r:1"] }, { "types": ["C.D"] }] })),
            some(&["C.D", "r=1"])
        );
        for open in [
            json!({}),
            json!({ "eventTypes": ["A.*"] }),
            json!({ "anyOf": [{ "tags": ["r:1"] }, {}] }),
            json!({ "where": { "not": { "field": "type", "op": "eq", "value": "A.B" } } }),
            json!({ "where": { "field": "tags.r", "op": "ne", "value": "1" } }),
            json!({ "where": { "field": "data.r", "op": "eq", "value": "1" } }),
        ] {
            assert_eq!(of(&open), None, "{open}");
        }
    }
}
