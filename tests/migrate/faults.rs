//! Crashes, locks that others hold, and what they leave behind.

use std::time::{Duration, Instant};

use sqlx::{Executor, PgConnection};
use tamma_events::migrate::{MigrateError, migrate};

use super::support::{TestDatabase, execute, scalar};
use super::{EXISTING, impatient, insert, migrated, numbered, options};

/// All that a migration makes, as text: to compare databases that came to it by other ways.
async fn schema(conn: &mut PgConnection) -> String {
    scalar(
        conn,
        "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
           SELECT format('%s %s', version, encode(checksum, 'hex')) FROM events_migrations
           UNION ALL SELECT format('%s %s %s %s %s', attrelid::regclass, attname, atttypid::regtype, attnotnull, attidentity)
             FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
           UNION ALL SELECT format('%s %s', pg_get_indexdef(indexrelid), indisvalid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
             WHERE relnamespace = 'public'::regnamespace
           UNION ALL SELECT format('%s %s %s', tgname, tgenabled, regexp_replace(pg_get_triggerdef(oid), 'rotated_\\w+', '', 'g'))
             FROM pg_trigger WHERE NOT tgisinternal
           UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         ) AS t (line)",
    )
    .await
}

async fn adoptable(rows: usize) -> (TestDatabase, PgConnection) {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    execute(&mut conn, EXISTING).await;
    insert(&mut conn, rows).await;
    (db, conn)
}

#[tokio::test]
async fn any_step_can_be_done_again() {
    let (db, mut conn) = adoptable(100).await;
    migrated(&db).await;
    let whole = schema(&mut conn).await;
    for from in 1..=8 {
        // As if the process had died before each was recorded.
        execute(
            &mut conn,
            &format!("DELETE FROM events_migrations WHERE version >= {from}"),
        )
        .await;
        let report = migrated(&db).await;
        assert_eq!(report.already_applied.len(), from - 1);
        assert_eq!(schema(&mut conn).await, whole, "from {from}");
    }
    // The record itself lost.
    execute(&mut conn, "DROP TABLE events_migrations").await;
    migrated(&db).await;
    assert_eq!(schema(&mut conn).await, whole);
    assert_eq!(
        scalar::<i64>(&mut conn, "SELECT count(*) FROM events WHERE position = 0").await,
        100
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_after_a_crash_goes_on() {
    let (reference, mut conn) = adoptable(20_000).await;
    migrated(&reference).await;
    let whole = schema(&mut conn).await;

    // On a busy machine the kill often comes too late: then another round.
    let (mut crashes, mut round) = (0, 0);
    while crashes <= 10 {
        round += 1;
        assert!(round <= 30, "only {crashes} crashes in 30 rounds");
        let (db, mut conn) = adoptable(20_000).await;
        let mut pause = Duration::from_millis(2 + round);
        loop {
            let connect = db.options();
            let running = tokio::spawn(async move { migrate(&connect, &options()).await });
            tokio::time::sleep(pause).await;
            let killed: i64 = scalar(
                &mut conn,
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE application_name = '@tamma/events migrate' AND datname = current_database()",
            )
            .await;
            match running.await.unwrap() {
                Ok(_) => break,
                Err(error) => {
                    assert!(killed > 0 && error.retryable(), "{error:?}");
                    crashes += 1;
                }
            }
            // A little later each time, to hit other steps.
            pause += Duration::from_millis(3);
        }
        migrated(&db).await;
        assert_eq!(schema(&mut conn).await, whole);
        assert_eq!(
            scalar::<i64>(&mut conn, "SELECT count(*) FROM events").await,
            20_000
        );
    }
    println!("finished after {crashes} crashes in {round} rounds");
}

#[tokio::test]
async fn an_invalid_index_is_built_again() {
    let (db, mut conn) = adoptable(100).await;
    migrated(&db).await;
    // What a failed concurrent build leaves, with and without its record being missing.
    execute(
        &mut conn,
        "DELETE FROM events_migrations WHERE version = 6;
         UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_events_composite_1'::regclass",
    )
    .await;
    assert_eq!(migrated(&db).await.applied, ["0006_index_composite_1"]);
    let valid =
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_events_composite_1'::regclass";
    assert!(scalar::<bool>(&mut conn, valid).await);
}

#[tokio::test]
async fn an_old_transaction_holds_up_the_indexes_only() {
    let (db, mut conn) = adoptable(100).await;
    let mut old = db.connect().await;
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        .await
        .unwrap();
    let pid: i32 = scalar(&mut old, "SELECT pg_backend_pid()").await;
    match migrate(&db.options(), &impatient()).await {
        Err(MigrateError::LockTimeout { step, blockers, .. }) => {
            assert_eq!(step, "0004_index_timestamp");
            assert_eq!(blockers, [pid]);
        }
        other => panic!("{other:?}"),
    }
    let left: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
    )
    .await;
    assert_eq!(left, 0, "the unfinished index was dropped");
    old.execute("COMMIT").await.unwrap();
    let report = migrated(&db).await;
    assert_eq!(report.already_applied, numbered("0002_adopt_events")[..3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_the_table_stops_writers_for_moments_only() {
    let (db, mut conn) = adoptable(100).await;
    let mut old = db.connect().await;
    old.execute("BEGIN; SELECT FROM events LIMIT 1")
        .await
        .unwrap();
    let pid: i32 = scalar(&mut old, "SELECT pg_backend_pid()").await;
    match migrate(&db.options(), &impatient()).await {
        Err(MigrateError::LockTimeout {
            step,
            blockers,
            waited,
        }) => {
            assert_eq!(step, "0002_adopt_events");
            assert_eq!(blockers, [pid]);
            assert_eq!(waited, impatient().lock_wait);
        }
        other => panic!("{other:?}"),
    }
    let connect = db.options();
    let running = tokio::spawn(async move { migrate(&connect, &options()).await });
    let until = Instant::now() + Duration::from_secs(2);
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        let start = Instant::now();
        insert(&mut conn, 1).await;
        slowest = slowest.max(start.elapsed());
    }
    println!("the slowest insert took {slowest:?}");
    assert!(slowest < Duration::from_millis(500));
    assert!(!running.is_finished());
    old.execute("COMMIT").await.unwrap();
    running
        .await
        .unwrap()
        .expect("it goes on when the lock is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_migration_in_progress() {
    let (db, _conn) = adoptable(100).await;
    let mut old = db.connect().await;
    // Holds up the first at its indexes, and so the second at the first.
    old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        .await
        .unwrap();
    let connect = db.options();
    let first = tokio::spawn(async move { migrate(&connect, &options()).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    match migrate(&db.options(), &impatient()).await {
        Err(error @ MigrateError::LockTimeout { .. }) => {
            assert!(error.retryable());
            assert!(error.to_string().contains("another migration"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    old.execute("COMMIT").await.unwrap();
    first.await.unwrap().expect("the first finishes");
}

#[tokio::test]
async fn no_server() {
    let db = TestDatabase::create().await;
    match migrate(&db.options().port(1), &options()).await {
        Err(error @ MigrateError::Connect(_)) => assert!(error.retryable()),
        other => panic!("{other:?}"),
    }
}
