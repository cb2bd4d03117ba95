//! What a plan depends on beside its query, and which of it has changed.

use std::collections::BTreeMap;

/// What the server says of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFacts {
    /// Rows, as its statistics have them.
    pub rows: f64,
    /// Pages, as they are.
    pub pages: i64,
    /// When statistics were last made, and a digest of them.
    pub statistics: String,
    /// When it was last vacuumed.
    pub vacuumed: String,
    /// Its indexes that plans may use, and a digest of each one's definition.
    pub indexes: BTreeMap<String, String>,
}

/// What the server says of itself and its tables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Its version's number.
    pub version: i32,
    /// The settings that planning reads.
    pub settings: BTreeMap<String, String>,
    /// By table.
    pub tables: BTreeMap<String, TableFacts>,
}

/// Why a plan changed: a word of the API, and more for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The word.
    pub word: &'static str,
    /// More.
    pub detail: String,
}

impl Cause {
    fn new(word: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { word, detail }
    }
}

/// Rows or pages by which a table has grown, or shrunk.
const GROWN: f64 = 1.5;

fn grown(before: f64, after: f64) -> bool {
    let (less, more) = (before.min(after).max(1.0), before.max(after).max(1.0));
    more / less >= GROWN
}

impl Facts {
    fn index(&self, name: &str) -> Option<&String> {
        self.tables
            .values()
            .find_map(|table| table.indexes.get(name))
    }

    /// Whether plans may use an index of this name.
    pub fn has_index(&self, name: &str) -> bool {
        self.index(name).is_some()
    }

    fn indexes(&self) -> BTreeMap<&String, &String> {
        self.tables.values().flat_map(|t| &t.indexes).collect()
    }

    /// Whether plans may be others than they were by these facts.
    pub fn may_change_plans(&self, since: &Self) -> bool {
        self.version != since.version
            || self.settings != since.settings
            || self.indexes() != since.indexes()
            || self.tables.iter().any(|(name, table)| {
                since.tables.get(name).is_none_or(|before| {
                    before.statistics != table.statistics || before.vacuumed != table.vacuumed
                })
            })
    }

    /// Why a plan is another than it was by the facts before: the indexes that each of them uses
    /// tell most, then what was changed on purpose, then what the server noticed.
    pub fn cause(&self, before: &Self, old: &[String], new: &[String]) -> Cause {
        if self.version != before.version {
            let (from, to) = (before.version, self.version);
            return Cause::new("version", format!("the server was {from} and is {to}"));
        }
        for name in old.iter().filter(|name| !new.contains(name)) {
            match (before.index(name), self.index(name)) {
                (Some(_), None) => {
                    return Cause::new("index", format!("the index {name} is gone or invalid"));
                }
                (Some(was), Some(is)) if was != is => {
                    return Cause::new("index", format!("the index {name} is another now"));
                }
                _ => {}
            }
        }
        for name in new.iter().filter(|name| !old.contains(name)) {
            match (before.index(name), self.index(name)) {
                (None, Some(_)) => {
                    return Cause::new("index", format!("the index {name} is new"));
                }
                (Some(was), Some(is)) if was != is => {
                    return Cause::new("index", format!("the index {name} is another now"));
                }
                _ => {}
            }
        }
        let settings: Vec<_> = (self.settings.iter())
            .filter(|(name, value)| before.settings.get(*name) != Some(value))
            .map(|(name, _)| name.as_str())
            .collect();
        if !settings.is_empty() {
            return Cause::new("settings", settings.join(", "));
        }
        self.by_tables(before)
    }

