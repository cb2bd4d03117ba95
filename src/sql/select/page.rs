//! Where a page begins: what the cursor of the page before holds, beside the values of its last row.

use crate::model::{Error, Result, snapshot::Snapshot, time::Timestamp};
use crate::query::{Cursor, EventQuery, KeyValue, Window};
use crate::sql::keyset::foreign_cursor;

/// Where a page begins.
#[derive(Default)]
pub struct Page {
    pub keys: Option<Vec<KeyValue>>,
    /// Of a window that ends at the clock: what it was for page one.
    pub clock: Option<Timestamp>,
    /// Of a query with `since`: what page one looked at.
    pub upto: Option<Snapshot>,
}

impl Page {
    pub fn of(query: &EventQuery, identity: u64) -> Result<Self> {
        let Some(after) = &query.after else {
            return Ok(Self::default());
        };
        let mut keys = match (Cursor::decode(after, identity), &query.since) {
            (Ok(cursor), _) => cursor.keys,
            (Err(_), Some(since)) if since.goes_on => {
                return Err(Error::invalid(
                    "since",
                    "is the token of an answer that was cut by its limit: only the same query, with its filter and order, goes on from there",
                ));
            }
            (Err(error), _) => return Err(error),
        };
        let upto = match (&query.since, keys.last()) {
            (None, _) => None,
            (Some(_), Some(KeyValue::Text(text))) => {
                let upto = Snapshot::parse(text).ok_or_else(foreign_cursor)?;
                keys.pop();
                Some(upto)
            }
            (Some(_), _) => return Err(foreign_cursor()),
        };
        let mut clock = None;
        if let Some(Window::Last(_)) = query.window {
            match keys.pop() {
                Some(KeyValue::Time(at)) => clock = Some(at),
                _ => return Err(foreign_cursor()),
            }
        }
        Ok(Self {
            keys: Some(keys),
            clock,
            upto,
        })
    }
}
