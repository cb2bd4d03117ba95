//! What the server and its catalogs say of the schema as it is.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, Result, Row, postgres::types::Oid};

use super::{row::from_row, templates};
use crate::model::table::TableNames;

from_row!(Server {
    version,
    encoding,
    standby,
    role,
    schema_exists,
    may_create
});
from_row!(Column {
    name,
    type_name,
    not_null,
    identity,
    generated,
    default_value,
    deterministic
});
from_row!(Sibling {
    name,
    kind,
    persistence,
    columns,
    indexed
});

/// The server and the role.
#[derive(Debug)]
pub(super) struct Server {
    /// 150018 for 15.18.
    pub(super) version: i32,
    pub(super) encoding: String,
    pub(super) standby: bool,
    pub(super) role: String,
    pub(super) schema_exists: bool,
    /// Whether the role may create objects in the schema, or the schema itself where it is missing.
    pub(super) may_create: bool,
}

/// What stands where the event table belongs.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) oid: Oid,
    /// As in `pg_class.relkind`.
    pub(super) kind: String,
    /// As in `pg_class.relpersistence`.
    pub(super) persistence: String,
    pub(super) owner: String,
    /// Whether the role is the owner, or a member of it.
    pub(super) may_act_as_owner: bool,
    /// What is wrong with its place among its parents and children.
    pub(super) misplaced: Option<String>,
    pub(super) columns: Vec<Column>,
    /// The columns of each index that makes them unique, for every row and at once.
    pub(super) unique: Vec<Vec<String>>,
    /// The triggers by name, as in `pg_trigger.tgenabled`.
    pub(super) triggers: BTreeMap<String, String>,
}

/// A column of the event table.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// `timestamp with time zone`, with its schema unless that is pg_catalog.
    pub(super) type_name: String,
    pub(super) not_null: bool,
    /// As in `pg_attribute.attidentity`.
    pub(super) identity: String,
    pub(super) generated: bool,
    pub(super) default_value: Option<String>,
    /// Whether equal text is the same text.
    pub(super) deterministic: bool,
}

/// A relation that stands where one of this module's own belongs.
#[derive(Debug)]
pub(super) struct Sibling {
    pub(super) name: String,
    pub(super) kind: String,
    /// As in `pg_class.relpersistence`.
    pub(super) persistence: String,
    /// The table that an index belongs to.
    pub(super) indexed: Option<Oid>,
    /// `name type`, for each column.
    pub(super) columns: Vec<String>,
}

/// Reads the server, the role and the schema.
pub(super) async fn server(conn: &mut PgConnection, schema: &str) -> Result<Server> {
    sqlx::query_as(
        "SELECT current_setting('server_version_num')::int AS version,
           current_setting('server_encoding') AS encoding,
           pg_is_in_recovery() AS standby,
           current_user::text AS role,
           n.oid IS NOT NULL AS schema_exists,
           CASE WHEN n.oid IS NULL
             THEN has_database_privilege(current_database(), 'CREATE')
             ELSE has_schema_privilege(n.oid, 'CREATE')
           END AS may_create
         FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = $1",
    )
    .bind(schema)
    .fetch_one(conn)
    .await
}

/// Reads the relation of the table's name; `None` where there is none.
pub(super) async fn relation(
    conn: &mut PgConnection,
    names: &TableNames,
) -> Result<Option<Relation>> {
    let found = sqlx::query(
        "SELECT c.oid, c.relkind::text AS kind, c.relpersistence::text AS persistence,
           pg_get_userbyid(c.relowner)::text AS owner,
           pg_has_role(c.relowner, 'USAGE') AS may_act_as_owner,
           CASE
             WHEN c.relispartition THEN 'it is a partition: use the partitioned table'
             WHEN c.relkind = 'r' AND EXISTS (
                 SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent))
               THEN 'it is part of an inheritance tree, whose children its triggers do not reach'
             WHEN EXISTS (
                 SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid
                 WHERE p.relkind NOT IN ('r', 'p') OR p.relpersistence <> 'p')
               THEN 'some of its partitions are foreign, UNLOGGED or temporary tables'
           END AS misplaced
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(&names.schema)
    .bind(&names.name)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = found else {
        return Ok(None);
    };
    let oid = row.try_get("oid")?;
    Ok(Some(Relation {
        oid,
        kind: row.try_get("kind")?,
        persistence: row.try_get("persistence")?,
        owner: row.try_get("owner")?,
        may_act_as_owner: row.try_get("may_act_as_owner")?,
        misplaced: row.try_get("misplaced")?,
        columns: columns(conn, oid).await?,
        unique: unique_keys(conn, oid).await?,
        triggers: triggers(conn, oid).await?,
    }))
}

