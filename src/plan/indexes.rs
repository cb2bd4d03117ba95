//! The indexes of the event table, as far as rules can read their definitions: what they are on, and
//! what their predicates ask.
//!
//! Definitions come as PostgreSQL prints them. What is not understood is no field, and a predicate that
//! is not understood follows from no query; so an index is at worst not used.

use crate::model::{
    field::{Column, Field, Step},
    table::ColumnNames,
    time::Timestamp,
    value::Value,
};
use crate::query::{CompareOp, Condition, EventQuery, Leaf, Test, Window};

/// What the catalog said, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Indexes {
    /// Those that can be used.
    pub list: Vec<Index>,
    /// By the database's clock.
    pub read_at: Timestamp,
    /// Rows of the table, as its statistics have it; `None` where it was never analyzed.
    pub rows: Option<f32>,
    /// Expressions that have statistics without an index.
    pub statistics: Vec<Field>,
}

/// An index.
#[derive(Clone, Debug, PartialEq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// `btree`, `gin` and the like.
    pub method: String,
    /// Whether no two rows agree in all of its columns.
    pub unique: bool,
    /// What its columns hold; `None` for what is not understood.
    pub columns: Vec<Option<Field>>,
    /// Which rows it holds, as a conjunction; a member is `None` where it is not understood.
    pub predicate: Vec<Option<Condition>>,
    /// The same as PostgreSQL prints it.
    pub predicate_text: Option<String>,
}

impl Index {
    /// Whether every row that a query looks for is in the index.
    pub fn covers(&self, query: &EventQuery, read_at: Timestamp) -> bool {
        self.missing(query, read_at).next().is_none()
    }

    /// The members of its predicate that do not follow from a query.
    pub fn missing<'i>(
        &'i self,
        query: &'i EventQuery,
        read_at: Timestamp,
    ) -> impl Iterator<Item = &'i Option<Condition>> {
        self.predicate.iter().filter(move |member| {
            !(member.as_ref()).is_some_and(|member| follows(member, query, read_at))
        })
    }

    /// What its predicate says of values, and not only that there are some.
    pub fn constants(&self) -> impl Iterator<Item = &Condition> {
        let members = self.predicate.iter().flatten();
        members.filter(
            |member| !matches!(member, Condition::Leaf(leaf) if leaf.test == Test::Exists(true)),
        )
    }
}

/// Clocks are set back, by a little: a window that ends at the clock must clear a cut-off by this.
const SKEW: i64 = 3_600_000_000;

/// Whether a predicate's member holds for all rows that satisfy a query.
fn follows(member: &Condition, query: &EventQuery, read_at: Timestamp) -> bool {
    let Condition::Leaf(wanted) = member else {
        return false;
    };
    let arms = match &query.filter {
        Condition::And(arms) => arms.as_slice(),
        other => std::slice::from_ref(other),
    };
    let by_filter = arms.iter().any(|arm| match arm {
        Condition::Leaf(leaf) if leaf.field == wanted.field => leaf_follows(&wanted.test, leaf),
        _ => false,
    });
    by_filter || by_window(wanted, query, read_at)
}

fn leaf_follows(wanted: &Test, leaf: &Leaf) -> bool {
    let values: &[Value] = match &leaf.test {
        Test::Compare(CompareOp::Eq, value) => std::slice::from_ref(value),
        Test::In {
            values,
            negated: false,
        } => values,
        _ => &[],
    };
    match wanted {
        Test::Exists(true) => leaf.test != Test::Exists(false),
        Test::Compare(CompareOp::Eq, value) => values == std::slice::from_ref(value),
        Test::In {
            values: all,
            negated: false,
        } => !values.is_empty() && values.iter().all(|value| all.contains(value)),
        Test::Compare(CompareOp::Gte, Value::Time(cut)) => match &leaf.test {
            Test::Compare(CompareOp::Eq | CompareOp::Gt | CompareOp::Gte, Value::Time(at))
            | Test::Between(Value::Time(at), _) => at >= cut,
            _ => false,
        },
        _ => false,
    }
}

/// A window that ends at the clock begins behind a cut-off, now and from now on.
fn by_window(wanted: &Leaf, query: &EventQuery, read_at: Timestamp) -> bool {
    let is_bucketed = query.grouping.as_ref().is_some_and(|g| g.bucket.is_some());
    match (&wanted.test, query.window) {
        (Test::Compare(CompareOp::Gte, Value::Time(cut)), Some(Window::Last(length)))
            if wanted.field == Field::Column(Column::Timestamp)
                && !is_bucketed
                && query.after.is_none() =>
        {
            let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
            read_at
                .as_micros()
                .saturating_sub(length)
                .saturating_sub(SKEW)
                >= cut.as_micros()
        }
        _ => false,
    }
}

/// The field that an index's column is on, from its definition.
pub fn field(text: &str, columns: &ColumnNames) -> Option<Field> {
    let text = bare(text);
    for (operator, is_text) in [(" ->> ", true), (" -> ", false)] {
        // The last arrow is the outermost: they bind to the left.
        let Some((left, right)) = text.rsplit_once(operator) else {
            continue;
        };
        let step = if let Some(key) = literal(right) {
            Step::Key(key)
        } else {
            Step::Index(right.parse().ok()?)
        };
        return match (field(left, columns)?, is_text, step) {
            (Field::Column(Column::Tags), true, Step::Key(key)) => Some(Field::Tag(key)),
            (Field::Column(column @ (Column::Data | Column::Metadata)), false, step) => {
                Some(Field::Path(column, vec![step]))
            }
            (Field::Path(column, mut steps), false, step) => {
                steps.push(step);
                Some(Field::Path(column, steps))
            }
            _ => None,
        };
    }
    let name = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?.replace("\"\"", "\""),
        None => text.to_owned(),
    };
    let all = [
        Column::Id,
        Column::Type,
        Column::Timestamp,
        Column::Tags,
        Column::Metadata,
        Column::Data,
        Column::CreatedAt,
    ];
    let found = all.into_iter().find(|column| columns.of(*column) == name);
    found.map(Field::Column)
}

