//! Which of the candidates together pay best: by benefit, and by benefit per byte or per what writing
//! costs then, with another look at each before it is taken; then by exchanging and leaving out; all sets, where they are few.

use std::collections::BTreeSet;

use crate::model::Result;

/// A set of candidates, by their places.
pub type Config = BTreeSet<usize>;

/// What sets of candidates cost.
pub trait Costs {
    /// What the workload costs with these, writes included.
    fn total(&mut self, config: &Config) -> impl Future<Output = Result<f64>> + Send;
    /// How large a candidate would be.
    fn size(&self, candidate: usize) -> f64;
    /// What a candidate adds to what storing an event costs, as a share of it.
    fn tax(&self, candidate: usize) -> f64;
    /// What an index must save at least.
    fn least(&self) -> f64;
}

/// How much may be built.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Indexes.
    pub count: usize,
    /// Bytes.
    pub bytes: f64,
    /// What all may add to what storing an event costs, as a share of it.
    pub tax: f64,
}

/// What a candidate's benefit is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Per {
    /// Nothing.
    Index,
    /// Its size.
    Byte,
    /// What writing costs with it.
    Tax,
}

/// Sets that are all tried.
const EXACT: usize = 9;
/// Less is not worth an index: a share of what the workload costs without it.
const WORTH: f64 = 0.02;

/// What an index must save for a workload that costs so much.
fn worth<C: Costs>(costs: &C, now: f64) -> f64 {
    (now * WORTH).max(costs.least())
}

/// The best set that was found.
///
/// # Errors
/// Those of asking for costs.
pub async fn search<C: Costs + Send>(
    costs: &mut C,
    candidates: usize,
    budget: Budget,
) -> Result<Config> {
    let mut found = Config::new();
    for per in [Per::Byte, Per::Index, Per::Tax] {
        let other = greedy(costs, candidates, budget, per).await?;
        if costs.total(&other).await? < costs.total(&found).await? {
            found = other;
        }
    }
    if candidates <= EXACT {
        found = exact(costs, candidates, budget, found).await?;
    }
    improve(costs, candidates, budget, found).await
}

fn fits<C: Costs>(costs: &C, config: &Config, budget: Budget) -> bool {
    config.len() <= budget.count
        && config.iter().map(|c| costs.size(*c)).sum::<f64>() <= budget.bytes
        && config.iter().map(|c| costs.tax(*c)).sum::<f64>() <= budget.tax
}

async fn greedy<C: Costs + Send>(
    costs: &mut C,
    candidates: usize,
    budget: Budget,
    per: Per,
) -> Result<Config> {
    let mut chosen = Config::new();
    let mut now = costs.total(&chosen).await?;
    // Benefit with what was chosen when it was last looked at: it only shrinks.
    let mut queue: Vec<(f64, usize, usize)> = Vec::new();
    for candidate in 0..candidates {
        let gain = now - costs.total(&Config::from([candidate])).await?;
        queue.push((gain, candidate, 0));
    }
    let rank = |costs: &C, gain: f64, candidate: usize| match per {
        Per::Index => gain,
        Per::Byte => gain / costs.size(candidate).max(8192.0).sqrt(),
        Per::Tax => gain / costs.tax(candidate).max(1e-3),
    };
    loop {
        let worth = worth(costs, now);
        queue.retain(|(gain, candidate, _)| {
            let mut with = chosen.clone();
            with.insert(*candidate);
            *gain > worth && fits(costs, &with, budget)
        });
        let best = queue
            .iter()
            .enumerate()
            .max_by(|(_, a), (_, b)| rank(costs, a.0, a.1).total_cmp(&rank(costs, b.0, b.1)));
        let Some((place, &(_, candidate, seen))) = best else {
            return Ok(chosen);
        };
        let mut with = chosen.clone();
        with.insert(candidate);
        let total = costs.total(&with).await?;
        if seen == chosen.len() {
            if now - total <= worth {
                queue.swap_remove(place);
                continue;
            }
            chosen = with;
            now = total;
            queue.swap_remove(place);
        } else {
            queue[place] = (now - total, candidate, chosen.len());
        }
    }
}

async fn exact<C: Costs + Send>(
    costs: &mut C,
    candidates: usize,
    budget: Budget,
    mut best: Config,
) -> Result<Config> {
    let found = costs.total(&best).await?;
    let worth = worth(costs, found);
    let value = |total: f64, config: &Config| total + worth * count(config);
    let mut least = value(found, &best);
    for bits in 0..(1_u32 << candidates) {
        let config: Config = (0..candidates).filter(|i| bits >> i & 1 == 1).collect();
        if !fits(costs, &config, budget) {
            continue;
        }
        let total = value(costs.total(&config).await?, &config);
        if total < least {
            (least, best) = (total, config);
        }
    }
    Ok(best)
}

#[allow(clippy::cast_precision_loss)] // A handful.
fn count(config: &Config) -> f64 {
    config.len() as f64
}

/// Leaves out what others make up for, and exchanges one for another, while that pays.
async fn improve<C: Costs + Send>(
    costs: &mut C,
    candidates: usize,
    budget: Budget,
    mut best: Config,
) -> Result<Config> {
    for _ in 0..8 {
        let mut now = costs.total(&best).await?;
        let worth = worth(costs, now);
        let before = best.clone();
        for out in &before {
            let mut without = best.clone();
            without.remove(out);
            let total = costs.total(&without).await?;
            if total <= now + worth {
                (now, best) = (total, without);
                continue;
            }
            for other in 0..candidates {
                if best.contains(&other) {
                    continue;
                }
                let mut exchanged = without.clone();
                exchanged.insert(other);
                if !fits(costs, &exchanged, budget) {
                    continue;
                }
                let total = costs.total(&exchanged).await?;
                if total < now * (1.0 - 1e-6) {
                    (now, best) = (total, exchanged);
                    break;
                }
            }
        }
        if best == before {
            break;
        }
    }
    Ok(best)
}
