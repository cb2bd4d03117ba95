//! Why an index is not used.
//!
//! What the catalog shows is said at sight. For the rest the planner itself is asked: an empty
//! temporary table gets a copy of this one index, and the query is planned over it with sequential
//! scans made dear. Where even that plan leaves the index out, it cannot serve; where only a copy
//! without the predicate is used, the predicate is what is missing; where the copy is used, other
//! plans were cheaper. The copy is rolled back; no event is read.

use super::catalog::{self, Facts, Index};
use super::ladder::{LADDER, indexes_of};
use super::ready::Ready;
use crate::exec::connection::Connection;
use crate::exec::engine::Engine;
use crate::exec::fault::spares_connection;
use crate::exec::stop::Stop;
use crate::query::{EventQuery, Source};
use crate::sql::{Purpose, Target};

/// What can be said without a plan.
pub fn at_sight(index: &Index, facts: &Facts) -> Option<String> {
    if !index.is_valid {
        return Some(
            "it is invalid: a build of it failed or has not ended; REINDEX INDEX CONCURRENTLY makes it anew"
                .to_owned(),
        );
    }
    if index.place.is_none() && !facts.has_view {
        let table = index.table.quoted();
        return Some(format!(
            "it belongs to {table}, which the query does not read"
        ));
    }
    None
}

/// Rungs that between them leave no way but the one index.
const PROBES: [usize; 4] = [1, 3, 5, 6];

/// Why no settings made the planner use an index. Ends the transaction and leaves another open.
pub async fn why_not(
    engine: &Engine,
    connection: &mut Connection,
    ready: &Ready<'_>,
    index: &Index,
    instead: &[String],
) -> Result<String, Stop> {
    let cheaper = if instead.is_empty() {
        "reads the table without an index".to_owned()
    } else {
        format!("uses {}", instead.join(", "))
    };
    let lost = format!(
        "every plan with it costs more than the one that {cheaper}, under all planner settings tried"
    );
    let unknown = format!("under all planner settings tried, the cheapest plan {cheaper}");
    let Some(definition) = catalog::definition(&mut connection.driver, index.oid).await? else {
        return Ok(unknown);
    };
    let Some(place) = index.place else {
        return Ok(unknown);
    };
    match serves(engine, connection, ready, index, place, &definition.text).await? {
        None => return Ok(unknown),
        Some(true) => return Ok(lost),
        Some(false) => {}
    }
    let useless = format!(
        "none of the query's conditions and orders is one that it serves, by its columns and operator classes ({})",
        definition.text
    );
    let Some(predicate) = &definition.predicate else {
        return Ok(useless);
    };
    let served = match &definition.without_predicate {
        Some(whole) => serves(engine, connection, ready, index, place, whole).await?,
        None => None,
    };
    Ok(match served {
        Some(false) => format!(
            "its predicate {predicate} does not follow from the query's conditions, and {useless}"
        ),
        _ => format!(
            "it is partial, and its predicate {predicate} does not follow from the query's conditions"
        ),
    })
}

/// Whether a query can use an index of this definition, were it the only one; `None` where the role
/// or the server does not let us ask.
async fn serves(
    engine: &Engine,
    connection: &mut Connection,
    ready: &Ready<'_>,
    index: &Index,
    place: usize,
    definition: &str,
) -> Result<Option<bool>, Stop> {
    let Some(statement) = over_probe(engine, ready, place) else {
        return Ok(None);
    };
    let asked = async {
        let driver = &mut connection.driver;
        catalog::begin_probe(driver, &index.table, definition).await?;
        for rung in PROBES {
            catalog::settle(driver, &LADDER[rung], &[]).await?;
            let document = catalog::plan(driver, &statement, "").await?;
            if indexes_of(&document)
                .iter()
                .any(|name| name == catalog::PROBE_INDEX)
            {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match asked.await {
        Ok(serves) => Ok(Some(serves)),
        Err(Stop::Driver(error)) if spares_connection(&error) => Ok(None),
        Err(Stop::Refused(_)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// The query's statement over the empty copy instead of one of its tables.
fn over_probe(engine: &Engine, ready: &Ready<'_>, place: usize) -> Option<crate::sql::Statement> {
    let target = engine.target();
    if let Some(over) = ready.over {
        let table = catalog::probe_of(&target.table);
        return Some(over(&Target {
            table,
            ..Target::clone(&target)
        }));
    }
    let source = place
        .checked_sub(1)
        .map_or(Some(&ready.query.from), |nth| {
            ready.query.joins.get(nth).map(|join| &join.source)
        })?;
    let mut query = EventQuery::clone(ready.query);
    let mut table = target.table.clone();
    match source {
        Source::Events => table = catalog::probe_of(&target.table),
        Source::Table(wanted) => {
            let probe = std::sync::Arc::new(crate::model::catalog::Table {
                schema: "pg_temp".to_owned(),
                name: catalog::PROBE.to_owned(),
                ..crate::model::catalog::Table::clone(wanted)
            });
            let sources = std::iter::once(&mut query.from)
                .chain(query.joins.iter_mut().map(|join| &mut join.source));
            for source in sources {
                if matches!(source, Source::Table(other) if other == wanted) {
                    *source = Source::Table(std::sync::Arc::clone(&probe));
                }
            }
        }
        Source::Named(_) => return None,
    }
    // A cursor belongs to the real table; what it adds is one more condition on the order.
    query.after = None;
    let target = Target {
        table,
        ..Target::clone(&target)
    };
    let optimized = engine.optimize(&query);
    (optimized.compile(&query, &target, Purpose::Show, None)).ok()
}

/// Comments for `pg_hint_plan`, for each way to read the indexes. Names that could end a comment are
/// not written.
pub fn comments(ready: &Ready<'_>) -> Vec<String> {
    let relations: Vec<&Source> = std::iter::once(&ready.query.from)
        .chain(ready.query.joins.iter().map(|join| &join.source))
        .collect();
    let mut comments = Vec::new();
    for method in ["IndexOnlyScan", "BitmapScan"] {
        let mut hints = Vec::new();
        for index in ready.facts.indexes.iter().flatten() {
            let Some(source) = index.place.and_then(|place| relations.get(place)) else {
                continue;
            };
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if !index.name.chars().all(plain) {
                continue;
            }
            for (nth, relation) in relations.iter().enumerate() {
                if relation == source {
                    let alias = if nth == 0 {
                        "e".to_owned()
                    } else {
                        format!("j{nth}")
                    };
                    hints.push(format!("{method}({alias} {})", index.name));
                }
            }
        }
        if !hints.is_empty() {
            comments.push(format!("/*+ {} */ ", hints.join(" ")));
        }
    }
    comments
}
