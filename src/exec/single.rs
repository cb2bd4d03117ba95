//! Answers by one statement: a query's, or the caller's own SQL.

use super::batch::Batch;
use super::connection::Connection;
use super::fault::may_be_outdated;
use super::frame::Frame;
use super::lease::Lease;
use super::pinned::Pinned;
use super::request::{OfTables, Planned, Single};
use super::stop::Stop;
use super::user::UserSql;
use crate::model::Result;
use crate::query::EventQuery;

/// Answers in one attempt.
///
/// # Errors
/// Why not. CONNECTION_FAILED before a batch was sent means that it can be tried again.
pub async fn attempt(frame: &Frame<'_>, single: &Single) -> Result<Batch> {
    if let Single::Query(planned) = single
        && planned.is_empty
    {
        let floor = frame.engine.pool.seen_snapshot();
        return Ok(frame.nothing(&planned.statement, &floor));
    }
    let lease = frame.lease().await?;
    answer(frame, single, lease).await
}

/// Answers on a connection that is there already.
///
/// # Errors
/// As [`attempt`].
pub async fn answer(frame: &Frame<'_>, single: &Single, mut lease: Lease) -> Result<Batch> {
    let floor = lease.seen_snapshot();
    let connection = lease.connection();
    let mut produced = produce(frame, connection, single, &floor).await;
    if let Err(Stop::Driver(error)) = &produced
        && !frame.has_sent()
        && may_be_outdated(error)
    {
        // Once more, parsed anew. A statement that is wrong in itself fails again.
        produced = match frame.afresh(connection).await {
            Ok(()) => produce(frame, connection, single, &floor).await,
            Err(stop) => Err(stop),
        };
    }
    lease.settle(&produced);
    Ok(produced?)
}

async fn produce(
    frame: &Frame<'_>,
    connection: &mut Connection,
    single: &Single,
    floor: &str,
) -> Result<Batch, Stop> {
    match single {
        Single::Query(planned) => of_query(frame, connection, planned, floor).await,
        Single::User(user) => of_user(frame, connection, user, floor).await,
        Single::OfTables(of) => of_tables(frame, connection, of, floor).await,
    }
}

async fn of_query(
    frame: &Frame<'_>,
    connection: &mut Connection,
    planned: &Planned,
    floor: &str,
) -> Result<Batch, Stop> {
    match &planned.catch_up {
        Some(catch_up) => catch_up.produce(frame, connection, floor).await,
        None => (frame.produce(connection, &planned.statement, floor)).await,
    }
}

/// Looks the tables up, where they are not known, and runs what the query then compiles to.
async fn of_tables(
    frame: &Frame<'_>,
    connection: &mut Connection,
    of: &OfTables,
    floor: &str,
) -> Result<Batch, Stop> {
    let engine = frame.engine;
    let catalog = engine.learn(&mut connection.driver, &of.tables).await?;
    let planned = EventQuery::parse(&of.query, &catalog).and_then(|query| {
        let planned = engine.plan_at(&query, of.purpose, frame.clock())?;
        let shape = engine.shape_of(&planned.statement, &query);
        engine.offer(&shape, &planned);
        let fingerprint = shape.fingerprint;
        (frame.ticket).set_shape(shape);
        Ok((planned, fingerprint))
    });
    let produced = match planned {
        Ok((planned, _)) if planned.is_empty => Ok(frame.nothing(&planned.statement, floor)),
        Ok((planned, fingerprint)) => match engine.pins.of(fingerprint) {
            Some(rung) if planned.catch_up.is_none() => {
                (Pinned { planned, rung }.produce(frame, connection, floor)).await
            }
            _ => of_query(frame, connection, &planned, floor).await,
        },
        Err(error) => Err(Stop::Refused(error)),
    };
    if produced.is_err() {
        // A table may have changed, or been made, since it was looked up.
        engine.forget_tables(&of.tables);
    }
    produced
}

async fn of_user(
    frame: &Frame<'_>,
    connection: &mut Connection,
    user: &UserSql,
    floor: &str,
) -> Result<Batch, Stop> {
    connection.begin_read_only().await?;
    let produced = match user.prepare(connection).await {
        Ok(statement) => frame.produce(connection, &statement, floor).await,
        Err(stop) => Err(stop),
    };
    connection.end_reading(produced).await
}
