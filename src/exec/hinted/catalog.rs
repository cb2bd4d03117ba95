//! The fixed statements of hinted runs.

use std::fmt::Write as _;

use serde_json::Value as Wire;
use sqlx::{PgConnection, Row, postgres::types::Oid};

use super::ladder::Rung;
use crate::exec::arguments::{arguments, sql_text};
use crate::model::table::{TableNames, quote_ident};
use crate::sql::{Statement, explain};

/// One snapshot for the plan, the run and the counters, in which nothing can be written.
pub const BEGIN: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SAVEPOINT tamma_hint_settings";

/// The same in a transaction that is there already.
pub const SAVE: &str = "SAVEPOINT tamma_hint_settings";

/// An index that a hint names, as the catalog has it.
#[derive(Clone, Debug)]
pub struct Index {
    /// Itself.
    pub oid: Oid,
    /// Its bare name.
    pub name: String,
    /// Its table.
    pub table: TableName,
    /// Whether the planner may use it at all.
    pub is_valid: bool,
    /// Which of the query's tables it belongs to, or to a partition of.
    pub place: Option<usize>,
    /// What plans and counters know it by: itself, or its partitions' indexes.
    pub oids: Vec<Oid>,
    /// Their names.
    pub names: Vec<String>,
}

/// Where a table is.
#[derive(Clone, Debug, Default)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
}

impl TableName {
    /// `"schema"."name"`.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote_ident(&self.schema), quote_ident(&self.name))
    }
}

/// What hints run into.
pub struct Facts {
    /// The indexes, in the order of their names; `None` where there is none of the name.
    pub indexes: Vec<Option<Index>>,
    /// Whether the server counts scans.
    pub counts: bool,
    /// Whether `pg_hint_plan` is loaded.
    pub hint_plan: bool,
    /// Whether a table of the query is a view: its plan reads other tables.
    pub has_view: bool,
}

/// An index is looked for on the query's own tables first, then along the search path. `indrelid` is
/// matched with partitions too.
const LOOK_UP: &str = "\
    WITH RECURSIVE read AS ( \
      SELECT r.place, c.oid, c.relkind FROM unnest($4::text[]) WITH ORDINALITY AS r (name, place) \
      JOIN pg_class c ON c.oid = to_regclass(r.name) \
    ), below AS ( \
      SELECT place, oid FROM read \
      UNION SELECT b.place, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid \
    ) \
    SELECT x.oid, x.name, x.table_schema, x.table_name, x.valid, x.place, x.oids, \
      ARRAY(SELECT c.relname::text FROM pg_class c WHERE c.oid = ANY (x.oids)), \
      current_setting('track_counts')::bool, \
      current_setting('pg_hint_plan.enable_hint', true) IS NOT NULL, \
      EXISTS (SELECT FROM read WHERE relkind IN ('v', 'f')) \
    FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS h (name, schema, bare, nth) \
    LEFT JOIN LATERAL ( \
      SELECT ic.oid, ic.relname::text AS name, \
        tn.nspname::text AS table_schema, t.relname::text AS table_name, \
        i.indisvalid AND i.indisready AND i.indislive AS valid, \
        (SELECT min(b.place) FROM below b WHERE b.oid = i.indrelid)::int AS place, \
        CASE WHEN ic.relkind = 'I' THEN ARRAY(SELECT p.relid::oid FROM pg_partition_tree(ic.oid) p WHERE p.isleaf) \
          ELSE ARRAY[ic.oid] END AS oids \
      FROM pg_class ic \
      JOIN pg_index i ON i.indexrelid = ic.oid \
      JOIN pg_namespace n ON n.oid = ic.relnamespace \
      JOIN pg_class t ON t.oid = i.indrelid \
      JOIN pg_namespace tn ON tn.oid = t.relnamespace \
      WHERE ic.relname = ANY (ARRAY[h.name, h.bare]::name[]) \
        AND (ic.relname::text = h.name OR (n.nspname::text = h.schema AND ic.relname::text = h.bare)) \
      ORDER BY place, NOT pg_table_is_visible(ic.oid), ic.oid LIMIT 1 \
    ) AS x ON true ORDER BY h.nth";

/// Looks up the indexes of these names, with a schema or without, for a query of these tables.
pub async fn look_up(
    driver: &mut PgConnection,
    names: &[&str],
    tables: &[String],
) -> Result<Facts, sqlx::Error> {
    let split: Vec<_> = (names.iter())
        .map(|name| name.split_once('.').unwrap_or(("", name)))
        .collect();
    let rows = sqlx::query(LOOK_UP)
        .bind(names)
        .bind(split.iter().map(|(schema, _)| *schema).collect::<Vec<_>>())
        .bind(split.iter().map(|(_, bare)| *bare).collect::<Vec<_>>())
        .bind(tables)
        .fetch_all(driver)
        .await?;
    let mut facts = Facts {
        indexes: Vec::with_capacity(rows.len()),
        counts: true,
        hint_plan: false,
        has_view: false,
    };
    for row in &rows {
        facts.counts = row.try_get(8)?;
        facts.hint_plan = row.try_get(9)?;
        facts.has_view = row.try_get(10)?;
        let Some(oid) = row.try_get::<Option<Oid>, _>(0)? else {
            facts.indexes.push(None);
            continue;
        };
        facts.indexes.push(Some(Index {
            oid,
            name: row.try_get(1)?,
            table: TableName {
                schema: row.try_get(2)?,
                name: row.try_get(3)?,
            },
            is_valid: row.try_get(4)?,
            place: (row.try_get::<Option<i32>, _>(5)?)
                .and_then(|place| usize::try_from(place - 1).ok()),
            oids: row.try_get(6)?,
            names: row.try_get(7)?,
        }));
    }
    Ok(facts)
}

