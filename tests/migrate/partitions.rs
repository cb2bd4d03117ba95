//! A partitioned table.

use tamma_events::migrate::{MigrateError, MigrateOptions, migrate};

use super::support::{TestDatabase, execute, refusal, scalar};
use super::{migrated, options};

const PARTITIONED: &str = "CREATE TABLE events (
    event_id uuid NOT NULL, event_type text NOT NULL, \"timestamp\" timestamptz NOT NULL,
    tags jsonb NOT NULL, metadata jsonb NOT NULL DEFAULT '{}', data jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz DEFAULT now(), PRIMARY KEY (event_id, \"timestamp\")
  ) PARTITION BY RANGE (\"timestamp\");
  CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
  CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY HASH (event_id);
  CREATE TABLE events_2025_0 PARTITION OF events_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
  CREATE TABLE events_2025_1 PARTITION OF events_2025 FOR VALUES WITH (MODULUS 2, REMAINDER 1)";

fn inserting(table: &str, year: i32) -> String {
    format!(
        "INSERT INTO {table} (event_id, event_type, \"timestamp\", tags)
         SELECT gen_random_uuid(), 'A.B.C', '{year}-02-01'::timestamptz + i * interval '1 hour', '{{\"issueId\":\"1\"}}'
         FROM generate_series(1, 1000) i"
    )
}

#[tokio::test]
async fn is_adopted_with_its_partitions() {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, PARTITIONED).await;
    for year in [2024, 2025] {
        execute(&mut conn, &inserting("events", year)).await;
    }
    let version: i32 = scalar(
        &mut conn,
        "SELECT current_setting('server_version_num')::int",
    )
    .await;
    if version < 170_000 {
        match migrate(&db.options(), &options()).await {
            Err(MigrateError::NotAdoptable { reasons, .. }) => {
                assert!(
                    reasons.len() == 1 && reasons[0].contains("before PostgreSQL 17"),
                    "{reasons:?}"
                );
            }
            other => panic!("{other:?}"),
        }
        return;
    }
    // What a crash in the middle leaves: a parent's index, one leaf's, one leaf's invalid.
    execute(
        &mut conn,
        "CREATE INDEX idx_events_timestamp ON ONLY events (\"timestamp\", event_id);
         CREATE INDEX idx_events_2024_timestamp ON events_2024 (\"timestamp\", event_id);
         CREATE INDEX idx_events_2025_0_timestamp ON events_2025_0 (\"timestamp\", event_id);
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_events_2025_0_timestamp'::regclass",
    )
    .await;
    migrated(&db).await;
    assert_eq!(migrated(&db).await.already_applied.len(), 11);
    let invalid: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
    )
    .await;
    assert_eq!(invalid, 0);
    let indexes: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname LIKE 'events_202%' AND NOT indisprimary",
    )
    .await;
    assert_eq!(indexes, 4 * 5);
    assert_eq!(
        scalar::<i64>(
            &mut conn,
            "SELECT count(*) FROM events WHERE position = 0 AND transaction_id = '0'"
        )
        .await,
        2000
    );

    // Partitions to come, and what is written to one directly.
    execute(
        &mut conn,
        "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    )
    .await;
    execute(&mut conn, &inserting("events_2026", 2026)).await;
    execute(&mut conn, "UPDATE events_2026 SET transaction_id = '1'").await;
    let off: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM events_2026 WHERE transaction_id <= '1' OR position = 0",
    )
    .await;
    assert_eq!(off, 0);
    assert_eq!(
        scalar::<i64>(&mut conn, "SELECT count(*) FROM events_rotations").await,
        1
    );
    // A row that moves to another partition is deleted from one and inserted into the other.
    execute(
        &mut conn,
        "UPDATE events SET \"timestamp\" = '2026-12-31' WHERE event_id = (SELECT event_id FROM events_2024 LIMIT 1)",
    )
    .await;
    assert_eq!(
        scalar::<i64>(&mut conn, "SELECT count(*) FROM events_rotations").await,
        2
    );
    assert_eq!(
        scalar::<i64>(
            &mut conn,
            "SELECT count(*) FROM events_2024 WHERE transaction_id = '0'"
        )
        .await,
        999
    );

    let immutable = MigrateOptions {
        immutable: Some(true),
        ..options()
    };
    migrate(&db.options(), &immutable).await.unwrap();
    for sql in [
        "DELETE FROM events_2024",
        "UPDATE events_2025 SET event_type = 'X'",
        "TRUNCATE events",
    ] {
        assert_eq!(refusal(&mut conn, sql).await, "23001");
    }
}
