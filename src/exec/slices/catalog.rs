//! What the server knows of the times in the event table.

use sqlx::{PgConnection, Row};

use crate::model::{
    table::{TableNames, quote_ident},
    time::Timestamp,
};

/// The bounds of the column's histogram: between each and the next are equally many events. Through
/// JSON, whose times read the same under every DateStyle.
const BOUNDS: &str = "\
    SELECT (extract(epoch FROM x::timestamptz) * 1000000)::int8 FROM (\
      SELECT json_array_elements_text(array_to_json(histogram_bounds)) FROM (\
        SELECT histogram_bounds FROM pg_stats WHERE schemaname = $1 AND tablename = $2 AND attname = $3 \
        ORDER BY inherited DESC LIMIT 1) AS s) AS h(x) \
    WHERE x NOT LIKE '%infinity' ORDER BY 1";

/// Those bounds; none for a table that was never analyzed.
pub async fn bounds(
    driver: &mut PgConnection,
    table: &TableNames,
) -> Result<Vec<Timestamp>, sqlx::Error> {
    let rows = sqlx::query(BOUNDS)
        .bind(&table.schema)
        .bind(&table.name)
        .bind(&table.columns.timestamp)
        .fetch_all(driver)
        .await?;
    times(&rows)
}

/// How many pages the table has; `None` where it is none that has pages of its own: a partitioned one, a
/// view, one of another access method.
pub async fn pages(
    driver: &mut PgConnection,
    table: &TableNames,
) -> Result<Option<u32>, sqlx::Error> {
    let row = sqlx::query(PAGES)
        .bind(table.quoted())
        .fetch_optional(driver)
        .await?;
    let pages: Option<i64> = row.map(|row| row.try_get(0)).transpose()?;
    Ok(pages.and_then(|pages| u32::try_from(pages).ok()))
}

const PAGES: &str = "\
    SELECT pg_relation_size(c.oid) / current_setting('block_size')::int8 \
    FROM pg_class c JOIN pg_am a ON a.oid = c.relam \
    WHERE c.oid = to_regclass($1) AND c.relkind = 'r' AND a.amname = 'heap'";

/// The first and the last time in the table.
pub async fn ends(
    driver: &mut PgConnection,
    table: &TableNames,
) -> Result<Vec<Timestamp>, sqlx::Error> {
    let at = quote_ident(&table.columns.timestamp);
    let sql = format!(
        "SELECT (extract(epoch FROM x) * 1000000)::int8 FROM (\
           SELECT min({at}) AS x FROM {table} UNION ALL SELECT max({at}) FROM {table}) AS ends \
         WHERE isfinite(x) ORDER BY 1",
        table = table.quoted()
    );
    let rows = sqlx::query(super::super::sql_text(&sql))
        .fetch_all(driver)
        .await?;
    times(&rows)
}

fn times(rows: &[sqlx::postgres::PgRow]) -> Result<Vec<Timestamp>, sqlx::Error> {
    rows.iter()
        .map(|row| row.try_get(0).map(Timestamp::from_micros))
        .collect()
}
