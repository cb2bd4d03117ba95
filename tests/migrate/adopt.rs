//! A table with rows that was there before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};
use tamma_events::migrate::{MigrateOptions, migrate};

use super::support::{TestDatabase, execute, scalar};
use super::{EXISTING, insert, inserting, migrated, numbered, options};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_rewrite_while_writers_run() {
    const ROWS: usize = 200_000;
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, EXISTING).await;
    insert(&mut conn, ROWS).await;
    let file = "SELECT relfilenode FROM pg_class WHERE oid = 'events'::regclass";
    let before: sqlx::postgres::types::Oid = scalar(&mut conn, file).await;

    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, options) = (stop.clone(), db.options());
            tokio::spawn(async move {
                let mut conn = sqlx::PgConnection::connect_with(&options).await.unwrap();
                let (mut written, mut slowest) = (0, Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    execute(&mut conn, &inserting(10)).await;
                    slowest = slowest.max(start.elapsed());
                    written += 10;
                }
                (written, slowest)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    let report = migrated(&db).await;
    let took = start.elapsed();
    stop.store(true, Ordering::Relaxed);
    let (mut written, mut slowest) = (0, Duration::ZERO);
    for writer in writers {
        let (n, worst) = writer.await.unwrap();
        written += n;
        slowest = slowest.max(worst);
    }
    println!(
        "{ROWS} rows adopted in {took:?}, {written} written meanwhile, the slowest insert {slowest:?}"
    );

    assert_eq!(
        scalar::<sqlx::postgres::types::Oid>(&mut conn, file).await,
        before
    );
    assert_eq!(report.already_applied, Vec::<String>::new());
    assert!(
        numbered("0002_adopt_events")
            .iter()
            .all(|n| report.applied.contains(n))
    );
    let counted: i64 = scalar(&mut conn, "SELECT count(*) FROM events").await;
    assert_eq!(counted, i64::try_from(ROWS + written).unwrap());
    let old: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM events WHERE transaction_id = '0' AND position = 0",
    )
    .await;
    assert!(old >= i64::try_from(ROWS).unwrap());
    insert(&mut conn, 3).await;
    let new: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM events WHERE transaction_id > '0'",
    )
    .await;
    assert_eq!(new, counted - old + 3);
    let invalid: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
    )
    .await;
    assert_eq!(invalid, 0);
}

#[tokio::test]
async fn an_older_snapshot_does_not_count_adopted_rows_again() {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, EXISTING).await;
    insert(&mut conn, 10).await;

    // Its snapshot is older than the adoption, and it has no lock on the table. The indexes would
    // wait for it: they come when it is over.
    let mut old = db.connect().await;
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    let stamp: String = scalar(&mut old, "SELECT pg_current_snapshot()::text").await;
    let adopting = {
        let connect = db.options();
        tokio::spawn(async move { migrate(&connect, &options()).await })
    };
    let mut ready = false;
    while !ready {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ready = scalar(
            &mut conn,
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'events'::regclass AND attname = 'position')",
        )
        .await;
    }
    let unseen = format!(
        "SELECT count(*) FROM events WHERE transaction_id >= pg_snapshot_xmin('{stamp}')
         AND NOT pg_visible_in_snapshot(transaction_id, '{stamp}')"
    );
    assert_eq!(
        scalar::<i64>(&mut old, "SELECT count(*) FROM events").await,
        10
    );
    assert_eq!(scalar::<i64>(&mut old, &unseen).await, 0);
    insert(&mut conn, 5).await;
    assert_eq!(scalar::<i64>(&mut old, &unseen).await, 0);
    assert_eq!(scalar::<i64>(&mut conn, &unseen).await, 5);
    old.execute("COMMIT").await.unwrap();
    adopting
        .await
        .unwrap()
        .expect("the adoption ends when the transaction has");
}

#[tokio::test]
async fn changes_stay_allowed_unless_asked_otherwise() {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, EXISTING).await;
    insert(&mut conn, 2).await;
    migrated(&db).await;
    execute(&mut conn, "UPDATE events SET event_type = 'OTHER'").await;
    let immutable = MigrateOptions {
        immutable: Some(true),
        ..options()
    };
    let report = migrate(&db.options(), &immutable).await.unwrap();
    assert_eq!(report.applied, ["immutable_on"]);
    assert_eq!(
        super::support::refusal(&mut conn, "DELETE FROM events").await,
        "23001"
    );
    // The default is that of an adopted table, however often it is migrated.
    assert_eq!(migrated(&db).await.applied, ["immutable_off"]);
    execute(&mut conn, "DELETE FROM events").await;
}

#[tokio::test]
async fn an_index_of_the_owners_that_serves_is_not_doubled() {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(
        &mut conn,
        "CREATE TABLE events (gone int, event_id uuid PRIMARY KEY, event_type text NOT NULL,
        \"timestamp\" timestamptz NOT NULL, tags jsonb NOT NULL, metadata jsonb NOT NULL,
        data jsonb NOT NULL, created_at timestamptz)",
    )
    .await;
    // Columns are then numbered otherwise than in a copy.
    execute(&mut conn, "ALTER TABLE events DROP COLUMN gone").await;
    execute(&mut conn, "CREATE INDEX mine ON events ((tags->>'issueId'), \"timestamp\" DESC, event_type) WHERE tags->>'issueId' IS NOT NULL").await;
    execute(
        &mut conn,
        "CREATE UNIQUE INDEX by_time ON events (\"timestamp\", event_id)",
    )
    .await;
    execute(
        &mut conn,
        "CREATE INDEX other ON events ((tags->>'provider'), \"timestamp\")",
    )
    .await;
    migrated(&db).await;
    let made: Vec<String> = scalar(
        &mut conn,
        "SELECT array_agg(relname::text ORDER BY relname) FROM pg_class WHERE relname LIKE 'idx_events%'",
    )
    .await;
    assert_eq!(
        made,
        [
            "idx_events_composite_2",
            "idx_events_composite_3",
            "idx_events_transaction_id"
        ]
    );
    let probes: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_class WHERE relname LIKE '%probe%'",
    )
    .await;
    assert_eq!(probes, 0);
}

#[tokio::test]
async fn all_belongs_to_the_owner() {
    let mut db = TestDatabase::create().await;
    let owner = db.role().await;
    let mut conn = db.connect().await;
    execute(&mut conn, EXISTING).await;
    execute(&mut conn, &format!("ALTER TABLE events OWNER TO {owner}")).await;
    execute(
        &mut conn,
        &format!("GRANT CREATE ON SCHEMA public TO {owner}"),
    )
    .await;
    migrated(&db).await;
    let others: i64 = scalar(
        &mut conn,
        &format!(
            "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relowner <> '{owner}'::regrole)
             + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND proowner <> '{owner}'::regrole)"
        ),
    )
    .await;
    assert_eq!(
        others, 0,
        "a superuser's SECURITY DEFINER function would be the superuser's"
    );
}
