//! Fields of an event: a whole column, or a path into one of the JSON columns.

use std::borrow::Cow;

/// A column that every event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Column {
    /// `event_id`
    Id,
    /// `event_type`
    Type,
    /// `timestamp`
    Timestamp,
    /// `tags`
    Tags,
    /// `metadata`
    Metadata,
    /// `data`
    Data,
    /// `created_at`
    CreatedAt,
}

impl Column {
    /// The columns of a whole event, in the order of `DomainEvent`.
    pub const EVENT: [Self; 6] = [
        Self::Id,
        Self::Type,
        Self::Timestamp,
        Self::Tags,
        Self::Metadata,
        Self::Data,
    ];

    /// The name callers use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Type => "type",
            Self::Timestamp => "timestamp",
            Self::Tags => "tags",
            Self::Metadata => "metadata",
            Self::Data => "data",
            Self::CreatedAt => "createdAt",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        Self::EVENT
            .into_iter()
            .chain([Self::CreatedAt])
            .find(|c| c.name() == name)
    }
}

/// One step of a path into JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A member of an object.
    Key(String),
    /// An element of an array, from 0.
    Index(u32),
}

/// What a condition, a selection or an order refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// A whole column.
    Column(Column),
    /// One tag: all that follows `tags.` is its key.
    Tag(String),
    /// A path into `metadata` or `data`; at least one step.
    Path(Column, Vec<Step>),
    /// A field of the event table joined with itself.
    Joined(Relation, Box<Self>),
    /// A column of another table, or a path into one that is JSON.
    Foreign(Box<Foreign>),
    /// A column of the aggregated rows.
    Output(Output),
}

/// A relation of a query's FROM: the table it reads is 0, its joins count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relation(pub u32);

/// A column of a table other than the event table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Foreign {
    /// Which table of the query.
    pub relation: Relation,
    /// The column's name, as the catalog has it.
    pub column: String,
    /// What it holds.
    pub holds: Holds,
    /// Whether it can be NULL: by itself, or because its row is missing in a left join.
    pub nullable: bool,
    /// A path into it, where it holds JSON.
    pub steps: Vec<Step>,
}

/// What a column of another table holds, as far as comparisons care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holds {
    /// `text`.
    Text,
    /// Text of another type: `varchar`, `char`, `name`.
    TextLike,
    /// `uuid`.
    Uuid,
    /// `timestamptz`.
    Time,
    /// `jsonb`.
    Jsonb,
    /// `json`.
    Json,
    /// A number of SQL, read as the JSON number that it is.
    Number,
    /// Anything else: it is read as the JSON that `to_jsonb` makes of it.
    Other,
}

/// A column of the aggregated rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Output {
    /// Its place, from 0.
    pub column: usize,
    /// How its values compare.
    pub kind: Kind,
    /// Whether it is a number of SQL, to be compared as JSON compares numbers.
    pub number: bool,
    /// Whether it can be NULL.
    pub nullable: bool,
}

/// How the values of a field compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// By code point.
    Text,
    /// As UUIDs, which is the order of their lower-case text.
    Uuid,
    /// As points in time.
    Time,
    /// By JSON type, then within the type.
    Json,
}

/// Why a text is not a field.
#[derive(Debug, PartialEq, Eq)]
pub enum FieldError {
    /// No column of that name.
    Unknown,
    /// The path does not follow the grammar.
    Malformed(Cow<'static, str>),
}

/// The longest path taken, in bytes, and the deepest, in steps.
const MAX_LENGTH: usize = 1024;
const MAX_STEPS: usize = 32;

impl Field {
    /// Parses `type`, `tags.issueId`, `data.usage.tokens`, `data.files[0].name`, `data["any.key"]`.
    ///
    /// # Errors
    /// [`FieldError`]: an unknown column, or a path off the grammar.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        if text.len() > MAX_LENGTH {
            return Err(malformed("is longer than 1,024 bytes"));
        }
        if text.contains('\0') {
            return Err(malformed("contains U+0000, which PostgreSQL cannot store"));
        }
        let end = text.find(['.', '[']).unwrap_or(text.len());
        let column = Column::of_name(&text[..end]).ok_or(FieldError::Unknown)?;
        let rest = &text[end..];
        if rest.is_empty() {
            return Ok(Self::Column(column));
        }
        match column {
            Column::Tags => match rest.strip_prefix('.') {
                Some(key) if !key.is_empty() => Ok(Self::Tag(key.to_owned())),
                _ => Err(malformed("a tag is written tags.<key>")),
            },
            Column::Metadata | Column::Data => Ok(Self::Path(column, steps(rest)?)),
            _ => Err(FieldError::Unknown),
        }
    }

    /// How values of this field compare.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Joined(_, field) => field.kind(),
            Self::Foreign(foreign) => foreign.kind(),
            Self::Output(output) => output.kind,
            Self::Column(Column::Id) => Kind::Uuid,
            Self::Column(Column::Type) | Self::Tag(_) => Kind::Text,
            Self::Column(Column::Timestamp | Column::CreatedAt) => Kind::Time,
            Self::Column(Column::Tags | Column::Metadata | Column::Data) | Self::Path(..) => {
                Kind::Json
            }
        }
    }

    /// Whether a row may lack it.
    pub const fn nullable(&self) -> bool {
        match self {
            Self::Foreign(foreign) => foreign.nullable,
            Self::Output(output) => output.nullable,
            _ => !matches!(
                self,
                Self::Column(Column::Id | Column::Type | Column::Timestamp)
            ),
        }
    }

    /// Whether it is a value inside JSON, or read as one, and not a whole document of an event.
    pub fn is_json_scalar(&self) -> bool {
        match self {
            Self::Path(..) => true,
            Self::Joined(_, field) => field.is_json_scalar(),
            Self::Foreign(foreign) => foreign.kind() == Kind::Json,
            _ => false,
        }
    }
}

