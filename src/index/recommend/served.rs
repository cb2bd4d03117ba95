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

/// Whether an index that is there does what a candidate would.
pub(super) fn is_served(candidate: &Candidate, there: &[Listed], names: &TableNames) -> bool {
    let definition = &candidate.definition;
    let keys: Vec<_> = (definition.keys.iter())
        .map(|key| normal(&format!("{}{}", key.sql, key.suffix)))
        .collect();
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
        let begins = own.starts_with(&keys) && (own.len() == keys.len() || index.method == "btree");
        let partial = index.partial.as_deref().map(normal);
        same_kind
            && begins
            && include
                .iter()
                .all(|c| beside.contains(c) || own.contains(c))
            && (partial == predicate || partial.is_none() && !literal)
    })
}
