//! What cannot be adopted, and the reasons given.

use tamma_events::migrate::{MigrateError, migrate};

use super::support::{TestDatabase, execute, scalar};
use super::{EXISTING, migrated, named, options};

async fn reasons(db: &TestDatabase) -> Vec<String> {
    match migrate(&db.options(), &options()).await {
        Err(MigrateError::NotAdoptable { table, reasons }) => {
            assert_eq!(table, "\"public\".\"events\"");
            reasons
        }
        other => panic!("{other:?}"),
    }
}

/// One refusal: what stands there, and a part of each reason.
async fn refused(sql: &str, expected: &[&str]) {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, sql).await;
    let reasons = reasons(&db).await;
    assert_eq!(reasons.len(), expected.len(), "{sql}: {reasons:#?}");
    for (reason, part) in reasons.iter().zip(expected) {
        assert!(reason.contains(part), "{sql}: {reason:?} lacks {part:?}");
    }
    let made: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_class WHERE relname IN ('events_migrations', 'events_incarnation')",
    )
    .await;
    assert_eq!(made, 0, "nothing was changed");
}

#[tokio::test]
async fn every_reason_at_once() {
    refused(
        "CREATE UNLOGGED TABLE events (
           event_id text PRIMARY KEY, event_type int NOT NULL, \"timestamp\" timestamp NOT NULL,
           tags jsonb, data json NOT NULL, created_at timestamptz GENERATED ALWAYS AS ('epoch') STORED,
           position int NOT NULL, transaction_id bigint NOT NULL)",
        &[
            "UNLOGGED",
            "\"event_id\" is of type text, not uuid",
            "\"event_type\" is of type integer, not text or character varying",
            "\"timestamp\" is of type timestamp without time zone",
            "\"tags\" may be NULL",
            "no column \"metadata\"",
            "\"data\" is of type json, not jsonb",
            "\"created_at\" is generated",
            "\"transaction_id\" is in the way",
            "\"position\" is in the way",
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_table() {
    refused("CREATE VIEW events AS SELECT 1 AS event_id", &["a view"]).await;
    refused(
        "CREATE MATERIALIZED VIEW events AS SELECT 1 AS event_id",
        &["a materialized view"],
    )
    .await;
    refused("CREATE SEQUENCE events", &["a sequence"]).await;
    refused("CREATE TYPE events AS (a int)", &["a composite type"]).await;
    refused(
        "CREATE EXTENSION IF NOT EXISTS file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE FOREIGN TABLE events (a int) SERVER files OPTIONS (filename '/dev/null')",
        &["a foreign table"],
    )
    .await;
}

#[tokio::test]
async fn tables_that_do_not_stand_alone() {
    refused(
        &format!("{EXISTING}; CREATE TABLE child () INHERITS (events)"),
        &["inheritance tree"],
    )
    .await;
    let parent = EXISTING.replace("TABLE events", "TABLE parent");
    refused(
        &format!("{parent}; CREATE TABLE events (PRIMARY KEY (event_id)) INHERITS (parent)"),
        &["inheritance tree"],
    )
    .await;
    refused(
        &format!(
            "{} PARTITION BY HASH (event_id);
             CREATE TABLE events PARTITION OF parent FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
            EXISTING.replace("TABLE events", "TABLE parent")
        ),
        &["it is a partition"],
    )
    .await;
}

#[tokio::test]
async fn identifiers_that_are_not_unique() {
    let plain = EXISTING.replace("PRIMARY KEY", "NOT NULL");
    let no_key = "no primary key or unique constraint";
    refused(&plain, &[no_key]).await;
    for key in [
        "ALTER TABLE events ADD UNIQUE (event_id) DEFERRABLE",
        "ALTER TABLE events ADD UNIQUE (event_id, event_type)",
        "ALTER TABLE events ADD UNIQUE (event_id, \"timestamp\")",
        "CREATE UNIQUE INDEX ON events (event_id) WHERE event_type = 'A'",
        "CREATE UNIQUE INDEX ON events ((event_id::text))",
        "CREATE INDEX ON events (event_id)",
    ] {
        refused(&format!("{plain}; {key}"), &[no_key]).await;
    }
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, &plain).await;
    execute(
        &mut conn,
        "CREATE UNIQUE INDEX ON events (event_id) INCLUDE (event_type)",
    )
    .await;
    migrated(&db).await;
}

#[tokio::test]
async fn columns_of_the_wrong_making() {
    for (column, part) in [
        (
            "transaction_id xid8 NOT NULL",
            "\"transaction_id\" is in the way",
        ),
        (
            "transaction_id xid8 DEFAULT pg_current_xact_id()",
            "\"transaction_id\" is in the way",
        ),
        (
            "transaction_id xid8 NOT NULL DEFAULT '0'",
            "\"transaction_id\" is in the way",
        ),
        ("position bigserial", "\"position\" is in the way"),
        (
            "position int GENERATED ALWAYS AS IDENTITY",
            "\"position\" is in the way",
        ),
    ] {
        refused(
            &format!("{EXISTING}; ALTER TABLE events ADD COLUMN {column}"),
            &[part],
        )
        .await;
    }
    refused(
        &format!(
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             {}",
            EXISTING.replace("varchar(100)", "text COLLATE loose")
        ),
        &["nondeterministic"],
    )
    .await;
}

#[tokio::test]
async fn names_that_are_taken() {
    refused(
        "CREATE TABLE query_cache (id int); CREATE VIEW events_rotations AS SELECT 1 AS a;
         CREATE TABLE idx_events_timestamp (a int)",
        &[
            "\"events_rotations\", a name",
            "\"query_cache\" is in the way",
            "\"idx_events_timestamp\", a name",
        ],
    )
    .await;
}

#[tokio::test]
async fn an_index_of_the_name_that_is_another() {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, EXISTING).await;
    execute(
        &mut conn,
        "CREATE INDEX idx_events_timestamp ON events (\"timestamp\")",
    )
    .await;
    let reasons = reasons(&db).await;
    assert!(
        reasons[0].contains("is another than this module's"),
        "{reasons:?}"
    );
    execute(
        &mut conn,
        "ALTER INDEX idx_events_timestamp RENAME TO by_time",
    )
    .await;
    migrated(&db).await;
}

