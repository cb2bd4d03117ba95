//! How latency and load went over the last hour.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use super::histogram::Histogram;
use crate::exec::Ended;

/// The width of a slot. In it, a burst shows, and an hour is 360 of them.
pub const SLOT: Duration = Duration::from_secs(10);
const KEPT: usize = 360;

/// What happened within one slot.
pub struct Slot {
    number: u64,
    /// How long the runs took that ended in it.
    pub times: Histogram,
    /// Runs among them that failed or took too long.
    pub errors: u64,
}

/// Slots in which something happened, the oldest first.
pub struct History {
    begun: Instant,
    begun_at: SystemTime,
    slots: VecDeque<Slot>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            begun_at: SystemTime::now(),
            slots: VecDeque::new(),
        }
    }
}

impl History {
    /// Counts a run where it ended.
    pub fn record(&mut self, run: &Ended) {
        let ended = run.started + run.elapsed;
        let number = ended.saturating_duration_since(self.begun).as_secs() / SLOT.as_secs();
        // Runs may arrive a moment out of order: the newest slot takes them.
        if self.slots.back().is_none_or(|slot| slot.number < number) {
            self.slots.push_back(Slot {
                number,
                times: Histogram::default(),
                errors: 0,
            });
            let oldest = number.saturating_sub(KEPT as u64 - 1);
            while self.slots.front().is_some_and(|slot| slot.number < oldest) {
                self.slots.pop_front();
            }
        }
        if let Some(slot) = self.slots.back_mut() {
            slot.times.record(run.elapsed);
            slot.errors += u64::from(run.status.is_error());
        }
    }

    /// When each slot began, and what happened in it.
    pub fn iter(&self) -> impl Iterator<Item = (SystemTime, &Slot)> {
        let at =
            |slot: &Slot| self.begun_at + SLOT * u32::try_from(slot.number).unwrap_or(u32::MAX);
        self.slots.iter().map(move |slot| (at(slot), slot))
    }
}

#[cfg(test)]
mod tests {
    use super::{History, KEPT, SLOT};
    use crate::monitor::tests::run;

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let mut history = History::default();
        let mut ended = run("SELECT 1", 5);
        for _ in 0..3 * KEPT {
            history.record(&ended);
            history.record(&ended);
            ended.started += SLOT;
        }
        assert_eq!(history.slots.len(), KEPT);
        assert!(history.iter().all(|(_, slot)| slot.times.count() == 2));
        ended.started += SLOT * 1000;
        history.record(&ended);
        assert_eq!(history.slots.len(), 1);
    }
}
