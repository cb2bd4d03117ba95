//! A few recent queries of each fingerprint, as the caller wrote them: what indexes are weighed by.
//! In memory alone: they hold values, which no log may.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Fingerprints of which examples are kept.
const KEPT: usize = 500;
/// Examples of each: values differ in how much they select.
const EACH: usize = 3;
/// A longer query is not kept.
const LONGEST: usize = 16 << 10;
/// An example is replaced no sooner: a repeated query pays for a look, and for no copy.
const PAUSE: Duration = Duration::from_secs(1);

/// Recent queries by fingerprint.
#[derive(Default)]
pub struct Examples(Mutex<HashMap<u64, Recent>>);

struct Recent {
    texts: VecDeque<Box<str>>,
    at: Instant,
}

impl Examples {
    /// Keeps a query, unless one of its fingerprint was kept a moment ago.
    pub fn offer(&self, fingerprint: u64, query: &str, now: Instant) {
        if query.len() > LONGEST {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recent) = known.get_mut(&fingerprint) {
            let waited = now.saturating_duration_since(recent.at) >= PAUSE;
            if recent.texts.len() >= EACH && !waited {
                return;
            }
            if recent.texts.iter().any(|text| **text == *query) {
                recent.at = now;
                return;
            }
            if recent.texts.len() >= EACH {
                recent.texts.pop_front();
            }
            recent.texts.push_back(query.into());
            recent.at = now;
            return;
        }
        if known.len() >= KEPT
            && let Some(oldest) = known.iter().min_by_key(|(_, r)| r.at).map(|(key, _)| *key)
        {
            known.remove(&oldest);
        }
        let texts = VecDeque::from([query.into()]);
        known.insert(fingerprint, Recent { texts, at: now });
    }

    /// The examples of a fingerprint.
    pub fn of(&self, fingerprint: u64) -> Vec<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = known.get(&fingerprint).map(|recent| &recent.texts);
        texts
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{EACH, Examples, KEPT};

    #[test]
    fn a_few_of_each_and_no_more() {
        let examples = Examples::default();
        let start = Instant::now();
        for i in 0..100 {
            examples.offer(1, &format!("q{i}"), start + Duration::from_secs(2 * i));
        }
        assert_eq!(examples.of(1), ["q97", "q98", "q99"]);
        for i in 0..10_000 {
            examples.offer(i, "q", start + Duration::from_mins(5));
        }
        let known = examples.0.lock().unwrap();
        assert!(known.len() <= KEPT);
        assert!(known.values().all(|recent| recent.texts.len() <= EACH));
    }
}
