//! Whether what is there can be the event table: checked by rules before anything is changed, and
//! answered with every reason at once.

use super::{
    catalog::{Column, Relation, Server, Sibling},
    templates::{self, ROTATIONS},
};
use crate::model::{
    field::Column as EventColumn,
    table::{POSITION, TRANSACTION_ID, TableNames},
};

/// The oldest server with everything this module needs.
const OLDEST_SERVER: i32 = 150_000;
/// The oldest whose partitions share their parent's identity column.
const PARTITIONED_IDENTITY: i32 = 170_000;

/// The tables of `0003_query_tables.sql`.
pub(super) const QUERY_TABLES: [&str; 3] =
    ["query_performance_log", "index_usage_stats", "query_cache"];

/// Why the server cannot hold the schema.
pub(super) fn of_server(server: &Server) -> Option<String> {
    if server.version < OLDEST_SERVER {
        Some("PostgreSQL 15 or later is needed".to_owned())
    } else if server.encoding != "UTF8" {
        Some(format!(
            "the database's encoding is {}; events need UTF8",
            server.encoding
        ))
    } else if server.standby {
        Some("the server is a standby, which cannot be written to: migrate the primary".to_owned())
    } else {
        None
    }
}

/// Why the relation cannot be the event table. `migrated`: it was before.
pub(super) fn of_relation(
    relation: &Relation,
    names: &TableNames,
    server: &Server,
    migrated: bool,
) -> Vec<String> {
    let mut reasons = Vec::new();
    match relation.kind.as_str() {
        "p" if server.version < PARTITIONED_IDENTITY => reasons.push(
            "it is partitioned, and before PostgreSQL 17 rows written to a partition directly get no position"
                .to_owned(),
        ),
        "r" | "p" => {}
        other => {
            let kind = match other {
                "v" => "a view",
                "m" => "a materialized view",
                "f" => "a foreign table",
                "S" => "a sequence",
                "i" | "I" => "an index",
                "c" => "a composite type",
                _ => "no ordinary table",
            };
            // What follows would say of a view that it has no primary key.
            return vec![format!("it is {kind}, not a table")];
        }
    }
    match relation.persistence.as_str() {
        "t" => reasons.push("it is a temporary table".to_owned()),
        "u" => reasons
            .push("it is UNLOGGED, so a crash would empty it: ALTER TABLE … SET LOGGED".to_owned()),
        _ => {}
    }
    reasons.extend(relation.misplaced.clone());
    for wanted in EVENT_COLUMNS {
        wanted.check(relation, names, &mut reasons);
    }
    if !has_unique_id(relation, names) {
        reasons.push(format!(
            "no primary key or unique constraint on column {:?}{} is in force",
            names.columns.id,
            if relation.kind == "p" {
                ", alone or with the timestamp,"
            } else {
                " alone"
            }
        ));
    }
    own_columns(relation, migrated, &mut reasons);
    reasons
}

struct Wanted {
    column: EventColumn,
    types: &'static [&'static str],
    nullable: bool,
}

const fn wanted(column: EventColumn, types: &'static [&'static str]) -> Wanted {
    Wanted {
        column,
        types,
        nullable: false,
    }
}

const EVENT_COLUMNS: [Wanted; 7] = [
    wanted(EventColumn::Id, &["uuid"]),
    wanted(EventColumn::Type, &["text", "character varying"]),
    wanted(EventColumn::Timestamp, &["timestamp with time zone"]),
    wanted(EventColumn::Tags, &["jsonb"]),
    wanted(EventColumn::Metadata, &["jsonb"]),
    wanted(EventColumn::Data, &["jsonb"]),
    Wanted {
        column: EventColumn::CreatedAt,
        types: &["timestamp with time zone"],
        nullable: true,
    },
];

impl Wanted {
    fn check(&self, relation: &Relation, names: &TableNames, reasons: &mut Vec<String>) {
        let name = names.columns.of(self.column);
        let expected = self.types.join(" or ");
        let Some(column) = relation.column(name) else {
            reasons.push(format!("it has no column {name:?} of type {expected}"));
            return;
        };
        if !self.types.contains(&column.type_name.as_str()) {
            reasons.push(format!(
                "column {name:?} is of type {}, not {expected}",
                column.type_name
            ));
        }
        if !column.not_null && !self.nullable {
            reasons.push(format!(
                "column {name:?} may be NULL: ALTER TABLE … ALTER COLUMN … SET NOT NULL"
            ));
        }
        if column.generated || column.identity == "a" {
            reasons.push(format!(
                "column {name:?} is generated, so no event can be written"
            ));
        }
        if !column.deterministic {
            reasons.push(format!(
                "column {name:?} has a nondeterministic collation, by which different types are equal"
            ));
        }
    }
}

