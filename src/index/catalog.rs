//! What the server's catalogs say of the event table's indexes: which there are, what a build may
//! use, and how far it has come. Their use and how full they are stand in `analysis/catalog.rs`.

use sqlx::{PgConnection, Result, Row, postgres::types::Oid};

use crate::model::table::TableNames;

/// The event table, as far as indexes are concerned.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its oid.
    pub oid: Oid,
    /// Whether it is partitioned.
    pub partitioned: bool,
}

/// Looks the event table up.
pub async fn table(conn: &mut PgConnection, names: &TableNames) -> Result<Option<Table>> {
    let row = sqlx::query(
        "SELECT c.oid, c.relkind = 'p' FROM pg_class c
         WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')",
    )
    .bind(names.quoted())
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Table {
            oid: row.try_get(0)?,
            partitioned: row.try_get(1)?,
        })
    })
    .transpose()
}

/// The indexed table of a relation's name, and whether it is an index: `None` where the name is free.
pub async fn named(
    conn: &mut PgConnection,
    schema: &str,
    name: &str,
) -> Result<Option<Option<Oid>>> {
    let row = sqlx::query(
        "SELECT i.indrelid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_index i ON i.indexrelid = c.oid
         WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema)
    .bind(name)
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// What the catalog says of the functions of a name with so many arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// There is none.
    Missing,
    /// Every one of them depends on its arguments alone.
    Immutable,
    /// Some do, others on settings as well.
    Mixed,
    /// None does, or one may do anything at all, or is no ordinary function.
    Other,
}

/// Looks PostgreSQL's own functions of a name up, by the number of their arguments.
pub async fn functions(conn: &mut PgConnection, name: &str, arguments: usize) -> Result<Functions> {
    let row = sqlx::query(
        "SELECT count(*) > 0,
           coalesce(bool_and(provolatile = 'i'), false), coalesce(bool_or(provolatile = 'i'), false),
           coalesce(bool_or(provolatile = 'v' OR prokind <> 'f' OR proretset), false)
         FROM pg_proc WHERE proname = $1 AND pronamespace = 'pg_catalog'::regnamespace
           AND ($2 BETWEEN pronargs - pronargdefaults AND pronargs
             OR provariadic <> 0 AND $2 >= pronargs - 1)",
    )
    .bind(name)
    .bind(i32::try_from(arguments).unwrap_or(i32::MAX))
    .fetch_one(conn)
    .await?;
    let says = |place: usize| row.try_get::<bool, _>(place);
    Ok(match (says(0)?, says(1)?, says(2)?, says(3)?) {
        (false, ..) => Functions::Missing,
        (_, _, _, true) => Functions::Other,
        (_, true, _, _) => Functions::Immutable,
        (_, _, true, _) => Functions::Mixed,
        _ => Functions::Other,
    })
}

/// Whether the access method has an operator class of this name along the search path.
pub async fn operator_class(conn: &mut PgConnection, method: &str, name: &str) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_opclass o JOIN pg_am a ON a.oid = o.opcmethod
         WHERE a.amname = $1 AND o.opcname = $2 AND pg_opclass_is_visible(o.oid))",
    )
    .bind(method)
    .bind(name)
    .fetch_one(conn)
    .await
}

/// The text of a moment so long ago, by the server's clock.
pub async fn moment_ago(conn: &mut PgConnection, micros: i64) -> Result<String> {
    sqlx::query_scalar(
        "SELECT to_char(date_trunc('second', clock_timestamp() - $1 * interval '1 microsecond') AT TIME ZONE 'UTC',
           'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    )
    .bind(micros)
    .fetch_one(conn)
    .await
}

/// How far a build has come.
#[derive(Debug, Default)]
pub struct BuildProgress {
    /// In PostgreSQL's words.
    pub phase: String,
    /// Blocks, tuples or lockers, whichever the phase counts.
    pub done: i64,
    /// Of so many.
    pub total: i64,
    /// Which of them.
    pub unit: &'static str,
}

/// How far the build of a backend has come; `None` where it builds nothing.
pub async fn build_progress(conn: &mut PgConnection, pid: i32) -> Result<Option<BuildProgress>> {
    let row = sqlx::query(
        "SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total, lockers_done, lockers_total
         FROM pg_stat_progress_create_index WHERE pid = $1",
    )
    .bind(pid)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let count = |place: usize| {
        row.try_get::<Option<i64>, _>(place)
            .map(Option::unwrap_or_default)
    };
    let kinds = [("blocks", 1), ("tuples", 3), ("lockers", 5)];
    let mut progress = BuildProgress {
        phase: row.try_get::<Option<String>, _>(0)?.unwrap_or_default(),
        unit: "blocks",
        ..BuildProgress::default()
    };
    for (unit, place) in kinds {
        let total = count(place + 1)?;
        if total > 0 {
            progress = BuildProgress {
                done: count(place)?,
                total,
                unit,
                ..progress
            };
            break;
        }
    }
    Ok(Some(progress))
}

/// An index in the table's tree that carries a half-built name.
#[derive(Debug)]
pub struct Leftover {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether it is of a partitioned table.
    pub partitioned: bool,
    /// Whether it is attached to another.
    pub attached: bool,
}

/// Indexes of the table and its partitions whose names begin with `prefix`, or that a rebuild left
/// behind: partitioned ones first.
pub async fn leftovers(conn: &mut PgConnection, table: Oid, prefix: &str) -> Result<Vec<Leftover>> {
    let rows = sqlx::query(
        "SELECT n.nspname::text, c.relname::text, c.relkind = 'I', c.relispartition
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE i.indrelid IN (SELECT $1 UNION SELECT relid FROM pg_partition_tree($1))
           AND (starts_with(c.relname, $2) OR (NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'))
         ORDER BY c.relkind = 'I' DESC, c.oid",
    )
    .bind(table)
    .bind(prefix)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Leftover {
                schema: row.try_get(0)?,
                name: row.try_get(1)?,
                partitioned: row.try_get(2)?,
                attached: row.try_get(3)?,
            })
        })
        .collect()
}

