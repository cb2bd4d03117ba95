//! Refreshing hot answers before their time is over.
//!
//! A bounded answer that is asked for when most of its time has passed is brought up to date in the
//! background, so that whoever asks next does not wait for it. What nobody asks for is left alone.
//!
//! Who releases what: a refresh is a run as any other, which ends when the client is closed; few go at
//! once, and one for each key.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::Semaphore};

use super::attempt::Cached;
use super::fresh::Needed;
use super::plan::Plan;
use super::stats::Counter;
use super::{Cache, Key};
use crate::exec::{Engine, Mode, RunOptions};
use crate::query::{Hints, Priority};

/// Refreshes at once.
const AT_ONCE: usize = 2;

/// The refreshes of a cache.
pub struct Ahead {
    runtime: Handle,
    places: Arc<Semaphore>,
    keys: Mutex<HashSet<Arc<Key>>>,
    /// How many have ended well.
    pub done: Counter,
}

impl Ahead {
    /// None yet. Needs a tokio runtime around it.
    pub fn new() -> Self {
        Self {
            runtime: Handle::current(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            keys: Mutex::default(),
            done: Counter::default(),
        }
    }

    fn keys(&self) -> MutexGuard<'_, HashSet<Arc<Key>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    /// Brings an answer up to date in the background, unless that is being done, or many others are.
    pub fn refresh(self: &Arc<Self>, engine: &Arc<Engine>, plan: &Arc<Plan>) {
        let Ok(place) = Arc::clone(&self.ahead.places).try_acquire_owned() else {
            return;
        };
        if !self.ahead.keys().insert(Arc::clone(&plan.key)) {
            return;
        }
        let (cache, engine, plan) = (Arc::clone(self), Arc::clone(engine), Arc::clone(plan));
        self.ahead.runtime.spawn(async move {
            let strategy = Cached {
                cache: Arc::clone(&cache),
                plan: Arc::clone(&plan),
                needed: Needed::Strict,
            };
            let hints = Hints {
                priority: Priority::Low,
                ..Hints::default()
            };
            let shape = Arc::clone(&plan.shape);
            let run = engine.enter_strategy(
                Box::new(strategy),
                shape,
                &hints,
                RunOptions::default(),
                Mode::Buffered,
            );
            // Where it fails, whoever asks next hears why.
            if let Ok(run) = run
                && engine.collect(run).await.is_ok()
            {
                cache.ahead.done.add(1);
            }
            cache.ahead.keys().remove(&plan.key);
            drop(place);
        });
    }
}