async fn columns(conn: &mut PgConnection, table: Oid) -> Result<Vec<Column>> {
    // A NOT NULL constraint may be there without having been validated, from PostgreSQL 18 on.
    sqlx::query_as(
        "SELECT a.attname::text AS name, a.atttypid::regtype::text AS type_name,
           a.attnotnull AND NOT EXISTS (
             SELECT FROM pg_constraint k
             WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated
               AND k.conkey = ARRAY[a.attnum]) AS not_null,
           a.attidentity::text AS identity, a.attgenerated <> '' AS generated,
           pg_get_expr(d.adbin, d.adrelid) AS default_value,
           coalesce(l.collisdeterministic, true) AS deterministic
         FROM pg_attribute a
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
           LEFT JOIN pg_collation l ON l.oid = a.attcollation
         WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attnum",
    )
    .bind(table)
    .fetch_all(conn)
    .await
}

async fn unique_keys(conn: &mut PgConnection, table: Oid) -> Result<Vec<Vec<String>>> {
    // A deferrable key lets duplicates in until the commit, and ON CONFLICT cannot use it.
    sqlx::query_scalar(
        "SELECT array_agg(a.attname::text)
         FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
           JOIN pg_attribute a ON a.attnum = k.attnum
         WHERE i.indrelid = $1 AND a.attrelid = $1 AND k.place <= i.indnkeyatts
           AND i.indisunique AND i.indisvalid AND i.indimmediate
           AND i.indpred IS NULL AND i.indexprs IS NULL
         GROUP BY i.indexrelid",
    )
    .bind(table)
    .fetch_all(conn)
    .await
}

async fn triggers(conn: &mut PgConnection, table: Oid) -> Result<BTreeMap<String, String>> {
    let found: Vec<(String, String)> = sqlx::query_as(
        "SELECT tgname::text, tgenabled::text FROM pg_trigger
         WHERE tgrelid = $1 AND NOT tgisinternal",
    )
    .bind(table)
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().collect())
}

/// Reads what stands where this module's own relations belong.
pub(super) async fn siblings(
    conn: &mut PgConnection,
    schema: &str,
    wanted: &[String],
) -> Result<Vec<Sibling>> {
    sqlx::query_as(
        "SELECT c.relname::text AS name, c.relkind::text AS kind,
           c.relpersistence::text AS persistence,
           (SELECT i.indrelid FROM pg_index i WHERE i.indexrelid = c.oid) AS indexed,
           ARRAY(
             SELECT a.attname || ' ' || a.atttypid::regtype FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY($2)",
    )
    .bind(schema)
    .bind(wanted)
    .fetch_all(conn)
    .await
}

/// The checksums of the migrations that are recorded, by version.
pub(super) async fn applied(
    conn: &mut PgConnection,
    names: &TableNames,
) -> Result<BTreeMap<i64, Vec<u8>>> {
    let sql = format!(
        "SELECT version, checksum FROM {} WHERE success",
        templates::record(names)
    );
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(AssertSqlSafe(sql)).fetch_all(conn).await?;
    Ok(rows.into_iter().collect())
}

/// Whether the nonce is there.
pub(super) async fn has_nonce(conn: &mut PgConnection, names: &TableNames) -> Result<bool> {
    let sql = format!("SELECT EXISTS (SELECT FROM {})", names.incarnation());
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(conn).await
}
