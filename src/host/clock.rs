//! The machine's clocks, read together.
//!
//! Owns: the system calls. Refuses to know: what the time is for. Whoever needs the time is
//! handed a [`Now`], so nothing but the turn asks a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::base::Now;

/// The clocks of this process, counting from its own making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// What it read when it was started.
    before_ms: u64,
}

impl Clock {
    /// A clock whose monotonic time starts at 0 now.
    #[must_use]
    pub fn new() -> Clock {
        Clock::going_on_at(0)
    }

    /// A clock whose monotonic time goes on from there: another has stopped just now.
    #[must_use]
    pub fn going_on_at(monotonic_ms: u64) -> Clock {
        Clock { started: Instant::now(), before_ms: monotonic_ms }
    }

    /// Both clocks, in milliseconds. A wall clock that stands before 1970 reads 0.
    #[must_use]
    pub fn read(&self) -> Now {
        self.read_precisely().0
    }

    /// The same, and the moment itself, from which it can be told how long something took.
    #[must_use]
    pub fn read_precisely(&self) -> (Now, Instant) {
        let moment = Instant::now();
        (Now { monotonic_ms: self.monotonic_ms_at(moment), wall_ms: wall_ms(SystemTime::now()) }, moment)
    }

    /// The monotonic clock alone.
    #[must_use]
    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms_at(Instant::now())
    }

    fn monotonic_ms_at(&self, moment: Instant) -> u64 {
        let since_start_ms = whole_ms(moment.saturating_duration_since(self.started).as_millis());
        self.before_ms.saturating_add(since_start_ms)
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::new()
    }
}

/// The system's own monotonic clock, in microseconds: for other programs, which have it too.
#[must_use]
pub fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    // It counts from the machine's start, so neither is below 0.
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// A board without a battery can wake up anywhere, so "before 1970" is an ordinary answer.
fn wall_ms(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).map_or(0, |since| whole_ms(since.as_millis()))
}

/// 64 bits of milliseconds last for 584 million years.
fn whole_ms(ms: u128) -> u64 {
    u64::try_from(ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn monotonic_time_starts_near_0_and_does_not_go_back() {
        let clock = Clock::new();
        let first = clock.read();
        let second = clock.read();
        assert!(first.monotonic_ms < 60_000);
        assert!(second.monotonic_ms >= first.monotonic_ms);
    }

    #[test]
    fn monotonic_time_goes_on_where_another_clock_stopped() {
        let clock = Clock::going_on_at(1 << 50);
        assert!((1 << 50..(1 << 50) + 60_000).contains(&clock.read().monotonic_ms));
    }

    #[test]
    fn the_systems_monotonic_clock_counts_microseconds() {
        let before = monotonic_us();
        std::thread::sleep(Duration::from_millis(2));
        assert!(monotonic_us() - before >= 2000);
    }

    #[test]
    fn a_wall_clock_before_1970_reads_0() {
        assert_eq!(wall_ms(UNIX_EPOCH - Duration::from_secs(1)), 0);
        assert_eq!(wall_ms(UNIX_EPOCH), 0);
        assert_eq!(wall_ms(UNIX_EPOCH + Duration::from_millis(1234)), 1234);
    }
}
