//! Figures out of runs.
//!
//! Owns: what each figure is and its unit, medians over rounds, and ratios to the floor of the same round. Refuses to know: how they are shown.

use crate::window::Outcome;
use crate::workloads::Workload;

/// What a workload came to on one server, round by round.
pub struct Series {
    /// What was asked.
    pub workload: Workload,
    /// Of whom.
    pub server: &'static str,
    /// A run that was not right is none, and says why.
    pub rounds: Vec<Result<Outcome, String>>,
}

/// Something that is told of a run.
#[derive(Clone, Copy)]
pub struct Figure {
    /// Its name in JSON, unit included.
    pub key: &'static str,
    /// `None` where the workload has none, or it can't be told.
    pub of: fn(&Workload, &Outcome) -> Option<f64>,
}

/// All that are told.
pub const ALL: [Figure; 12] = [
    DELIVERIES,
    P50,
    P99,
    P999,
    CPU,
    BUSY,
    USER,
    FRAMES_PER_WRITE,
    MEMORY,
    CPU_PER_JOIN,
    Figure { key: "resident_bytes", of: |_, run| Some(run.full.resident as f64) },
    BYTES,
];

/// Frames that members heard, or cycles, each second.
pub const DELIVERIES: Figure = Figure {
    key: "deliveries_per_second",
    of: |_, run| (run.deliveries > 0).then(|| run.deliveries as f64 / run.seconds),
};
/// How long half of all took at most.
pub const P50: Figure = Figure { key: "p50_us", of: |_, run| percentile_us(run, 50.0) };
/// How long 99 of 100 took at most.
pub const P99: Figure = Figure { key: "p99_us", of: |_, run| percentile_us(run, 99.0) };
/// How long 999 of 1,000 took at most.
pub const P999: Figure = Figure { key: "p99_9_us", of: |_, run| percentile_us(run, 99.9) };
/// What the server used for each delivery, or cycle.
pub const CPU: Figure = Figure {
    key: "cpu_ns_per_delivery",
    of: |_, run| (run.deliveries > 0).then(|| run.cpu.total_ns as f64 / run.deliveries as f64),
};
/// Which part of its core the server used: where that is far from all, and nobody else was there, the generator or the clock was in its way.
pub const BUSY: Figure = Figure { key: "busy_share", of: |_, run| Some(run.cpu.total_ns as f64 / 1e9 / run.seconds) };
/// Which part of that was in user space.
pub const USER: Figure = Figure { key: "user_share", of: |_, run| run.cpu.user_share() };
/// How many frames went into a write.
pub const FRAMES_PER_WRITE: Figure = Figure {
    key: "frames_per_write",
    of: |_, run| run.segments.filter(|segments| *segments > 0).map(|segments| run.deliveries as f64 / segments as f64),
};
/// What each delivery came to on the wire.
pub const BYTES: Figure =
    Figure { key: "bytes_per_delivery", of: |_, run| (run.deliveries > 0).then_some(run.bytes_per_delivery) };
/// What each member added to what the server held.
pub const MEMORY: Figure = Figure {
    key: "resident_bytes_per_member",
    // Among a few, what a room costs would count as theirs.
    of: |workload, run| (workload.people() >= 500).then(|| run.grown_bytes() / workload.people() as f64),
};
/// What the server used for each join as its rooms filled.
pub const CPU_PER_JOIN: Figure = Figure { key: "cpu_ns_per_join", of: |_, run| Some(run.cpu_per_join_ns) };

impl Series {
    /// Rounds that were right, with their places.
    fn runs(&self) -> impl Iterator<Item = (usize, &Outcome)> {
        self.rounds.iter().enumerate().filter_map(|(round, run)| Some((round, run.as_ref().ok()?)))
    }

    /// The median of a figure; `None` where no round has it.
    pub fn median(&self, figure: Figure) -> Option<f64> {
        median(self.runs().filter_map(|(_, run)| (figure.of)(&self.workload, run)).collect())
    }

    /// The median of a figure's ratio to the other's, round by round.
    pub fn ratio(&self, other: &Series, figure: Figure) -> Option<f64> {
        let of_round = |(round, run): (usize, &Outcome)| {
            let theirs = (figure.of)(&other.workload, other.rounds.get(round)?.as_ref().ok()?)?;
            Some((figure.of)(&self.workload, run)? / theirs).filter(|ratio| ratio.is_finite())
        };
        median(self.runs().filter_map(of_round).collect())
    }

    /// What was run where.
    pub fn told(&self) -> String {
        let Workload { name, rooms, members, .. } = self.workload;
        format!("{name} ({rooms} × {members}) on {}", self.server)
    }

    /// Why rounds were not right.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.rounds.iter().filter_map(|run| run.as_ref().err().map(String::as_str))
    }
}

/// Of these runs those of one workload by one server.
pub fn find<'a>(all: &'a [Series], workload: &str, server: &str) -> Option<&'a Series> {
    all.iter().find(|series| series.workload.name == workload && series.server == server)
}

/// Servers whose frames are not as long as the floor's, which would be no fair comparison.
pub fn unlike(all: &[Series]) -> Vec<String> {
    // In churn a cycle hears of as many others as happen to come or go meanwhile.
    let comparable = |series: &&Series| series.server != "floor" && series.workload.name != "churn";
    let unlike = all.iter().filter(comparable).filter_map(|series| {
        let ratio = series.ratio(find(all, series.workload.name, "floor")?, BYTES)?;
        let percent = (ratio - 1.0) * 100.0;
        (percent.abs() > 1.0)
            .then(|| format!("NOT ALIKE: {} sends {percent:+.1} % of the floor's bytes", series.told()))
    });
    unlike.collect()
}

fn percentile_us(run: &Outcome, percent: f64) -> Option<f64> {
    percentile(&run.latencies_ns, percent).map(|ns| f64::from(ns) / 1000.0)
}

/// The least value that so many of these, which are sorted, do not exceed (the nearest rank).
pub fn percentile(sorted: &[u32], percent: f64) -> Option<u32> {
    let rank = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// The middle one; of an even number the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
