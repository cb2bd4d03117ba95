//! Planner settings under which an index may win, tried from the gentlest on.
//!
//! None of them changes an answer: they make kinds of plans dear, or weigh costs in another way. They
//! can't tell one index from another, so an index that serves a query worse than another in every
//! respect is out of their reach; then the hint fails with that as its reason.

use serde_json::Value as Wire;

/// Settings for one try.
pub struct Rung {
    /// Names and values.
    pub settings: &'static [(&'static str, &'static str)],
    /// Of use only where a query reads several tables.
    pub joins: bool,
}

impl Rung {
    /// A rung for any query.
    pub const fn of(settings: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            settings,
            joins: false,
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        if self.settings.is_empty() {
            return "the planner's own choice".to_owned();
        }
        let settings: Vec<_> = (self.settings.iter())
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        settings.join(", ")
    }
}

macro_rules! rungs {
    ($($joins:ident [$($name:ident = $value:literal),*];)*) => {
        &[$(Rung { settings: &[$((stringify!($name), $value)),*], joins: stringify!($joins).len() == 5 }),*]
    };
}

/// The first is the planner as it is.
pub const LADDER: &[Rung] = rungs! {
    any [];
    any [enable_seqscan = "off"];
    any [enable_seqscan = "off", enable_bitmapscan = "off"];
    any [enable_seqscan = "off", enable_indexscan = "off", enable_indexonlyscan = "off"];
    any [enable_seqscan = "off", enable_sort = "off", enable_incremental_sort = "off"];
    any [enable_seqscan = "off", enable_sort = "off", enable_incremental_sort = "off", enable_bitmapscan = "off"];
    any [enable_seqscan = "off", enable_sort = "off", enable_hashagg = "off", enable_bitmapscan = "off"];
    any [enable_indexscan = "off", enable_indexonlyscan = "off"];
    any [enable_bitmapscan = "off"];
    joins [enable_seqscan = "off", enable_hashjoin = "off", enable_mergejoin = "off"];
    joins [enable_seqscan = "off", enable_hashjoin = "off", enable_mergejoin = "off", enable_bitmapscan = "off"];
    joins [enable_seqscan = "off", enable_hashjoin = "off", enable_nestloop = "off"];
    joins [enable_seqscan = "off", enable_mergejoin = "off", enable_nestloop = "off"];
    joins [enable_seqscan = "off", enable_mergejoin = "off", enable_nestloop = "off", enable_indexscan = "off", enable_indexonlyscan = "off"];
    joins [enable_seqscan = "off", enable_hashjoin = "off", enable_mergejoin = "off", enable_material = "off", enable_memoize = "off", enable_bitmapscan = "off"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", random_page_cost = "0.01", cpu_index_tuple_cost = "0.0001"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", random_page_cost = "1000"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", cpu_operator_cost = "1000"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", cpu_index_tuple_cost = "1000"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", cpu_tuple_cost = "1000"];
    any [enable_seqscan = "off", enable_indexscan = "off", enable_indexonlyscan = "off", random_page_cost = "0.01", cpu_index_tuple_cost = "0.0001"];
    any [enable_seqscan = "off", enable_indexscan = "off", enable_indexonlyscan = "off", random_page_cost = "1000"];
    any [enable_seqscan = "off", enable_indexscan = "off", enable_indexonlyscan = "off", cpu_operator_cost = "1000"];
    any [enable_seqscan = "off", enable_indexscan = "off", enable_indexonlyscan = "off", cpu_index_tuple_cost = "1000"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", enable_sort = "off", enable_incremental_sort = "off", random_page_cost = "0.01"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", enable_sort = "off", enable_incremental_sort = "off", cpu_operator_cost = "1000"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", enable_sort = "off", enable_incremental_sort = "off", cpu_index_tuple_cost = "1000"];
    any [enable_seqscan = "off", seq_page_cost = "0", random_page_cost = "0", cpu_tuple_cost = "0", cpu_index_tuple_cost = "0", cpu_operator_cost = "0"];
    any [enable_seqscan = "off", enable_bitmapscan = "off", enable_sort = "off", seq_page_cost = "0", random_page_cost = "0", cpu_tuple_cost = "0", cpu_index_tuple_cost = "0", cpu_operator_cost = "0"];
};

/// The names of the indexes in a plan, each once.
pub fn indexes_of(document: &Wire) -> Vec<String> {
    fn walk(node: &Wire, names: &mut Vec<String>) {
        if let Some(name) = node["Index Name"].as_str()
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
        for child in node["Plans"].as_array().into_iter().flatten() {
            walk(child, names);
        }
    }
    let mut names = Vec::new();
    walk(&document["Plan"], &mut names);
    names
}

#[cfg(test)]
mod tests {
    use super::{LADDER, Rung, indexes_of};
    use serde_json::json;

    #[test]
    fn every_rung_is_another_and_the_first_changes_nothing() {
        assert!(LADDER[0].settings.is_empty());
        let told: std::collections::HashSet<_> = LADDER.iter().map(Rung::describe).collect();
        assert_eq!(told.len(), LADDER.len());
        assert!(LADDER.iter().any(|r| r.joins) && LADDER.iter().any(|r| !r.joins));
    }

    #[test]
    fn indexes_are_found_at_any_depth() {
        let plan = json!({ "Plan": { "Node Type": "BitmapAnd", "Plans": [
            { "Index Name": "b" }, { "Plans": [{ "Index Name": "a" }, { "Index Name": "b" }] }
        ] } });
        assert_eq!(indexes_of(&plan), ["b", "a"]);
    }
}
