//! A database of a test's own on a real server.
//!
//! `TAMMA_TEST_DATABASE_URL` names the server; the role must be a superuser, since tests make roles
//! and databases and look into the catalogs.

use std::str::FromStr;

use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};
use uuid::Uuid;

/// A new, empty database, dropped with whatever uses it when the value is dropped, after a panic too.
pub struct TestDatabase {
    name: String,
    roles: Vec<String>,
    server: PgConnectOptions,
}

fn server() -> PgConnectOptions {
    let url = std::env::var("TAMMA_TEST_DATABASE_URL").expect(
        "TAMMA_TEST_DATABASE_URL must name a PostgreSQL server for these tests, as a superuser: \
         postgres://postgres@localhost:5432/postgres",
    );
    PgConnectOptions::from_str(&url)
        .expect("TAMMA_TEST_DATABASE_URL must be a postgres:// url")
        .disable_statement_logging()
}

impl TestDatabase {
    pub async fn create() -> Self {
        let server = server();
        let name = format!("tamma_test_{}", Uuid::now_v7().simple());
        let mut conn = server.connect().await.expect("the test server answers");
        execute(&mut conn, &format!("CREATE DATABASE {name}")).await;
        Self {
            name,
            roles: Vec::new(),
            server,
        }
    }

    /// How to connect to it as the superuser.
    pub fn options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    pub async fn connect(&self) -> PgConnection {
        self.options()
            .connect()
            .await
            .expect("the test database answers")
    }

    /// A new role that may log in with the password 'test'. Roles belong to the server; its name is
    /// unique.
    pub async fn role(&mut self) -> String {
        let role = format!("tamma_role_{}", Uuid::now_v7().simple());
        let mut conn = self.connect().await;
        execute(
            &mut conn,
            &format!("CREATE ROLE {role} LOGIN PASSWORD 'test'"),
        )
        .await;
        self.roles.push(role.clone());
        role
    }

    /// How to connect to it as a role that [`role`](Self::role) made.
    pub fn options_as(&self, role: &str) -> PgConnectOptions {
        self.options().username(role).password("test")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let server = self.server.clone();
        let mut statements = vec![format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            self.name
        )];
        statements.extend(
            self.roles
                .iter()
                .map(|r| format!("DROP ROLE IF EXISTS {r}")),
        );
        // A runtime of its own: the test's is busy with this very drop, or gone.
        let cleanup = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let mut conn = server.connect().await?;
                for sql in statements {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await?;
                }
                Ok::<_, sqlx::Error>(())
            })
        });
        match cleanup.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("cannot drop {}: {error}", self.name),
            Err(_) => eprintln!("cannot drop {}", self.name),
        }
    }
}

/// Runs statements that must succeed.
#[track_caller]
pub fn execute<'a>(conn: &'a mut PgConnection, sql: &str) -> impl Future<Output = ()> + Send + 'a {
    let caller = std::panic::Location::caller();
    let sql = sql.to_owned();
    async move {
        if let Err(error) = try_execute(conn, &sql).await {
            panic!("{caller}: {error}\n{sql}");
        }
    }
}

/// Runs statements.
pub async fn try_execute(conn: &mut PgConnection, sql: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(conn)
        .await
        .map(drop)
}

/// The SQLSTATE with which statements are refused.
pub async fn refusal(conn: &mut PgConnection, sql: &str) -> String {
    let error = try_execute(conn, sql)
        .await
        .expect_err("the statement must be refused");
    error
        .as_database_error()
        .and_then(|e| e.code().map(std::borrow::Cow::into_owned))
        .unwrap_or_else(|| panic!("{error}"))
}

/// The one value of a query.
pub async fn scalar<T>(conn: &mut PgConnection, sql: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
        .fetch_one(conn)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{sql}"))
}
