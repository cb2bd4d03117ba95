//! Whether an index that is there does what a candidate would, however the catalog writes it.

use super::super::candidates::Candidate;
use super::super::catalog::Listed;
use crate::model::table::TableNames;

/// A key without the parentheses and casts that the catalog writes and this module does not.
pub fn normal(sql: &str) -> String {
    let plain: String = sql.chars().filter(|c| !"()\" ".contains(*c)).collect();
    plain
        .replace("::text", "")
        .replace("NULLSFIRST", "")
        .replace("ASC", "")
}

/// The keys of an index that is read from its other end; `None` where nulls have a place of their own.
fn from_the_end(keys: &[String]) -> Option<Vec<String>> {
    let turned = |key: &String| match key.strip_suffix("DESC") {
        _ if key.contains("NULLS") => None,
        Some(ascending) => Some(ascending.to_owned()),
        None => Some(format!("{key}DESC")),
    };
    keys.iter().map(turned).collect()
}

/// Whether an index that is there does what a candidate would.
pub(super) fn is_served(candidate: &Candidate, there: &[Listed], names: &TableNames) -> bool {
    let definition = &candidate.definition;
    let keys: Vec<_> = (definition.keys.iter())
        .map(|key| normal(&format!("{}{}", key.sql, key.suffix)))
        .collect();
    let turned = from_the_end(&keys);
    let include: Vec<_> = definition.include.iter().map(|c| normal(c)).collect();
    let predicate = definition.predicate_at(names, None).map(|p| normal(&p));
    // The whole index is as good as one without its nulls, but reads more than one of a literal's events.
    let literal = candidate.wire["where"]["op"]
        .as_str()
        .is_some_and(|op| op != "exists");
    there.iter().filter(|index| index.valid).any(|index| {
        let own: Vec<_> = index.keys.iter().map(|key| normal(key)).collect();
        let beside: Vec<_> = index.include.iter().map(|key| normal(key)).collect();
        let same_kind = index.method == definition.method.name();
        let begins = match index.method.as_str() {
            "btree" => {
                own.starts_with(&keys) || turned.as_ref().is_some_and(|keys| own.starts_with(keys))
            }
            _ => own == keys,
        };
        let partial = index.partial.as_deref().map(normal);
        same_kind
            && begins
            && include
                .iter()
                .all(|c| beside.contains(c) || own.contains(c))
            && (partial == predicate || partial.is_none() && !literal)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_from_either_end() {
        let keys = |all: &[&str]| all.iter().map(|key| normal(key)).collect::<Vec<_>>();
        let turned = |all: &[&str]| from_the_end(&keys(all));
        assert_eq!(
            turned(&["\"timestamp\" DESC", "event_id"]),
            Some(keys(&["timestamp", "event_id DESC"]))
        );
        assert_eq!(turned(&["(data -> 'n') DESC NULLS LAST"]), None);
    }
}
