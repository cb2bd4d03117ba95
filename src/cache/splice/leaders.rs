//! The groups that come first in an order: as many as the caller wants, one more, and some in reserve.
//!
//! Groups that were not touched keep their order among themselves. So whatever is neither among the first
//! nor touched comes behind the last of the first that was not touched: up to that one, the first and the
//! touched groups alone tell who comes first. Each that falls behind it is one fewer that is known, and
//! when too few are, all groups are asked again.

use std::collections::HashSet;

/// Groups beyond those that the caller wants.
pub const RESERVE: u64 = 128;

/// The first groups of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaders {
    /// Their keys, in order.
    keys: Vec<Box<[u8]>>,
    /// Whether there are no others.
    are_all: bool,
}

impl Leaders {
    /// The groups of a statement that gives this many at most.
    pub fn new(keys: Vec<Box<[u8]>>, most: u64) -> Self {
        let are_all = (keys.len() as u64) < most;
        Self { keys, are_all }
    }

    /// Their keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| &**key)
    }

    /// The leaders after these, by what these and the touched groups come to in their order: `first`.
    /// `None` where others might be among the wanted.
    pub fn followed_by(
        &self,
        mut first: Self,
        touched: &HashSet<&[u8]>,
        wanted: u64,
    ) -> Option<Self> {
        if self.are_all {
            return Some(first);
        }
        let last = (self.keys.iter().rev()).find(|key| !touched.contains(&***key))?;
        match first.keys.iter().position(|key| key == last) {
            Some(place) => first.keys.truncate(place + 1),
            // All that were given come before it.
            None if !first.are_all => {}
            None => return None,
        }
        first.are_all = false;
        (first.keys.len() as u64 > wanted).then_some(first)
    }

    /// Bytes of memory.
    pub fn weight(&self) -> usize {
        self.keys.iter().map(|key| key.len() + 32).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn leaders(keys: &[&str], most: u64) -> Leaders {
        let keys = keys.iter().map(|key| key.as_bytes().into()).collect();
        Leaders::new(keys, most)
    }

    fn touched<'k>(keys: &[&'k str]) -> HashSet<&'k [u8]> {
        keys.iter().map(|key| key.as_bytes()).collect()
    }

    #[test]
    fn all_there_are_need_no_others() {
        let before = leaders(&["a", "b"], 5);
        let after = before.followed_by(leaders(&["n", "a", "b"], 5), &touched(&["n"]), 1);
        assert_eq!(after, Some(leaders(&["n", "a", "b"], 5)));
    }

    #[test]
    fn what_fell_behind_the_last_untouched_is_not_known() {
        let before = leaders(&["a", "b", "c", "d"], 4);
        let next = |rows: &[&str], who: &[&str], wanted| {
            let after = before.followed_by(leaders(rows, 4), &touched(who), wanted)?;
            Some(String::from_utf8(after.keys.concat()).unwrap())
        };
        assert_eq!(
            next(&["b", "a", "c", "d"], &["b"], 2).as_deref(),
            Some("bacd")
        );
        assert_eq!(
            next(&["b", "c", "d", "a"], &["a"], 2).as_deref(),
            Some("bcd")
        );
        assert_eq!(next(&["b", "c", "d", "a"], &["a"], 3), None);
        assert_eq!(
            next(&["x", "a", "b", "c"], &["x"], 2).as_deref(),
            Some("xabc")
        );
        assert_eq!(next(&["a", "b", "c"], &["d"], 2).as_deref(), Some("abc"));
        assert_eq!(next(&["a", "b", "c", "d"], &["a", "b", "c", "d"], 2), None);
    }

    /// Groups with a number each, whose order is known: the largest first, and by name.
    #[test]
    fn are_those_of_all_groups_whatever_is_touched() {
        let mut seed = 7_u32;
        let mut next = move |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        let ordered = |groups: &HashMap<String, u32>, of: &dyn Fn(&str) -> bool| {
            let mut keys: Vec<_> = groups.iter().filter(|(key, _)| of(key)).collect();
            keys.sort_by_key(|(key, n)| (std::cmp::Reverse(**n), (*key).clone()));
            keys.into_iter()
                .map(|(key, _)| key.clone())
                .collect::<Vec<_>>()
        };
        let cut = |keys: Vec<String>, most: usize| {
            let keys: Vec<&str> = keys.iter().take(most).map(String::as_str).collect();
            leaders(&keys, most as u64)
        };
        let (wanted, most) = (3, 9);
        let mut groups = HashMap::new();
        for n in 0..40 {
            groups.insert(format!("g{n}"), next(20));
        }
        let mut kept = cut(ordered(&groups, &|_| true), most);
        let mut spliced = 0;
        for _ in 0..2000 {
            let names: Vec<String> = (0..next(4)).map(|_| format!("g{}", next(50))).collect();
            for name in &names {
                groups.insert(name.clone(), next(20));
            }
            let who: HashSet<&[u8]> = names.iter().map(String::as_bytes).collect();
            let known: HashSet<Vec<u8>> = kept.keys().map(<[u8]>::to_vec).collect();
            let of = |key: &str| known.contains(key.as_bytes()) || who.contains(key.as_bytes());
            let first = cut(ordered(&groups, &of), most);
            let whole = cut(ordered(&groups, &|_| true), most);
            kept = match kept.followed_by(first, &who, wanted) {
                Some(after) => {
                    spliced += 1;
                    assert!(after.keys.len() > 3 && whole.keys.starts_with(&after.keys));
                    after
                }
                None => whole,
            };
        }
        assert!(spliced > 1000, "{spliced}");
    }
}
