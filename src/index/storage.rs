//! Storage parameters: known names, checked values.

use serde_json::Value as Wire;

use super::definition::Method;
use crate::model::{
    Error, Result,
    path::Path,
    wire::{known_keys, object},
};

enum Takes {
    Whole(u64, u64),
    Switch,
    OneOf(&'static [&'static str]),
}

struct Parameter {
    name: &'static str,
    methods: &'static [Method],
    takes: Takes,
}

use Method::{Brin, Btree, Gin, Gist, Hash};

const PARAMETERS: [Parameter; 7] = [
    Parameter {
        name: "fillfactor",
        methods: &[Btree, Hash, Gist],
        takes: Takes::Whole(10, 100),
    },
    Parameter {
        name: "deduplicate_items",
        methods: &[Btree],
        takes: Takes::Switch,
    },
    Parameter {
        name: "fastupdate",
        methods: &[Gin],
        takes: Takes::Switch,
    },
    Parameter {
        name: "gin_pending_list_limit",
        methods: &[Gin],
        takes: Takes::Whole(64, 2_147_483_647),
    },
    Parameter {
        name: "buffering",
        methods: &[Gist],
        takes: Takes::OneOf(&["on", "off", "auto"]),
    },
    Parameter {
        name: "pages_per_range",
        methods: &[Brin],
        takes: Takes::Whole(1, 131_072),
    },
    Parameter {
        name: "autosummarize",
        methods: &[Brin],
        takes: Takes::Switch,
    },
];

/// Parses `storageParams` of an index of this method.
///
/// # Errors
/// INVALID_QUERY at the parameter.
pub fn parse(wire: &Wire, path: &Path<'_>, method: Method) -> Result<Vec<(&'static str, String)>> {
    let members = object(wire, path, "an object of storage parameters")?;
    let known: Vec<_> = (PARAMETERS.iter())
        .filter(|p| p.methods.contains(&method))
        .map(|p| p.name)
        .collect();
    known_keys(members, path, &known)?;
    let chosen = PARAMETERS.iter().filter(|p| known.contains(&p.name));
    chosen
        .filter_map(|parameter| Some((parameter, members.get(parameter.name)?)))
        .map(|(parameter, wire)| {
            let value = value(wire, &parameter.takes)
                .map_err(|expected| Error::invalid(path.key(parameter.name), expected))?;
            Ok((parameter.name, value))
        })
        .collect()
}

fn value(wire: &Wire, takes: &Takes) -> std::result::Result<String, String> {
    match takes {
        Takes::Whole(low, high) => match wire.as_u64() {
            Some(n) if (*low..=*high).contains(&n) => Ok(n.to_string()),
            _ => Err(format!("must be a whole number from {low} to {high}")),
        },
        Takes::Switch => match wire {
            Wire::Bool(on) => Ok(if *on { "on" } else { "off" }.to_owned()),
            Wire::String(text) if ["on", "off"].contains(&text.as_str()) => Ok(text.clone()),
            _ => Err("must be true or false".to_owned()),
        },
        Takes::OneOf(words) => match wire.as_str() {
            Some(word) if words.contains(&word) => Ok(word.to_owned()),
            _ => Err(format!("must be one of {}", words.join(", "))),
        },
    }
}