impl Foreign {
    /// How its values compare.
    pub fn kind(&self) -> Kind {
        match self.holds {
            _ if !self.steps.is_empty() => Kind::Json,
            Holds::Text | Holds::TextLike => Kind::Text,
            Holds::Uuid => Kind::Uuid,
            Holds::Time => Kind::Time,
            Holds::Jsonb | Holds::Json | Holds::Number | Holds::Other => Kind::Json,
        }
    }
}

const fn malformed(why: &'static str) -> FieldError {
    FieldError::Malformed(Cow::Borrowed(why))
}

/// `.key`, `[n]` and `["any.key"]`, one after the other.
///
/// # Errors
/// [`FieldError::Malformed`].
pub fn steps(mut rest: &str) -> Result<Vec<Step>, FieldError> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, next) = if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            key(&after[..end], &after[end..])?
        } else if let Some(after) = rest.strip_prefix("[\"") {
            quoted(after)?
        } else if let Some(after) = rest.strip_prefix('[') {
            index(after)?
        } else {
            return Err(malformed("needs '.' or '[' between its steps"));
        };
        steps.push(step);
        rest = next;
        if steps.len() > MAX_STEPS {
            return Err(malformed("has more than 32 steps"));
        }
    }
    Ok(steps)
}

fn key<'a>(name: &str, rest: &'a str) -> Result<(Step, &'a str), FieldError> {
    if name.is_empty() {
        return Err(malformed(
            "has an empty key; write [\"\"] for a key that is empty",
        ));
    }
    if name.contains([']', '"']) {
        return Err(malformed("has a bracket or quote in a key; write [\"…\"]"));
    }
    Ok((Step::Key(name.to_owned()), rest))
}

/// A JSON string and its closing bracket; the opening `["` has been read.
fn quoted(after: &str) -> Result<(Step, &str), FieldError> {
    let bytes = after.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    let unclosed = || malformed("has a [\" that is not closed by \"]");
    let rest = after
        .get(end..)
        .and_then(|r| r.strip_prefix("\"]"))
        .ok_or_else(unclosed)?;
    let literal = format!("\"{}\"", &after[..end]);
    let name: String = serde_json::from_str(&literal)
        .map_err(|_| malformed("has a [\"…\"] that is not a JSON string"))?;
    if name.contains('\0') {
        return Err(malformed("contains U+0000, which PostgreSQL cannot store"));
    }
    Ok((Step::Key(name), rest))
}

fn index(after: &str) -> Result<(Step, &str), FieldError> {
    let (number, rest) = after
        .split_once(']')
        .ok_or_else(|| malformed("has a '[' that is not closed"))?;
    let whole = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let value = whole
        .then(|| number.parse::<u32>().ok())
        .flatten()
        .filter(|n| i32::try_from(*n).is_ok());
    let value = value.ok_or_else(|| {
        malformed("an array index is a whole number from 0; keys are written [\"key\"]")
    })?;
    Ok((Step::Index(value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<Step> {
        match Field::parse(text).unwrap() {
            Field::Path(_, steps) => steps,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_tags_and_paths() {
        assert_eq!(
            Field::parse("createdAt"),
            Ok(Field::Column(Column::CreatedAt))
        );
        assert_eq!(Field::parse("tags.a.b[0]"), Ok(Field::Tag("a.b[0]".into())));
        assert_eq!(
            path("data.files[0].name"),
            [
                Step::Key("files".into()),
                Step::Index(0),
                Step::Key("name".into())
            ]
        );
        assert_eq!(path("data.0"), [Step::Key("0".into())]);
        assert_eq!(
            path(r#"data["any.key"]["q\"uote"]"#),
            [Step::Key("any.key".into()), Step::Key("q\"uote".into())]
        );
        assert_eq!(path("metadata.ключ"), [Step::Key("ключ".into())]);
    }

    #[test]
    fn what_is_no_field() {
        for text in [
            "",
            "event_id",
            "Type",
            "type.x",
            "id[0]",
            "dat",
            "datax.y",
            "timestamp.year",
        ] {
            assert_eq!(Field::parse(text), Err(FieldError::Unknown), "{text}");
        }
        for text in [
            "data.",
            "data..a",
            "data.a.",
            "data[-1]",
            "data[1",
            "data[x]",
            "data[99999999999]",
            "data[\"a]",
            "data.a]b",
            "tags.",
            "tags[0]",
            "data.a[0]b",
            "data.\0",
            "data[\"\\u0000\"]",
            "data[\"\\",
        ] {
            assert!(
                matches!(Field::parse(text), Err(FieldError::Malformed(_))),
                "{text}"
            );
        }
        assert!(Field::parse(&format!("data{}", ".a".repeat(33))).is_err());
    }
}
