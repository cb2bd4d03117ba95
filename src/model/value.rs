//! Values that a caller compares fields with.

use serde_json::Value as Wire;
use uuid::Uuid;

use super::time::Timestamp;

/// The type of a JSON value, as `jsonb_typeof` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JsonType {
    /// `null`
    Null,
    /// `string`
    String,
    /// `number`
    Number,
    /// `boolean`
    Boolean,
    /// `array`
    Array,
    /// `object`
    Object,
}

impl JsonType {
    /// The name that `jsonb_typeof` gives.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
        }
    }
}

/// JSON text whose type is known. Object members are in sorted order, so that equal values hash
/// alike whatever order the caller wrote them in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Json {
    /// The type of the outermost value.
    pub kind: JsonType,
    /// The text, bound as `jsonb`.
    pub text: String,
}

/// What a field is compared with; its variant follows the field's [`Kind`](super::field::Kind).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// With [`Kind::Text`](super::field::Kind::Text).
    Text(String),
    /// With [`Kind::Uuid`](super::field::Kind::Uuid).
    Uuid(Uuid),
    /// With [`Kind::Time`](super::field::Kind::Time).
    Time(Timestamp),
    /// With [`Kind::Json`](super::field::Kind::Json).
    Json(Json),
}

/// Keys by which `lib/query-json.js` marks what JSON has no type for. U+0000 cannot be part of a
/// caller's key: it is refused there.
const TIME_MARK: &str = "\0t";
const INTEGER_MARK: &str = "\0n";

/// The ISO text of a marked JavaScript `Date`.
pub fn marked_time(wire: &Wire) -> Option<&str> {
    marked(wire, TIME_MARK)
}

/// The digits of a marked JavaScript `bigint`.
pub fn marked_integer(wire: &Wire) -> Option<&str> {
    marked(wire, INTEGER_MARK)
}

fn marked<'a>(wire: &'a Wire, mark: &str) -> Option<&'a str> {
    match wire {
        Wire::Object(members) if members.len() == 1 => members.get(mark)?.as_str(),
        _ => None,
    }
}

impl Json {
    /// A caller's value as JSON: a `Date` becomes its ISO text, a `bigint` its digits.
    pub fn of(wire: &Wire) -> Self {
        let mut text = String::new();
        write(wire, &mut text);
        let kind = match wire {
            Wire::Null => JsonType::Null,
            Wire::Bool(_) => JsonType::Boolean,
            Wire::Number(_) => JsonType::Number,
            Wire::String(_) => JsonType::String,
            Wire::Array(_) => JsonType::Array,
            Wire::Object(_) if marked_time(wire).is_some() => JsonType::String,
            Wire::Object(_) if marked_integer(wire).is_some() => JsonType::Number,
            Wire::Object(_) => JsonType::Object,
        };
        Self { kind, text }
    }

    /// The JSON `null`.
    pub fn null() -> Self {
        Self {
            kind: JsonType::Null,
            text: "null".to_owned(),
        }
    }

    /// The characters of a JSON string.
    pub fn as_text(&self) -> Option<String> {
        (self.kind == JsonType::String)
            .then(|| serde_json::from_str(&self.text).ok())
            .flatten()
    }
}

fn write(wire: &Wire, out: &mut String) {
    match wire {
        Wire::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Wire::Object(members) => {
            if let Some(digits) = marked_integer(wire) {
                out.push_str(digits);
            } else if let Some(iso) = marked_time(wire) {
                write_text(iso, out);
            } else {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_text(key, out);
                    out.push(':');
                    write(value, out);
                }
                out.push('}');
            }
        }
        Wire::String(text) => write_text(text, out),
        Wire::Null | Wire::Bool(_) | Wire::Number(_) => out.push_str(&wire.to_string()),
    }
}

/// Appends a JSON string.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                out.push_str("\\u00");
                for nibble in [u32::from(c) >> 4, u32::from(c) & 15] {
                    out.extend(char::from_digit(nibble, 16));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn marks_become_what_they_stand_for() {
        let value = json!({"b": {"\0n": "9007199254740993"}, "a": [{"\0t": "2026-01-01T00:00:00.000Z"}, 1.5, null]});
        assert_eq!(
            Json::of(&value).text,
            r#"{"a":["2026-01-01T00:00:00.000Z",1.5,null],"b":9007199254740993}"#
        );
        assert_eq!(Json::of(&json!({"\0n": "1"})).kind, JsonType::Number);
        assert_eq!(Json::of(&json!({"\0t": "x"})).kind, JsonType::String);
    }

    #[test]
    fn doubles_keep_every_digit() {
        for text in ["-11.876982287503779", "16.30676663480699", "5e-324", "0.1"] {
            let wire: Wire = serde_json::from_str(text).unwrap();
            assert_eq!(Json::of(&wire).text, text);
        }
    }

    #[test]
    fn text_is_escaped() {
        let value = json!("q\"\\\n\u{1}é");
        let json = Json::of(&value);
        assert_eq!(serde_json::from_str::<Wire>(&json.text).unwrap(), value);
        assert_eq!(json.as_text().unwrap(), "q\"\\\n\u{1}é");
    }
}
