//! Whether runs became slower: by their ranks, so that no outlier and no scale decides.

/// Runs on each side that it takes to tell.
pub const ENOUGH: usize = 20;
/// Runs on each side that are compared at most.
pub const MOST: usize = 200;
/// One-sided: a false alarm in a thousand plan changes that changed nothing.
const Z: f64 = 3.09;
/// Slower by less is no regression, however sure.
const FACTOR: f64 = 1.5;
/// Nor is a slowdown that nobody feels, in microseconds.
const FELT: f64 = 200.0;

/// The mean of some durations in microseconds, as milliseconds; 0 of none.
#[allow(clippy::cast_precision_loss)] // Counts.
pub fn mean(durations: &[u32]) -> f64 {
    // A sum of nothing would be -0.
    let total = durations.iter().fold(0.0, |sum, d| sum + f64::from(*d));
    total / durations.len().max(1) as f64 / 1000.0
}

fn median(durations: &[u32]) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => f64::from(sorted[n / 2]),
        n => f64::midpoint(f64::from(sorted[n / 2 - 1]), f64::from(sorted[n / 2])),
    }
}

/// The standard score of the Mann-Whitney test that `after` is larger; ties share their ranks.
#[allow(clippy::cast_precision_loss)] // Counts.
fn score(before: &[u32], after: &[u32]) -> f64 {
    let mut all: Vec<(u32, bool)> = (before.iter().map(|d| (*d, false)))
        .chain(after.iter().map(|d| (*d, true)))
        .collect();
    all.sort_unstable();
    let mut ranks = 0.0;
    let mut ties = 0.0;
    let mut below = 0;
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        // Ranks count from 1; ties take the middle of theirs.
        let shared = below as f64 + f64::midpoint(1.0, same.len() as f64);
        ranks += shared * same.iter().filter(|(_, late)| *late).count() as f64;
        ties += (same.len() as f64).powi(3) - same.len() as f64;
        below += same.len();
    }
    let (n, m) = (before.len() as f64, after.len() as f64);
    let total = n + m;
    let u = ranks - m * (m + 1.0) / 2.0;
    let variance = n * m / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)));
    if variance <= 0.0 {
        return 0.0;
    }
    (u - n * m / 2.0) / variance.sqrt()
}

/// Whether runs became slower for sure, and by enough to matter.
pub fn is_slower(before: &[u32], after: &[u32]) -> bool {
    if before.len() < ENOUGH || after.len() < ENOUGH {
        return false;
    }
    let (was, is) = (median(before), median(after));
    is >= was * FACTOR && is - was >= FELT && score(before, after) >= Z
}

#[cfg(test)]
mod tests {
    use super::{is_slower, mean, score};

    #[test]
    fn the_score_is_the_textbooks() {
        // R: wilcox.test(c(1,2,3,5,8), c(4,6,7,9,10), exact = FALSE, correct = FALSE): W = 4, p = 0.07593.
        let z = score(&[1, 2, 3, 5, 8], &[4, 6, 7, 9, 10]);
        assert!((z - 1.7756).abs() < 1e-3, "{z}");
        // All tied: nothing can be told.
        assert!(score(&[5; 30], &[5; 30]).abs() < 1e-9);
    }

    #[test]
    fn noise_and_outliers_are_no_regression() {
        let before: Vec<u32> = (0..60).map(|i| 1000 + i * 7 % 100).collect();
        let mut after: Vec<u32> = (0..60).map(|i| 1010 + i * 11 % 100).collect();
        assert!(!is_slower(&before, &after));
        after[3] = 1_000_000;
        assert!(!is_slower(&before, &after));
        let slower: Vec<u32> = before.iter().map(|d| d * 2).collect();
        assert!(is_slower(&before, &slower));
        assert!(!is_slower(&slower, &before));
        // Too few to tell, and too little to feel.
        assert!(!is_slower(&before, &slower[..19]));
        let (quick, less_quick) = (vec![50; 60], vec![110; 60]);
        assert!(!is_slower(&quick, &less_quick));
    }

    #[test]
    fn means_are_milliseconds() {
        assert!((mean(&[1000, 2000]) - 1.5).abs() < 1e-9);
        assert!(mean(&[]).abs() < 1e-9);
    }
}
