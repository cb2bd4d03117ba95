//! A table that this module makes.

use tamma_events::migrate::{MigrateError, MigrateOptions, migrate};
use tamma_events::model::table::{ColumnNames, TableNames, quote_ident};

use super::support::{TestDatabase, execute, refusal, scalar, try_execute};
use super::{impatient, insert, migrated, named, numbered, options};

#[tokio::test]
async fn creates_everything_once() {
    let db = TestDatabase::create().await;
    let first = migrated(&db).await;
    let mut all = numbered("0002_create_events");
    all.extend(["guards", "immutable_on", "nonce"].map(str::to_owned));
    let mut applied = first.applied.clone();
    applied.sort();
    all.sort();
    assert_eq!(applied, all);
    assert_eq!(first.already_applied, Vec::<String>::new());

    let second = migrated(&db).await;
    assert_eq!(second.applied, Vec::<String>::new());
    assert_eq!(second.already_applied, numbered("0002_create_events"));

    let mut conn = db.connect().await;
    let invalid: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
    )
    .await;
    assert_eq!(invalid, 0);
    let own: i64 = scalar(
        &mut conn,
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
    )
    .await;
    assert_eq!(own, 8, "events, four beside it, three for queries");
    for index in [
        "timestamp",
        "transaction_id",
        "composite_1",
        "composite_2",
        "composite_3",
    ] {
        let definition: String = scalar(
            &mut conn,
            &format!("SELECT pg_get_indexdef('idx_events_{index}'::regclass)"),
        )
        .await;
        assert!(!definition.is_empty());
    }
    let collation: String = scalar(
        &mut conn,
        "SELECT l.collname::text FROM pg_attribute a JOIN pg_collation l ON l.oid = a.attcollation
         WHERE attrelid = 'events'::regclass AND attname = 'event_type'",
    )
    .await;
    assert_eq!(collation, "C");
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let db = TestDatabase::create().await;
    migrated(&db).await;
    let mut conn = db.connect().await;
    insert(&mut conn, 1).await;
    for (kind, time, tags) in [
        ("", "now()", "{}"),
        ("A", "'infinity'", "{}"),
        ("A", "now()", "[]"),
        ("A", "now()", "null"),
    ] {
        let sql = format!(
            "INSERT INTO events (event_id, event_type, \"timestamp\", tags)
             VALUES (gen_random_uuid(), '{kind}', {time}, '{tags}')"
        );
        assert_eq!(refusal(&mut conn, &sql).await, "23514");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_processes_at_once() {
    let db = TestDatabase::create().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let connect = db.options();
            tokio::spawn(async move { migrate(&connect, &options()).await })
        })
        .collect();
    let mut applied = Vec::new();
    for task in tasks {
        applied.extend(task.await.unwrap().expect("every one succeeds").applied);
    }
    applied.sort();
    let mut once = applied.clone();
    once.dedup();
    assert_eq!(applied, once, "each step was done by one of them");
    assert_eq!(applied.len(), 14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_tables_of_one_new_schema_at_once() {
    let db = TestDatabase::create().await;
    let run = |name: &'static str| {
        let connect = db.options();
        tokio::spawn(async move { migrate(&connect, &named("new one", name)).await })
    };
    for task in [run("a"), run("b"), run("c"), run("a")] {
        task.await.unwrap().expect("every one succeeds");
    }
}

