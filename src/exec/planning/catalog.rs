//! The fixed statement that reads the indexes of the event table.

use sqlx::{PgConnection, Row};

use crate::model::{table::TableNames, time::Timestamp};
use crate::plan::{Index, Indexes, index_field, index_predicate};

/// Times are printed by the session's settings: those that differ from the usual are not understood.
const INDEXES: &str = "\
    SELECT ic.relname::text, am.amname::text, i.indisunique, \
      ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, false) FROM generate_series(1, i.indnkeyatts) AS k), \
      pg_get_expr(i.indpred, i.indrelid), (extract(epoch FROM now()) * 1000000)::int8, \
      (SELECT t.reltuples FROM pg_class t WHERE t.oid = i.indrelid), \
      ARRAY(SELECT unnest(pg_get_statisticsobjdef_expressions(s.oid)) FROM pg_statistic_ext s WHERE s.stxrelid = i.indrelid) \
    FROM pg_index i \
    JOIN pg_class ic ON ic.oid = i.indexrelid \
    JOIN pg_am am ON am.oid = ic.relam \
    WHERE i.indrelid = to_regclass($1) AND i.indisvalid AND i.indisready AND i.indislive \
    ORDER BY ic.relname";

/// Reads them.
pub async fn indexes(
    driver: &mut PgConnection,
    table: &TableNames,
) -> Result<Indexes, sqlx::Error> {
    let rows = sqlx::query(INDEXES)
        .persistent(false)
        .bind(table.quoted())
        .fetch_all(driver)
        .await?;
    let mut found = Indexes {
        list: Vec::with_capacity(rows.len()),
        read_at: Timestamp::from_micros(i64::MIN),
        rows: None,
        statistics: Vec::new(),
    };
    for row in rows {
        found.read_at = Timestamp::from_micros(row.try_get(5)?);
        found.rows = row
            .try_get::<Option<f32>, _>(6)?
            .filter(|rows| *rows >= 0.0);
        found.statistics = (row.try_get::<Vec<String>, _>(7)?.iter())
            .filter_map(|text| index_field(text, &table.columns))
            .collect();
        let columns: Vec<String> = row.try_get(3)?;
        let predicate_text: Option<String> = row.try_get(4)?;
        found.list.push(Index {
            name: row.try_get(0)?,
            method: row.try_get(1)?,
            unique: row.try_get(2)?,
            columns: (columns.iter())
                .map(|text| index_field(text, &table.columns))
                .collect(),
            predicate: (predicate_text.as_deref())
                .map_or_else(Vec::new, |text| index_predicate(text, &table.columns)),
            predicate_text,
        });
    }
    Ok(found)
}
