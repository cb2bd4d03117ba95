//! What was forgotten by hand, as it stands in Redis: numbers that only rise, by Redis' own clock, and what
//! each is for. A list that was lost begins with a number that none had before.

use crate::cache::scope::Scope;

/// Gives the last number; where there is no list, begins one.
pub const LAST: &str = "\
local last = redis.call('LINDEX', KEYS[1], -1)
if last then return string.match(last, '^%d+') end
local time = redis.call('TIME')
local number = string.format('%.0f', time[1] * 1000000 + time[2])
redis.call('RPUSH', KEYS[1], number .. ' -')
return number";

/// Adds what is in the arguments, and cuts the list.
pub const ADD: &str = "\
local last = redis.call('LINDEX', KEYS[1], -1)
local before = last and tonumber(string.match(last, '^%d+')) or 0
local time = redis.call('TIME')
local number = math.max(time[1] * 1000000 + time[2], before + 1)
for i, scope in ipairs(ARGV) do
  redis.call('RPUSH', KEYS[1], string.format('%.0f', number + i - 1) .. ' ' .. scope)
end
redis.call('LTRIM', KEYS[1], -1000, -1)
return string.format('%.0f', number)";

/// The list.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<(u64, Option<Scope>)>,
    last: String,
}

impl Log {
    /// Reads the list's entries.
    pub fn read(entries: &[String]) -> Self {
        let read = |entry: &String| {
            let (number, scope) = entry.split_once(' ')?;
            let scope = match scope {
                "-" => None,
                // What can't be read is for everything.
                scope => Some(
                    (serde_json::from_str(scope).ok())
                        .and_then(|wire| Scope::read(&wire))
                        .unwrap_or_else(|| Scope::Pattern("*".to_owned())),
                ),
            };
            Some((number.parse().ok()?, scope))
        };
        Self {
            entries: entries.iter().filter_map(read).collect(),
            last: entries.last().cloned().unwrap_or_default(),
        }
    }

    /// Whether this is its last entry.
    pub fn ends_with(&self, last: &str) -> bool {
        self.last == last
    }

    /// Whether what was written after a number still stands.
    pub fn stands(&self, written: u64, covers: impl Fn(&Scope) -> bool) -> bool {
        let place = (self.entries.iter()).position(|(number, _)| *number == written);
        place.is_some_and(|place| {
            (self.entries[place + 1..].iter())
                .filter_map(|(_, scope)| scope.as_ref())
                .all(|scope| !covers(scope))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_until_something_behind_it_covers_it() {
        let log = Log::read(&[
            "10 -".to_owned(),
            r#"11 {"key":"a"}"#.to_owned(),
            r#"12 {"pattern":"b*"}"#.to_owned(),
        ]);
        let stands = |written, name: &str| log.stands(written, |scope| scope.covers(name, "", &[]));
        assert!(stands(10, "c") && stands(11, "a") && stands(12, "b"));
        assert!(!stands(10, "a") && !stands(10, "b") && !stands(11, "b"));
        // Another list's, or one that was cut off.
        assert!(!stands(9, "c") && !stands(13, "c"));
        assert!(log.ends_with(r#"12 {"pattern":"b*"}"#) && !log.ends_with("10 -"));
        let odd = Log::read(&["1 -".to_owned(), "2 {}".to_owned()]);
        assert!(!odd.stands(1, |scope| scope.covers("x", "", &[])));
    }
}
