//! The caller's own SQL: read only, with bound values, its types as the server infers them.

use serde_json::Value as Wire;
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor, SqlSafeStr, Statement as _,
    postgres::{PgStatement, PgTypeInfo, PgTypeKind},
};

use super::connection::Connection;
use super::encode::Encoder;
use super::stop::Stop;
use crate::model::{
    Error, Result,
    path::Path,
    time::Timestamp,
    value::{Json, marked_integer, marked_time},
    wire::shown,
};
use crate::sql::{Bind, Statement, as_json};

/// A tagged template: the texts between the values, and the values.
pub struct UserSql {
    sql: String,
    values: Vec<Wire>,
}

impl UserSql {
    /// Joins the texts with placeholders.
    ///
    /// # Errors
    /// INVALID_QUERY where there is no SQL, or it holds U+0000.
    pub fn new(strings: &[String], values: Vec<Wire>) -> Result<Self> {
        let mut sql = String::new();
        for (i, text) in strings.iter().enumerate() {
            if i > 0 {
                sql.push('$');
                sql.push_str(&i.to_string());
            }
            sql.push_str(text);
        }
        if sql.trim().is_empty() {
            return Err(Error::invalid("sql", "is empty"));
        }
        if sql.contains('\0') {
            return Err(Error::invalid("sql", "contains U+0000"));
        }
        if strings.len() != values.len() + 1 {
            return Err(Error::invalid(
                "values",
                "must be one fewer than the texts between them",
            ));
        }
        Ok(Self { sql, values })
    }

    /// Its text, values as placeholders.
    pub fn text(&self) -> &str {
        &self.sql
    }

    /// Has the server parse it, and binds the values as the types it inferred.
    pub async fn prepare(&self, connection: &mut Connection) -> Result<Statement, Stop> {
        let prepared = parse(connection, &self.sql).await?;
        let names: Vec<String> = prepared
            .columns()
            .iter()
            .map(|c| c.name().to_owned())
            .collect();
        check_names(&names).map_err(Stop::Refused)?;
        let binds = self.binds(&prepared).map_err(Stop::Refused)?;
        let readable: Vec<bool> = prepared
            .columns()
            .iter()
            .map(|c| is_readable(c.type_info()))
            .collect();
        let sql = if readable.iter().all(|r| *r) {
            self.sql.clone()
        } else {
            let wrapped = as_json(&self.sql, &readable);
            parse(connection, &wrapped).await.map_err(not_nestable)?;
            wrapped
        };
        Ok(Statement {
            sql,
            binds,
            visible: names.len(),
            columns: Some(names),
            json_scalars: Vec::new(),
            computed: Vec::new(),
            keys: Vec::new(),
            token: None,
            limit: None,
            identity: 0,
            since: None,
        })
    }

    fn binds(&self, prepared: &PgStatement) -> Result<Vec<Bind>> {
        let types: &[PgTypeInfo] = match prepared.parameters() {
            Some(Either::Left(types)) => types,
            _ => &[],
        };
        if types.len() != self.values.len() {
            return Err(Error::invalid(
                "sql",
                "has placeholders of its own, such as $1: values stand in ${…}",
            ));
        }
        let root = Path::Root;
        let list = root.key("values");
        self.values
            .iter()
            .zip(types)
            .enumerate()
            .map(|(i, (value, info))| bind(value, info, &list.index(i)))
            .collect()
    }
}

async fn parse(connection: &mut Connection, sql: &str) -> Result<PgStatement, Stop> {
    // The caller's own SQL, in a read-only transaction; values are binds.
    let text = AssertSqlSafe(sql.to_owned()).into_sql_str();
    match (&mut connection.driver).prepare_with(text, &[]).await {
        // The driver does not know every kind of type that there is: not that of multiranges.
        Err(sqlx::Error::ColumnDecode { .. }) => Err(Stop::Ours(Error::Unsupported {
            path: "sql".to_owned(),
            what: "has a column or a value of a type that cannot be read: turn it into text with ::text".into(),
        })),
        prepared => Ok(prepared?),
    }
}

/// What stands alone may still not stand in parentheses.
fn not_nestable(stop: Stop) -> Stop {
    match stop {
        Stop::Driver(sqlx::Error::Database(db)) if db.code().as_deref() == Some("42601") => {
            Stop::Refused(Error::invalid(
                "sql",
                "has columns that are read as JSON, for which nothing may follow its last semicolon",
            ))
        }
        other => other,
    }
}