fn has_unique_id(relation: &Relation, names: &TableNames) -> bool {
    let columns = &names.columns;
    relation.unique.iter().any(|key| {
        key.contains(&columns.id)
            && key.iter().all(|column| {
                // A partitioned table's key must hold the columns it is partitioned by.
                *column == columns.id || (relation.kind == "p" && *column == columns.timestamp)
            })
    })
}

/// The two columns that adoption adds, where they are there already.
fn own_columns(relation: &Relation, migrated: bool, reasons: &mut Vec<String>) {
    let mut check =
        |name, type_name, rest: fn(&Column) -> bool, expected| match relation.column(name) {
            Some(column) if column.type_name == type_name && column.not_null && rest(column) => {}
            Some(_) => reasons.push(format!(
                "column {name:?} is in the way, because it is not {expected}: rename it"
            )),
            None if migrated => reasons.push(format!(
                "it was migrated, but column {name:?} is gone, or this is another table"
            )),
            None => {}
        };
    check(
        TRANSACTION_ID,
        "xid8",
        |c| !c.generated && c.default_value.as_deref() == Some("pg_current_xact_id()"),
        "xid8 NOT NULL DEFAULT pg_current_xact_id()",
    );
    check(
        POSITION,
        "bigint",
        |c| !c.identity.is_empty(),
        "bigint GENERATED ALWAYS AS IDENTITY",
    );
}

/// A table of this module's own.
pub(super) struct OwnTable {
    pub(super) name: String,
    /// The migration that creates it; the record of migrations is sqlx's.
    pub(super) version: Option<i64>,
    /// `name type`, for each column that is relied on.
    columns: &'static [&'static str],
}

/// The tables of this module's own, which stand beside the event table.
pub(super) fn own_tables(names: &TableNames) -> Vec<OwnTable> {
    let [log, usage, cache] = QUERY_TABLES.map(str::to_owned);
    let table = |name, version, columns| OwnTable {
        name,
        version,
        columns,
    };
    vec![
        table(templates::record_name(names), None, RECORD),
        table(
            names.rotations_name(),
            Some(ROTATIONS),
            &["transaction_id xid8"],
        ),
        table(
            names.incarnation_name(),
            Some(ROTATIONS),
            &["singleton boolean", "nonce uuid"],
        ),
        table(names.gate_name(), Some(templates::GATE), &[]),
        table(log, Some(templates::QUERY_TABLES), PERFORMANCE_LOG),
        table(usage, Some(templates::QUERY_TABLES), INDEX_USAGE),
        table(cache, Some(templates::QUERY_TABLES), QUERY_CACHE),
    ]
}

const RECORD: &[&str] = &["version bigint", "success boolean", "checksum bytea"];

const PERFORMANCE_LOG: &[&str] = &[
    "id uuid",
    "query_id character varying",
    "query_text text",
    "execution_time_ms integer",
    "rows_returned integer",
    "indexes_used text[]",
    "created_at timestamp with time zone",
];

const INDEX_USAGE: &[&str] = &[
    "id uuid",
    "index_name character varying",
    "table_name character varying",
    "usage_count bigint",
    "last_used timestamp with time zone",
    "size_bytes bigint",
    "stats_date date",
    "created_at timestamp with time zone",
];

const QUERY_CACHE: &[&str] = &[
    "id uuid",
    "query_key character varying",
    "query_hash character varying",
    "result_data jsonb",
    "expires_at timestamp with time zone",
    "hit_count integer",
    "created_at timestamp with time zone",
    "last_accessed timestamp with time zone",
];

impl OwnTable {
    /// Why a relation of the table's name cannot be it.
    pub(super) fn objection(&self, sibling: &Sibling) -> Option<String> {
        let name = &self.name;
        if sibling.kind != "r" {
            return Some(format!(
                "{name:?}, a name this module needs for a table, is taken by something else: rename it"
            ));
        }
        if self.version == Some(ROTATIONS) && sibling.persistence != "u" {
            return Some(format!(
                "table {name:?} must be UNLOGGED, because a crash has to empty it: ALTER TABLE … SET UNLOGGED"
            ));
        }
        let missing: Vec<&str> = self
            .columns
            .iter()
            .copied()
            .filter(|column| !sibling.columns.iter().any(|c| c == column))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "table {name:?} is in the way, because it lacks {}: rename it",
                missing.join(", ")
            )
        })
    }
}

impl Relation {
    fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }
}
