//! How many queries run and how many may wait, and in which order those that wait get their turn.
//!
//! Each waits by a time of its own: when it came, plus a handicap for a lower priority. So a query
//! overtakes those of lower priority that came a little before it, and none waits for ever: whoever
//! comes later than the handicap stands behind it, whatever its priority.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::config::Limits;
use crate::model::{Error, Result};
use crate::query::Priority;

/// The places of one client.
pub struct Governor {
    places: Arc<Places>,
    limits: Limits,
    patience: Duration,
}

struct Places(Mutex<State>);

struct State {
    free: usize,
    /// By their time, and by the order in which they came.
    waiting: BTreeMap<Turn, oneshot::Sender<Place>>,
    came: u64,
}

type Turn = (Instant, u64);

/// A place among the running queries, given to the next one when dropped.
pub struct Place(Arc<Places>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let Some((_, next)) = state.waiting.pop_first() else {
            state.free += 1;
            return;
        };
        drop(state);
        // One that has just stopped waiting does not take it: then it is dropped, and goes on to
        // the next.
        let _ = next.send(Self(Arc::clone(&self.0)));
    }
}

impl Governor {
    /// As many places as the limits say.
    pub fn new(limits: Limits, patience: Duration) -> Self {
        Self {
            places: Arc::new(Places(Mutex::new(State {
                free: limits.max_concurrent,
                waiting: BTreeMap::new(),
                came: 0,
            }))),
            limits,
            patience,
        }
    }

    /// A place, at once or after a wait.
    ///
    /// # Errors
    /// TOO_MANY_QUERIES at once where the queue is full; POOL_TIMEOUT after `acquireTimeout`.
    pub async fn enter(&self, priority: Priority) -> Result<Place> {
        let (turn, place) = {
            let mut state = self.places.lock();
            // Nobody waits while a place is free: places are handed over.
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(Arc::clone(&self.places)));
            }
            if state.waiting.len() >= self.limits.max_queued {
                return Err(Error::TooManyQueries {
                    running: self.limits.max_concurrent,
                    waiting: state.waiting.len(),
                });
            }
            state.came += 1;
            let turn = (Instant::now() + self.handicap(priority), state.came);
            let (sender, place) = oneshot::channel();
            state.waiting.insert(turn, sender);
            (turn, place)
        };
        let _waiting = Waiting {
            places: &self.places,
            turn,
        };
        match tokio::time::timeout(self.patience, place).await {
            Ok(Ok(place)) => Ok(place),
            // The sender is dropped by nobody else.
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::PoolTimeout(
                u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX),
            )),
        }
    }

    /// A place that nobody waits for.
    pub fn try_enter(&self) -> Option<Place> {
        let mut state = self.places.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Place(Arc::clone(&self.places)))
    }

    /// At most half of what a query waits at all: the other half it cannot be overtaken.
    fn handicap(&self, priority: Priority) -> Duration {
        match priority {
            Priority::High => Duration::ZERO,
            Priority::Normal => self.patience / 4,
            Priority::Low => self.patience / 2,
        }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.places.lock().waiting.len()
    }
}

/// Leaves the queue when dropped, whether it got its turn or not.
struct Waiting<'a> {
    places: &'a Places,
    turn: Turn,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.places.lock().waiting.remove(&self.turn);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::{Governor, Place};
    use crate::exec::Config;
    use crate::model::Error;
    use crate::query::Priority::{self, High, Low, Normal};
    use std::{sync::Arc, time::Duration};
    use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

    fn governor(queued: u32, patience: u64) -> Arc<Governor> {
        let options = format!(
            r#"{{"url":"postgres://localhost/x","limits":{{"maxConcurrentQueries":1,"maxQueuedQueries":{queued}}}}}"#
        );
        let limits = Config::from_json(&options).unwrap().limits;
        Arc::new(Governor::new(limits, Duration::from_millis(patience)))
    }

    async fn comes(
        governor: &Arc<Governor>,
        priority: Priority,
        name: &'static str,
        order: &mpsc::UnboundedSender<&'static str>,
    ) -> JoinHandle<()> {
        let (own, order, before) = (Arc::clone(governor), order.clone(), governor.waiting());
        let task = tokio::spawn(async move {
            let place: Place = own.enter(priority).await.unwrap();
            order.send(name).unwrap();
            drop(place);
        });
        while governor.waiting() == before {
            sleep(Duration::from_millis(1)).await;
        }
        task
    }

    #[tokio::test]
    async fn a_higher_priority_goes_first_and_a_lower_one_is_not_starved() {
        let governor = governor(100, 800);
        let held = governor.enter(Normal).await.unwrap();
        let (sender, mut order) = mpsc::unbounded_channel();
        let mut tasks = Vec::new();
        for (priority, name) in [
            (Low, "low"),
            (Normal, "normal"),
            (High, "high"),
            (High, "second high"),
        ] {
            tasks.push(comes(&governor, priority, name, &sender).await);
        }
        // Later than the handicap of the low one.
        sleep(Duration::from_millis(420)).await;
        tasks.push(comes(&governor, High, "late high", &sender).await);
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        drop(sender);
        let mut went = Vec::new();
        while let Some(name) = order.recv().await {
            went.push(name);
        }
        assert_eq!(went, ["high", "second high", "normal", "low", "late high"]);
        assert_eq!(governor.places.lock().free, 1);
    }

    #[tokio::test]
    async fn a_place_is_never_lost() {
        let governor = governor(1000, 20);
        let mut tasks = Vec::new();
        for i in 0..300_u64 {
            let own = Arc::clone(&governor);
            tasks.push(tokio::spawn(async move {
                // Some are gone before their turn, some as it comes, some take it.
                let entered = tokio::time::timeout(Duration::from_micros(i * 97), own.enter(Low));
                if let Ok(Ok(place)) = entered.await {
                    sleep(Duration::from_micros(i * 13 % 700)).await;
                    drop(place);
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        let state = governor.places.lock();
        assert_eq!((state.free, state.waiting.len()), (1, 0));
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_told_at_once_and_who_waits_too_long_later() {
        let governor = governor(1, 10);
        let _held = governor.enter(Normal).await.unwrap();
        let (first, second) = tokio::join!(governor.enter(Normal), governor.enter(High));
        assert!(matches!(first, Err(Error::PoolTimeout(10))));
        assert!(matches!(
            second,
            Err(Error::TooManyQueries {
                running: 1,
                waiting: 1
            })
        ));
        assert_eq!(governor.waiting(), 0);
    }
}
