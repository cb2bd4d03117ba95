//! The columns of a result.

use serde_json::{Map, Value as Wire};

use super::scope::Scope;
use crate::model::{
    Error, Result,
    field::Field,
    path::Path,
    wire::{field, list, text},
};

/// A column of the result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selected {
    /// The key in a row.
    pub name: String,
    /// What it holds.
    pub field: Field,
}

/// PostgreSQL takes 1,664 columns, and sort keys are columns too: two of each JSON field.
const MAX_SELECTED: usize = 1000;

/// The columns of `select`, a list of fields, and of `selectAs`, a list of names and fields.
/// Repeated fields collapse; `None` where neither is there.
pub fn parse(
    members: &Map<String, Wire>,
    root: &Path<'_>,
    scope: &Scope,
) -> Result<Option<Vec<Selected>>> {
    let mut outputs: Vec<Selected> = Vec::new();
    let mut add =
        |output: Selected, path: &Path<'_>| match outputs.iter().find(|o| o.name == output.name) {
            None if outputs.len() == MAX_SELECTED => Err(Error::invalid(
                path,
                "is one field more than the 1,000 that can be selected",
            )),
            None => {
                outputs.push(output);
                Ok(())
            }
            Some(same) if same.field == output.field => Ok(()),
            Some(_) => Err(Error::invalid(path, "is a name that another field has")),
        };
    if let Some(wire) = members.get("select") {
        let here = root.key("select");
        for (i, item) in list(wire, &here, "fields")?.iter().enumerate() {
            let here = here.index(i);
            let output = Selected {
                name: text(item, &here)?.to_owned(),
                field: field(item, &here, |name| scope.field(name))?,
            };
            add(output, &here)?;
        }
    }
    if let Some(wire) = members.get("selectAs") {
        let here = root.key("selectAs");
        for pair in list(wire, &here, "names and fields")? {
            let Some([Wire::String(name), wanted]) = pair.as_array().map(Vec::as_slice) else {
                return Err(Error::invalid(
                    here,
                    "must be an object of names and fields",
                ));
            };
            let here = here.key(name);
            if name.is_empty() || name.contains('\0') {
                return Err(Error::invalid(
                    here,
                    "is no name: it is empty or contains U+0000",
                ));
            }
            add(
                Selected {
                    name: name.clone(),
                    field: field(wanted, &here, |name| scope.field(name))?,
                },
                &here,
            )?;
        }
    }
    Ok((!outputs.is_empty()).then_some(outputs))
}
