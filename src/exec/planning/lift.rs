//! The constants in a query's JSON text, told from its shape without parsing it.
//!
//! What is lifted is no more than a guess of what may differ between queries of one shape: a
//! [`Template`](super::template::Template) is only kept where parsing and planning bear the guess out.

use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

/// A text's shape and its constants.
pub struct Lifted {
    /// Of the text without its constants.
    pub key: u128,
    /// The constants, as JSON, by their place in the text.
    pub constants: Vec<Range<usize>>,
}

/// More constants than that are looked up no faster than they are parsed.
const MOST: usize = 256;
const DEEPEST: usize = 32;

/// What scalars inside a container are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// Part of the shape.
    Shape,
    /// Constants where they are in a list.
    List,
    /// Constants, also as members.
    Members,
}

/// Lifts the constants; `None` for a text that is not worth it, or no JSON.
pub fn lift(text: &str) -> Option<Lifted> {
    let bytes = text.as_bytes();
    let mut hasher = Xxh3::new();
    let mut constants = Vec::new();
    let mut open: Vec<(u8, Inside)> = Vec::with_capacity(8);
    let mut from = 0;
    let mut at = 0;
    // The key that the next value belongs to.
    let mut key: &[u8] = b"";
    let mut lift_value = |range: Range<usize>, from: &mut usize, tag: u8| {
        hasher.update(&bytes[*from..range.start]);
        hasher.update(&[0, tag]);
        *from = range.end;
        constants.push(range);
        constants.len() <= MOST
    };
    while at < bytes.len() {
        let (container, inside) = open.last().copied().unwrap_or((0, Inside::Shape));
        match bytes[at] {
            b'{' | b'[' => {
                let inside = match (container, bytes[at], inside) {
                    (b'[', ..) => Inside::Shape,
                    // The values of one tag.
                    (_, b'[', Inside::Members) => Inside::List,
                    // Tags and their values in one: which tag is part of the shape.
                    (_, b'[', _) if key == b"tags" => Inside::Shape,
                    _ => of_key(key),
                };
                if open.len() == DEEPEST {
                    return None;
                }
                open.push((bytes[at], inside));
                key = b"";
                at += 1;
            }
            b'}' | b']' => {
                open.pop()?;
                key = b"";
                at += 1;
            }
            b'"' => {
                let end = string_end(bytes, at)?;
                let inner = &bytes[at + 1..end - 1];
                if container == b'{' && bytes.get(end) == Some(&b':') {
                    key = inner;
                    at = end + 1;
                    continue;
                }
                let is_constant = match container {
                    b'{' => is_scalar_key(key) || inside == Inside::Members,
                    _ => inside != Inside::Shape && !inner.contains(&b'*'),
                };
                if is_constant && !lift_value(at..end, &mut from, b's') {
                    return None;
                }
                at = end;
            }
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
                let end = at + length.count();
                let is_constant = match container {
                    b'{' => key == b"value",
                    _ => inside == Inside::List,
                };
                if is_constant && !lift_value(at..end, &mut from, b'n') {
                    return None;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    hasher.update(&bytes[from..]);
    Some(Lifted {
        key: hasher.digest128(),
        constants,
    })
}

/// What scalars are in the container that is the value of a key.
fn of_key(key: &[u8]) -> Inside {
    match key {
        b"value" | b"eventTypes" | b"eventIds" | b"issueIds" | b"prIds" | b"userIds"
        | b"providers" | b"platforms" => Inside::List,
        b"tags" => Inside::Members,
        _ => Inside::Shape,
    }
}

fn is_scalar_key(key: &[u8]) -> bool {
    matches!(key, b"value" | b"startTime" | b"endTime" | b"\\u0000t")
}

/// Behind the closing quote of the string that begins here.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::lift;

    fn constants(text: &str) -> Vec<&str> {
        let lifted = lift(text).unwrap();
        lifted
            .constants
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn constants_are_told_from_the_shape() {
        let text = r#"{"filter":{"issueIds":["4","5"],"tags":{"repo":"x\"y","os":["a"]},"startTime":{"\u0000t":"2026"},"where":{"and":[{"field":"data.n","op":"gt","value":5.5},{"field":"type","op":"in","value":["A",1]}]}},"orderBy":[{"field":"timestamp"}],"limit":20}"#;
        assert_eq!(
            constants(text),
            [
                r#""4""#,
                r#""5""#,
                r#""x\"y""#,
                r#""a""#,
                r#""2026""#,
                "5.5",
                r#""A""#,
                "1"
            ]
        );
    }

    #[test]
    fn only_constants_make_no_other_shape() {
        let key = |text: &str| lift(text).unwrap().key;
        let one = r#"{"filter":{"issueIds":["4"]},"limit":20}"#;
        assert_eq!(
            key(one),
            key(r#"{"filter":{"issueIds":["57"]},"limit":20}"#)
        );
        for other in [
            r#"{"filter":{"issueIds":["4","5"]},"limit":20}"#,
            r#"{"filter":{"issueIds":[4]},"limit":20}"#,
            r#"{"filter":{"issueIds":["4"]},"limit":21}"#,
            r#"{"filter":{"prIds":["4"]},"limit":20}"#,
        ] {
            assert_ne!(key(one), key(other), "{other}");
        }
        assert_ne!(
            key(r#"{"filter":{"eventTypes":["A.*"]}}"#),
            key(r#"{"filter":{"eventTypes":["B.*"]}}"#)
        );
    }

    #[test]
    fn broken_text_has_no_shape() {
        for text in ["\"", "{\"a", "}", "{\"a\\"] {
            assert!(lift(text).is_none(), "{text}");
        }
    }
}
