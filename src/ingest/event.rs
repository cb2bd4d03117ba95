//! One event, checked: what may be stored, and the path of what may not.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::{NoContext, Uuid};

use super::json;
use crate::model::{Error, Result, path::Path, time::Timestamp};

/// An event that can be stored. The JSON columns are the caller's own text.
pub struct Event<'a> {
    pub id: Uuid,
    pub r#type: Cow<'a, str>,
    pub timestamp: Timestamp,
    pub tags: &'a str,
    pub metadata: &'a str,
    pub data: &'a str,
}

/// Whether id and timestamp may be left out, to be made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// A new event.
    New,
    /// One that exists elsewhere.
    Whole,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Members<'a>(#[serde(borrow)] BTreeMap<Cow<'a, str>, &'a RawValue>);

const KEYS: [&str; 6] = ["id", "type", "timestamp", "tags", "metadata", "data"];

impl<'a> Event<'a> {
    /// Parses and checks an event.
    ///
    /// # Errors
    /// INVALID_EVENT with the path of what is wrong, below `path`.
    pub fn parse(json: &'a str, completeness: Completeness, path: &Path<'_>) -> Result<Self> {
        let Members(members) =
            serde_json::from_str(json).map_err(|e| Error::invalid_event(path, syntax(&e)))?;
        if let Some(unknown) = members.keys().find(|k| !KEYS.contains(&k.as_ref())) {
            return Err(Error::invalid_event(
                path.key(unknown),
                format!("is no member of an event; known are {}", KEYS.join(", ")),
            ));
        }
        let member = |name: &str| members.get(name).map(|raw| raw.get());
        let timestamp = timestamp(member("timestamp"), completeness, &path.key("timestamp"))?;
        Ok(Self {
            id: id(member("id"), timestamp, completeness, &path.key("id"))?,
            r#type: event_type(member("type"), &path.key("type"))?,
            timestamp,
            tags: tags(member("tags"), &path.key("tags"))?,
            metadata: object(member("metadata"), &path.key("metadata"))?,
            data: object(member("data"), &path.key("data"))?,
        })
    }
}

/// What is wrong with text that should be an object. serde_json's message goes without its position,
/// which is that of a line the caller may not see, and without the values that it quotes.
fn syntax(error: &serde_json::Error) -> String {
    if error.is_data() {
        return "is not an object".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!("is not JSON: {text}")
}

fn text<'a>(raw: &'a str, path: &Path<'_>) -> Result<Cow<'a, str>> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw)
        .map(|t| t.0)
        .map_err(|_| Error::invalid_event(path, "must be a string"))
}

fn timestamp(raw: Option<&str>, completeness: Completeness, path: &Path<'_>) -> Result<Timestamp> {
    match (raw, completeness) {
        (Some(raw), _) => {
            Timestamp::parse(&text(raw, path)?).map_err(|why| Error::invalid_event(path, why))
        }
        (None, Completeness::New) => Ok(Timestamp::from_micros(
            jiff::Timestamp::now().as_millisecond() * 1000,
        )),
        (None, Completeness::Whole) => Err(Error::invalid_event(path, "is missing")),
    }
}

fn id(
    raw: Option<&str>,
    at: Timestamp,
    completeness: Completeness,
    path: &Path<'_>,
) -> Result<Uuid> {
    match (raw, completeness) {
        (Some(raw), _) => {
            let text = text(raw, path)?;
            Uuid::try_parse(&text)
                .ok()
                .filter(|_| text.len() == 36)
                .ok_or_else(|| {
                    Error::invalid_event(
                        path,
                        "must be a UUID such as 0197b0a2-6f0c-7c3e-9d1f-2b8e5a4c6d70",
                    )
                })
        }
        (None, Completeness::New) => Ok(new_id(at)),
        (None, Completeness::Whole) => Err(Error::invalid_event(path, "is missing")),
    }
}

/// A UUIDv7 of the event's own time. Those of one millisecond, made one after the other, ascend.
fn new_id(at: Timestamp) -> Uuid {
    static LAST: Mutex<Uuid> = Mutex::new(Uuid::nil());
    let seconds = u64::try_from(at.as_micros().div_euclid(1_000_000)).unwrap_or(0);
    let nanos = u32::try_from(at.as_micros().rem_euclid(1_000_000) * 1000).unwrap_or(0);
    // `ContextV7` is for clocks: it would give an earlier time the id of a later one.
    let random = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos));
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last = successor(*last, random).unwrap_or(random);
    *last
}

/// The id after `last` by a random step, where both are of one millisecond.
fn successor(last: Uuid, random: Uuid) -> Option<Uuid> {
    /// What is behind the variant: 62 random bits.
    const TAIL: u64 = (1 << 62) - 1;
    let ((head, tail), (random_head, random_tail)) = (last.as_u64_pair(), random.as_u64_pair());
    if head >> 16 != random_head >> 16 {
        return None;
    }
    let step = (random_tail >> 24 & 0xFFFF_FFFF) + 1;
    let next = (tail & TAIL) + step;
    // The 12 bits behind the version take the carry; should they too be full, the order is lost.
    let head = if next > TAIL { head + 1 } else { head };
    (head >> 12 == last.as_u64_pair().0 >> 12)
        .then(|| Uuid::from_u64_pair(head, tail & !TAIL | next & TAIL))
}

