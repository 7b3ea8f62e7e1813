//! The part of a run that is counted, and what came of it.
//!
//! Owns: where a count begins and ends, and the figures of one run. Refuses to know: what is said meanwhile, and how figures are put together.

use std::time::Instant;

use crate::load::{Failed, Load};
use crate::measure::{Cpu, Memory};
use crate::servers::Running;

/// What came of a run in which all went right.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How long was counted.
    pub seconds: f64,
    /// Text frames that members heard meanwhile; in `churn`, cycles.
    pub deliveries: u64,
    /// Bytes that members were sent meanwhile, for each of those.
    pub bytes_per_delivery: f64,
    /// What the server used meanwhile.
    pub cpu: Cpu,
    /// Segments with data that came meanwhile; `None` where nobody can tell.
    pub segments: Option<u64>,
    /// How long things took, in nanoseconds, from the least to the most.
    pub latencies_ns: Vec<u32>,
    /// What the server used while its rooms filled, for each join.
    pub cpu_per_join_ns: f64,
    /// What it held when nobody had come yet.
    pub empty: Memory,
    /// What it held when everyone had done all they do.
    pub full: Memory,
}

impl Outcome {
    /// By how much what the server held has grown.
    pub fn grown_bytes(&self) -> f64 {
        self.full.resident as f64 - self.empty.resident as f64
    }
}

/// A part of a run that is counted.
pub struct Window {
    /// When it began.
    pub began: Instant,
    cpu: Cpu,
    heard: u64,
    bytes: u64,
    segments: Option<u64>,
}

impl Window {
    /// Begins now.
    pub fn begin(load: &Load, server: &Running) -> Result<Window, Failed> {
        Ok(Window {
            segments: load.segments(),
            heard: load.heard,
            bytes: load.bytes,
            cpu: Cpu::of(server.pid())?,
            began: Instant::now(),
        })
    }

    /// Ends now.
    pub fn end(&self, load: &Load, server: &Running) -> Result<Outcome, Failed> {
        let seconds = self.began.elapsed().as_secs_f64();
        let cpu = Cpu::of(server.pid())?.since(self.cpu);
        let deliveries = load.heard - self.heard;
        Ok(Outcome {
            seconds,
            deliveries,
            bytes_per_delivery: (load.bytes - self.bytes) as f64 / deliveries.max(1) as f64,
            cpu,
            segments: load.segments().zip(self.segments).map(|(now, then)| now - then),
            ..Outcome::default()
        })
    }
}
