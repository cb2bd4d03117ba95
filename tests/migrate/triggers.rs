//! What the triggers do on a table that is in use.

use sqlx::{Connection, PgConnection};
use tamma_events::migrate::{MigrateOptions, migrate};

use super::support::{TestDatabase, execute, refusal, scalar, try_execute};
use super::{insert, inserting, migrated, options};

/// A database whose events may be changed.
async fn mutable() -> (TestDatabase, PgConnection) {
    let db = TestDatabase::create().await;
    let options = MigrateOptions {
        immutable: Some(false),
        ..options()
    };
    migrate(&db.options(), &options)
        .await
        .expect("the migration succeeds");
    let mut conn = db.connect().await;
    insert(&mut conn, 100).await;
    (db, conn)
}

async fn rotations(conn: &mut PgConnection) -> i64 {
    scalar(conn, "SELECT count(*) FROM events_rotations").await
}

const WRONG: &str = "SELECT count(*) FROM events e WHERE transaction_id::text <> e.data->>'xid'";

/// An insert that says the wrong transaction in the column and the right one in its data.
const LYING: &str = "INSERT INTO events (event_id, event_type, \"timestamp\", data, transaction_id)
    SELECT gen_random_uuid(), 'A', now(), jsonb_build_object('xid', pg_current_xact_id()::text), x::xid8
    FROM unnest('{1,999999999999}'::text[]) x";

#[tokio::test]
async fn changes_are_refused() {
    let db = TestDatabase::create().await;
    migrated(&db).await;
    let mut conn = db.connect().await;
    insert(&mut conn, 2).await;
    for sql in [
        "UPDATE events SET event_type = 'X'",
        "DELETE FROM events",
        "TRUNCATE events",
        "MERGE INTO events e USING (VALUES (1)) v ON true WHEN MATCHED THEN DELETE",
        "INSERT INTO events SELECT event_id, 'X', now() FROM events LIMIT 1 ON CONFLICT (event_id) DO UPDATE SET event_type = 'X'",
    ] {
        let sql = sql.replace(
            "INSERT INTO events SELECT",
            "INSERT INTO events (event_id, event_type, \"timestamp\") SELECT",
        );
        assert_eq!(refusal(&mut conn, &sql).await, "23001", "{sql}");
    }
    assert_eq!(rotations(&mut conn).await, 0);
    // An upsert that changes nothing is no change.
    execute(
        &mut conn,
        "INSERT INTO events (event_id, event_type, \"timestamp\") SELECT event_id, 'X', now() FROM events
         ON CONFLICT (event_id) DO UPDATE SET event_type = 'X' WHERE false",
    )
    .await;
    assert_eq!(
        scalar::<i64>(&mut conn, "SELECT count(*) FROM events").await,
        2
    );
}

#[tokio::test]
async fn the_owner_opts_out_for_one_transaction() {
    const ALLOW: &str =
        "SELECT set_config('tamma_events.change_in_transaction', pg_current_xact_id()::text, true)";
    let mut db = TestDatabase::create().await;
    migrated(&db).await;
    let role = db.role().await;
    let mut conn = db.connect().await;
    insert(&mut conn, 10).await;
    execute(&mut conn, &format!("BEGIN; {ALLOW}; UPDATE events SET event_type = 'X'; DELETE FROM events WHERE position <= 5; COMMIT")).await;
    assert_eq!(
        scalar::<i64>(
            &mut conn,
            "SELECT count(*) FROM events WHERE event_type = 'X'"
        )
        .await,
        5
    );
    assert_eq!(rotations(&mut conn).await, 1);
    assert_eq!(refusal(&mut conn, "DELETE FROM events").await, "23001");
    // A setting of the session's does not outlive its transaction.
    let session = ALLOW.replace("true)", "false)");
    execute(&mut conn, &format!("BEGIN; {session}; COMMIT")).await;
    assert_eq!(refusal(&mut conn, "DELETE FROM events").await, "23001");
    execute(&mut conn, &format!("GRANT ALL ON events TO {role}")).await;
    let mut other = PgConnection::connect_with(&db.options_as(&role))
        .await
        .unwrap();
    let attempt = format!("BEGIN; {ALLOW}; DELETE FROM events");
    assert_eq!(
        refusal(&mut other, &attempt).await,
        "23001",
        "only the owner's"
    );
    execute(
        &mut conn,
        &format!("BEGIN; {ALLOW}; TRUNCATE events; COMMIT"),
    )
    .await;
    assert_eq!(
        scalar::<i64>(&mut conn, "SELECT count(*) FROM events").await,
        0
    );
}

