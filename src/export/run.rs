//! The run of an export.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, TryStreamExt, future::BoxFuture};
use serde_json::{Value as Wire, json};
use sqlx::{
    Executor as _, Row as _, Statement as _,
    postgres::{PgColumn, PgRow},
};

use super::column::{self, Column};
use super::columnar::Columnar;
use super::file::Writing;
use super::options::{Format, Options};
use super::text::Text;
use crate::exec::{
    Batch, CatchUp, Connection, Engine, Frame, IntoAscii, Mode, OfTables, Planned, Run, RunOptions,
    Shape, Stop, Strategy, arguments, sql_text,
};
use crate::model::{Error, Result};
use crate::query::{EventQuery, Hints, matching::Matching};
use crate::sql::{Purpose, Statement};

/// Bytes of a chunk.
const CHUNK: usize = 256 << 10;
/// Between two words on how far it has come.
const PROGRESS: Duration = Duration::from_millis(100);

/// Where rows come from.
pub enum Rows {
    /// A statement.
    Of(Box<Statement>),
    /// A query with `since`, which is compiled for what there is when it runs.
    New(Box<CatchUp>),
    /// A query of other tables, which are looked up first.
    OfTables(Box<OfTables>),
    /// A statement over what is found first.
    Found(Box<dyn Finds>),
}

/// What has to look at the database before it knows its statement.
pub trait Finds: Send + Sync {
    /// The statement whose rows are exported, to be run in the transaction that is open.
    fn statement<'a>(
        &'a self,
        frame: &'a Frame<'a>,
        connection: &'a mut Connection,
    ) -> BoxFuture<'a, Result<Statement, Stop>>;
}

struct Export {
    rows: Rows,
    options: Options,
}

/// Enters the run of an export. Its batches are chunks, `#rows\n` and bytes, or words on its progress,
/// `{"progress"}`; the last says what was written.
///
/// # Errors
/// CLOSED, or an id that is running.
pub fn enter(
    engine: &Arc<Engine>,
    rows: Rows,
    shape: Arc<Shape>,
    export: Options,
    hints: &Hints,
    options: RunOptions,
) -> Result<Run> {
    let strategy = Box::new(Export {
        rows,
        options: export,
    });
    engine.enter_strategy(strategy, shape, hints, options, Mode::Stream)
}

/// Refuses what an export would pass over in silence.
fn refuse_unexported(query: &EventQuery) -> Result<()> {
    let unsupported = |path: &str, what: &'static str| {
        Err(Error::Unsupported {
            path: path.to_owned(),
            what: what.into(),
        })
    };
    match &query.matching {
        Some(Matching::Sequence(_)) => unsupported(
            "sequence",
            "matches are exported by analytics.exportPipeline, with the sequence as its last stage",
        ),
        Some(_) => unsupported(
            "pattern",
            "matches are exported by analytics.exportPipeline, with the pattern as its last stage",
        ),
        None if !query.hints.force_index.is_empty() => unsupported(
            "hints.forceIndex",
            "the use of an index is not proved for exports",
        ),
        None => Ok(()),
    }
}

/// Checks and compiles a query and enters its export.
///
/// # Errors
/// What is wrong with the query; CLOSED, or an id that is running.
pub fn enter_query(
    engine: &Arc<Engine>,
    wire: Wire,
    export: Options,
    options: RunOptions,
) -> Result<Run> {
    let catalog = engine.catalog();
    let tables = EventQuery::tables(&wire, &catalog);
    let query = EventQuery::parse(&wire, &catalog)?;
    refuse_unexported(&query)?;
    let regex = EventQuery::regex_path(&wire);
    let options = RunOptions {
        query_id: options.query_id.or_else(|| query.id.clone()),
        ..options
    };
    let clock = engine.held(options.snapshot)?.map(|held| held.clock);
    let planned = engine.plan_at(&query, Purpose::Stream, clock)?;
    let shape = engine.shape_of(&planned.statement, &query);
    let rows = if let Some(catch_up) = planned.catch_up
        && tables.is_empty()
    {
        Rows::New(catch_up)
    } else if tables.is_empty() {
        Rows::Of(Box::new(planned.statement))
    } else {
        Rows::OfTables(Box::new(OfTables {
            query: wire,
            tables,
            purpose: Purpose::Stream,
        }))
    };
    let run = enter(engine, rows, shape, export, &query.hints, options)?;
    Ok(Run { regex, ..run })
}

impl Strategy for Export {
    fn attempt<'a>(&'a self, frame: &'a Frame<'a>) -> BoxFuture<'a, Result<Batch>> {
        async move {
            // Before anything is asked of the server: a file that cannot be made costs no query.
            let mut out = Out {
                frame,
                file: match &self.options.file {
                    Some((to, temporary)) => Some(Writing::begin(to, temporary)?),
                    None => None,
                },
                rows: 0,
                bytes: 0,
                told: Instant::now(),
            };
            let mut lease = frame.lease().await?;
            let written = self.write(lease.connection(), &mut out).await;
            lease.settle(&written);
            let columns = written?;
            if let Some(file) = out.file.take() {
                file.finish().await?;
            }
            Ok(out.end(&columns))
        }
        .boxed()
    }
}

