//! How much of something may happen in a time: a token bucket.
//!
//! Owns: the arithmetic. Refuses to know: what is counted, and what happens to whoever overdoes it.
//!
//! Kept as one number, the moment at which the bucket will be full again (GCRA): nothing ticks, a
//! bucket costs eight bytes, and one that was never used is the number 0.

use serde::{Deserialize, Serialize};

/// What may be spent: `per_second`, and `burst` at once. A rate of 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units that come back each second; 0 is no limit.
    pub per_second: u32,
    /// Units that may be spent at once.
    pub burst: u32,
}

/// One bucket: what was spent of a [`Rate`]. The default is a full one. Of two of one rate, the lesser is full again sooner. The rate may change
/// between two calls: what was spent under another is never more than the whole burst of this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spent {
    full_at_ns: u64,
}

impl Spent {
    /// Spends `units`, if they are there at `now_ms` (monotonic milliseconds). Says whether they were; a refusal spends nothing.
    /// More than `burst` at once is never there.
    pub fn spend(&mut self, rate: Rate, units: u32, now_ms: u64) -> bool {
        if rate.per_second == 0 {
            return true;
        }
        let now_ns = now_ms * 1_000_000;
        // Rounded up: at the highest rates a unit is less than a nanosecond, and still not free.
        let cost_ns = |units: u32| (u64::from(units) * 1_000_000_000).div_ceil(u64::from(rate.per_second));
        let empty_ns = now_ns + cost_ns(rate.burst);
        self.full_at_ns = self.full_at_ns.min(empty_ns);
        let full_at_ns = self.full_at_ns.max(now_ns) + cost_ns(units);
        let there = full_at_ns <= empty_ns;
        if there {
            self.full_at_ns = full_at_ns;
        }
        there
    }

    /// Whether [`Spent::spend`] would find so many.
    #[must_use]
    pub fn has(mut self, rate: Rate, units: u32, now_ms: u64) -> bool {
        self.spend(rate, units, now_ms)
    }

    /// Whether all that was spent has come back: it is as one that was never used.
    #[must_use]
    pub fn is_full(self, now_ms: u64) -> bool {
        self.full_at_ns <= now_ms * 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 20, burst: 40 };

    #[test]
    fn a_burst_passes_and_one_more_does_not() {
        let mut spent = Spent::default();
        for n in 0..40 {
            assert!(spent.spend(RATE, 1, 0), "{n}");
        }
        assert!(!spent.spend(RATE, 1, 0));
    }

    #[test]
    fn what_was_spent_comes_back_with_time() {
        let mut spent = Spent::default();
        assert!(spent.spend(RATE, 40, 5_000));
        assert!(!spent.spend(RATE, 1, 5_049));
        assert!(spent.spend(RATE, 1, 5_050));
        assert!(!spent.spend(RATE, 1, 5_050));
        assert!(spent.spend(RATE, 40, 60_000));
    }

    #[test]
    fn to_look_spends_nothing() {
        let mut spent = Spent::default();
        assert!(spent.is_full(0) && spent.has(RATE, 40, 0) && spent.has(RATE, 40, 0));
        assert!(spent.spend(RATE, 40, 0));
        assert!(!spent.has(RATE, 1, 49) && spent.has(RATE, 1, 50));
        assert!(!spent.is_full(1_999) && spent.is_full(2_000));
        assert!(Spent::default() < spent);
    }

    #[test]
    fn a_refusal_spends_nothing() {
        let mut spent = Spent::default();
        assert!(!spent.spend(RATE, 41, 0));
        assert!(spent.spend(RATE, 40, 0));
    }

    #[test]
    fn whatever_was_spent_under_another_rate_is_a_burst_of_this_one_at_most() {
        let slow = Rate { per_second: 1, burst: 1_000 };
        let mut spent = Spent::default();
        assert!(spent.spend(slow, 1_000, 0), "a thousand seconds of it");
        assert!(!spent.spend(RATE, 1, 0));
        assert!(spent.spend(RATE, 1, 50), "as one whose burst is spent, and no worse");
        assert!(!spent.spend(RATE, 1, 50));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut spent = Spent::default();
        let none = Rate { per_second: 0, burst: 1 };
        assert!((0..1000).all(|_| spent.spend(none, u32::MAX, 0)));
    }

    #[test]
    fn the_largest_rates_do_not_overflow() {
        let mut spent = Spent::default();
        let slow = Rate { per_second: 1, burst: u32::MAX };
        assert!(spent.spend(slow, u32::MAX, 1 << 40));
        assert!(!spent.spend(slow, 1, 1 << 40));
        let mut spent = Spent::default();
        let fast = Rate { per_second: 1 << 30, burst: 1 << 30 };
        let passed = (0..).take_while(|_| spent.spend(fast, 1 << 20, 0)).count();
        assert!((1020..=1024).contains(&passed), "{passed}");
    }
}