#[tokio::test]
async fn a_record_that_does_not_fit() {
    let db = TestDatabase::create().await;
    migrated(&db).await;
    let mut conn = db.connect().await;

    execute(&mut conn, "ALTER TABLE query_cache RENAME TO away").await;
    assert!(reasons(&db).await[0].contains("\"query_cache\" is gone"));
    execute(&mut conn, "ALTER TABLE away RENAME TO query_cache").await;

    execute(&mut conn, "ALTER TABLE events_incarnation SET LOGGED").await;
    assert!(reasons(&db).await[0].contains("must be UNLOGGED"));
    execute(&mut conn, "ALTER TABLE events_incarnation SET UNLOGGED").await;

    execute(&mut conn, "ALTER TABLE events RENAME TO away").await;
    assert!(reasons(&db).await[0].contains("it is gone"));
    execute(&mut conn, EXISTING).await;
    let another = reasons(&db).await;
    assert!(
        another
            .iter()
            .any(|r| r.contains("\"transaction_id\" is gone, or this is another"))
    );
    execute(
        &mut conn,
        "DROP TABLE events; ALTER TABLE away RENAME TO events",
    )
    .await;

    execute(
        &mut conn,
        "INSERT INTO events_migrations VALUES (99, 'later', now(), true, '', 0)",
    )
    .await;
    match migrate(&db.options(), &options()).await {
        Err(MigrateError::Newer { version: 99, .. }) => {}
        other => panic!("{other:?}"),
    }
    execute(
        &mut conn,
        "DELETE FROM events_migrations WHERE version = 99",
    )
    .await;
    for version in [2, 3] {
        let sum = format!(
            "SELECT encode(checksum, 'hex') FROM events_migrations WHERE version = {version}"
        );
        let sum: String = scalar(&mut conn, &sum).await;
        execute(
            &mut conn,
            &format!("UPDATE events_migrations SET checksum = '' WHERE version = {version}"),
        )
        .await;
        match migrate(&db.options(), &options()).await {
            Err(MigrateError::Edited { version: v, .. }) => assert_eq!(v, version),
            other => panic!("{other:?}"),
        }
        execute(
            &mut conn,
            &format!("UPDATE events_migrations SET checksum = decode('{sum}', 'hex') WHERE version = {version}"),
        )
        .await;
    }
    assert_eq!(migrated(&db).await.already_applied.len(), 11);
}

#[tokio::test]
async fn a_database_of_another_encoding() {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    let name: String = scalar(&mut conn, "SELECT current_database()::text || '_latin1'").await;
    execute(
        &mut conn,
        &format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'"),
    )
    .await;
    let outcome = migrate(&db.options().database(&name), &named("public", "events")).await;
    execute(&mut conn, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    match outcome {
        Err(MigrateError::Unsupported(what)) => assert!(what.contains("LATIN1"), "{what}"),
        other => panic!("{other:?}"),
    }
}
