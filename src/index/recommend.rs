//! What would pay: candidates weighed against each other, and what is there against what is needed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value as Wire, json};
use sqlx::PgConnection;

use super::analysis;
use super::candidates::{Candidate, candidates};
use super::catalog;
use super::definition::Method;
use super::manage::Indexes;
use super::search::{Budget, Config, search};
use super::session::Session;
use super::store;
use super::whatif::{self, WhatIf};
use super::workload::{self, Question};
use crate::exec::{Engine, fault};
use crate::model::{
    Error, Result,
    path::Path,
    table::TableNames,
    wire::{known_keys, object, whole},
};
use crate::sql::Target;

/// Indexes that are recommended at once, unless another number is asked for.
const MOST: u64 = 10;
/// Questions that are looked at, the heaviest first.
const MOST_QUESTIONS: usize = 200;

/// What is asked of recommending and of optimizing.
#[derive(Clone, Debug)]
pub struct Options {
    /// How much may be built.
    pub budget: Budget,
    /// Nothing is built.
    pub dry_run: bool,
    /// HypoPG is used where it is there.
    pub hypopg: bool,
    /// Indexes to be tried whatever is thought of them: for tests of what happens to bad ones.
    pub planted: Vec<Wire>,
}

impl Options {
    /// Reads the options.
    ///
    /// # Errors
    /// INVALID_QUERY with the path.
    #[allow(clippy::cast_precision_loss)] // Bytes.
    pub fn parse(wire: &Wire) -> Result<Self> {
        let root = Path::Root;
        let members = object(wire, &root, "an object of options")?;
        known_keys(
            members,
            &root,
            &["maxIndexes", "maxBytes", "dryRun", "hypopg", "planted"],
        )?;
        let number = |key: &str| -> Result<Option<u64>> {
            members
                .get(key)
                .map(|w| whole(w, &root.key(key)))
                .transpose()
        };
        let flag =
            |key: &str, default: bool| members.get(key).and_then(Wire::as_bool).unwrap_or(default);
        Ok(Self {
            budget: Budget {
                count: usize::try_from(number("maxIndexes")?.unwrap_or(MOST)).unwrap_or(usize::MAX),
                bytes: number("maxBytes")?.map_or(f64::INFINITY, |n| n as f64),
            },
            dry_run: flag("dryRun", false),
            hypopg: flag("hypopg", true),
            planted: members
                .get("planted")
                .and_then(Wire::as_array)
                .cloned()
                .unwrap_or_default(),
        })
    }
}

/// A recommendation that builds something, with what it is about.
#[derive(Clone, Debug)]
pub struct Creation {
    /// What to build.
    pub candidate: Candidate,
    /// As the API tells it.
    pub told: Wire,
}

/// What was found out.
#[derive(Debug, Default)]
pub struct Advice {
    /// To be built, the most useful first.
    pub create: Vec<Creation>,
    /// To be dropped or rebuilt, as the API tells it.
    pub other: Vec<Wire>,
    /// The share of what is asked whose plan was as good as any, by how often it is asked.
    pub optimal: f64,
}

impl Advice {
    /// As `IndexRecommendation[]`.
    pub fn to_json(&self) -> Wire {
        let create = self.create.iter().map(|one| one.told.clone());
        create.chain(self.other.iter().cloned()).collect()
    }
}

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
        return Ok(Advice {
            optimal: 1.0,
            ..Advice::default()
        });
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
    let chosen = search(&mut whatif, count, options.budget).await?;
    let mut create = Vec::new();
    let mut optimal = 0.0;
    let total: f64 = questions.iter().map(|q| q.weight).sum();
    for (place, question) in questions.iter().enumerate() {
        let best = whatif.question(place, &chosen).await?;
        if whatif.base(place) <= best.mul_add(1.05, 1.0) {
            optimal += question.weight / total;
        }
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
        optimal,
    })
}

/// A key without the parentheses and casts that the catalog writes and this module does not.
pub fn normal(sql: &str) -> String {
    let plain: String = sql.chars().filter(|c| !"()\" ".contains(*c)).collect();
    plain
        .replace("::text", "")
        .replace("NULLSFIRST", "")
        .replace("ASC", "")
}

