//! JSON text that PostgreSQL can store as jsonb.
//!
//! The text is already known to be JSON. What jsonb cannot hold is found here, before any SQL, with
//! its path: U+0000, half of a surrogate pair, numbers beyond a double's range (whose digits would
//! fill pages), and nesting that would exhaust the server's stack.

use std::fmt::Write;

/// The deepest nesting stored. PostgreSQL's own limit is its stack's, several thousand levels.
pub const MAX_DEPTH: usize = 1000;
/// The decimal places of PostgreSQL's `numeric`: `NUMERIC_DSCALE_MAX` of its numeric.c.
const MAX_PLACES: i64 = 16_383;

/// What is wrong, and where below the text's root, such as `.a[3]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// For the caller.
    pub what: &'static str,
    /// A path that continues the caller's own.
    pub path: String,
}

/// Looks for what jsonb cannot hold.
///
/// # Errors
/// The first such thing.
pub fn check(json: &str) -> Result<(), Problem> {
    match scan(json.as_bytes()) {
        None => Ok(()),
        Some((what, at)) => Err(Problem {
            what,
            path: locate(json.as_bytes(), at),
        }),
    }
}

/// The first problem and its offset.
fn scan(json: &[u8]) -> Option<(&'static str, usize)> {
    let (mut depth, mut at) = (0_usize, 0);
    while at < json.len() {
        match json[at] {
            b'"' => {
                let (end, problem) = string(json, at);
                if problem.is_some() {
                    return problem.map(|what| (what, at));
                }
                at = end;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(("is nested deeper than 1,000 levels", at));
                }
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let end = number_end(json, at);
                if let Some(problem) = number_problem(&json[at..end]) {
                    return Some((problem, at));
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    None
}

/// The end of the string that begins at `at`, and what is wrong inside.
fn string(json: &[u8], at: usize) -> (usize, Option<&'static str>) {
    let mut i = at + 1;
    loop {
        match memchr::memchr2(b'"', b'\\', json.get(i..).unwrap_or_default()).map(|n| i + n) {
            None => return (json.len(), None),
            Some(end) if json[end] == b'"' => return (end + 1, None),
            Some(escape) if json.get(escape + 1) != Some(&b'u') => i = escape + 2,
            Some(escape) => match unit(json, escape) {
                Some(0) => return (i, Some("contains U+0000, which PostgreSQL cannot store")),
                Some(0xD800..=0xDBFF)
                    if matches!(unit(json, escape + 6), Some(0xDC00..=0xDFFF)) =>
                {
                    i = escape + 12;
                }
                Some(0xD800..=0xDFFF) => {
                    return (
                        i,
                        Some("contains half of a surrogate pair, which is no character"),
                    );
                }
                _ => i = escape + 6,
            },
        }
    }
}

/// The code unit of the `\uXXXX` at `at`.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn number_end(json: &[u8], at: usize) -> usize {
    let rest = json[at..]
        .iter()
        .position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    rest.map_or(json.len(), |n| at + n)
}

/// Why jsonb cannot hold a number, which it keeps with all digits.
fn number_problem(number: &[u8]) -> Option<&'static str> {
    let exponent_at = number.iter().position(|b| matches!(b, b'e' | b'E'));
    // Short and without an exponent: the ordinary case.
    if number.len() <= 300 && exponent_at.is_none() {
        return None;
    }
    let text = std::str::from_utf8(number).ok()?;
    if !text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some("is a number beyond the range of a double");
    }
    let (digits, exponent) = text.split_at(exponent_at.unwrap_or(text.len()));
    let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
    let exponent = exponent.get(1..).map_or(Ok(0), str::parse::<i64>);
    let fits = exponent.is_ok_and(|e| {
        let scale = i64::try_from(places).unwrap_or(i64::MAX).saturating_sub(e);
        e <= MAX_PLACES && scale <= MAX_PLACES
    });
    (!fits)
        .then_some("is a number outside of PostgreSQL's numeric, which has 16,383 decimal places")
}

/// The path of the value or key at an offset.
fn locate(json: &[u8], target: usize) -> String {
    enum Open<'a> {
        Object(Option<&'a [u8]>),
        Array(usize),
    }
    let mut open: Vec<Open<'_>> = Vec::new();
    let (mut at, mut expects_key) = (0, false);
    while at < target {
        match json[at] {
            b'{' => {
                open.push(Open::Object(None));
                expects_key = true;
            }
            b'[' => {
                open.push(Open::Array(0));
                expects_key = false;
            }
            b'}' | b']' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(Open::Array(index)) => *index += 1,
                Some(Open::Object(_)) => expects_key = true,
                None => {}
            },
            b':' => expects_key = false,
            b'"' => {
                let (end, _) = string(json, at);
                if let (true, Some(Open::Object(key))) = (expects_key, open.last_mut()) {
                    *key = Some(&json[at..end]);
                }
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in open.iter().take(16) {
        match level {
            Open::Object(Some(key)) => {
                let name: String = serde_json::from_slice(key).unwrap_or_default();
                path.push('.');
                path.push_str(&name);
            }
            Open::Object(None) => {}
            // Writing to a String cannot fail.
            Open::Array(index) => drop(write!(path, "[{index}]")),
        }
    }
    if open.len() > 16 {
        path.push('…');
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(json: &str) -> String {
        check(json).unwrap_err().path
    }

    #[test]
    fn what_jsonb_cannot_hold() {
        assert_eq!(path(r#"{"a":[1,{"b":"x\u0000"}]}"#), ".a[1].b");
        assert_eq!(path(r#"{"ok":1,"s":"\ud800"}"#), ".s");
        assert_eq!(path(r#"{"s":"\udc00\ud800"}"#), ".s");
        assert_eq!(path(r#"["\uD800\u0041"]"#), "[0]");
        assert_eq!(path(r#"{"a":{"n":1e999}}"#), ".a.n");
        assert!(check(&format!("{}{}", "[".repeat(1001), "]".repeat(1001))).is_err());
        for number in [
            "1e-16384",
            "0.1e-16383",
            "0e-99999",
            "0e999999999999",
            "-1e999",
        ] {
            assert_eq!(path(&format!("[{number}]")), "[0]", "{number}");
        }
    }

    #[test]
    fn what_it_can() {
        for json in [
            r#"{"s":"\ud83d\ude00 é \\u0000 \" \n"}"#,
            "{}",
            r#"[1e308,-0.5,"1e999",1e-16383,0e9999,0.0001E+9]"#,
            r#"{"":{"\u0041":[]}}"#,
        ] {
            assert_eq!(check(json), Ok(()), "{json}");
        }
        assert_eq!(
            check(&format!("{}{}", "[".repeat(1000), "]".repeat(1000))),
            Ok(())
        );
    }
}