/// The members of a predicate, from its text.
pub fn predicate(text: &str, columns: &ColumnNames) -> Vec<Option<Condition>> {
    let members = bare(text).split(" AND ");
    members.map(|member| leaf(member, columns)).collect()
}

fn leaf(text: &str, columns: &ColumnNames) -> Option<Condition> {
    let text = bare(text);
    if let Some(of) = text.strip_suffix(" IS NOT NULL") {
        return Some(Condition::leaf(field(of, columns)?, Test::Exists(true)));
    }
    let (left, operator, right) = [" >= ", " = ANY ", " = "]
        .iter()
        .find_map(|operator| text.split_once(operator).map(|(l, r)| (l, *operator, r)))?;
    let field = field(left, columns)?;
    let asked = match operator {
        " >= " if field == Field::Column(Column::Timestamp) => {
            let at = time(&literal_of(right, "timestamp with time zone")?)?;
            Test::Compare(CompareOp::Gte, Value::Time(at))
        }
        " = " if is_text(&field) => {
            Test::Compare(CompareOp::Eq, Value::Text(plain(literal(right)?)?))
        }
        " = ANY " if is_text(&field) => {
            let list = bare(right).strip_prefix("ARRAY[")?.strip_suffix(']')?;
            let values = list
                .split(", ")
                .map(|item| Some(Value::Text(plain(literal(item)?)?)));
            Test::In {
                values: values.collect::<Option<_>>()?,
                negated: false,
            }
        }
        _ => return None,
    };
    Some(Condition::leaf(field, asked))
}

const fn is_text(field: &Field) -> bool {
    matches!(field, Field::Column(Column::Type) | Field::Tag(_))
}

/// Without parentheses around all of it.
fn bare(mut text: &str) -> &str {
    loop {
        text = text.trim();
        let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else {
            return text;
        };
        let mut depth = 0_i32;
        for c in inner.chars() {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            if depth < 0 {
                return text;
            }
        }
        text = inner;
    }
}

fn literal(text: &str) -> Option<String> {
    literal_of(text, "text").or_else(|| literal_of(text, "character varying"))
}

/// The characters of `'…'::type`.
fn literal_of(text: &str, r#type: &str) -> Option<String> {
    let inner = bare(text).strip_suffix(r#type)?.strip_suffix("::")?;
    let inner = inner.strip_prefix('\'')?.strip_suffix('\'')?;
    (!inner.contains(['\'', '\\'])).then(|| inner.to_owned())
}

/// A text that means the same however it is quoted.
fn plain(text: String) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._:- /".contains(&b);
    text.bytes().all(is_plain).then_some(text)
}

/// `2026-11-20 00:00:00+00`, as PostgreSQL prints times by default.
fn time(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.split_once(' ')?;
    let minutes = match clock.rfind(['+', '-']) {
        Some(zone) if clock.len() - zone == 3 => ":00",
        Some(_) => "",
        None => return None,
    };
    Timestamp::parse(&format!("{date}T{clock}{minutes}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::text;

    fn fields(definition: &str) -> Option<String> {
        field(definition, &ColumnNames::default()).map(|field| text::field(&field))
    }

    fn members(definition: &str) -> Vec<Option<String>> {
        let members = predicate(definition, &ColumnNames::default());
        members
            .iter()
            .map(|m| m.as_ref().map(text::condition))
            .collect()
    }

    #[test]
    fn columns_of_definitions() {
        for (definition, expected) in [
            ("event_type", Some("type")),
            ("\"timestamp\"", Some("timestamp")),
            ("(tags ->> 'issueId'::text)", Some("tags.issueId")),
            ("((tags ->> 'issueId'::text))", Some("tags.issueId")),
            ("(data -> 'n'::text)", Some("data.n")),
            ("((data -> 'a'::text) -> 0)", Some("data.a[0]")),
            ("lower(event_type)", None),
            ("(data ->> 'n'::text)", None),
            ("transaction_id", None),
        ] {
            assert_eq!(fields(definition).as_deref(), expected, "{definition}");
        }
    }

    #[test]
    fn predicates() {
        assert_eq!(
            members("((tags ->> 'issueId'::text) IS NOT NULL)"),
            [Some("tags.issueId exists".to_owned())]
        );
        assert_eq!(
            members("(event_type = ANY (ARRAY['A.B'::text, 'C'::text]))"),
            [Some(r#"type in ["A.B", "C"]"#.to_owned())]
        );
        assert_eq!(
            members(
                "((\"timestamp\" >= '2026-11-20 00:00:00+00'::timestamp with time zone) AND (event_type = 'A'::text))"
            ),
            [
                Some("timestamp >= 2026-11-20T00:00:00.000Z".to_owned()),
                Some(r#"type = "A""#.to_owned())
            ]
        );
        assert_eq!(members("(length(event_type) > 3)"), [None]);
        assert_eq!(
            members("((event_type = 'A'::text) OR (event_type = 'it''s'::text))"),
            [None]
        );
    }
}
