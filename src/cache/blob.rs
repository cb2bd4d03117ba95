//! An answer as bytes that another process can take up: whole, with its key and its stamp.
//!
//! Whoever reads one believes it no more than an entry of its own: it is where a check begins. What is
//! kept of groups goes along, so that new events are added to a grouped answer from elsewhere too. Bytes
//! that were changed on the way, or written by another version of this module, are none.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value as Wire, json};
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::{Answer, Body};
use super::key::Key;
use super::splice::Part;
use super::stamp::Stamp;
use super::states::States;
use crate::model::{snapshot::Snapshot, time::Timestamp};
use crate::query::Cursor;

/// Changes with what is written.
const PLAIN: u8 = 0x23;
const COMPRESSED: u8 = 0x24;
/// What states come to is this version's own.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// From here on, zstd at its fastest is quicker than the network.
const LARGE: usize = 8 << 10;
/// More than any answer that memory keeps.
const LARGEST: usize = 1 << 30;

/// An answer with a stamp, as bytes.
pub fn write(key: &Key, answer: &Answer) -> Option<Vec<u8>> {
    let stamp = answer.stamp.as_ref()?;
    let body = &answer.body;
    let cursor = body.cursor.as_ref().map(|keys| {
        let keys = keys.clone();
        Cursor { identity: 0, keys }.encode()
    });
    let ids = |kept: &Vec<Uuid>| kept.iter().map(Uuid::to_string).collect::<Wire>();
    let head = json!({
        "version": VERSION,
        "key": [key.realm, key.query, key.table],
        "stamp": [
            stamp.snapshot.to_string(), stamp.nonce, stamp.started, stamp.realm, stamp.fingerprint,
            stamp.clock.as_micros(), stamp.horizon.map(Timestamp::as_micros),
            stamp.edges.map(|(a, b)| [a.as_micros(), b.as_micros()]),
        ],
        "seen": answer.seen,
        "cost": u64::try_from(answer.cost.as_micros()).unwrap_or(0),
        "tags": &*answer.tags,
        "rows": body.rows,
        "cursor": cursor,
        "kept": body.kept.as_ref().map(ids),
        "parts": body.batches.iter().map(|part| part.json.len()).collect::<Vec<_>>(),
        "tail": body.tail.json.len(),
        "states": body.states.as_ref().map(States::outline),
    })
    .to_string();
    let states = (body.states.iter()).flat_map(States::parts);
    let mut bytes = Vec::with_capacity(head.len() + body.bytes() + 16);
    bytes.extend_from_slice(&u32::try_from(head.len()).ok()?.to_le_bytes());
    bytes.extend_from_slice(head.as_bytes());
    for part in &body.batches {
        bytes.extend_from_slice(&part.json);
    }
    bytes.extend_from_slice(&body.tail.json);
    for rows in states {
        bytes.extend_from_slice(rows);
    }
    let whole = u32::try_from(bytes.len()).ok()?;
    let (mark, content) = if bytes.len() < LARGE {
        (PLAIN, bytes)
    } else {
        (COMPRESSED, zstd::bulk::compress(&bytes, 1).ok()?)
    };
    let mut blob = Vec::with_capacity(content.len() + 13);
    blob.push(mark);
    blob.extend_from_slice(&xxh3_64(&content).to_le_bytes());
    blob.extend_from_slice(&whole.to_le_bytes());
    blob.extend_from_slice(&content);
    Some(blob)
}

/// The answer of a blob; `None` where it is of another key or version, or broken.
pub fn read(key: &Key, blob: &[u8]) -> Option<Answer> {
    let (mark, rest) = blob.split_first()?;
    let (sum, rest) = rest.split_first_chunk::<8>()?;
    let (size, content) = rest.split_first_chunk::<4>()?;
    if u64::from_le_bytes(*sum) != xxh3_64(content) {
        return None;
    }
    let unpacked;
    let bytes = match *mark {
        PLAIN => content,
        COMPRESSED => {
            let size = u32::from_le_bytes(*size) as usize;
            if size > LARGEST {
                return None;
            }
            unpacked = zstd::bulk::decompress(content, size).ok()?;
            &unpacked
        }
        _ => return None,
    };
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (head, mut rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let head: Wire = serde_json::from_slice(head).ok()?;
    // Names are hashes: two keys may share one.
    if head["key"] != json!([key.realm, key.query, key.table]) || head["version"] != VERSION {
        return None;
    }
    let mut part = |size: &Wire| {
        let (part, behind) = rest.split_at_checked(usize::try_from(size.as_u64()?).ok()?)?;
        rest = behind;
        Some(part)
    };
    let mut batches = Vec::new();
    for size in head["parts"].as_array()? {
        batches.push(Arc::new(Part::new(part(size)?.to_vec(), Vec::new())));
    }
    let tail = Arc::new(Part::new(part(&head["tail"])?.to_vec(), Vec::new()));
    let states = match &head["states"] {
        Wire::Null => None,
        outline => Some(States::read(outline, &mut part)?),
    };
    let text = |value: &Wire| value.as_str().map(str::to_owned);
    let cursor = match &head["cursor"] {
        Wire::Null => None,
        cursor => Some(Cursor::decode(cursor.as_str()?, 0).ok()?.keys),
    };
    let kept = match &head["kept"] {
        Wire::Array(ids) => Some(
            ids.iter()
                .map(|id| Uuid::try_parse(id.as_str()?).ok())
                .collect::<Option<Vec<_>>>()?,
        ),
        _ => None,
    };
    let tags: Option<Vec<String>> = head["tags"].as_array()?.iter().map(text).collect();
    Some(Answer {
        body: Arc::new(Body {
            batches,
            tail,
            rows: head["rows"].as_u64()?,
            cursor,
            kept,
            states,
            again: None,
            leaders: None,
        }),
        stamp: Some(stamp(&head["stamp"])?),
        seen: text(&head["seen"])?,
        // Never served for its age: a check comes first.
        checked: Instant::now(),
        cost: Duration::from_micros(head["cost"].as_u64()?),
        gain: Arc::default(),
        expires: None,
        tags: tags?.into(),
    })
}

fn stamp(parts: &Wire) -> Option<Stamp> {
    let text = |i: usize| parts[i].as_str().map(str::to_owned);
    let time = |value: &Wire| value.as_i64().map(Timestamp::from_micros);
    Some(Stamp {
        snapshot: Snapshot::parse(parts[0].as_str()?)?,
        nonce: text(1)?,
        started: text(2)?,
        realm: text(3)?,
        fingerprint: text(4)?,
        clock: time(&parts[5])?,
        horizon: time(&parts[6]),
        edges: (time(&parts[7][0])).zip(time(&parts[7][1])),
    })
}
