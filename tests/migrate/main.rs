//! The schema on a real server: see `support` for which.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test that cannot go on fails.

mod adopt;
mod faults;
mod fresh;
mod partitions;
mod refuse;
#[path = "../support/mod.rs"]
mod support;
mod triggers;

use std::time::Duration;

use sqlx::PgConnection;
use support::{TestDatabase, execute};
use tamma_events::migrate::{MigrateOptions, MigrateReport, migrate};
use tamma_events::model::table::TableNames;

/// The numbered migrations, by origin.
fn numbered(events: &str) -> Vec<String> {
    [
        "0001_rotations",
        events,
        "0003_query_tables",
        "0004_index_timestamp",
        "0005_index_transaction_id",
        "0006_index_composite_1",
        "0007_index_composite_2",
        "0008_index_composite_3",
        "0009_append_gate",
        "0010_renew_incarnation",
        "0011_partition_gate",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn options() -> MigrateOptions {
    MigrateOptions::new(TableNames::default())
}

fn impatient() -> MigrateOptions {
    MigrateOptions {
        lock_wait: Duration::from_millis(500),
        ..options()
    }
}

fn named(schema: &str, name: &str) -> MigrateOptions {
    MigrateOptions::new(TableNames {
        schema: schema.to_owned(),
        name: name.to_owned(),
        ..TableNames::default()
    })
}

async fn migrated(db: &TestDatabase) -> MigrateReport {
    migrate(&db.options(), &options())
        .await
        .expect("the migration succeeds")
}

/// An event table as a user would have made it.
const EXISTING: &str = "CREATE TABLE events (
    event_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    event_type varchar(100) NOT NULL,
    \"timestamp\" timestamptz NOT NULL,
    tags jsonb NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    data jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz DEFAULT now()
  )";

/// An insert of `n` events.
fn inserting(n: usize) -> String {
    format!(
        "INSERT INTO events (event_id, event_type, \"timestamp\", tags)
         SELECT gen_random_uuid(), 'CODE.COMMITTED.SUCCESS', now() - i * interval '1 second',
           jsonb_build_object('issueId', (i % 100)::text)
         FROM generate_series(1, {n}) i"
    )
}

async fn insert(conn: &mut PgConnection, n: usize) {
    execute(conn, &inserting(n)).await;
}
