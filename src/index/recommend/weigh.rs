//! Candidates weighed against each other for a workload, and what the API tells of those that won.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::PgConnection;

use super::super::candidates::candidates;
use super::super::catalog;
use super::super::definition::Method;
use super::super::search::{Budget, Config, search};
use super::super::store;
use super::super::whatif::{self, WhatIf};
use super::super::workload::Question;
use super::served::is_served;
use super::tax::standing;
use super::{Advice, Creation, Judged, Options};
use crate::exec::{Engine, fault};
use crate::model::{Result, table::TableNames};
use crate::sql::Target;

/// Questions that are looked at, the heaviest first.
const MOST_QUESTIONS: usize = 200;

/// The heaviest questions, one for each that differs in more than its values, or a few.
fn heaviest(mut questions: Vec<Question>) -> Vec<Question> {
    questions.retain(|question| question.weight > 0.0);
    questions.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    questions.truncate(MOST_QUESTIONS);
    questions
}

/// Weighs what could be built for a workload.
///
/// # Errors
/// The server's.
pub async fn advise(
    conn: &mut PgConnection,
    engine: &Engine,
    questions: Vec<Question>,
    options: &Options,
    refused: &BTreeSet<String>,
) -> Result<Advice> {
    let target = engine.target();
    let questions = heaviest(questions);
    if questions.is_empty() {
        return Ok(Advice::default());
    }
    let weighed = weigh(conn, &target, &questions, options, refused).await;
    // Whatever happened inside is undone.
    let ended = whatif::end(conn).await;
    let advice = weighed?;
    ended?;
    Ok(advice)
}

async fn weigh(
    conn: &mut PgConnection,
    target: &Target,
    questions: &[Question],
    options: &Options,
    refused: &BTreeSet<String>,
) -> Result<Advice> {
    let names = &target.table;
    let (data, size) = whatif::data(conn, names, questions).await?;
    let there = existing(conn, names).await?;
    let mut all = candidates(questions, names, &data);
    all.retain(|candidate| {
        !refused.contains(&candidate.body) && !is_served(candidate, &there, names)
    });
    let count = all.len();
    let mut whatif = WhatIf::new(conn, target, questions, all, size, options.hypopg).await?;
    let budget = Budget {
        tax: options.budget.tax - standing(&there, names, size.rows),
        ..options.budget
    };
    let chosen = search(&mut whatif, count, budget).await?;
    whatif.settle(&chosen).await?;
    let mut create = Vec::new();
    let mut judged = Vec::new();
    for (place, question) in questions.iter().enumerate() {
        judged.push(Judged {
            question: question.clone(),
            now: whatif.base(place),
            then: whatif.question(place, &chosen).await?,
        });
    }
    for place in &chosen {
        create.push(told(&mut whatif, names, questions, &chosen, *place).await?);
    }
    create.sort_by(|a, b| {
        let gain = |one: &Creation| {
            one.told["costBefore"].as_f64().unwrap_or_default()
                - one.told["costAfter"].as_f64().unwrap_or_default()
        };
        gain(b).total_cmp(&gain(a))
    });
    Ok(Advice {
        create,
        other: Vec::new(),
        judged,
        rows: size.rows,
    })
}

async fn existing(conn: &mut PgConnection, names: &TableNames) -> Result<Vec<catalog::Listed>> {
    match catalog::table(conn, names).await.map_err(fault)? {
        Some(table) => catalog::list(conn, table.oid).await.map_err(fault),
        None => Ok(Vec::new()),
    }
}

async fn told(
    whatif: &mut WhatIf<'_>,
    names: &TableNames,
    questions: &[Question],
    chosen: &Config,
    place: usize,
) -> Result<Creation> {
    let mut without = chosen.clone();
    without.remove(&place);
    let (mut before, mut after) = (0.0, 0.0);
    let mut queries = Vec::new();
    for (q, question) in questions.iter().enumerate() {
        let (was, is) = (
            whatif.question(q, &without).await?,
            whatif.question(q, chosen).await?,
        );
        before += question.weight * was;
        after += question.weight * is;
        if is < was {
            queries.push(
                json!({ "fingerprint": question.fingerprint, "costBefore": was, "costAfter": is }),
            );
        }
    }
    let candidate = whatif.candidates()[place].clone();
    let figures = whatif.figures[place];
    let tier = whatif.tier(place);
    let improvement = if before > 0.0 {
        (before - after) / before
    } else {
        0.0
    };
    let mut reasons = vec![format!(
        "{} of {} queries would cost {:.0} % less with it",
        queries.len(),
        questions.len(),
        improvement * 100.0
    )];
    if candidate.definition.predicate.is_some() {
        reasons.push("partial: other events cost it nothing".to_owned());
    }
    if candidate.definition.method == Method::Brin {
        reasons.push(
            "time follows the table's order, so that ranges of blocks can be left out".to_owned(),
        );
    }
    if candidate.definition.method == Method::Gin {
        reasons.push("containment is served by no other kind".to_owned());
    }
    reasons.push(match tier {
        whatif::Tier::Hypopg => "costs are the planner's, with a hypothetical index".to_owned(),
        whatif::Tier::Sample => {
            "costs are the planner's on a sample, carried over to the table's size".to_owned()
        }
        whatif::Tier::Model => {
            "costs are a model's: the role may make no temporary table".to_owned()
        }
    });
    let sql = store::create_index(
        &candidate.definition.name,
        false,
        true,
        &names.quoted(),
        &candidate.body,
    );
    let told = json!({
        "action": "create",
        "indexName": candidate.definition.name,
        "definition": candidate.wire,
        "sql": sql,
        "costBefore": before,
        "costAfter": after,
        "improvement": improvement,
        "estimatedSizeBytes": figures.bytes.round(),
        "writeCostBytesPerEvent": figures.write.round(),
        "writeTax": figures.tax,
        "method": tier.word(),
        "queries": queries,
        "reasons": reasons,
    });
    Ok(Creation { candidate, told })
}