fn count_of(indexes: &[Oid]) -> String {
    let oids: Vec<_> = indexes.iter().map(|oid| oid.0.to_string()).collect();
    format!(
        "SELECT ARRAY(SELECT pg_stat_get_xact_numscans(i.oid)::text FROM unnest('{{{}}}'::oid[]) \
         WITH ORDINALITY AS i (oid, nth) ORDER BY i.nth)::text",
        oids.join(",")
    )
}

fn counts(row: &sqlx::postgres::PgRow) -> Result<Vec<i64>, sqlx::Error> {
    // The simple protocol gives text.
    let text: String = row.try_get_unchecked(0)?;
    let numbers = text.trim_matches(['{', '}']).split(',');
    Ok(numbers.map(|n| n.parse().unwrap_or(0)).collect())
}

/// How often this transaction has scanned each index so far.
pub async fn scans(driver: &mut PgConnection, indexes: &[Oid]) -> Result<Vec<i64>, sqlx::Error> {
    let row = sqlx::raw_sql(sql_text(&count_of(indexes)))
        .fetch_one(driver)
        .await?;
    counts(&row)
}

/// Puts a rung's settings in force, in place of the one before, and tells the scans so far.
///
/// `plan_cache_mode`: the plan that EXPLAIN shows is the one for these very values, so the run must
/// plan for them too. No parallel workers: their scans count in processes of their own, and a proof
/// needs them all in this one.
pub async fn settle(
    driver: &mut PgConnection,
    rung: &Rung,
    indexes: &[Oid],
) -> Result<Vec<i64>, sqlx::Error> {
    let mut sql = "ROLLBACK TO SAVEPOINT tamma_hint_settings; \
                   SET LOCAL plan_cache_mode = force_custom_plan; \
                   SET LOCAL max_parallel_workers_per_gather = 0; "
        .to_owned();
    for (name, value) in rung.settings {
        // Infallible: it is memory.
        let _ = write!(sql, "SET LOCAL {name} = {value}; ");
    }
    sql.push_str(&count_of(indexes));
    let row = sqlx::raw_sql(sql_text(&sql)).fetch_one(driver).await?;
    counts(&row)
}

/// The plan of a statement, as things are.
pub async fn plan(
    driver: &mut PgConnection,
    statement: &Statement,
    comment: &str,
) -> Result<Wire, super::Stop> {
    let sql = format!("{comment}{}", explain::statement(&statement.sql, false));
    let values = arguments(&statement.binds).map_err(super::Stop::Refused)?;
    let row = sqlx::query_with(sql_text(&sql), values)
        .persistent(false)
        .fetch_one(driver)
        .await?;
    let mut document: Wire = row.try_get(0)?;
    Ok(document.get_mut(0).map(Wire::take).unwrap_or_default())
}

/// The name of the empty table that shows what an index could do.
pub const PROBE: &str = "tamma_hint_probe";
/// The name of its index.
pub const PROBE_INDEX: &str = "tamma_hint_probe_index";

/// What an index is made of.
pub struct Definition {
    /// From its method on.
    pub text: String,
    /// Its predicate.
    pub predicate: Option<String>,
    /// The text without it.
    pub without_predicate: Option<String>,
}

/// The prefix is put together as `pg_get_indexdef` does it, since a name may hold anything.
const DEFINITION: &str = "\
    SELECT CASE WHEN starts_with(d.whole, d.prefix) THEN substr(d.whole, length(d.prefix) + 1) END, d.predicate \
    FROM (SELECT pg_get_indexdef(i.indexrelid) AS whole, pg_get_expr(i.indpred, i.indrelid) AS predicate, \
      format('CREATE %sINDEX %I ON %s%I.%I USING ', CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, ic.relname, \
        CASE WHEN ic.relkind = 'I' THEN 'ONLY ' ELSE '' END, n.nspname, t.relname) AS prefix \
      FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid \
      JOIN pg_namespace n ON n.oid = t.relnamespace WHERE i.indexrelid = $1) AS d";

/// What an index is made of, where its text can be read.
pub async fn definition(
    driver: &mut PgConnection,
    index: Oid,
) -> Result<Option<Definition>, sqlx::Error> {
    let row = sqlx::query(DEFINITION)
        .persistent(false)
        .bind(index)
        .fetch_optional(driver)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let text: Option<String> = row.try_get(0)?;
    let predicate: Option<String> = row.try_get(1)?;
    Ok(text.map(|text| {
        // The server writes the predicate last.
        let at = (predicate.as_ref()).and_then(|p| text.rfind(&format!(" WHERE {p}")));
        Definition {
            without_predicate: at.map(|at| text[..at].to_owned()),
            text,
            predicate,
        }
    }))
}

/// Ends a transaction and begins one in which an empty copy of a table can be made. It is always
/// rolled back.
pub async fn begin_probe(
    driver: &mut PgConnection,
    table: &TableName,
    index: &str,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "ROLLBACK; BEGIN READ WRITE; SET LOCAL lock_timeout = '1s'; SET LOCAL client_min_messages = error; \
         SET LOCAL plan_cache_mode = force_custom_plan; \
         CREATE TEMPORARY TABLE {PROBE} (LIKE {}) ON COMMIT DROP; CREATE INDEX {PROBE_INDEX} ON pg_temp.{PROBE} USING {index}; \
         SAVEPOINT tamma_hint_settings",
        table.quoted()
    );
    sqlx::raw_sql(sql_text(&sql))
        .execute(driver)
        .await
        .map(drop)
}

/// The event table's names, with the empty copy in its place.
pub fn probe_of(table: &TableNames) -> TableNames {
    TableNames {
        schema: "pg_temp".to_owned(),
        name: PROBE.to_owned(),
        columns: table.columns.clone(),
    }
}
