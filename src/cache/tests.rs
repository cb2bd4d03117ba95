//! By which of its circumstances an entry is believed, each for itself: some can't be brought about
//! on a server at will.

use std::{sync::Arc, time::Instant};

use serde_json::json;

use super::answer::{Answer, Body};
use super::stamp::{Refusal, Said, Stamp};
use super::{Cache, Key, Options};
use crate::exec::{Config, Engine};
use crate::model::{snapshot::Snapshot, time::Timestamp};
use crate::sql::Statement;

const TEXT: &str = "10:20:12,14|nonce|1700000000.5|realm|42!|w|1000|2000|";

/// What becomes of a stamp.
type Change = fn(&mut Stamp);

fn stamp() -> Stamp {
    said("10:20:12,14|nonce|1700000000.5|realm|42!||1000|2000|").stamp
}

fn said(text: &str) -> Said {
    Said::parse(text).expect("a stamp")
}

fn snapshot(text: &str) -> Snapshot {
    Snapshot::parse(text).expect("a snapshot")
}

#[test]
fn a_stamp_leads_to_later_ones_of_the_same_circumstances_alone() {
    let leads_to = |change: Change| {
        let mut later = stamp();
        change(&mut later);
        stamp().leads_to(&later)
    };
    assert!(leads_to(|_| {}));
    assert!(leads_to(|s| s.snapshot = snapshot("14:25:14,22")));
    assert!(leads_to(|s| s.clock = Timestamp::from_micros(1999)));
    let refused: [(&str, Change); 8] = [
        ("another nonce", |s| "other".clone_into(&mut s.nonce)),
        ("another start", |s| "1700000001".clone_into(&mut s.started)),
        ("another realm", |s| "other".clone_into(&mut s.realm)),
        ("another table", |s| "43".clone_into(&mut s.fingerprint)),
        ("an earlier end", |s| s.snapshot = snapshot("10:19:12,14")),
        ("one that was seen still runs", |s| {
            s.snapshot = snapshot("10:25:12,13,14");
        }),
        ("a clock that went back", |s| {
            s.clock = Timestamp::from_micros(999);
        }),
        ("an event of the future has come to pass", |s| {
            s.clock = Timestamp::from_micros(2000);
        }),
    ];
    for (what, change) in refused {
        assert!(!leads_to(change), "{what}");
    }
}

#[test]
fn an_absent_nonce_leads_nowhere() {
    let mut absent = stamp();
    absent.nonce.clear();
    assert!(!absent.leads_to(&absent.clone()));
    let text = "10:20:|||realm|42!||1000||";
    assert_eq!(said(text).refusal(), Some(Refusal::NoNonce));
}

#[test]
fn every_trouble_is_a_refusal() {
    for (letter, refusal) in [
        ("s", Refusal::Standby),
        ("r", Refusal::RowSecurity),
        ("w", Refusal::Writes),
        ("i", Refusal::Isolation),
        ("k", Refusal::NotATable),
        ("t", Refusal::Unguarded),
        ("a", Refusal::Ahead),
    ] {
        let found = said(&TEXT.replace("|w|", &format!("|{letter}|"))).refusal();
        assert_eq!(found, Some(refusal));
    }
    assert_eq!(said(&TEXT.replace("|w|", "||")).refusal(), None);
    // No such table.
    let gone = TEXT.replace("|42!|w|", "|||");
    assert_eq!(said(&gone).refusal(), Some(Refusal::NotATable));
}

#[test]
fn nothing_has_happened_where_all_is_the_same_alone() {
    let now = "10:20:12,14|nonce|1700000000.5|realm|f";
    assert!(stamp().is_now(now));
    for (from, to) in [
        ("10:20:12,14", "10:20:14"),
        ("10:20:12,14", "10:21:12,14"),
        ("nonce", "other"),
        ("|nonce|", "||"),
        (".5", ".6"),
        ("realm", "other"),
        ("|f", "|t"),
        ("|f", ""),
    ] {
        assert!(!stamp().is_now(&now.replace(from, to)), "{from} {to}");
    }
    let mut absent = stamp();
    absent.nonce.clear();
    assert!(!absent.is_now(&now.replace("nonce", "")));
}

fn answer(seen: &str) -> Arc<Answer> {
    let stamp = Stamp {
        snapshot: snapshot(seen),
        ..stamp()
    };
    Arc::new(Answer {
        body: Arc::new(Body {
            batches: Vec::new(),
            tail: Arc::default(),
            rows: 0,
            cursor: None,
            kept: None,
            states: None,
            again: None,
            leaders: None,
        }),
        seen: seen.to_owned(),
        stamp: Some(stamp),
        checked: Instant::now(),
        cost: std::time::Duration::ZERO,
        gain: Arc::default(),
        expires: None,
        tags: Arc::default(),
    })
}

#[test]
fn an_older_answer_never_takes_the_place_of_a_newer_one() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let config = Config::from_json(r#"{"url":"postgres://nobody@localhost/none"}"#);
    let engine = Engine::new(config.expect("options"), None);
    let cache = Cache::new(Options::parse(&json!({})).expect("no options"), &engine);
    let nothing = Statement {
        sql: String::new(),
        binds: Vec::new(),
        columns: None,
        visible: 0,
        json_scalars: Vec::new(),
        computed: Vec::new(),
        keys: Vec::new(),
        token: None,
        limit: None,
        identity: 0,
        since: None,
    };
    let key = Arc::new(Key::new(
        "realm".to_owned(),
        "events".to_owned(),
        &nothing,
        None,
    ));
    let kept = || cache.kept(&key).map(|answer| answer.seen.clone());
    cache.keep(&key, &answer("20:20:"));
    cache.keep(&key, &answer("10:15:12"));
    assert_eq!(kept().as_deref(), Some("20:20:"));
    cache.keep(&key, &answer("25:25:"));
    assert_eq!(kept().as_deref(), Some("25:25:"));
}