impl Export {
    async fn write(
        &self,
        connection: &mut Connection,
        out: &mut Out<'_>,
    ) -> Result<Vec<Column>, Stop> {
        match &self.rows {
            Rows::Of(statement) => self.write_rows(statement, connection, out).await,
            Rows::New(catch_up) => {
                let statement = catch_up.compile(out.frame.engine, connection).await?;
                self.write_rows(&statement, connection, out).await
            }
            Rows::OfTables(of) => {
                let statement = of_tables(connection, of, out.frame).await?;
                self.write_rows(&statement, connection, out).await
            }
            Rows::Found(finds) => {
                connection.begin_snapshot().await?;
                let written = match finds.statement(out.frame, connection).await {
                    Ok(statement) => self.write_rows(&statement, connection, out).await,
                    Err(stop) => Err(stop),
                };
                connection.end_reading(written).await
            }
        }
    }

    async fn write_rows(
        &self,
        statement: &Statement,
        connection: &mut Connection,
        out: &mut Out<'_>,
    ) -> Result<Vec<Column>, Stop> {
        let values = arguments(&statement.binds).map_err(Stop::Refused)?;
        let driver = &mut connection.driver;
        let mut begun = None;
        {
            let mut rows = sqlx::query_with(sql_text(&statement.sql), values).fetch(&mut *driver);
            while let Some(row) = rows.try_next().await? {
                let (_, encoder) = match &mut begun {
                    Some(begun) => begun,
                    None => begun.insert(self.begin(row.columns(), statement, out)?),
                };
                encoder.push(&row).map_err(Stop::Ours)?;
                out.rows += 1;
                let gathered = encoder.gathered();
                if gathered.len() >= CHUNK {
                    let chunk = std::mem::replace(gathered, Vec::with_capacity(CHUNK + CHUNK / 8));
                    out.write(chunk).await.map_err(Stop::Ours)?;
                }
                if out.rows.is_multiple_of(256) {
                    tokio::task::yield_now().await;
                }
            }
        }
        let (columns, encoder) = if let Some(begun) = begun {
            begun
        } else {
            // No row told the types: the statement, which is prepared by now, does.
            let prepared = driver.prepare(sql_text(&statement.sql)).await?;
            self.begin(prepared.columns(), statement, out)?
        };
        let last = encoder.finish().map_err(Stop::Refused)?;
        out.write(last).await.map_err(Stop::Refused)?;
        Ok(columns)
    }

    fn begin(
        &self,
        columns: &[PgColumn],
        statement: &Statement,
        out: &Out<'_>,
    ) -> Result<(Vec<Column>, Encoder), Stop> {
        let mode = out.frame.engine.config.bigint;
        let columns = column::columns(columns, statement, mode).map_err(Stop::Ours)?;
        let encoder = Encoder::new(columns.clone(), &self.options).map_err(Stop::Ours)?;
        Ok((columns, encoder))
    }
}

async fn of_tables(
    connection: &mut Connection,
    of: &OfTables,
    frame: &Frame<'_>,
) -> Result<Statement, Stop> {
    let catalog = frame
        .engine
        .learn(&mut connection.driver, &of.tables)
        .await?;
    let planned = EventQuery::parse(&of.query, &catalog)
        .and_then(|query| frame.engine.plan_at(&query, of.purpose, frame.clock()));
    match planned {
        Ok(Planned {
            catch_up: Some(catch_up),
            ..
        }) => catch_up.compile(frame.engine, connection).await,
        Ok(planned) => Ok(planned.statement),
        Err(error) => {
            frame.engine.forget_tables(&of.tables);
            Err(Stop::Refused(error))
        }
    }
}

enum Encoder {
    Text(Box<Text>),
    Columnar(Columnar),
}

impl Encoder {
    fn new(columns: Vec<Column>, options: &Options) -> Result<Self> {
        Ok(match options.format {
            Format::Csv | Format::Ndjson | Format::Json => {
                Self::Text(Box::new(Text::new(columns, options)?))
            }
            Format::Parquet | Format::Arrow => Self::Columnar(Columnar::new(columns, options)?),
        })
    }

    fn push(&mut self, row: &PgRow) -> Result<()> {
        match self {
            Self::Text(text) => text.push(row),
            Self::Columnar(columnar) => columnar.push(row),
        }
    }

    fn gathered(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Text(text) => text.gathered(),
            Self::Columnar(columnar) => columnar.gathered(),
        }
    }

    fn finish(self) -> Result<Vec<u8>> {
        match self {
            Self::Text(text) => text.finish(),
            Self::Columnar(columnar) => columnar.finish(),
        }
    }
}

/// Where chunks go.
struct Out<'a> {
    frame: &'a Frame<'a>,
    file: Option<Writing>,
    rows: u64,
    bytes: u64,
    told: Instant,
}

impl Out<'_> {
    async fn write(&mut self, chunk: Vec<u8>) -> Result<()> {
        self.bytes += chunk.len() as u64;
        self.frame.ticket.set_made(self.rows, self.bytes);
        let Some(file) = &mut self.file else {
            if !chunk.is_empty() {
                let mut json = format!("#{}\n", self.rows).into_bytes();
                json.extend_from_slice(&chunk);
                self.frame.send(Batch::new(json, false)).await;
            }
            return Ok(());
        };
        file.write(chunk).await?;
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            let json = json!({ "progress": self.rows }).to_string().into_bytes();
            self.frame.send(Batch::new(json, false)).await;
        }
        Ok(())
    }

    fn end(&self, columns: &[Column]) -> Batch {
        let columns: Vec<Wire> = columns
            .iter()
            .map(|c| json!({ "name": c.name, "type": c.kind.name() }))
            .collect();
        let mut end = json!(self.frame.end(self.rows, ""));
        end["bytes"] = self.bytes.into();
        end["columns"] = columns.into();
        Batch::new(json!({ "end": end }).to_string().into_bytes_ascii(), true)
    }
}
