//! Looking at plans, a few at a time.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use super::facts::Facts;
use super::known::Seen;
use super::{Change, Plans, measure, store};
use crate::exec::{Engine, Sample, fault, plan_on};
use crate::model::{Error, Result};
use crate::monitor::Monitor;
use crate::monitor::store::{close, connect};

/// How often.
const INTERVAL: Duration = Duration::from_secs(5);
/// The longest pause after failures.
const RARELY: Duration = Duration::from_mins(5);
/// Plans of one round. At a millisecond each, that is what the server notices of it.
const AT_ONCE: usize = 20;
/// The same where somebody asked and waits.
const ASKED: usize = 200;
/// The longest round.
const PATIENCE: Duration = Duration::from_secs(10);

impl Monitor {
    /// Looks at plans in the background for as long as the client is there.
    pub fn keep_looking(monitor: &Arc<Self>, engine: &Arc<Engine>) {
        if monitor.options.sample_rate > 0.0 {
            tokio::spawn(work(Arc::downgrade(monitor), Arc::downgrade(engine)));
        }
    }

    /// Looks at all plans that may have changed, now.
    ///
    /// # Errors
    /// CLOSED, or why the server could not say.
    pub async fn look_at_plans(&self, engine: &Engine) -> Result<()> {
        if engine.pool.is_closed() {
            return Err(Error::Closed);
        }
        self.plans.round(engine, true).await
    }
}

async fn work(monitor: Weak<Monitor>, engine: Weak<Engine>) {
    let mut pause = INTERVAL;
    loop {
        sleep(pause).await;
        let (Some(monitor), Some(engine)) = (monitor.upgrade(), engine.upgrade()) else {
            return;
        };
        if engine.pool.is_closed() {
            return;
        }
        if !monitor.plans.has_work() {
            continue;
        }
        let done = monitor.plans.round(&engine, false).await;
        pause = match done {
            Ok(()) => INTERVAL,
            Err(_) => (pause * 2).min(RARELY),
        };
    }
}

impl Plans {
    /// Whether anything ran or is kept: a client that asks nothing looks at nothing.
    fn has_work(&self) -> bool {
        let inner = self.inner();
        (inner.known.values())
            .any(|known| known.fresh > 0 || known.pin.is_some() || known.confirmed.is_none())
    }

    /// One round, on a connection of its own, which is closed afterwards.
    pub(super) async fn round(&self, engine: &Engine, asked: bool) -> Result<()> {
        let _looking = self.looking.lock().await;
        let work = async {
            let mut driver = connect(&engine.config.server).await.map_err(fault)?;
            let done = self.look(engine, &mut driver, asked).await;
            close(driver).await;
            done
        };
        let done = timeout(PATIENCE, work)
            .await
            .unwrap_or(Err(Error::Timeout(10_000)));
        let problem = done
            .as_ref()
            .err()
            .map(|e| format!("plans are not looked at: {e}"));
        self.inner().problem = problem;
        self.measure(engine.number);
        done
    }

    async fn look(&self, engine: &Engine, driver: &mut PgConnection, asked: bool) -> Result<()> {
        let tables = {
            let inner = self.inner();
            let mut tables: Vec<String> = (inner.known.values())
                .filter_map(|known| known.current())
                .flat_map(|plan| plan.tables.iter().cloned())
                .collect();
            tables.sort_unstable();
            tables.dedup();
            tables
        };
        let target = engine.target();
        let mut facts = Arc::new(
            store::facts(driver, &target.table, &tables)
                .await
                .map_err(fault)?,
        );
        let due = self.due(&facts, asked);
        for (fingerprint, sample) in due {
            let pinned = self
                .inner()
                .known
                .get(&fingerprint)
                .and_then(|k| k.pin.clone());
            if let Some(pin) = pinned {
                self.check_pin(engine, driver, &facts, fingerprint, &sample, &pin)
                    .await?;
                continue;
            }
            let plan = match plan_on(driver, None, &sample.statement).await {
                Ok(plan) => Seen::of(&plan),
                // The statement itself: its table may be gone.
                Err(Error::Database { .. }) => {
                    self.inner().known.remove(&fingerprint);
                    continue;
                }
                Err(other) => return Err(other),
            };
            let missing = |table: &String| {
                !facts
                    .tables
                    .keys()
                    .any(|k| k.ends_with(&format!(".{table}")))
            };
            if plan.tables.iter().any(missing) {
                let tables: Vec<_> = tables.iter().chain(&plan.tables).cloned().collect();
                facts = Arc::new(
                    store::facts(driver, &target.table, &tables)
                        .await
                        .map_err(fault)?,
                );
            }
            self.note(engine.number, &facts, fingerprint, plan);
        }
        self.inner().facts = Some(facts);
        Ok(())
    }

    /// What to look at in this round.
    fn due(&self, facts: &Facts, asked: bool) -> Vec<(u64, Sample)> {
        let inner = self.inner();
        let changed = inner
            .facts
            .as_ref()
            .is_some_and(|since| facts.may_change_plans(since));
        let mut due: Vec<_> = (inner.known.iter())
            .filter_map(|(key, known)| {
                Some((known.is_due(changed, asked)?, *key, known.sample.clone()))
            })
            .collect();
        due.sort_by_key(|(hurry, ..)| std::cmp::Reverse(*hurry));
        due.truncate(if asked { ASKED } else { AT_ONCE });
        due.into_iter()
            .map(|(_, key, sample)| (key, sample))
            .collect()
    }

    /// Notes the plan of a fingerprint.
    pub(super) fn note(&self, client: u64, facts: &Arc<Facts>, fingerprint: u64, plan: Seen) {
        let mut inner = self.inner();
        let inner = &mut *inner;
        let Some(known) = inner.known.get_mut(&fingerprint) else {
            return;
        };
        let (to, indexes) = (plan.hash.clone(), plan.indexes.clone());
        let had = known.note(plan);
        let before = had.as_ref().map(|_| known.take_before());
        let noted = known.facts.replace(Arc::clone(facts));
        known.confirmed = Some(Instant::now());
        let (Some(had), Some(before)) = (had, before) else {
            return;
        };
        let since = noted.unwrap_or_else(|| Arc::clone(facts));
        let cause = facts.cause(&since, &had.indexes, &indexes);
        tracing::info!(
            target: "tamma_events::monitor",
            client,
            fingerprint = format!("{fingerprint:016x}"),
            from = had.hash,
            to,
            cause = cause.word,
            "a plan has changed: {}",
            cause.detail
        );
        let number = inner.change(Change {
            number: 0,
            fingerprint,
            from: had.hash,
            to,
            at: SystemTime::now(),
            cause,
            before,
            after: Vec::new(),
            regression: false,
            told: false,
        });
        if let Some(known) = inner.known.get_mut(&fingerprint) {
            known.measured = Some(number);
        }
    }

    /// Judges changes by the runs that came after them.
    fn measure(&self, client: u64) {
        let mut inner = self.inner();
        for change in &mut inner.changes {
            change.regression = measure::is_slower(&change.before, &change.after);
            if change.regression && !change.told {
                change.told = true;
                tracing::warn!(
                    target: "tamma_events::monitor",
                    client,
                    fingerprint = format!("{:016x}", change.fingerprint),
                    cause = change.cause.word,
                    before = measure::mean(&change.before),
                    after = measure::mean(&change.after),
                    "runs are slower since their plan has changed: {}",
                    change.cause.detail
                );
            }
        }
    }
}
