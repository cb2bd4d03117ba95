//! Whether an index proves itself: what each question reads, before and after.

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
/// The workload must read this much less.
const BETTER: f64 = 0.98;
/// Or one question must read this much less, and so many blocks.
const HELPED: f64 = 0.8;
const HELPED_BLOCKS: f64 = 8.0;
/// A question is measured for so long at most.
const MEASURED: &str = "20s";

/// Blocks that each question reads; `None` where it took too long.
pub(super) async fn measure(
    session: &mut Session,
    questions: &[Question],
    job: &Job,
) -> Result<Vec<Option<f64>>> {
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
            Ok(blocks) => Some(blocks),
            Err(
                Error::Timeout(_) | Error::Cancelled | Error::Database { .. } | Error::BeyondDouble,
            ) => None,
            Err(other) => return Err(other),
        });
    }
    Ok(all)
}

pub(super) fn weighed(questions: &[Question], measured: &[Option<f64>]) -> f64 {
    let each = questions.iter().zip(measured);
    each.map(|(question, blocks)| question.weight * blocks.unwrap_or_default())
        .sum()
}

/// Why an index is a mistake, by what was read before and after; `None` where it is none.
pub(super) fn mistake(
    questions: &[Question],
    before: &[Option<f64>],
    after: &[Option<f64>],
) -> Option<String> {
    for ((question, was), is) in questions.iter().zip(before).zip(after) {
        match (was, is) {
            (Some(was), Some(is)) if *is > was * WORSE && is - was > WORSE_BLOCKS => {
                return Some(format!(
                    "the query {} read {is:.0} blocks with it, and {was:.0} without",
                    question.fingerprint
                ));
            }
            (Some(_), None) => {
                return Some(format!(
                    "the query {} took too long with it",
                    question.fingerprint
                ));
            }
            _ => {}
        }
    }
    let freed = before.iter().zip(after).any(|(was, is)| match (was, is) {
        (None, Some(_)) => true,
        (Some(was), Some(is)) => *is < was * HELPED && was - is > HELPED_BLOCKS,
        _ => false,
    });
    let (was, is) = (weighed(questions, before), weighed(questions, after));
    (!freed && is > was * BETTER).then(|| {
        format!(
            "it helped no query: the workload read {is:.0} blocks with it, and {was:.0} without"
        )
    })
}
