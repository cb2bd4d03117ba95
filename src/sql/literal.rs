//! Values as literals, where a statement can have no binds: in the definition of an index.

use super::writer::{Bind, Writer};

/// A string literal. `standard_conforming_strings` is on in this module's sessions, and a text that
/// has a backslash is written so that it means the same where it is off.
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

impl Writer<'_> {
    /// Appends a value as a literal of its type.
    pub fn literal(&mut self, value: &Bind) -> &mut Self {
        let (text, of) = match value {
            Bind::Text(text) => (text.clone(), "text"),
            Bind::Uuid(id) => (id.to_string(), "uuid"),
            Bind::Time(at) => (at.to_string(), "timestamptz"),
            Bind::Json(text) => (text.clone(), "jsonb"),
            Bind::Numeric(digits) => (digits.clone(), "numeric"),
            Bind::Small(n) => (n.to_string(), "int2"),
            Bind::Int(n) => (n.to_string(), "int4"),
            Bind::Integer(n) => (n.to_string(), "int8"),
            Bind::Real(n) => (n.to_string(), "float4"),
            Bind::Float(n) => (n.to_string(), "float8"),
            Bind::Boolean(true) => return self.sql("true"),
            Bind::Boolean(false) => return self.sql("false"),
            // Values in the server's own format come from its answers, never from a condition.
            Bind::Null | Bind::Binary { .. } => return self.sql("NULL"),
            Bind::Texts(texts) => return self.literals(texts.iter().cloned(), "text"),
            Bind::Uuids(ids) => return self.literals(ids.iter().map(ToString::to_string), "uuid"),
            Bind::Times(times) => {
                return self.literals(times.iter().map(ToString::to_string), "timestamptz");
            }
            Bind::Jsons(texts) => return self.literals(texts.iter().cloned(), "jsonb"),
            Bind::List { items, .. } => {
                self.sql("ARRAY[");
                return self
                    .join(items, ", ", |w, item| {
                        w.literal(item);
                    })
                    .sql("]");
            }
        };
        self.sql(&quote_literal(&text)).sql("::").sql(of)
    }

    fn literals(&mut self, texts: impl Iterator<Item = String>, of: &str) -> &mut Self {
        self.sql("ARRAY[");
        self.join(texts, ", ", |w, text| {
            w.sql(&quote_literal(&text));
        });
        self.sql("]::").sql(of).sql("[]")
    }
}