#[tokio::test]
async fn an_event_belongs_to_its_transaction() {
    let (_db, mut conn) = mutable().await;
    execute(&mut conn, "DELETE FROM events").await;
    // Not even where a trigger of the owner's sets it, or as replication writes.
    execute(
        &mut conn,
        "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.transaction_id := ''7''; RETURN NEW; END';
         CREATE TRIGGER zz_meddle BEFORE INSERT OR UPDATE ON events FOR EACH ROW EXECUTE FUNCTION meddle()",
    )
    .await;
    execute(&mut conn, LYING).await;
    execute(&mut conn, "SET session_replication_role = replica").await;
    execute(&mut conn, LYING).await;
    execute(&mut conn, "RESET session_replication_role").await;
    execute(&mut conn, "BEGIN; SAVEPOINT a").await;
    execute(&mut conn, LYING).await;
    execute(&mut conn, "RELEASE a; COMMIT").await;
    assert_eq!(scalar::<i64>(&mut conn, WRONG).await, 0);
    execute(
        &mut conn,
        "UPDATE events SET transaction_id = '999999999999'",
    )
    .await;
    assert_eq!(scalar::<i64>(&mut conn, WRONG).await, 0);
    assert_eq!(
        scalar::<i64>(&mut conn, "SELECT count(*) FROM events").await,
        6
    );
}

#[tokio::test]
async fn rotations_are_logged_once_a_transaction() {
    let (_db, mut conn) = mutable().await;
    execute(&mut conn, &inserting(50)).await;
    execute(&mut conn, "UPDATE events SET event_type = 'X' WHERE false").await;
    assert_eq!(
        rotations(&mut conn).await,
        0,
        "inserts and changes of nothing"
    );

    execute(&mut conn, "BEGIN; UPDATE events SET event_type = 'X' WHERE position <= 60; DELETE FROM events WHERE position <= 10").await;
    let own: bool = scalar(
        &mut conn,
        "SELECT transaction_id = pg_current_xact_id() FROM events_rotations",
    )
    .await;
    assert!(own);
    execute(&mut conn, "COMMIT").await;
    assert_eq!(rotations(&mut conn).await, 1);

    execute(
        &mut conn,
        "BEGIN; DELETE FROM events WHERE position = 11; ROLLBACK",
    )
    .await;
    assert_eq!(rotations(&mut conn).await, 1);

    execute(&mut conn, "SET session_replication_role = replica; DELETE FROM events WHERE position = 11; RESET session_replication_role").await;
    assert_eq!(rotations(&mut conn).await, 2);
}

#[tokio::test]
async fn rotations_under_savepoints() {
    let (_db, mut conn) = mutable().await;
    let delete = "DELETE FROM events WHERE position = (SELECT min(position) FROM events)";
    // Undone, then done again: the setting must not say that the row is there.
    execute(
        &mut conn,
        &format!("BEGIN; SAVEPOINT a; {delete}; ROLLBACK TO a; {delete}; COMMIT"),
    )
    .await;
    assert_eq!(rotations(&mut conn).await, 1);
    execute(
        &mut conn,
        &format!("BEGIN; SAVEPOINT a; {delete}; RELEASE a; {delete}; COMMIT"),
    )
    .await;
    assert_eq!(rotations(&mut conn).await, 2);
    execute(
        &mut conn,
        &format!("BEGIN; SAVEPOINT a; {delete}; ROLLBACK TO a; COMMIT"),
    )
    .await;
    assert_eq!(rotations(&mut conn).await, 2);
    execute(
        &mut conn,
        &format!("BEGIN; {delete}; SAVEPOINT a; {delete}; ROLLBACK TO a; COMMIT"),
    )
    .await;
    assert_eq!(rotations(&mut conn).await, 3);
    assert_eq!(
        scalar::<i64>(&mut conn, "SELECT count(*) FROM events").await,
        96
    );
}