/// An index, as `listIndexes` tells it.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // As the catalog has them.
pub struct Listed {
    /// Its oid.
    pub oid: Oid,
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: String,
    /// The whole statement.
    pub definition: String,
    /// The access method.
    pub method: String,
    /// Whether it is unique.
    pub unique: bool,
    /// Whether queries may use it.
    pub valid: bool,
    /// Its predicate.
    pub partial: Option<String>,
    /// Its size, with that of its partitions.
    pub size: i64,
    /// How often it was used.
    pub scans: i64,
    /// When last, where the server tells.
    pub last_used: Option<String>,
    /// Entries read.
    pub tuples_read: i64,
    /// Rows fetched.
    pub tuples_fetched: i64,
    /// Whether a constraint needs it.
    pub constraint: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Each key as SQL, with its operator class, collation and direction.
    pub keys: Vec<String>,
    /// Columns kept beside the keys.
    pub include: Vec<String>,
    /// Rows in it, as last counted.
    pub tuples: f64,
    /// Whether a key is an expression.
    pub expressions: bool,
    /// Whether it is of a partitioned table.
    pub partitioned: bool,
}

/// The indexes of the event table. `last_idx_scan` is new in PostgreSQL 16: `to_jsonb` finds it
/// where it is.
pub async fn list(conn: &mut PgConnection, table: Oid) -> Result<Vec<Listed>> {
    let rows = sqlx::query(
        "SELECT c.oid, c.relname::text, n.nspname::text, pg_get_indexdef(c.oid), a.amname::text,
           i.indisunique, i.indisvalid AND i.indisready AND i.indislive, pg_get_expr(i.indpred, i.indrelid),
           t.size, t.scans, to_char(t.last_used AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), t.read, t.fetched,
           EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid), obj_description(c.oid, 'pg_class'),
           ARRAY(SELECT pg_get_indexdef(c.oid, k, true) || coalesce(' ' || nullif(o.opcname, d.opcname), '')
               || CASE WHEN i.indoption[k - 1] & 1 = 1 THEN ' DESC' ELSE '' END
               || CASE WHEN i.indoption[k - 1] & 2 <> (i.indoption[k - 1] & 1) * 2 THEN ' NULLS OTHER' ELSE '' END
             FROM generate_series(1, i.indnkeyatts) k
               JOIN pg_opclass o ON o.oid = i.indclass[k - 1]
               LEFT JOIN pg_opclass d ON d.opcmethod = o.opcmethod AND d.opcintype = o.opcintype AND d.opcdefault
             ORDER BY k),
           ARRAY(SELECT pg_get_indexdef(c.oid, k, true) FROM generate_series(i.indnkeyatts + 1, i.indnatts) k ORDER BY k),
           t.tuples, i.indexprs IS NOT NULL, c.relkind = 'I'
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_am a ON a.oid = c.relam,
           LATERAL (
             SELECT coalesce(sum(pg_relation_size(l.oid)), 0)::bigint AS size, coalesce(sum(s.idx_scan), 0)::bigint AS scans,
               coalesce(sum(s.idx_tup_read), 0)::bigint AS read, coalesce(sum(s.idx_tup_fetch), 0)::bigint AS fetched,
               max((to_jsonb(s)->>'last_idx_scan')::timestamptz) AS last_used,
               coalesce(sum(greatest(l.reltuples, 0)), 0)::float8 AS tuples
             FROM (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid)) AS tree (oid)
               JOIN pg_class l ON l.oid = tree.oid AND l.relkind = 'i'
               LEFT JOIN pg_stat_user_indexes s ON s.indexrelid = l.oid) AS t
         WHERE i.indrelid = $1 ORDER BY c.relname",
    )
    .bind(table)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Listed {
                oid: row.try_get(0)?,
                name: row.try_get(1)?,
                schema: row.try_get(2)?,
                definition: row.try_get(3)?,
                method: row.try_get(4)?,
                unique: row.try_get(5)?,
                valid: row.try_get(6)?,
                partial: row.try_get(7)?,
                size: row.try_get(8)?,
                scans: row.try_get(9)?,
                last_used: row.try_get(10)?,
                tuples_read: row.try_get(11)?,
                tuples_fetched: row.try_get(12)?,
                constraint: row.try_get(13)?,
                comment: row.try_get(14)?,
                keys: row.try_get(15)?,
                include: row.try_get(16)?,
                tuples: row.try_get(17)?,
                expressions: row.try_get(18)?,
                partitioned: row.try_get(19)?,
            })
        })
        .collect()
}

/// Whether there are statistics of this name on a table.
pub async fn has_statistics(conn: &mut PgConnection, table: Oid, name: &str) -> Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_statistic_ext WHERE stxrelid = $1 AND stxname = $2)",
    )
    .bind(table)
    .bind(name)
    .fetch_one(conn)
    .await
}

/// The process id of a connection's backend.
pub async fn backend(conn: &mut PgConnection) -> Result<i32> {
    sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(conn)
        .await
}

/// Cancels what a backend runs.
pub async fn cancel(conn: &mut PgConnection, pid: i32) -> Result<()> {
    sqlx::query("SELECT pg_cancel_backend($1)")
        .bind(pid)
        .execute(conn)
        .await
        .map(drop)
}
