//! The order of rows, and where a page begins after the last row of the one before.

use super::partial::MergeKey;
use super::select::KeySource;
use super::writer::{Bind, Writer};
use crate::model::{
    Error, Result,
    field::{Field, Kind},
    value::JsonType,
};
use crate::query::{KeyValue, NullsOrder, OrderBy, SortDirection};

/// One key that the server sorts by. A JSON field can need two: see [`sort_keys`].
#[derive(Clone, Debug)]
pub struct SortKey<'q> {
    field: &'q Field,
    form: Form,
    descending: bool,
    nulls_first: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The value itself.
    Plain,
    /// The JSON value, with every string taken for the empty one.
    StringsAlike,
    /// The characters of a JSON string, else NULL.
    Characters,
}

/// The keys of an order.
///
/// jsonb compares strings by the database's collation, and the API by code point. Where those
/// differ, a JSON field sorts by two keys: the value with all strings alike, which puts each type
/// in its place, and then the characters.
pub fn sort_keys(order: &[OrderBy], code_point_collation: bool) -> Vec<SortKey<'_>> {
    let mut keys = Vec::with_capacity(order.len());
    for OrderBy {
        field,
        direction,
        nulls,
    } in order
    {
        let descending = *direction == SortDirection::Desc;
        let nulls_first = nulls.map_or(descending, |n| n == NullsOrder::First);
        let forms: &[Form] = match field.kind() {
            Kind::Json if !code_point_collation => &[Form::StringsAlike, Form::Characters],
            _ => &[Form::Plain],
        };
        keys.extend(forms.iter().map(|form| SortKey {
            field,
            form: *form,
            descending,
            nulls_first,
        }));
    }
    keys
}

impl SortKey<'_> {
    /// Whether the key is the bare value of `field`.
    pub fn is_plain(&self, field: &Field) -> bool {
        self.form == Form::Plain && self.field == field
    }

    /// Whether the key is written as the field is selected: a number of SQL is compared as JSON.
    pub fn is_as_selected(&self) -> bool {
        !matches!(self.field, Field::Output(output) if output.number)
    }

    /// The kind of the key's values.
    pub fn kind(&self) -> Kind {
        if self.form == Form::Characters {
            Kind::Text
        } else {
            self.field.kind()
        }
    }

    /// How slices' rows are merged by it.
    pub fn merge_key(&self, source: &KeySource) -> MergeKey {
        MergeKey {
            column: source.column,
            kind: source.kind,
            descending: self.descending,
            nulls_first: self.nulls_first,
        }
    }

    fn nullable(&self) -> bool {
        self.field.nullable()
    }

    fn bind(&self, value: &KeyValue) -> Result<Option<Bind>> {
        Ok(Some(match (value, self.kind()) {
            (KeyValue::Null, _) if self.nullable() => return Ok(None),
            (KeyValue::Uuid(id), Kind::Uuid) => Bind::Uuid(*id),
            (KeyValue::Time(at), Kind::Time) => Bind::Time(*at),
            (KeyValue::Text(text), Kind::Text) => Bind::Text(text.clone()),
            (KeyValue::Json(text), Kind::Json) => Bind::Json(text.clone()),
            _ => return Err(foreign_cursor()),
        }))
    }
}

/// The error of a cursor that another query made.
pub fn foreign_cursor() -> Error {
    Error::invalid(
        "after",
        "is a cursor of another query: filter, order and table must be the same",
    )
}

