//! Durations counted in a fixed number of buckets: averages hide what users feel.
//!
//! The buckets are log-linear, as in HdrHistogram: each power of two is divided into 32, so that a
//! quantile is within 1.6 % of the exact one, from a microsecond to 19 hours, in 4 KB.

use std::time::Duration;

const BITS: u32 = 5;
const PER_OCTAVE: usize = 1 << BITS;
const OCTAVES: usize = 31;
const BUCKETS: usize = PER_OCTAVE * (OCTAVES + 1);
/// Anything longer counts as this: 2^36 µs.
const LONGEST: u64 = (1 << 36) - 1;

/// Counted durations.
#[derive(Clone)]
pub struct Histogram {
    buckets: Box<[u32; BUCKETS]>,
    count: u64,
    total: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: Box::new([0; BUCKETS]),
            count: 0,
            total: 0,
            longest: 0,
        }
    }
}

/// Microseconds of a duration.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds of so many microseconds.
#[allow(clippy::cast_precision_loss)] // 2^53 µs are 285 years.
pub fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

fn shift_of(value: u64) -> u32 {
    value.max(1).ilog2().saturating_sub(BITS)
}

#[allow(clippy::cast_possible_truncation)] // Below `BUCKETS`: values end at `LONGEST`.
fn bucket_of(value: u64) -> usize {
    let shift = shift_of(value);
    shift as usize * PER_OCTAVE + (value >> shift) as usize
}

/// The middle of a bucket.
fn middle_of(bucket: usize) -> u64 {
    let shift = (bucket / PER_OCTAVE).saturating_sub(1);
    let low = ((bucket - shift * PER_OCTAVE) as u64) << shift;
    low + ((1_u64 << shift) - 1) / 2
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let value = micros(duration);
        let bucket = &mut self.buckets[bucket_of(value.min(LONGEST))];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
        self.total = self.total.saturating_add(value);
        self.longest = self.longest.max(value);
    }

    /// How many.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together, in milliseconds.
    pub fn total(&self) -> f64 {
        millis(self.total)
    }

    /// The longest, in milliseconds.
    pub fn longest(&self) -> f64 {
        millis(self.longest)
    }

    /// Their mean in milliseconds; 0 where there are none.
    #[allow(clippy::cast_precision_loss)] // A count.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        self.total() / self.count as f64
    }

    /// The duration that this share of them does not exceed, in milliseconds; 0 where there are none.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )] // A count, times a share from 0 to 1.
    pub fn quantile(&self, share: f64) -> f64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, n) in self.buckets.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= rank {
                return millis(middle_of(bucket).min(self.longest));
            }
        }
        self.longest()
    }
}

/// Bounds of the buckets that Prometheus is shown, in microseconds.
pub const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 60_000_000,
];

/// Durations counted exactly by [`BOUNDS`], beside their histogram.
#[derive(Default)]
pub struct Bounded {
    /// How many were at most as long as each bound and longer than the one before.
    pub within: [u64; BOUNDS.len()],
    /// All of them.
    pub all: Histogram,
}

impl Bounded {
    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let value = micros(duration);
        if let Some(at) = BOUNDS.iter().position(|bound| value <= *bound) {
            self.within[at] += 1;
        }
        self.all.record(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::{BOUNDS, BUCKETS, Bounded, Histogram, LONGEST, bucket_of, middle_of};
    use std::time::Duration;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        let mut last = 0;
        for value in (0..100_000).chain((17..37).map(|p| (1_u64 << p) - 1)) {
            let bucket = bucket_of(value.min(LONGEST));
            assert!(bucket < BUCKETS && (bucket == last || bucket == last + 1 || value > 100_000));
            let error = middle_of(bucket).abs_diff(value.min(LONGEST));
            assert!(error * 63 <= value, "{value} is off by {error}");
            last = bucket;
        }
    }

    #[test]
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    fn quantiles_are_those_of_the_exact_ones() {
        // Three shapes: even, long-tailed, all alike.
        let shapes: [fn(u64) -> u64; 3] = [
            |i| i * 37,
            |i| ((i as f64 / 400.0).exp() * 100.0) as u64,
            |_| 12_345,
        ];
        for shape in shapes {
            let mut histogram = Histogram::default();
            let mut exact: Vec<u64> = (1..=5000).map(shape).collect();
            for value in &exact {
                histogram.record(Duration::from_micros(*value));
            }
            exact.sort_unstable();
            for share in [0.01, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let wanted = exact[(5000.0 * share) as usize - 1] as f64 / 1000.0;
                let got = histogram.quantile(share);
                assert!(
                    (got - wanted).abs() <= wanted * 0.016 + 0.001,
                    "{share}: {got} for {wanted}"
                );
            }
            let mean = exact.iter().sum::<u64>() as f64 / 5_000_000.0;
            assert!((histogram.mean() - mean).abs() < 1e-6);
        }
        assert!(Histogram::default().quantile(0.5).abs() < f64::EPSILON);
    }

    #[test]
    fn bounds_are_counted_exactly() {
        let mut bounded = Bounded::default();
        for bound in BOUNDS {
            bounded.record(Duration::from_micros(bound));
            bounded.record(Duration::from_micros(bound + 1));
        }
        assert_eq!(bounded.within[0], 1);
        assert!(bounded.within[1..].iter().all(|n| *n == 2));
        assert_eq!(bounded.all.count(), 28);
    }
}
