//! A key in the making: what an index definition says of it, and the path that tells keys apart.

use serde_json::{Value as Wire, json};

use crate::model::{
    field::{Column, Field, Step},
    table::TableNames,
};

/// A key in the making.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub(super) path: String,
    pub(super) wire: Wire,
}

/// The field of a key's path, without its direction and collation.
pub(super) fn field_of(path: &str) -> &str {
    path.split(' ').next().unwrap_or_default()
}

/// The path of a field of the event table.
pub fn path_of(field: &Field) -> Option<String> {
    Some(match field {
        Field::Column(column) => column.name().to_owned(),
        Field::Tag(key) => format!("tags.{key}"),
        Field::Path(column, steps) => {
            let mut path = column.name().to_owned();
            for step in steps {
                match step {
                    Step::Index(at) => path.push_str(&["[", &at.to_string(), "]"].concat()),
                    Step::Key(key)
                        if !key.is_empty() && !key.contains(['.', '[', ']', '"', '\\']) =>
                    {
                        path.push('.');
                        path.push_str(key);
                    }
                    Step::Key(key) => path.push_str(&["[", &json!(key).to_string(), "]"].concat()),
                }
            }
            path
        }
        _ => return None,
    })
}

impl Part {
    pub(super) fn of(field: &Field) -> Option<Self> {
        let path = path_of(field)?;
        Some(Self {
            wire: json!({ "field": path }),
            path,
        })
    }

    /// The text of a field as ranges compare it: by code point.
    pub(super) fn by_code_point(field: &Field, table: &TableNames) -> Option<Self> {
        let path = format!("{} C", path_of(field)?);
        let expression = crate::sql::text_expression(field, table);
        Some(Self {
            wire: json!({ "expression": expression }),
            path,
        })
    }

    pub(super) fn is_plain(&self) -> bool {
        is_plain(&self.path)
    }
}

/// Whether a path is a whole column.
fn is_plain(path: &str) -> bool {
    Column::EVENT.iter().any(|c| c.name() == path) || path == "createdAt"
}
