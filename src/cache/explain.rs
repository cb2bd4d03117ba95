//! What the cache would do for a query, for its plan.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use serde_json::{Value as Wire, json};

use super::Cache;
use super::answer::Answer;
use super::attempt::said;
use super::fresh::Needed;
use super::plan::{Merge, Plan, Question};
use super::stamp::{News, Refusal};
use crate::exec::{Engine, arguments, fault, sql_text};
use crate::model::Result;
use crate::sql::{Base, check, most_new};

/// What stands in the way of a query's answer.
struct Looked {
    answer: Option<Arc<Answer>>,
    /// What is new since, where that had to be asked.
    news: Option<News>,
    refusal: Option<Refusal>,
}

impl Cache {
    /// Adds to a plan what the cache would do, where the query lets it answer.
    ///
    /// # Errors
    /// Why the server could not say what is new.
    pub async fn explain(&self, engine: &Arc<Engine>, query: &str, told: &mut Wire) -> Result<()> {
        match self.plan_of(engine, query)? {
            Some(plan) => self.explain_plan(engine, &plan, told).await,
            None => Ok(()),
        }
    }

    /// The same for a question that is no query.
    ///
    /// # Errors
    /// As [`Cache::explain`].
    pub async fn explain_question(
        &self,
        engine: &Arc<Engine>,
        mut asked: Question,
        told: &mut Wire,
    ) -> Result<()> {
        match asked.hints.cache.take() {
            Some(freshness) => {
                let plan = Plan::of_question(engine, asked, freshness);
                self.explain_plan(engine, &plan, told).await
            }
            None => Ok(()),
        }
    }

    async fn explain_plan(&self, engine: &Arc<Engine>, plan: &Plan, told: &mut Wire) -> Result<()> {
        let needed = self.options.freshness(&plan.freshness, engine)?;
        let looked = self.look(engine, plan, &needed).await?;
        let below = told["steps"].take();
        let (strategy, step) = step(plan, &needed, &looked, below);
        if let Some(strategy) = strategy {
            told["strategy"] = strategy.into();
        }
        let line = format!(
            "Cache lookup: {}\n",
            step["details"]["finds"].as_str().unwrap_or_default()
        );
        let text = told["text"].as_str().unwrap_or_default();
        told["text"] = format!("{line}{text}").into();
        told["steps"] = json!([step]);
        let hint = match looked.refusal.filter(|_| !needed.allows_inexact()) {
            Some(refusal) => {
                json!({ "hint": "cache", "value": needed.name(), "honoured": false, "reason": refusal.reason() })
            }
            None => {
                json!({ "hint": "cache", "value": needed.name(), "honoured": true, "how": line.trim_end() })
            }
        };
        if let Wire::Array(hints) = &mut told["hints"] {
            hints.push(hint);
        }
        Ok(())
    }

    async fn look(&self, engine: &Arc<Engine>, plan: &Plan, needed: &Needed) -> Result<Looked> {
        let asked = Instant::now();
        let mut looked = Looked {
            answer: self.kept(&plan.key),
            news: None,
            refusal: self.last_refusal(),
        };
        let Some(answer) = &looked.answer else {
            return Ok(looked);
        };
        let Some(stamp) = (answer.stamp.as_ref()).filter(|_| !needed.is_met_by(answer, asked))
        else {
            return Ok(looked);
        };
        let base = Base {
            snapshot: &stamp.snapshot,
            clock: stamp.clock,
            partitioned: self.partitioned.load(Ordering::Relaxed),
            most_new: most_new(answer.cost),
        };
        let (sql, binds) = check(&plan.query, &engine.target(), base);
        let values = arguments(&binds)?;
        let mut lease = engine.pool.acquire_in(true).await?;
        let driver = &mut lease.connection().driver;
        let row = sqlx::query_with(sql_text(&sql), values).fetch_one(driver);
        let said = said(&row.await.map_err(fault)?, 0)?;
        lease.release();
        looked.news = said
            .news()
            .filter(|_| super::attempt::is_believed(stamp, &said));
        if looked.news.is_none() {
            looked.answer = None;
        }
        Ok(looked)
    }
}

/// The step, and the strategy where it is not that of the statement.
fn step(
    plan: &Plan,
    needed: &Needed,
    looked: &Looked,
    below: Wire,
) -> (Option<&'static str>, Wire) {
    let mut details = json!({ "key": plan.key.name(), "consistency": needed.name() });
    let mut step = json!({ "operation": "Cache lookup", "estimatedRows": 0, "estimatedCost": 0 });
    let Some(answer) = &looked.answer else {
        details["finds"] = "nothing: the answer is read anew".into();
        step["details"] = details;
        step["children"] = below;
        return (None, step);
    };
    step["estimatedRows"] = answer.body.rows.into();
    details["stampAge"] = (answer.checked.elapsed().as_secs_f64() * 1000.0).into();
    details["saves"] = (answer.cost.as_secs_f64() * 1000.0).into();
    details["bytes"] = answer.weight().into();
    let Some(news) = looked.news else {
        details["finds"] = "an answer that is young enough: nothing is asked".into();
        step["details"] = details;
        return (Some("cached"), step);
    };
    details["newEvents"] = news.events.into();
    details["deltaRows"] = news.matching.into();
    let anew = news.left
        || news.events > most_new(answer.cost)
        || (news.matching > 0 && plan.merge == Merge::Anew && answer.body.again.is_none());
    let (strategy, finds) = if anew {
        (
            None,
            "an answer that what is new can't be merged into: it is read anew",
        )
    } else if news.matching == 0 {
        (
            Some("cached"),
            "a current answer: nothing that is new matches",
        )
    } else {
        let finds = if answer.body.again.is_some() {
            "an answer of which the keys that new events touch are matched again"
        } else {
            "an answer that what is new is merged into"
        };
        (Some("delta"), finds)
    };
    details["finds"] = finds.into();
    step["details"] = details;
    match strategy {
        None => step["children"] = below,
        Some("delta") => {
            step["children"] = json!([{
                "operation": "Delta merge",
                "estimatedRows": news.matching,
                "estimatedCost": 0,
                "actualRows": news.matching,
                "details": { "newEvents": news.events }
            }]);
        }
        _ => {}
    }
    (strategy, step)
}