impl Writer<'_> {
    /// The key as an expression of the select list.
    pub fn sort_key(&mut self, key: &SortKey<'_>) -> &mut Self {
        let field = key.field;
        let string = JsonType::String.name();
        match key.form {
            Form::Plain => self.field(field),
            Form::StringsAlike => {
                self.sql("CASE WHEN jsonb_typeof(")
                    .field(field)
                    .sql(") = '")
                    .sql(string);
                self.sql("' THEN '\"\"'::jsonb ELSE ")
                    .field(field)
                    .sql(" END")
            }
            Form::Characters => {
                self.sql("CASE WHEN jsonb_typeof(")
                    .field(field)
                    .sql(") = '")
                    .sql(string);
                self.sql("' THEN ").field_text(field).sql(" END")
            }
        }
    }

    /// The key as the server compares it.
    fn compared(&mut self, key: &SortKey<'_>) -> &mut Self {
        let bare =
            matches!(key.field, Field::Column(_) | Field::Output(_)) && key.form == Form::Plain;
        let (open, close) = if bare { ("", "") } else { ("(", ")") };
        self.sql(open).sort_key(key).sql(close);
        self.sql(if key.kind() == Kind::Text {
            " COLLATE \"C\""
        } else {
            ""
        })
    }

    /// `ORDER BY …`; nothing where there are no keys.
    pub fn order_by(&mut self, keys: &[SortKey<'_>]) -> &mut Self {
        if keys.is_empty() {
            return self;
        }
        self.sql(" ORDER BY ").join(keys, ", ", |w, key| {
            w.compared(key)
                .sql(if key.descending { " DESC" } else { "" });
            // PostgreSQL's default is NULLS FIRST when descending; saying it would be noise.
            if key.nullable() && key.nulls_first != key.descending {
                w.sql(if key.nulls_first {
                    " NULLS FIRST"
                } else {
                    " NULLS LAST"
                });
            }
        })
    }

    /// The rows behind a cursor's.
    ///
    /// # Errors
    /// INVALID_QUERY at `after` where the cursor's values do not fit the keys.
    pub fn behind(&mut self, keys: &[SortKey<'_>], cursor: &[KeyValue]) -> Result<&mut Self> {
        if keys.len() != cursor.len() {
            return Err(foreign_cursor());
        }
        let values: Vec<_> = keys
            .iter()
            .zip(cursor)
            .map(|(key, value)| key.bind(value))
            .collect::<Result<_>>()?;
        let (Some(first), Some(first_value)) = (keys.first(), values.first()) else {
            return Err(foreign_cursor());
        };
        let uniform = keys
            .iter()
            .all(|k| !k.nullable() && k.descending == first.descending);
        if uniform {
            // A row comparison, which one index scan serves from where it begins.
            self.sql("(").join(keys, ", ", |w, key| {
                w.compared(key);
            });
            self.sql(if first.descending { ") < (" } else { ") > (" });
            self.join(values.into_iter().flatten(), ", ", |w, value| {
                w.bind(value);
            });
            return Ok(self.sql(")"));
        }
        self.sql("(");
        // Implied by the rest, and a range that an index can begin at.
        if let (false, Some(value)) = (first.nullable(), first_value) {
            self.compared(first)
                .sql(if first.descending { " <= " } else { " >= " })
                .bind(value.clone())
                .sql(" AND ");
        }
        self.sql("(").join(0..keys.len(), " OR ", |w, at| {
            w.sql("(").join(0..=at, " AND ", |w, i| {
                w.key_test(&keys[i], values[i].clone(), i == at);
            });
            w.sql(")");
        });
        Ok(self.sql("))"))
    }

    /// The key equals the cursor's value, or (where `beyond`) comes after it.
    fn key_test(&mut self, key: &SortKey<'_>, value: Option<Bind>, beyond: bool) -> &mut Self {
        let Some(value) = value else {
            return match (beyond, key.nulls_first) {
                (false, _) => self.compared(key).sql(" IS NULL"),
                (true, true) => self.compared(key).sql(" IS NOT NULL"),
                (true, false) => self.sql("false"),
            };
        };
        if !beyond {
            return self.compared(key).sql(" = ").bind(value);
        }
        let nulls_follow = key.nullable() && !key.nulls_first;
        self.sql(if nulls_follow { "(" } else { "" });
        self.compared(key)
            .sql(if key.descending { " < " } else { " > " })
            .bind(value);
        if nulls_follow {
            self.sql(" OR ").compared(key).sql(" IS NULL)");
        }
        self
    }
}