#[tokio::test]
async fn hostile_names() {
    let db = TestDatabase::create().await;
    let mut conn = db.connect().await;
    let long = "ü{{events}}'; DROP TABLE \"x\" -- $body$ $_body$ \\".to_owned();
    let long = format!("{long}{}", "z".repeat(63 - long.len()));
    for (schema, name) in [
        ("public", "order"),
        ("a \"b\" 'c' \\ {{schema}}", "d\"; DROP SCHEMA public --"),
        ("$body$", "{{name}} {{"),
        (long.as_str(), long.as_str()),
        ("日本語", "イベント"),
    ] {
        let table = TableNames {
            schema: schema.to_owned(),
            name: name.to_owned(),
            columns: ColumnNames {
                id: "select".to_owned(),
                r#type: "{{data}}".to_owned(),
                timestamp: "Zeit\"\"punkt".to_owned(),
                tags: "$body$".to_owned(),
                metadata: "a'b\\".to_owned(),
                data: "{{$}}".to_owned(),
                created_at: " ".to_owned(),
            },
        };
        let events = table.quoted();
        let columns = table.columns.clone();
        let rotations = table.rotations();
        let options = MigrateOptions {
            immutable: Some(false),
            ..MigrateOptions::new(table)
        };
        migrate(&db.options(), &options).await.expect(name);
        let report = migrate(&db.options(), &options).await.expect(name);
        assert_eq!(report.already_applied.len(), 11, "{name}");
        let [id, kind, at] =
            [&columns.id, &columns.r#type, &columns.timestamp].map(|c| quote_ident(c));
        execute(
            &mut conn,
            &format!("INSERT INTO {events} ({id}, {kind}, {at}) VALUES (gen_random_uuid(), 'A.B.C', now()); DELETE FROM {events}"),
        )
        .await;
        let logged: i64 = scalar(&mut conn, &format!("SELECT count(*) FROM {rotations}")).await;
        assert_eq!(logged, 1, "{name}");
        let refusing = MigrateOptions {
            immutable: Some(true),
            ..options
        };
        let report = migrate(&db.options(), &refusing).await.expect(name);
        assert_eq!(report.applied, ["immutable_on"], "{name}");

        // And as a table to adopt.
        let record = refusing
            .table
            .beside(&refusing.table.derived("", "_migrations"));
        execute(
            &mut conn,
            &format!("DROP TABLE {record}; ALTER TABLE {events} DROP position, DROP transaction_id CASCADE"),
        )
        .await;
        let report = migrate(&db.options(), &refusing).await.expect(name);
        assert!(
            report.applied.contains(&"0002_adopt_events".to_owned()),
            "{name}"
        );
    }
    assert!(
        try_execute(&mut conn, "SELECT FROM public.\"order\"")
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn names_are_checked_before_anything_else() {
    let db = TestDatabase::create().await;
    let mut options = options();
    options.table.columns.tags = "transaction_id".to_owned();
    match migrate(&db.options(), &options).await {
        Err(MigrateError::Name(error)) => assert_eq!(error.path, "table.columns.tags"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_index_that_was_dropped_stays_dropped() {
    let db = TestDatabase::create().await;
    migrated(&db).await;
    let mut conn = db.connect().await;
    execute(&mut conn, "DROP INDEX idx_events_composite_2").await;
    assert_eq!(migrated(&db).await.applied, Vec::<String>::new());
}

#[tokio::test]
async fn the_nonce_comes_back_as_another() {
    let db = TestDatabase::create().await;
    migrated(&db).await;
    let mut conn = db.connect().await;
    let nonce = "SELECT nonce::text FROM events_incarnation";
    let before: String = scalar(&mut conn, nonce).await;
    // As a crash does.
    execute(&mut conn, "DELETE FROM events_incarnation").await;
    assert_eq!(migrated(&db).await.applied, ["nonce"]);
    assert_ne!(scalar::<String>(&mut conn, nonce).await, before);
    assert_eq!(
        refusal(&mut conn, "INSERT INTO events_incarnation VALUES (false)").await,
        "23514"
    );
    assert_eq!(
        refusal(&mut conn, "INSERT INTO events_incarnation VALUES (true)").await,
        "23505"
    );
}

#[tokio::test]
async fn an_unprivileged_role() {
    let mut db = TestDatabase::create().await;
    let role = db.role().await;
    let mut conn = db.connect().await;
    execute(&mut conn, "REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let refused = |outcome| match outcome {
        Err(MigrateError::NotPermitted { role, action, .. }) => (role, action),
        other => panic!("{other:?}"),
    };
    let (who, action) = refused(migrate(&db.options_as(&role), &options()).await);
    assert_eq!(who, role);
    assert!(action.contains("GRANT CREATE ON SCHEMA"), "{action}");
    let (_, action) = refused(migrate(&db.options_as(&role), &named("new", "events")).await);
    assert!(action.contains("GRANT CREATE ON DATABASE"), "{action}");

    migrated(&db).await;
    let (_, action) = refused(migrate(&db.options_as(&role), &options()).await);
    assert!(
        action.contains("permission denied for table events_migrations"),
        "{action}"
    );

    // Whoever may read is enough, where nothing is to be done.
    execute(
        &mut conn,
        &format!("GRANT SELECT ON events_migrations, events_incarnation TO {role}"),
    )
    .await;
    let report = migrate(&db.options_as(&role), &options())
        .await
        .expect("nothing is to be done");
    assert_eq!(report.already_applied.len(), 11);
    // And says who can, where something is.
    let on = MigrateOptions {
        immutable: Some(false),
        ..impatient()
    };
    let (_, action) = refused(migrate(&db.options_as(&role), &on).await);
    assert!(action.contains("belongs to"), "{action}");
}