#[tokio::test]
async fn two_tables_log_apart() {
    let (db, mut conn) = mutable().await;
    // A table of the old name is another table.
    execute(
        &mut conn,
        "ALTER TABLE events RENAME TO old; ALTER TABLE events_migrations RENAME TO old_migrations",
    )
    .await;
    for index in [
        "timestamp",
        "transaction_id",
        "composite_1",
        "composite_2",
        "composite_3",
    ] {
        execute(
            &mut conn,
            &format!("ALTER INDEX idx_events_{index} RENAME TO idx_old_{index}"),
        )
        .await;
    }
    let options = MigrateOptions {
        immutable: Some(false),
        ..super::named("public", "events")
    };
    migrate(&db.options(), &options)
        .await
        .expect("the migration succeeds");
    insert(&mut conn, 1).await;
    let settings: i64 = scalar(
        &mut conn,
        "SELECT count(DISTINCT tgargs) FROM pg_trigger WHERE tgname = 'tamma_2_log_rotation'",
    )
    .await;
    assert_eq!(settings, 2);
    execute(&mut conn, "DELETE FROM old; DELETE FROM events").await;
    assert_eq!(rotations(&mut conn).await, 1);
}

#[tokio::test]
async fn a_role_that_may_delete_needs_no_right_to_the_log() {
    let mut db = TestDatabase::create().await;
    let options = MigrateOptions {
        immutable: Some(false),
        ..options()
    };
    migrate(&db.options(), &options).await.unwrap();
    let role = db.role().await;
    let mut conn = db.connect().await;
    insert(&mut conn, 10).await;
    execute(
        &mut conn,
        &format!(
            "GRANT SELECT, DELETE ON events TO {role}; CREATE SCHEMA evil AUTHORIZATION {role}"
        ),
    )
    .await;
    let mut other = PgConnection::connect_with(&db.options_as(&role))
        .await
        .unwrap();
    assert_eq!(
        refusal(&mut other, "INSERT INTO events_rotations DEFAULT VALUES").await,
        "42501"
    );

    // Objects of the role's own stand in front of the server's in its search path: were the function
    // to call them, they would run as the table's owner.
    execute(
        &mut other,
        "CREATE FUNCTION evil.pg_current_xact_id() RETURNS xid8 LANGUAGE plpgsql AS
           'BEGIN EXECUTE ''ALTER ROLE '' || session_user || '' SUPERUSER''; RETURN ''1''; END';
         CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
           'BEGIN RAISE EXCEPTION ''hijacked''; END';
         CREATE TEMP TABLE events_rotations (transaction_id xid8 PRIMARY KEY DEFAULT '1');
         CREATE FUNCTION pg_temp.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
           'BEGIN RAISE EXCEPTION ''hijacked''; END';
         SET search_path = evil, pg_temp, pg_catalog",
    )
    .await;
    execute(&mut other, "DELETE FROM public.events").await;
    assert_eq!(rotations(&mut conn).await, 1);
    let hijacked: i64 = scalar(&mut other, "SELECT count(*) FROM pg_temp.events_rotations").await;
    assert_eq!(hijacked, 0);
    let superuser: bool = scalar(
        &mut conn,
        &format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'"),
    )
    .await;
    assert!(!superuser);

    // Nor may it hang the function on a table of its own.
    let own = "CREATE TABLE evil.t (a int); CREATE TRIGGER t BEFORE DELETE ON evil.t FOR EACH ROW
         EXECUTE FUNCTION public.events_log_rotation('x.y')";
    assert_eq!(refusal(&mut other, own).await, "42501");
}

#[tokio::test]
async fn guards_that_were_disabled_come_back() {
    let (db, mut conn) = mutable().await;
    execute(
        &mut conn,
        "ALTER TABLE events DISABLE TRIGGER zzz_tamma_guard_insert",
    )
    .await;
    let off = MigrateOptions {
        immutable: Some(false),
        ..options()
    };
    let report = migrate(&db.options(), &off).await.unwrap();
    assert_eq!(report.applied, ["guards"]);
    execute(&mut conn, "DELETE FROM events").await;
    execute(&mut conn, LYING).await;
    assert_eq!(scalar::<i64>(&mut conn, WRONG).await, 0);
    assert!(try_execute(&mut conn, "SELECT 1").await.is_ok());
}
