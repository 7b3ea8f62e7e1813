//! The time, as a value.
//!
//! Owns: the pair of clocks that a turn is given. Refuses to know: how they are read
//! (`host::clock`), so that "two minutes later" is an addition in every test.

/// One reading of both clocks; it serves a whole turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the hub started. Never goes back: every period is measured with it.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970. A board without a clock battery may be years off, and may jump;
    /// it is told to people, and decides nothing but whether a token's time has come and is over.
    pub wall_ms: u64,
}

impl Now {
    /// The same moment `ms` milliseconds later, on both clocks.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Now {
        Now { monotonic_ms: self.monotonic_ms + ms, wall_ms: self.wall_ms + ms }
    }
}
