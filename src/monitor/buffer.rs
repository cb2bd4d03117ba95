//! Runs that wait to be logged: a bounded sample of those that ended since the last batch.

use std::mem;

use super::options::Options;
use crate::exec::Ended;

/// Rows of one batch. At one batch every few seconds, the log costs the server next to nothing
/// whatever the load.
pub const BATCH: usize = 500;

/// Runs to be logged.
pub struct Buffer {
    waiting: Vec<Ended>,
    /// Runs that were to be logged since the last batch, those that found no room included.
    offered: u64,
    /// Runs that were to be logged and were not.
    pub dropped: u64,
    random: u64,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            waiting: Vec::new(),
            offered: 0,
            dropped: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }
}

impl Buffer {
    /// Takes a run, or not: by the sample rate; slow ones and those that failed always. Where there
    /// is no room, each run since the last batch is as likely to be logged as any other.
    pub fn offer(&mut self, run: &Ended, options: &Options) {
        let matters = run.status.is_error() || run.elapsed > options.slow;
        if !(options.persist && (matters || self.chance() < options.sample_rate)) {
            return;
        }
        self.offered += 1;
        if self.waiting.len() < BATCH {
            self.waiting.push(run.clone());
            return;
        }
        self.dropped += 1;
        let at = usize::try_from(self.next() % self.offered).unwrap_or(BATCH);
        if let Some(place) = self.waiting.get_mut(at) {
            *place = run.clone();
        }
    }

    /// What waits; nothing waits then.
    pub fn take(&mut self) -> Vec<Ended> {
        self.offered = 0;
        mem::take(&mut self.waiting)
    }

    /// Whether anything waits.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A number from 0 up to 1.
    #[allow(clippy::cast_precision_loss)] // 53 bits of it.
    fn chance(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// splitmix64: which run is logged is no secret.
    const fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, Buffer};
    use crate::exec::{Ended, Status};
    use crate::monitor::{Options, tests::run};

    #[test]
    fn a_share_is_logged_and_all_that_matters() {
        let options = Options {
            sample_rate: 0.25,
            ..Options::default()
        };
        let mut buffer = Buffer::default();
        for _ in 0..1000 {
            buffer.offer(&run("SELECT 1", 1), &options);
        }
        let logged = buffer.take().len();
        assert!((200..300).contains(&logged), "{logged}");
        let options = Options {
            sample_rate: 0.0,
            ..options
        };
        buffer.offer(&run("SELECT 1", 1), &options);
        buffer.offer(&run("SELECT slow", 1001), &options);
        let failed = Ended {
            status: Status::Failed,
            ..run("SELECT failed", 1)
        };
        buffer.offer(&failed, &options);
        assert_eq!(buffer.take().len(), 2);
        let options = Options {
            persist: false,
            ..options
        };
        buffer.offer(&failed, &options);
        assert!(buffer.take().is_empty());
    }

    #[test]
    fn what_finds_no_room_is_sampled_evenly() {
        let mut buffer = Buffer::default();
        for i in 0..10 * BATCH as u64 {
            buffer.offer(&run("SELECT 1", i), &Options::default());
        }
        let taken = buffer.take();
        assert_eq!((taken.len(), buffer.dropped), (BATCH, 9 * BATCH as u64));
        let late = taken
            .iter()
            .filter(|r| r.elapsed.as_millis() >= 5 * BATCH as u128);
        let late = late.count();
        assert!((BATCH * 4 / 10..BATCH * 6 / 10).contains(&late), "{late}");
    }
}