/// Whether an index that is there does what a candidate would.
fn is_served(candidate: &Candidate, there: &[catalog::Listed], names: &TableNames) -> bool {
    let definition = &candidate.definition;
    let keys: Vec<_> = (definition.keys.iter())
        .map(|key| normal(&format!("{}{}", key.sql, key.suffix)))
        .collect();
    let include: Vec<_> = definition.include.iter().map(|c| normal(c)).collect();
    let predicate = definition.predicate_at(names, None).map(|p| normal(&p));
    there.iter().filter(|index| index.valid).any(|index| {
        let own: Vec<_> = index.keys.iter().map(|key| normal(key)).collect();
        let beside: Vec<_> = index.include.iter().map(|key| normal(key)).collect();
        let same_kind = index.method == definition.method.name();
        let begins = own.starts_with(&keys) && (own.len() == keys.len() || index.method == "btree");
        let partial = index.partial.as_deref().map(normal);
        same_kind
            && begins
            && include
                .iter()
                .all(|c| beside.contains(c) || own.contains(c))
            && (partial.is_none() || partial == predicate)
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
        "method": tier.word(),
        "queries": queries,
        "reasons": reasons,
    });
    Ok(Creation { candidate, told })
}

impl Indexes {
    /// The questions of a call: the patterns given, else what was recorded.
    pub(super) fn questions(
        &self,
        engine: &Engine,
        patterns: Option<&str>,
    ) -> Result<Vec<Question>> {
        match patterns {
            None => Ok(workload::of_recorded(engine, self.recorded())),
            Some(text) => {
                let wire: Wire = serde_json::from_str(text)
                    .map_err(|e| Error::invalid("queryPatterns", format!("is not JSON: {e}")))?;
                workload::parse(engine, &wire)
            }
        }
    }

    /// What would pay.
    ///
    /// # Errors
    /// What is wrong with the patterns or options; the server's.
    pub async fn recommend(
        self: &Arc<Self>,
        patterns: Option<String>,
        options: &str,
    ) -> Result<Wire> {
        let engine = self.engine()?;
        let options = parse_options(options)?;
        let questions = self.questions(&engine, patterns.as_deref())?;
        let _entered = self.enter(&Arc::default())?;
        let mut session = self.session().await?;
        let advice = self
            .advice(&mut session, &engine, questions, &options)
            .await;
        session.close().await;
        Ok(advice?.to_json())
    }

    /// All candidates for patterns, with their statements: what the benchmark tries by itself.
    ///
    /// # Errors
    /// What is wrong with the patterns; the server's.
    pub async fn candidates(self: &Arc<Self>, patterns: &str) -> Result<Wire> {
        let engine = self.engine()?;
        let questions = self.questions(&engine, Some(patterns))?;
        let names = engine.target().table.clone();
        let mut session = self.session().await?;
        let found = whatif::data(&mut session.conn, &names, &questions).await;
        let ended = whatif::end(&mut session.conn).await;
        session.close().await;
        let (data, _) = found?;
        ended?;
        let all = candidates(&questions, &names, &data);
        let told = all.iter().map(|candidate| {
            let definition = &candidate.definition;
            json!({
                "name": definition.name,
                "keys": definition.keys.len(),
                "sql": store::create_index(&definition.name, false, true, &names.quoted(), &candidate.body),
            })
        });
        Ok(told.collect())
    }

    /// Candidates and what is there, weighed.
    pub(super) async fn advice(
        &self,
        session: &mut Session,
        engine: &Engine,
        questions: Vec<Question>,
        options: &Options,
    ) -> Result<Advice> {
        let names = engine.target().table.clone();
        let refused = super::decisions::refused(&mut session.conn, &names).await;
        let mut advice = advise(&mut session.conn, engine, questions, options, &refused).await?;
        let analyses = analysis::all(&mut session.conn, session.table.oid, &names).await?;
        for one in &analyses {
            advice.other.extend(one.recommendation());
        }
        for creation in &mut advice.create {
            let replaced: Vec<_> = (analyses.iter())
                .filter(|one| one.is_replaced_by(&creation.candidate, &names))
                .map(|one| one.index.name.clone())
                .collect();
            if replaced.is_empty() {
                continue;
            }
            creation.told["action"] = "merge".into();
            if let Some(reasons) = creation.told["reasons"].as_array_mut() {
                reasons.push(format!("serves what {} serves", replaced.join(", ")).into());
            }
            creation.told["replaces"] = json!(replaced);
        }
        Ok(advice)
    }
}

/// The options of a call.
///
/// # Errors
/// INVALID_QUERY with the path.
pub fn parse_options(text: &str) -> Result<Options> {
    let wire: Wire = serde_json::from_str(text)
        .map_err(|e| Error::invalid("options", format!("is not JSON: {e}")))?;
    Options::parse(&wire)
}
