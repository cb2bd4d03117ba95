//! Keeping a fingerprint on a plan that was seen earlier.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use sqlx::PgConnection;

use super::facts::{Cause, Facts};
use super::known::{Pin, Seen};
use super::{Change, Plans};
use crate::exec::{Engine, Sample, fault, plan_on, rungs};
use crate::model::{Error, Result};
use crate::monitor::Monitor;
use crate::monitor::store::{close, connect};

/// The first settings that give this plan, those that change something before those that don't: they
/// hold it when the planner changes its mind.
async fn rung_of(
    driver: &mut PgConnection,
    sample: &Sample,
    hash: &str,
) -> Result<Option<(usize, Seen)>> {
    for number in rungs().skip(1).chain([0]) {
        let plan = Seen::of(&plan_on(driver, Some(number), &sample.statement).await?);
        if plan.hash == hash {
            return Ok(Some((number, plan)));
        }
    }
    Ok(None)
}

impl Monitor {
    /// Keeps a fingerprint on a plan, or lets it go.
    ///
    /// # Errors
    /// INVALID_QUERY for a fingerprint or a plan that was not seen; UNSUPPORTED where no settings
    /// give the plan; why the server could not say.
    pub async fn pin(&self, engine: &Engine, fingerprint: &str, plan: Option<&str>) -> Result<()> {
        let key = u64::from_str_radix(fingerprint, 16)
            .ok()
            .filter(|_| fingerprint.len() == 16);
        let key = key.ok_or_else(|| Error::invalid("fingerprint", "is 16 hexadecimal digits"))?;
        let plans = &self.plans;
        let Some(hash) = plan else {
            engine.pins.set(key, None);
            let mut inner = plans.inner();
            inner.released.retain(|(released, _)| *released != key);
            if let Some(known) = inner.known.get_mut(&key) {
                known.pin = None;
            }
            return Ok(());
        };
        if engine.pool.is_closed() {
            return Err(Error::Closed);
        }
        let wanted = {
            let inner = plans.inner();
            let known = inner.known.get(&key);
            let known = known.ok_or_else(|| {
                Error::invalid(
                    "fingerprint",
                    "is of no query of the builder that ran lately",
                )
            })?;
            let seen = known.seen(hash).cloned();
            seen.map(|seen| (seen, known.sample.clone()))
        };
        let (seen, sample) = wanted.ok_or_else(|| {
            Error::invalid("planHash", "is none of this fingerprint's planHashes")
        })?;
        let mut driver = connect(&engine.config.server).await.map_err(fault)?;
        let found = rung_of(&mut driver, &sample, hash).await;
        let facts = super::store::facts(&mut driver, &engine.target().table, &seen.tables).await;
        close(driver).await;
        let (found, facts) = (found?, facts.map_err(fault)?);
        let Some((rung, _)) = found else {
            return Err(Error::Unsupported {
                path: "planHash".to_owned(),
                what: format!(
                    "no planner settings give this plan: {}",
                    lost(&facts, &seen)
                )
                .into(),
            });
        };
        engine.pins.set(key, Some(rung));
        let mut inner = plans.inner();
        inner.released.retain(|(released, _)| *released != key);
        if let Some(known) = inner.known.get_mut(&key) {
            known.pin = Some(Pin {
                hash: hash.to_owned(),
                rung,
            });
            known.note(seen);
            known.confirmed = Some(Instant::now());
        }
        Ok(())
    }
}

/// Why a plan that was seen cannot come out any more.
fn lost(facts: &Facts, plan: &Seen) -> String {
    let gone = (plan.indexes.iter()).find(|name| !facts.has_index(name));
    gone.map_or_else(
        || "the planner prices it too high under all of them".to_owned(),
        |name| format!("its index {name} is gone or invalid"),
    )
}

impl Plans {
    /// Tests a pin, moves it to other settings where those it has do not give its plan any more, and
    /// lets it go where none do.
    pub(super) async fn check_pin(
        &self,
        engine: &Engine,
        driver: &mut PgConnection,
        facts: &Arc<Facts>,
        fingerprint: u64,
        sample: &Sample,
        pin: &Pin,
    ) -> Result<()> {
        let plan = plan_on(driver, Some(pin.rung), &sample.statement).await;
        let found = match plan.map(|plan| Seen::of(&plan)) {
            Ok(plan) if plan.hash == pin.hash => Ok(Some((pin.rung, plan))),
            Ok(_) => rung_of(driver, sample, &pin.hash).await,
            Err(error) => Err(error),
        };
        let why = match found {
            Ok(Some((rung, plan))) => {
                if rung != pin.rung {
                    engine.pins.set(fingerprint, Some(rung));
                }
                let mut inner = self.inner();
                if let Some(known) = inner.known.get_mut(&fingerprint) {
                    known.note(plan);
                    known.confirmed = Some(Instant::now());
                    known.facts = Some(Arc::clone(facts));
                    if let Some(pin) = &mut known.pin {
                        pin.rung = rung;
                    }
                }
                return Ok(());
            }
            Ok(None) => {
                let inner = self.inner();
                let seen = inner
                    .known
                    .get(&fingerprint)
                    .and_then(|k| k.seen(&pin.hash));
                seen.map_or_else(String::new, |seen| lost(facts, seen))
            }
            Err(Error::Database { sql_state, message }) => format!("{message} ({sql_state})"),
            Err(other) => return Err(other),
        };
        self.release(engine, driver, facts, fingerprint, sample, why)
            .await
    }

    async fn release(
        &self,
        engine: &Engine,
        driver: &mut PgConnection,
        facts: &Arc<Facts>,
        fingerprint: u64,
        sample: &Sample,
        why: String,
    ) -> Result<()> {
        engine.pins.set(fingerprint, None);
        tracing::warn!(
            target: "tamma_events::monitor",
            client = engine.number,
            fingerprint = format!("{fingerprint:016x}"),
            "a fingerprint is no longer pinned to its plan: {why}"
        );
        let now = plan_on(driver, None, &sample.statement)
            .await
            .map(|plan| Seen::of(&plan));
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner
            .released
            .retain(|(released, _)| *released != fingerprint);
        inner.released.push((fingerprint, why.clone()));
        let Some(known) = inner.known.get_mut(&fingerprint) else {
            return Ok(());
        };
        known.pin = None;
        let plan = match now {
            Ok(plan) => plan,
            Err(Error::Database { .. }) => {
                inner.known.remove(&fingerprint);
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let (to, indexes) = (plan.hash.clone(), plan.indexes.clone());
        let had = known.note(plan);
        let before = known.take_before();
        let since = known.facts.replace(Arc::clone(facts));
        known.confirmed = Some(Instant::now());
        let Some(had) = had else { return Ok(()) };
        let since = since.unwrap_or_else(|| Arc::clone(facts));
        let cause = facts.cause(&since, &had.indexes, &indexes);
        let number = inner.change(Change {
            number: 0,
            fingerprint,
            from: had.hash,
            to,
            at: SystemTime::now(),
            cause: Cause {
                detail: format!("the pin was released: {why}"),
                ..cause
            },
            before,
            after: Vec::new(),
            regression: false,
            told: false,
        });
        if let Some(known) = inner.known.get_mut(&fingerprint) {
            known.measured = Some(number);
        }
        Ok(())
    }
}