/// Rows are objects: they need names, and a name can be there once. Statements without columns are
/// not run at all: what they do to the session (PREPARE, DISCARD, LISTEN) outlives a transaction.
fn check_names(names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Err(Error::invalid(
            "sql",
            "gives no columns: it has to read, as SELECT, VALUES, SHOW and EXPLAIN do",
        ));
    }
    match names
        .iter()
        .enumerate()
        .find(|(i, name)| names[..*i].contains(name))
    {
        Some((_, name)) => Err(Error::invalid(
            "sql",
            format!("has two columns named {name:?}: give one another name with AS"),
        )),
        None => Ok(()),
    }
}

fn is_readable(info: &PgTypeInfo) -> bool {
    info.oid().is_some_and(|oid| Encoder::of(oid.0).is_some())
}

fn bind(value: &Wire, info: &PgTypeInfo, path: &Path<'_>) -> Result<Bind> {
    if value.is_null() {
        return Ok(Bind::Null);
    }
    if let PgTypeKind::Domain(base) = info.kind() {
        return bind(value, base, path);
    }
    if let (PgTypeKind::Array(element), Wire::Array(items)) = (info.kind(), value) {
        let items: Result<Vec<_>> = items
            .iter()
            .enumerate()
            .map(|(i, item)| bind(item, element, &path.index(i)))
            .collect();
        let (element, array) = (
            element.oid().map_or(0, |o| o.0),
            info.oid().map_or(0, |o| o.0),
        );
        return Ok(Bind::List {
            element,
            array,
            items: items?,
        });
    }
    scalar(value, info.oid().map_or(0, |oid| oid.0), info, path)
}

fn scalar(value: &Wire, oid: u32, info: &PgTypeInfo, path: &Path<'_>) -> Result<Bind> {
    let unfit = || {
        Error::invalid(
            path,
            format!(
                "is {}, where the SQL needs {}",
                shown(value),
                sqlx::TypeInfo::name(info).to_lowercase()
            ),
        )
    };
    let digits = as_text(value);
    Ok(match oid {
        16 => Bind::Boolean(value.as_bool().ok_or_else(unfit)?),
        21 => Bind::Small(digits.parse().map_err(|_| unfit())?),
        23 => Bind::Int(digits.parse().map_err(|_| unfit())?),
        20 => Bind::Integer(digits.parse().map_err(|_| unfit())?),
        700 => Bind::Real(digits.parse().map_err(|_| unfit())?),
        701 => Bind::Float(digits.parse().map_err(|_| unfit())?),
        1700 => Bind::Numeric(
            digits
                .parse::<bigdecimal::BigDecimal>()
                .map_err(|_| unfit())?
                .to_string(),
        ),
        19 | 25 | 705 | 1042 | 1043 => Bind::Text(storable(digits, path)?),
        // json's binary form is its text.
        114 => Bind::Text(json(value, path)?),
        3802 => Bind::Json(json(value, path)?),
        1082 => Bind::Int(day(&digits).ok_or_else(unfit)?),
        1114 | 1184 => {
            Bind::Time(Timestamp::parse(&digits).map_err(|why| Error::invalid(path, why))?)
        }
        2950 => Bind::Uuid(uuid::Uuid::try_parse(&digits).map_err(|_| unfit())?),
        _ if matches!(info.kind(), PgTypeKind::Array(_)) => return Err(unfit()),
        _ => {
            let name = sqlx::TypeInfo::name(info).to_lowercase();
            return Err(Error::Unsupported {
                path: path.to_string(),
                what: format!(
                    "a value of type {name} is passed as text: write ${{value}}::text::{name}"
                )
                .into(),
            });
        }
    })
}

/// A scalar's text; of an object or list its JSON.
fn as_text(value: &Wire) -> String {
    match value {
        Wire::String(text) => text.clone(),
        _ => marked_time(value)
            .or_else(|| marked_integer(value))
            .map_or_else(|| Json::of(value).text, str::to_owned),
    }
}

fn storable(text: String, path: &Path<'_>) -> Result<String> {
    if text.contains('\0') {
        return Err(unstorable(path));
    }
    Ok(text)
}

fn json(value: &Wire, path: &Path<'_>) -> Result<String> {
    if holds_nul(value) {
        return Err(unstorable(path));
    }
    Ok(Json::of(value).text)
}

/// Keys are no matter: the only ones with U+0000 are marks.
fn holds_nul(value: &Wire) -> bool {
    match value {
        Wire::String(text) => text.contains('\0'),
        Wire::Array(items) => items.iter().any(holds_nul),
        Wire::Object(members) => members.values().any(holds_nul),
        _ => false,
    }
}

fn unstorable(path: &Path<'_>) -> Error {
    Error::invalid(path, "contains U+0000, which PostgreSQL cannot store")
}

/// Days since 2000-01-01.
fn day(text: &str) -> Option<i32> {
    let at = Timestamp::parse(text).ok()?;
    i32::try_from(at.to_postgres().div_euclid(86_400_000_000)).ok()
}