/// AGGREGATE.ACTION.STATUS: two parts or more of capitals, digits and underscores.
fn event_type<'a>(raw: Option<&'a str>, path: &Path<'_>) -> Result<Cow<'a, str>> {
    let name = text(
        raw.ok_or_else(|| Error::invalid_event(path, "is missing"))?,
        path,
    )?;
    let part = |p: &str| {
        !p.is_empty()
            && p.bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    if name.len() > 255 || name.split('.').count() < 2 || !name.split('.').all(part) {
        return Err(Error::invalid_event(
            path,
            "must be AGGREGATE.ACTION.STATUS, such as 'CODE.GENERATED.SUCCESS'",
        ));
    }
    Ok(name)
}

fn object<'a>(raw: Option<&'a str>, path: &Path<'_>) -> Result<&'a str> {
    let raw = raw.unwrap_or("{}");
    if !raw.starts_with('{') {
        return Err(Error::invalid_event(path, "must be an object"));
    }
    json::check(raw)
        .map_err(|problem| Error::invalid_event(format!("{path}{}", problem.path), problem.what))?;
    Ok(raw)
}

fn tags<'a>(raw: Option<&'a str>, path: &Path<'_>) -> Result<&'a str> {
    let raw = object(raw, path)?;
    let Members(members) =
        serde_json::from_str(raw).map_err(|e| Error::invalid_event(path, syntax(&e)))?;
    match members
        .iter()
        .find(|(_, value)| !value.get().starts_with('"'))
    {
        Some((key, _)) => Err(Error::invalid_event(
            path.key(key),
            "must be a string, as every tag is",
        )),
        None => Ok(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(json: &str) -> String {
        match Event::parse(json, Completeness::New, &Path::Root) {
            Err(error) => error.path().unwrap_or_default().to_owned(),
            Ok(_) => panic!("{json} was taken"),
        }
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(wrong(r#"{"type":"a.b.c"}"#), "type");
        assert_eq!(wrong(r#"{"type":"A"}"#), "type");
        assert_eq!(wrong(r"{}"), "type");
        assert_eq!(wrong(r#"{"type":"A.B","tags":{"x":1}}"#), "tags.x");
        assert_eq!(wrong(r#"{"type":"A.B","id":"1"}"#), "id");
        assert_eq!(
            wrong(r#"{"type":"A.B","timestamp":"2026-01-01T00:00:00"}"#),
            "timestamp"
        );
        assert_eq!(wrong(r#"{"type":"A.B","data":[]}"#), "data");
        assert_eq!(
            wrong(r#"{"type":"A.B","data":{"a":{"b":"\u0000"}}}"#),
            "data.a.b"
        );
        assert_eq!(wrong(r#"{"type":"A.B","extra":1}"#), "extra");
        assert_eq!(wrong("nonsense"), "");
    }

    #[test]
    fn makes_what_is_left_out() {
        let event = Event::parse(
            r#"{"type":"A.B.C","timestamp":"2026-01-01T00:00:00.123Z"}"#,
            Completeness::New,
            &Path::Root,
        )
        .ok();
        let event = event.as_ref();
        assert_eq!(event.map(|e| e.id.get_version_num()), Some(7));
        let (seconds, nanos) = event
            .and_then(|e| e.id.get_timestamp())
            .map(|t| t.to_unix())
            .unwrap_or_default();
        assert_eq!((seconds, nanos / 1_000_000), (1_767_225_600, 123));
        assert_eq!(event.map(|e| (e.tags, e.data)), Some(("{}", "{}")));
        assert!(Event::parse(r#"{"type":"A.B.C"}"#, Completeness::Whole, &Path::Root).is_err());
    }

    #[test]
    fn ids_have_the_time_of_their_event() {
        let times = [5_000_000, 5_000_999, 5_000_500, 1_000, 1_000, 7_000_000];
        let ids: Vec<Uuid> = times.map(|at| new_id(Timestamp::from_micros(at))).to_vec();
        let millis = |id: &Uuid| id.as_u64_pair().0 >> 16;
        assert_eq!(
            ids.iter().map(millis).collect::<Vec<_>>(),
            [5000, 5000, 5000, 1, 1, 7000]
        );
        assert!(
            ids.iter()
                .all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122)
        );
    }

    #[test]
    fn ids_of_a_millisecond_ascend() {
        let random = Uuid::from_u128(0x0000_0000_1388_7000_8000_0000_0000_0000);
        let next = successor(random, random);
        assert!(next.is_some_and(|next| next > random && next.get_version_num() == 7));
        let full = Uuid::from_u128(0x0000_0000_1388_7000_BFFF_FFFF_FFFF_FFFF);
        assert_eq!(
            successor(full, random),
            Some(Uuid::from_u128(0x0000_0000_1388_7001_8000_0000_0000_0000))
        );
        let last = Uuid::from_u128(0x0000_0000_1388_7FFF_BFFF_FFFF_FFFF_FFFF);
        assert_eq!(successor(last, random), None);
        assert_eq!(successor(Uuid::from_u128(1 << 120), random), None);
    }
}
