//! Whether indexes prove themselves: what each question reads, before and after.

use std::collections::BTreeSet;

use super::super::job::{Job, Progress};
use super::super::session::Session;
use super::super::store;
use super::super::whatif::buffers;
use super::super::workload::Question;
use crate::exec::fault;
use crate::model::{Error, Result};

/// A statement may get this much dearer before an index is taken for a mistake, and by so many blocks.
const WORSE: f64 = 1.08;
const WORSE_BLOCKS: f64 = 4.0;
/// What is asked by way of an index must read this much less.
const BETTER: f64 = 0.98;
/// Or one question must read this much less, and so many blocks.
const HELPED: f64 = 0.8;
const HELPED_BLOCKS: f64 = 8.0;
/// A question is measured for so long at most.
const MEASURED: &str = "20s";

/// What a question read.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// Blocks; `None` where it took too long.
    pub(super) blocks: Option<f64>,
    /// The indexes that it used.
    pub(super) used: BTreeSet<String>,
}

/// What each question reads.
pub(super) async fn measure(
    session: &mut Session,
    questions: &[Question],
    job: &Job,
) -> Result<Vec<Measured>> {
    let mut all = Vec::with_capacity(questions.len());
    for (place, question) in questions.iter().enumerate() {
        job.check()?;
        job.set(Progress {
            done: place as u64,
            total: Some(questions.len() as u64),
            unit: "queries",
            phase: "measuring".to_owned(),
        });
        store::begin_measuring(&mut session.conn, MEASURED)
            .await
            .map_err(fault)?;
        // Twice: the first run may set hints on what it reads.
        let mut measured = buffers(&mut session.conn, &question.statement).await;
        if measured.is_ok() {
            measured = buffers(&mut session.conn, &question.statement).await;
        }
        store::end_measuring(&mut session.conn)
            .await
            .map_err(fault)?;
        all.push(match measured {
            Ok((blocks, used)) => Measured {
                blocks: Some(blocks),
                used,
            },
            Err(
                Error::Timeout(_) | Error::Cancelled | Error::Database { .. } | Error::BeyondDouble,
            ) => Measured::default(),
            Err(other) => return Err(other),
        });
    }
    Ok(all)
}

pub(super) fn weighed(questions: &[Question], measured: &[Measured]) -> f64 {
    let each = questions.iter().zip(measured);
    each.map(|(question, one)| question.weight * one.blocks.unwrap_or_default())
        .sum()
}

/// Why a question is worse off; `None` where it is not.
fn harm(question: &Question, was: &Measured, is: &Measured) -> Option<String> {
    let fingerprint = &question.fingerprint;
    match (was.blocks, is.blocks) {
        (Some(was), Some(is)) if is > was * WORSE && is - was > WORSE_BLOCKS => Some(format!(
            "the query {fingerprint} read {is:.0} blocks with it, and {was:.0} without"
        )),
        (Some(_), None) => Some(format!("the query {fingerprint} took too long with it")),
        _ => None,
    }
}

/// The questions that are worse off.
pub(super) fn hurt(
    questions: &[Question],
    before: &[Measured],
    after: &[Measured],
) -> Vec<Question> {
    let each = questions.iter().zip(before).zip(after);
    let hurt = each.filter(|((question, was), is)| harm(question, was, is).is_some());
    hurt.map(|((question, _), _)| question.clone()).collect()
}

/// The first of these indexes that is a mistake, and why, by what was read before there was any of
/// them and is read with all. The most useful of them come first; `None` where all prove themselves.
pub(super) fn mistake(
    questions: &[Question],
    before: &[Measured],
    after: &[Measured],
    new: &[String],
) -> Option<(String, String)> {
    for ((question, was), is) in questions.iter().zip(before).zip(after) {
        let Some(why) = harm(question, was, is) else {
            continue;
        };
        // Where it used none of them, or took too long to tell: statistics on an index's expression
        // change plans as well, and what is left goes one after the other.
        let used = new.iter().rev().find(|name| is.used.contains(*name));
        if let Some(name) = used.or(new.last()) {
            return Some((name.clone(), why));
        }
    }
    new.iter()
        .rev()
        .find_map(|name| useless(questions, before, after, name).map(|why| (name.clone(), why)))
}

/// Why an index is of no use; `None` where it is of some.
fn useless(
    questions: &[Question],
    before: &[Measured],
    after: &[Measured],
    name: &str,
) -> Option<String> {
    let (mut was_all, mut is_all) = (0.0, 0.0);
    for ((question, was), is) in questions.iter().zip(before).zip(after) {
        if !is.used.contains(name) {
            continue;
        }
        match (was.blocks, is.blocks) {
            (None, Some(_)) => return None,
            (Some(was), Some(is)) if is < was * HELPED && was - is > HELPED_BLOCKS => return None,
            (Some(was), Some(is)) => {
                was_all += question.weight * was;
                is_all += question.weight * is;
            }
            _ => {}
        }
    }
    (is_all >= was_all * BETTER).then(|| {
        if was_all > 0.0 {
            format!("it helped no query: those that use it read {is_all:.0} blocks, and {was_all:.0} without")
        } else {
            "it helped no query: none uses it".to_owned()
        }
    })
}
