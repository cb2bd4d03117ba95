//! Whether questions read as little as they could: by what they really read, as they are planned and
//! as they could be planned with the indexes that are there, and by what those would spare that are
//! recommended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::super::store;
use super::super::whatif::{buffers, price};
use super::super::workload::Question;
use super::{Advice, Judged};
use crate::exec::fault;
use crate::model::{Error, Result};

/// A plan is as good as the best that reads hardly more.
const WITHIN: f64 = 1.05;
/// A plan is given up after so long, and all of them after this: what was not looked at goes by the
/// planner's word.
const EACH: &str = "2s";
const ALL: Duration = Duration::from_secs(20);

/// What the planner is kept from, so that it tells of its other plans.
const KEPT_FROM: [&[&str]; 5] = [
    &["enable_seqscan"],
    &["enable_bitmapscan"],
    &["enable_indexscan", "enable_indexonlyscan"],
    &["enable_seqscan", "enable_bitmapscan"],
    &["enable_sort", "enable_incremental_sort"],
];

/// The share of the questions, by how often each is asked, that read as little as any plan of theirs
/// does, or will once what is recommended is there.
///
/// # Errors
/// The server's.
pub async fn share(conn: &mut PgConnection, advice: &Advice) -> Result<f64> {
    let began = Instant::now();
    let (mut good, mut all) = (0.0, 0.0);
    for one in &advice.judged {
        all += one.question.weight;
        let read = if began.elapsed() < ALL {
            reads(conn, &one.question).await?
        } else {
            None
        };
        if is_optimal(one, read) {
            good += one.question.weight;
        }
    }
    Ok(if all > 0.0 { good / all } else { 1.0 })
}

/// Whether a question is on the best plan, by what was read: its own plan's, and the least of all.
fn is_optimal(judged: &Judged, read: Option<(f64, f64)>) -> bool {
    let Some((own, least)) = read else {
        return judged.now <= judged.then.mul_add(WITHIN, 1.0);
    };
    let promised = own * (judged.then / judged.now.max(f64::MIN_POSITIVE)).min(1.0);
    own <= least.min(promised) * WITHIN
}

/// What a question reads by the indexes of its own plan, and by the best of the others that could be
/// had. `None` where its own takes too long.
async fn reads(conn: &mut PgConnection, question: &Question) -> Result<Option<(f64, f64)>> {
    let mut seen = vec![used(conn, question, &[]).await?];
    let Some(own) = executed(conn, question, &[]).await? else {
        return Ok(None);
    };
    let mut least = own;
    for off in KEPT_FROM {
        let indexes = used(conn, question, off).await?;
        if seen.contains(&indexes) {
            continue;
        }
        seen.push(indexes);
        if let Some(blocks) = executed(conn, question, off).await? {
            least = least.min(blocks);
        }
    }
    Ok(Some((own, least)))
}

async fn begin(conn: &mut PgConnection, off: &[&'static str]) -> Result<()> {
    store::begin_measuring(conn, EACH).await.map_err(fault)?;
    for setting in off {
        store::run(conn, &store::switch_off(setting))
            .await
            .map_err(fault)?;
    }
    Ok(())
}

async fn used(
    conn: &mut PgConnection,
    question: &Question,
    off: &[&'static str],
) -> Result<BTreeSet<String>> {
    begin(conn, off).await?;
    let price = price(conn, &question.statement).await;
    store::end_measuring(conn).await.map_err(fault)?;
    Ok(price?.used)
}

async fn executed(
    conn: &mut PgConnection,
    question: &Question,
    off: &[&'static str],
) -> Result<Option<f64>> {
    begin(conn, off).await?;
    let read = buffers(conn, &question.statement).await;
    store::end_measuring(conn).await.map_err(fault)?;
    match read {
        Ok((blocks, _)) => Ok(Some(blocks)),
        Err(
            Error::Timeout(_) | Error::Cancelled | Error::Database { .. } | Error::BeyondDouble,
        ) => Ok(None),
        Err(other) => Err(other),
    }
}
