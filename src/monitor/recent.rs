//! The runs of late, and the slow ones for longer.

use std::{collections::VecDeque, time::Duration};

use crate::exec::Ended;

/// As many as the registry remembers ids of queries that ended.
const RECENT: usize = 10_000;
const SLOW: usize = 1000;

/// Runs, the newest last.
#[derive(Default)]
pub struct Recent {
    runs: VecDeque<Ended>,
    /// Slow runs that are among the recent no more.
    slow: VecDeque<Ended>,
}

impl Recent {
    /// Keeps a run. One that makes room for it is kept for longer where it took `slow` or more.
    pub fn keep(&mut self, run: Ended, slow: Duration) {
        if self.runs.len() >= RECENT
            && let Some(old) = self.runs.pop_front()
            && old.elapsed > slow
        {
            if self.slow.len() >= SLOW {
                self.slow.pop_front();
            }
            self.slow.push_back(old);
        }
        self.runs.push_back(run);
    }

    /// The newest run of this id.
    pub fn find(&self, id: &str) -> Option<&Ended> {
        let newest_first = self.runs.iter().rev().chain(self.slow.iter().rev());
        newest_first.into_iter().find(|run| &*run.id == id)
    }

    /// Runs that took longer, the slowest first.
    pub fn slower_than(&self, threshold: Duration) -> Vec<&Ended> {
        let all = self.slow.iter().chain(&self.runs);
        let mut slow: Vec<_> = all.filter(|run| run.elapsed > threshold).collect();
        slow.sort_by_key(|run| std::cmp::Reverse(run.elapsed));
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::{RECENT, Recent};
    use crate::monitor::tests::run;
    use std::time::Duration;

    #[test]
    fn slow_runs_outlast_the_recent_ones() {
        let mut recent = Recent::default();
        let slow = Duration::from_millis(100);
        recent.keep(run("SELECT slow", 150), slow);
        recent.keep(run("SELECT slower", 200), slow);
        for _ in 0..2 * RECENT {
            recent.keep(run("SELECT fast", 1), slow);
        }
        let texts = |threshold| -> Vec<String> {
            let runs = recent.slower_than(Duration::from_millis(threshold));
            runs.iter().map(|r| r.shape.text.clone()).collect()
        };
        assert_eq!(texts(100), ["SELECT slower", "SELECT slow"]);
        assert_eq!(texts(150), ["SELECT slower"]);
        assert_eq!((recent.runs.len(), recent.slow.len()), (RECENT, 2));
        assert!(recent.find("SELECT slow").is_some());
    }
}
