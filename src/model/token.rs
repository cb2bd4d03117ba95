//! Tokens: what an answer or a write has seen, as text that callers carry from one call to another.
//!
//! Layout before base64url: version, the database's mark, what was seen, where an answer was cut by a
//! limit the rest of it, and a checksum, by `|`. A token is no secret and grants nothing. A forged one
//! could make `since` repeat or leave out events to whoever forged it.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as TEXT};
use xxhash_rust::xxh3::xxh3_64;

use super::path::Path;
use super::snapshot::Seen;
use super::{Error, Result};

const VERSION: &str = "2";

/// Tells databases apart: transaction ids of one mean nothing in another. Made from the cluster's
/// system identifier and the database's oid, so a restored dump is another database, and so is an
/// upgraded cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin(u64);

impl Origin {
    /// The mark of a database.
    pub fn of(system: &str, database: u32) -> Self {
        Self(xxh3_64(format!("{system}/{database}").as_bytes()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What an answer or a write has seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    /// Where.
    pub origin: Origin,
    /// What.
    pub seen: Seen,
    /// What it did not return of that, where it is a page of `since`.
    pub rest: Option<Rest>,
}

/// The events that a page of `since` was cut off from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rest {
    /// What its `since` was.
    pub since: Seen,
    /// Where it ended: the text of a cursor.
    pub cursor: String,
}

impl Token {
    /// The text that callers carry. Snapshots are as the server wrote them.
    pub fn text(origin: Origin, seen: &str) -> String {
        sealed(format!("{VERSION}|{origin}|{seen}"))
    }

    /// The same for a page that was cut.
    pub fn text_of_page(origin: Origin, seen: &str, rest: &Rest) -> String {
        let Rest { since, cursor } = rest;
        sealed(format!("{VERSION}|{origin}|{seen}|{since}|{cursor}"))
    }

    /// Reads a token.
    ///
    /// # Errors
    /// INVALID_QUERY at `path`
    pub fn parse(text: &str, path: &Path<'_>) -> Result<Self> {
        open(text).ok_or_else(|| {
            Error::invalid(
                path,
                "is not a token that this version made: take it from a result or a receipt as it is",
            )
        })
    }

    /// Refuses a token of another database.
    ///
    /// # Errors
    /// INVALID_QUERY at `path`
    pub fn check_origin(&self, here: Origin, path: impl fmt::Display) -> Result<()> {
        self.origin.check(here, path)
    }
}

impl Origin {
    /// Refuses a token of another database.
    ///
    /// # Errors
    /// INVALID_QUERY at `path`
    pub fn check(self, here: Self, path: impl fmt::Display) -> Result<()> {
        if self == here {
            return Ok(());
        }
        Err(Error::invalid(
            path,
            "is a token of another database: what it saw says nothing about this one",
        ))
    }
}

fn sealed(mut body: String) -> String {
    let sum = checksum(&body);
    body.push('|');
    body.push_str(&sum);
    TEXT.encode(body)
}

fn checksum(body: &str) -> String {
    // Enough against a cut or mistyped token.
    format!("{:08x}", xxh3_64(body.as_bytes()) >> 32)
}

fn open(text: &str) -> Option<Token> {
    let body = String::from_utf8(TEXT.decode(text).ok()?).ok()?;
    let (body, sum) = body.rsplit_once('|')?;
    if sum != checksum(body) {
        return None;
    }
    let parts: Vec<&str> = body.split('|').collect();
    let (head, rest) = parts.split_first_chunk::<3>()?;
    let [VERSION, origin, seen] = *head else {
        return None;
    };
    Some(Token {
        origin: Origin(u64::from_str_radix(origin, 16).ok()?),
        seen: Seen::parse(seen)?,
        rest: match *rest {
            [] => None,
            [since, cursor] => Some(Rest {
                since: Seen::parse(since)?,
                cursor: cursor.to_owned(),
            }),
            _ => return None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Token {
        Token {
            origin: Origin::of("7301", 16384),
            seen: Seen::parse("10:20:14+20").unwrap(),
            rest: Some(Rest {
                since: Seen::parse("3:9:").unwrap(),
                cursor: "AbC_-1".to_owned(),
            }),
        }
    }

    fn parse(text: &str) -> Result<Token> {
        Token::parse(text, &Path::Root.key("since"))
    }

    #[test]
    fn comes_back_as_it_was() {
        let Token { origin, seen, rest } = page();
        let text = Token::text_of_page(origin, &seen.to_string(), rest.as_ref().unwrap());
        assert_eq!(parse(&text).unwrap(), page());
        let plain = parse(&Token::text(origin, "10:20:14")).unwrap();
        assert_eq!(
            (plain.seen.to_string(), plain.rest),
            ("10:20:14".to_owned(), None)
        );
    }

    #[test]
    fn every_change_of_a_character_and_every_cut_is_refused_at_its_path() {
        let text = Token::text(page().origin, "10:20:14,15+21");
        for i in 0..text.len() {
            let mut changed: Vec<u8> = text.clone().into_bytes();
            changed[i] = if changed[i] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(parse(&changed).unwrap_err().path(), Some("since"), "{i}");
            assert!(parse(&text[..i]).is_err(), "{i}");
        }
        for text in ["", "x", "%", "MTo3OjcK", &TEXT.encode("1:10:20:14")] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn another_database_is_refused() {
        let here = Origin::of("7301", 16385);
        let error = page().origin.check(here, "since").unwrap_err();
        assert_eq!(
            (error.code(), error.path()),
            ("INVALID_QUERY", Some("since"))
        );
        assert!(page().origin.check(page().origin, "since").is_ok());
    }
}
