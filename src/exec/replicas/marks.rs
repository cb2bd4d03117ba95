//! How far behind a replica is at most, without a clock that two servers share: at a known moment the
//! primary's log went so far; a replica that has replayed it to there has all that was committed then.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The moments that are known, the newest last.
#[derive(Default)]
pub struct Marks(Mutex<VecDeque<(Instant, i64)>>);

/// Enough to find one that a replica has reached.
const MOST: usize = 16;

impl Marks {
    /// The primary's log went to `written` at a moment not before `at`.
    pub fn add(&self, at: Instant, written: i64) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() == MOST {
            marks.pop_front();
        }
        marks.push_back((at, written));
    }

    /// Whether it is known that a replica which has come to `replayed` by `now` is at most so far behind.
    pub fn is_within(&self, most: Duration, replayed: i64, now: Instant) -> bool {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (marks.iter())
            .filter(|(at, _)| now.saturating_duration_since(*at) <= most)
            .any(|(_, written)| replayed >= *written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_old_as_the_newest_mark_that_it_has_reached() {
        let (marks, start) = (Marks::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert!(!marks.is_within(second, 100, start));
        marks.add(start, 100);
        marks.add(start + second, 200);
        let now = start + 2 * second;
        // What it had a second ago is known, and what it had two seconds ago.
        assert!(marks.is_within(second, 200, now));
        assert!(!marks.is_within(second, 199, now));
        assert!(marks.is_within(2 * second, 199, now));
        assert!(!marks.is_within(2 * second, 99, now));
        assert!(!marks.is_within(second / 2, 500, now));
    }

    #[test]
    fn old_marks_make_room() {
        let (marks, start) = (Marks::default(), Instant::now());
        for written in 0..100 {
            marks.add(start, written);
        }
        assert_eq!(marks.0.lock().unwrap().len(), MOST);
        assert!(!marks.is_within(Duration::from_mins(1), 83, start));
        assert!(marks.is_within(Duration::from_mins(1), 84, start));
    }
}
