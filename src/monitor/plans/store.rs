//! The fixed statements by which the monitor learns what plans depend on.

use sqlx::{PgConnection, Row};

use super::facts::{Facts, TableFacts};
use crate::model::table::TableNames;

const SERVER: &str = "\
    SELECT current_setting('server_version_num')::int, \
      ARRAY(SELECT name || '=' || setting FROM pg_settings \
        WHERE category LIKE 'Query Tuning%' OR name IN ('work_mem', 'hash_mem_multiplier', 'jit', 'search_path', 'effective_io_concurrency') \
        ORDER BY name)";

/// Statistics of expressions stand under the name of their index, or of an object of their own.
const TABLES: &str = "\
    WITH RECURSIVE named AS ( \
      SELECT c.oid FROM pg_class c WHERE c.oid = to_regclass($1) \
        OR (c.relname = ANY ($2::text[]::name[]) AND c.relkind IN ('r', 'p', 'm') AND pg_table_is_visible(c.oid)) \
      UNION SELECT i.inhrelid FROM named JOIN pg_inherits i ON i.inhparent = named.oid \
    ) \
    SELECT n.nspname || '.' || c.relname, c.reltuples::float8, pg_relation_size(c.oid) / current_setting('block_size')::bigint, \
      concat(s.last_analyze, ' ', s.last_autoanalyze, ' ', \
        (SELECT md5(string_agg(concat_ws(',', p.tablename, p.attname, p.inherited, p.null_frac, p.avg_width, p.n_distinct, \
           p.correlation, p.most_common_freqs[1], cardinality(p.most_common_freqs)), ';' ORDER BY p.tablename, p.attname, p.inherited)) \
         FROM pg_stats p WHERE p.schemaname = n.nspname AND p.tablename IN ( \
           SELECT c.relname UNION ALL SELECT ic.relname FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid WHERE i.indrelid = c.oid)), ' ', \
        (SELECT string_agg(e.oid::text, ',' ORDER BY e.oid) FROM pg_statistic_ext e WHERE e.stxrelid = c.oid)), \
      concat(s.last_vacuum, ' ', s.last_autovacuum), \
      ARRAY(SELECT ic.relname || '=' || md5(pg_get_indexdef(i.indexrelid)) FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid \
        WHERE i.indrelid = c.oid AND i.indisvalid AND i.indislive AND i.indisready ORDER BY 1) \
    FROM named JOIN pg_class c ON c.oid = named.oid JOIN pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid";

/// What plans over these tables depend on now.
pub async fn facts(
    driver: &mut PgConnection,
    events: &TableNames,
    others: &[String],
) -> Result<Facts, sqlx::Error> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    let row = sqlx::query(SERVER)
        .persistent(false)
        .fetch_one(&mut *driver)
        .await?;
    let mut facts = Facts {
        version: row.try_get(0)?,
        settings: row.try_get::<Vec<String>, _>(1)?.iter().map(pair).collect(),
        ..Facts::default()
    };
    let rows = sqlx::query(TABLES)
        .persistent(false)
        .bind(events.quoted())
        .bind(others)
        .fetch_all(driver)
        .await?;
    for row in &rows {
        let table = TableFacts {
            rows: row.try_get(1)?,
            pages: row.try_get(2)?,
            statistics: row.try_get(3)?,
            vacuumed: row.try_get(4)?,
            indexes: row.try_get::<Vec<String>, _>(5)?.iter().map(pair).collect(),
        };
        facts.tables.insert(row.try_get(0)?, table);
    }
    Ok(facts)
}