    fn by_tables(&self, before: &Self) -> Cause {
        let pairs = || {
            let both = self.tables.iter();
            both.filter_map(|(name, now)| Some((name, before.tables.get(name)?, now)))
        };
        #[allow(clippy::cast_precision_loss)] // Pages.
        for (name, was, now) in pairs() {
            let rows = was.rows > 0.0 && now.rows > 0.0 && grown(was.rows, now.rows);
            if rows || grown(was.pages as f64, now.pages as f64) {
                return Cause::new(
                    "growth",
                    format!(
                        "{name} had {} rows in {} pages and has {} in {}",
                        was.rows, was.pages, now.rows, now.pages
                    ),
                );
            }
        }
        if let Some((name, ..)) = pairs().find(|(_, was, now)| was.statistics != now.statistics) {
            return Cause::new("statistics", format!("the statistics of {name} are others"));
        }
        if let Some((name, ..)) = pairs().find(|(_, was, now)| was.vacuumed != now.vacuumed) {
            return Cause::new("statistics", format!("{name} was vacuumed"));
        }
        if self.indexes() != before.indexes() {
            return Cause::new("index", "other indexes of the same tables have changed");
        }
        #[allow(clippy::cast_precision_loss)] // Pages.
        if let Some((name, ..)) = pairs().find(|(_, was, now)| was.pages != now.pages) {
            return Cause::new("growth", format!("{name} has another size"));
        }
        Cause::new("unknown", "nothing that is looked at has changed")
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, TableFacts};

    fn facts() -> Facts {
        let mut facts = Facts {
            version: 180_000,
            ..Facts::default()
        };
        facts.settings.insert("random_page_cost".into(), "4".into());
        let mut table = TableFacts {
            rows: 1000.0,
            pages: 100,
            statistics: "monday".into(),
            ..TableFacts::default()
        };
        for name in ["a", "b"] {
            table.indexes.insert(name.into(), "btree".into());
        }
        facts.tables.insert("events".into(), table);
        facts
    }

    fn cause(change: fn(&mut Facts), old: &[&str], new: &[&str]) -> &'static str {
        let before = facts();
        let mut now = facts();
        change(&mut now);
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        now.cause(&before, &names(old), &names(new)).word
    }

    fn table(facts: &mut Facts) -> &mut TableFacts {
        facts.tables.get_mut("events").unwrap()
    }

    #[test]
    fn each_change_has_its_cause() {
        let gone: fn(&mut Facts) = |f| drop(table(f).indexes.remove("a"));
        assert_eq!(cause(gone, &["a"], &["b"]), "index");
        assert_eq!(cause(gone, &["a"], &[]), "index");
        // An index that neither plan uses explains it only where nothing else does.
        let other = |f: &mut Facts| {
            table(f).indexes.remove("b");
            table(f).statistics = "tuesday".into();
        };
        assert_eq!(cause(other, &["a"], &[]), "statistics");
        assert_eq!(
            cause(|f| drop(table(f).indexes.remove("b")), &["a"], &[]),
            "index"
        );
        let new = |f: &mut Facts| drop(table(f).indexes.insert("c".into(), "gin".into()));
        assert_eq!(cause(new, &[], &["c"]), "index");
        let redone = |f: &mut Facts| drop(table(f).indexes.insert("a".into(), "gin".into()));
        assert_eq!(cause(redone, &["a"], &[]), "index");
        let setting =
            |f: &mut Facts| drop(f.settings.insert("random_page_cost".into(), "1".into()));
        assert_eq!(cause(setting, &["a"], &[]), "settings");
        assert_eq!(
            cause(|f| table(f).statistics = "tuesday".into(), &["a"], &[]),
            "statistics"
        );
        let grown = |f: &mut Facts| {
            table(f).rows = 5000.0;
            table(f).pages = 500;
            table(f).statistics = "tuesday".into();
        };
        assert_eq!(cause(grown, &["a"], &[]), "growth");
        assert_eq!(cause(|f| table(f).pages = 101, &["a"], &[]), "growth");
        assert_eq!(cause(|f| f.version = 190_000, &["a"], &[]), "version");
        assert_eq!(cause(|_| {}, &["a"], &["b"]), "unknown");
    }
}
