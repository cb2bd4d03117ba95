//! What the server knows of how indexes were used, and of how full they are.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Result, Row, postgres::types::Oid};

use crate::model::table::TableNames;

/// How much an index was used over time, across resets of the server's counters.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Scans, all together.
    pub scans: i64,
    /// The day on which it was last seen to be used more than the day before.
    pub last_used: Option<String>,
}

/// What was noted each day of the indexes' use, by their names; empty where nothing was.
pub async fn history(
    conn: &mut PgConnection,
    names: &TableNames,
) -> Result<BTreeMap<String, History>> {
    let noted = names.beside("index_usage_stats");
    let there: bool = sqlx::query_scalar(
        "SELECT coalesce(has_table_privilege(to_regclass($1), 'SELECT'), false)",
    )
    .bind(&noted)
    .fetch_one(&mut *conn)
    .await?;
    if !there {
        return Ok(BTreeMap::new());
    }
    let sql = format!(
        "SELECT index_name::text, sum(grown)::bigint, to_char(max(stats_date) FILTER (WHERE grown > 0), 'YYYY-MM-DD\"T00:00:00.000Z\"')
         FROM (SELECT index_name, stats_date, usage_count - CASE WHEN usage_count >= before THEN before ELSE 0 END AS grown
           FROM (SELECT *, coalesce(lag(usage_count) OVER (PARTITION BY index_name ORDER BY stats_date), 0) AS before
             FROM {noted} WHERE table_name = $1) AS days) AS growth
         GROUP BY 1"
    );
    let rows: Vec<(String, Option<i64>, Option<String>)> = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(&names.name)
        .fetch_all(conn)
        .await?;
    let history = |(name, scans, last_used): (String, Option<i64>, Option<String>)| {
        let history = History {
            scans: scans.unwrap_or_default(),
            last_used,
        };
        (name, history)
    };
    Ok(rows.into_iter().map(history).collect())
}

/// Since when use was counted, the days that were noted included, how many seconds that is, and the
/// table's own figures.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Since when.
    pub since: Option<String>,
    /// For so many seconds.
    pub seconds: f64,
    /// Scans of the whole table.
    pub sequential: i64,
    /// The table's bytes, without indexes.
    pub table_bytes: i64,
}

/// Since when use was counted.
pub async fn counted(conn: &mut PgConnection, table: Oid) -> Result<Counted> {
    let row = sqlx::query(
        "SELECT to_char(d.since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),
           coalesce(extract(epoch FROM now() - coalesce(d.since, pg_postmaster_start_time())), 0)::float8,
           coalesce(t.scans, 0)::bigint, coalesce(t.bytes, 0)::bigint
         FROM (SELECT stats_reset AS since FROM pg_stat_database WHERE datname = current_database()) AS d,
           (SELECT sum(s.seq_scan) AS scans, sum(pg_relation_size(c.oid)) AS bytes
            FROM (SELECT $1::oid AS oid UNION SELECT relid FROM pg_partition_tree($1)) AS tree
              JOIN pg_class c ON c.oid = tree.oid AND c.relkind = 'r'
              LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid) AS t",
    )
    .bind(table)
    .fetch_one(conn)
    .await?;
    Ok(Counted {
        since: row.try_get(0)?,
        seconds: row.try_get(1)?,
        sequential: row.try_get(2)?,
        table_bytes: row.try_get(3)?,
    })
}

/// The mean width of an index's entries by the planner's statistics, and whether it has them of
/// each expression.
pub async fn entry_width(conn: &mut PgConnection, index: Oid) -> Result<(f64, bool)> {
    let row = sqlx::query(
        "SELECT coalesce(sum(coalesce(s.avg_width, 12)), 12)::float8,
           bool_and(s.avg_width IS NOT NULL OR k.attnum <> 0 OR i.indexprs IS NULL)
         FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
           CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
           LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
           LEFT JOIN pg_attribute e ON e.attrelid = i.indexrelid AND e.attnum = k.place
           LEFT JOIN LATERAL (
             SELECT p.avg_width FROM pg_stats p
             WHERE p.schemaname = (CASE WHEN k.attnum = 0 THEN x.relnamespace ELSE t.relnamespace END)::regnamespace::text
               AND p.tablename = CASE WHEN k.attnum = 0 THEN x.relname ELSE t.relname END
               AND p.attname = CASE WHEN k.attnum = 0 THEN e.attname ELSE a.attname END LIMIT 1) AS s ON true
         WHERE i.indexrelid = $1",
    )
    .bind(index)
    .fetch_one(conn)
    .await?;
    Ok((
        row.try_get(0)?,
        row.try_get::<Option<bool>, _>(1)?.unwrap_or(true),
    ))
}

/// What pgstattuple says of a btree: how full its leaves are, and how far from their order.
pub async fn leaves(conn: &mut PgConnection, schema: &str, index: Oid) -> Result<(f64, f64)> {
    let sql = format!(
        "SELECT avg_leaf_density, leaf_fragmentation FROM {schema}.pgstatindex($1::oid::regclass)"
    );
    let row: (f64, f64) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
        .bind(index)
        .fetch_one(conn)
        .await?;
    // Of no leaf it is not a number.
    Ok((
        if row.0.is_nan() { 90.0 } else { row.0 },
        if row.1.is_nan() { 0.0 } else { row.1 },
    ))
}

/// Pages that wait to be merged into a GIN index.
pub async fn pending_pages(conn: &mut PgConnection, schema: &str, index: Oid) -> Result<i64> {
    let sql =
        format!("SELECT pending_pages::bigint FROM {schema}.pgstatginindex($1::oid::regclass)");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(index)
        .fetch_one(conn)
        .await
}

/// Ranges of blocks that a BRIN index has no summary of, by its map of ranges.
pub async fn unsummarized(conn: &mut PgConnection, schema: &str, index: Oid) -> Result<i64> {
    let sql = format!(
        "SELECT greatest(0, ceil(pg_relation_size(i.indrelid)::numeric / current_setting('block_size')::int / m.pagesperrange)
           - (SELECT count(*) FROM generate_series(1, m.lastrevmappage) AS b,
                LATERAL {schema}.brin_revmap_data({schema}.get_raw_page($1::oid::regclass::text, b::int)) AS r (pages)
              WHERE r.pages <> '(0,0)'))::bigint
         FROM pg_index i, {schema}.brin_metapage_info({schema}.get_raw_page($1::oid::regclass::text, 0)) AS m
         WHERE i.indexrelid = $1"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(index)
        .fetch_one(conn)
        .await
}
