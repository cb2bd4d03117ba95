//! Tables that queries name, as the catalog has them.

use std::sync::Arc;

use sqlx::{PgConnection, Row, postgres::types::Oid};

use super::engine::Engine;
use super::fault::fault;
use crate::model::{
    Result,
    catalog::{Catalog, Table, TableColumn},
    field::Holds,
    table::quote_ident,
};

/// `indkey` counts from 0.
const LOOK_UP: &str = "\
    SELECT n.nspname::text, c.relname::text, a.attname::text, a.attnotnull, \
      coalesce(nullif(t.typbasetype, 0), t.oid), array_position(i.indkey::int2[], a.attnum) \
    FROM pg_class c \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    JOIN pg_type t ON t.oid = a.atttypid \
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
    WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
    ORDER BY a.attnum";

impl Engine {
    /// Looks up those of the tables that are not known yet.
    ///
    /// # Errors
    /// Why the server could not say.
    pub async fn learn(&self, driver: &mut PgConnection, names: &[String]) -> Result<()> {
        for name in names {
            let known = self.catalog();
            if known.is_events(name) || known.tables.contains_key(name) {
                continue;
            }
            let found = look_up(driver, name).await.map_err(fault)?;
            self.change_catalog(|catalog| {
                catalog.tables.insert(name.clone(), found.map(Arc::new));
            });
        }
        Ok(())
    }

    /// Forgets tables that may have changed, and that there are some of which there were none.
    pub fn forget_tables(&self, names: &[String]) {
        if names.iter().any(|name| !self.catalog().is_events(name)) {
            self.change_catalog(|catalog: &mut Catalog| {
                catalog.tables.retain(|name, _| !names.contains(name));
            });
        }
    }
}

async fn look_up(driver: &mut PgConnection, name: &str) -> Result<Option<Table>, sqlx::Error> {
    let quoted: Vec<_> = name.splitn(2, '.').map(quote_ident).collect();
    let rows = sqlx::query(LOOK_UP)
        .persistent(false)
        .bind(quoted.join("."))
        .fetch_all(driver)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let mut table = Table {
        schema: first.try_get(0)?,
        name: first.try_get(1)?,
        columns: Vec::with_capacity(rows.len()),
        primary_key: Vec::new(),
    };
    let mut key: Vec<(i32, String)> = Vec::new();
    for row in &rows {
        let name: String = row.try_get(2)?;
        if let Some(place) = row.try_get(5)? {
            key.push((place, name.clone()));
        }
        table.columns.push(TableColumn {
            name,
            holds: holds(row.try_get::<Oid, _>(4)?),
            nullable: !row.try_get::<bool, _>(3)?,
        });
    }
    key.sort_unstable();
    table.primary_key = key.into_iter().map(|(_, name)| name).collect();
    Ok(Some(table))
}

const fn holds(r#type: Oid) -> Holds {
    match r#type.0 {
        25 => Holds::Text,
        // name, bpchar, varchar
        19 | 1042 | 1043 => Holds::TextLike,
        114 => Holds::Json,
        1184 => Holds::Time,
        2950 => Holds::Uuid,
        3802 => Holds::Jsonb,
        _ => Holds::Other,
    }
}
