//! What is to be forgotten, as processes tell each other.

use serde_json::{Value as Wire, json};

use super::glob;

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All answers from an event table, by the name that callers have for it, and all that was kept by
    /// hand.
    All(String),
    /// What is kept under a key.
    Key(String),
    /// What has a key or a tag that a glob matches.
    Pattern(String),
    /// The answers from a table, named with its schema or without.
    Table(String),
}

impl Scope {
    /// Whether an answer of this name, from this table and with these tags is one of them.
    pub fn covers(&self, name: &str, table: &str, tags: &[String]) -> bool {
        match self {
            Self::All(own) => own == table,
            Self::Key(key) => key == name,
            Self::Pattern(pattern) => {
                glob::matches(pattern, name) || tags.iter().any(|tag| glob::matches(pattern, tag))
            }
            Self::Table(named) => {
                named == table
                    || named
                        .rsplit_once('.')
                        .is_some_and(|(_, name)| name == table)
            }
        }
    }

    /// Whether what a caller keeps under a name is one of them.
    pub fn covers_held(&self, name: &str) -> bool {
        match self {
            Self::All(_) => true,
            Self::Key(key) => key == name,
            Self::Pattern(pattern) => glob::matches(pattern, name),
            Self::Table(_) => false,
        }
    }

    /// As it is sent.
    pub fn to_wire(&self) -> Wire {
        match self {
            Self::All(table) => json!({ "all": table }),
            Self::Key(key) => json!({ "key": key }),
            Self::Pattern(pattern) => json!({ "pattern": pattern }),
            Self::Table(table) => json!({ "table": table }),
        }
    }

    /// As it was sent; `None` where it is nothing of this version's.
    pub fn read(wire: &Wire) -> Option<Self> {
        let members = wire.as_object().filter(|members| members.len() == 1)?;
        let (kind, name) = members.iter().next()?;
        Self::of(kind, name.as_str()?.to_owned())
    }

    /// A scope by the name of its kind.
    pub fn of(kind: &str, name: String) -> Option<Self> {
        match kind {
            "all" => Some(Self::All(name)),
            "key" => Some(Self::Key(name)),
            "pattern" => Some(Self::Pattern(name)),
            "table" => Some(Self::Table(name)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_covers_its_own() {
        let tags = ["dashboard:a".to_owned()];
        let covers = |kind: &str, name: &str| {
            let scope = Scope::of(kind, name.to_owned()).unwrap();
            assert_eq!(Scope::read(&scope.to_wire()), Some(scope.clone()));
            (
                scope.covers("events:1", "events", &tags),
                scope.covers_held("mine"),
            )
        };
        assert_eq!(covers("all", "events"), (true, true));
        assert_eq!(covers("all", "others"), (false, true));
        assert_eq!(covers("key", "events:1"), (true, false));
        assert_eq!(covers("key", "mine"), (false, true));
        assert_eq!(covers("pattern", "dash*"), (true, false));
        assert_eq!(covers("pattern", "events:?"), (true, false));
        assert_eq!(covers("pattern", "m*"), (false, true));
        assert_eq!(covers("table", "events"), (true, false));
        assert_eq!(covers("table", "public.events"), (true, false));
        assert_eq!(covers("table", "vents"), (false, false));
        for wrong in [
            json!(null),
            json!({}),
            json!({ "key": 1 }),
            json!({ "x": "y" }),
        ] {
            assert_eq!(Scope::read(&wrong), None);
        }
    }
}
