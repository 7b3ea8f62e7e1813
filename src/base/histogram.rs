//! How often something took how long.
//!
//! Owns: the counts, in buckets of fixed bounds. Refuses to know: what was measured, and by what clock. A measurement costs a search among a dozen
//! bounds and two additions.

use std::time::Duration;

/// The upper bounds of the buckets but for the last, which has none: from a turn that did nothing on a fast machine to one that a class would feel.
pub const BOUNDS: [Duration; 14] = [
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// Durations, counted by [`BOUNDS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS.len() + 1],
    sum_ns: u64,
}

impl Histogram {
    /// Counts one.
    pub fn add(&mut self, took: Duration) {
        self.counts[BOUNDS.partition_point(|bound| *bound < took)] += 1;
        // 64 bits of nanoseconds are 584 years of work.
        self.sum_ns = self.sum_ns.saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many took at most as long as each of [`BOUNDS`], and last how many there are.
    #[must_use]
    pub fn cumulated(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0;
        self.counts.map(|count| {
            sum += count;
            sum
        })
    }

    /// All together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise() {
        assert!(BOUNDS.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn what_takes_as_long_as_a_bound_is_within_it() {
        let mut histogram = Histogram::default();
        let ns = Duration::from_nanos(1);
        for took in [Duration::ZERO, BOUNDS[0], BOUNDS[0] + ns, BOUNDS[13], BOUNDS[13] + ns, Duration::MAX] {
            histogram.add(took);
        }
        assert_eq!(histogram.cumulated(), [2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 6]);
        assert_eq!(histogram.sum(), Duration::from_nanos(u64::MAX));
    }
}
