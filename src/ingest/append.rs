//! A few events in one transaction, or none of them.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value as Wire, json, value::RawValue};
use sqlx::{
    Row,
    postgres::{PgDatabaseError, PgRow},
};
use uuid::Uuid;

use super::condition::AppendCondition;
use super::event::{Completeness, Event};
use super::store;
use crate::exec::{
    Engine, Reason, Stop, arguments, blame_regex, fault, query_wire, spares_connection, sql_text,
};
use crate::model::{Error, Result, path::Path};
use crate::sql::Bind;

/// Events, checked, as they are sent.
pub(super) struct Batch {
    /// Their columns.
    pub(super) binds: [Bind; 6],
    ids: Vec<String>,
    places: HashMap<Uuid, usize>,
}

impl Engine {
    /// Appends events, given as a JSON list, and answers with the receipt. With a condition, as JSON,
    /// only where it holds.
    ///
    /// # Errors
    /// INVALID_EVENT, DUPLICATE_EVENT, APPEND_CONFLICT, INVALID_QUERY for a malformed condition, or why
    /// the server could not store them.
    pub async fn append(self: &Arc<Self>, json: &str, condition: Option<&str>) -> Result<Wire> {
        let condition = (condition.map(query_wire).transpose()?)
            .map(|wire| AppendCondition::parse(&wire))
            .transpose()?;
        let (batch, locks) = {
            let raw: Vec<&RawValue> = serde_json::from_str(json)
                .map_err(|e| Error::invalid_event("events", e.to_string()))?;
            let events = parse(&raw)?;
            let table = &self.target().table;
            let locks = condition.as_ref().map(|c| c.locks(&events, table));
            (Batch::of(&events)?, locks)
        };
        let ticket = self.registry.enter(Uuid::now_v7().to_string().into())?;
        let storing = async {
            match (&condition, &locks) {
                (Some(condition), Some(locks)) => self.append_under(&batch, condition, locks).await,
                _ => self.append_at_once(&batch).await,
            }
        };
        let stored = tokio::select! {
            stored = storing => stored,
            // The lease is dropped and its connection closed: the server rolls back, or has
            // committed and could not say so.
            Reason::Closed | Reason::Cancelled = ticket.stopped() => return Err(Error::Closed),
        };
        let row = stored.map_err(|stop| match stop {
            Stop::Driver(error) => {
                let regex = condition.and_then(|condition| condition.regex);
                self.explained(blame_regex(refusal(error, &batch.places), regex))
            }
            Stop::Refused(error) | Stop::Ours(error) => error,
        })?;
        let (snapshot, transaction): (String, String) = (
            row.try_get(0).map_err(fault)?,
            row.try_get(1).map_err(fault)?,
        );
        let token = self.token(&format!("{snapshot}+{transaction}"));
        Ok(json!({ "count": batch.ids.len(), "ids": batch.ids, "token": token }))
    }

    async fn append_at_once(self: &Arc<Self>, batch: &Batch) -> Result<PgRow, Stop> {
        let mut lease = self.pool.acquire_alive().await.map_err(Stop::Refused)?;
        let statement = sql_text(&store::append(&self.target().table));
        let values = arguments(&batch.binds).map_err(Stop::Refused)?;
        let running = sqlx::query_with(statement, values).fetch_one(&mut lease.connection().driver);
        match running.await {
            Ok(row) => {
                lease.release();
                Ok(row)
            }
            Err(error) => {
                if spares_connection(&error) {
                    lease.release();
                } else {
                    self.pool.forget_idle();
                }
                Err(Stop::Driver(error))
            }
        }
    }
}

fn parse<'a>(raw: &[&'a RawValue]) -> Result<Vec<Event<'a>>> {
    let root = Path::Root;
    let list = root.key("events");
    if raw.is_empty() {
        return Err(Error::invalid_event("events", "is empty"));
    }
    raw.iter()
        .enumerate()
        .map(|(i, raw)| Event::parse(raw.get(), Completeness::New, &list.index(i)))
        .collect()
}

impl Batch {
    fn of(events: &[Event<'_>]) -> Result<Self> {
        let mut places = HashMap::with_capacity(events.len());
        for (i, event) in events.iter().enumerate() {
            if places.insert(event.id, i).is_some() {
                return Err(duplicate(event.id, &places_path(i)));
            }
        }
        Ok(Self {
            binds: binds(events),
            ids: events.iter().map(|e| e.id.to_string()).collect(),
            places,
        })
    }
}

fn binds(events: &[Event<'_>]) -> [Bind; 6] {
    let texts = |of: fn(&Event<'_>) -> String| events.iter().map(of).collect();
    [
        Bind::Uuids(events.iter().map(|e| e.id).collect()),
        Bind::Texts(texts(|e| e.r#type.clone().into_owned())),
        Bind::Times(events.iter().map(|e| e.timestamp).collect()),
        Bind::Jsons(texts(|e| e.tags.to_owned())),
        Bind::Jsons(texts(|e| e.metadata.to_owned())),
        Bind::Jsons(texts(|e| e.data.to_owned())),
    ]
}

fn places_path(index: usize) -> String {
    format!("events[{index}].id")
}

fn duplicate(id: Uuid, path: &str) -> Error {
    Error::DuplicateEvent {
        path: Some(path.to_owned()),
        id: id.to_string(),
    }
}

/// A unique violation of one of our ids is DUPLICATE_EVENT; of anything else the server's error.
fn refusal(error: sqlx::Error, places: &HashMap<Uuid, usize>) -> Error {
    if let sqlx::Error::Database(db) = &error
        && let Some(db) = db.try_downcast_ref::<PgDatabaseError>()
        && db.code() == "23505"
        && let Some(id) = db.detail().and_then(duplicated_id)
        && let Some(at) = places.get(&id)
    {
        return duplicate(id, &places_path(*at));
    }
    fault(error)
}

/// The id in `Key (event_id)=(…) already exists.`, in whatever language.
fn duplicated_id(detail: &str) -> Option<Uuid> {
    let (_, after) = detail.split_once(")=(")?;
    Uuid::try_parse(after.split(')').next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::duplicated_id;

    #[test]
    fn reads_the_id_off_the_detail() {
        let id = "0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70";
        let detail = format!("Schlüssel »(event_id)=({id})« existiert bereits.");
        assert_eq!(
            duplicated_id(&detail).map(|id| id.to_string()).as_deref(),
            Some(id)
        );
        assert_eq!(duplicated_id("Key (name)=(x) already exists."), None);
    }
}
