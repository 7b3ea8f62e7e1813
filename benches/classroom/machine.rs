//! Where it was measured, and how many pupils that carries.
//!
//! Owns: what the machine is, and the estimate with its assumptions. Refuses to know: how anything was measured.

use std::fs;
use std::path::Path;

use crate::figures::{self, Series};
use crate::table;

/// The most connections that the hub may be configured for.
const CONNECTIONS_MAX: f64 = classhub::limits::CONNECTIONS.max as f64;

// What pupils do, where nobody knows better.
const CLASS: f64 = 50.0;
const SECONDS_PER_MESSAGE: f64 = 10.0;
/// Of the hub's core; the rest is for what comes all at once.
const CORE_SHARE: f64 = 0.5;
/// Of what the machine has left.
const MEMORY_SHARE: f64 = 0.5;

/// A machine, and the hub's binary on it.
pub struct Machine {
    /// What the kernel calls its processor.
    pub processor: String,
    /// How many cores there are.
    pub cores: usize,
    /// The kernel's release.
    pub kernel: String,
    /// How large the hub is.
    pub binary_bytes: u64,
}

impl Machine {
    /// This one.
    pub fn this(hub: &Path) -> std::io::Result<Machine> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let board = fs::read_to_string("/proc/device-tree/model").ok();
        let value =
            |key| cpuinfo.lines().find(|line| line.starts_with(key))?.split_once(": ").map(|(_, it)| it.to_owned());
        let processor = board.map(|it| it.trim_matches('\0').to_owned()).or_else(|| value("model name"));
        Ok(Machine {
            processor: processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            binary_bytes: fs::metadata(hub)?.len(),
        })
    }

    /// One line that says what it is.
    pub fn told(&self) -> String {
        let tls = if cfg!(feature = "tls") { "with" } else { "without" };
        let Machine { processor, cores, kernel, binary_bytes } = self;
        let binary = table::bytes(*binary_bytes as f64);
        format!(
            "classhub {} {tls} TLS, {binary}; {processor}, {cores} cores, Linux {kernel}",
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// What the hub holds with nobody, and with many who say nothing.
pub fn memory(all: &[Series]) -> Option<String> {
    let series = figures::find(all, "idle", "hub")?;
    let of = |figure: fn(&crate::window::Outcome) -> u64| {
        let values = series.rounds.iter().filter_map(|run| run.as_ref().ok()).map(|run| figure(run) as f64);
        figures::median(values.collect()).map(table::bytes)
    };
    Some(format!(
        "Resident memory (proportional; anonymous) of an empty hub: {} ({}; {}); with {} idle members: {} ({}; {}).",
        of(|run| run.empty.resident)?,
        of(|run| run.empty.proportional)?,
        of(|run| run.empty.anonymous)?,
        table::count(series.workload.people() as f64),
        of(|run| run.full.resident)?,
        of(|run| run.full.proportional)?,
        of(|run| run.full.anonymous)?,
    ))
}

/// How many pupils this machine carries, with what that assumes; `None` where not enough was measured to say.
pub fn carries(all: &[Series], available_bytes: u64) -> Option<String> {
    // In `open` hardly two messages fall together, and so a delivery is dearest there: a write of its own.
    let cpu_ns = figures::find(all, "open", "hub")?.median(figures::CPU)?;
    let memory = figures::find(all, "idle", "hub").or_else(|| figures::find(all, "open", "hub"))?;
    let (bytes, held) = (memory.median(figures::MEMORY)?, memory.workload.people());
    let heard_per_second = CLASS / SECONDS_PER_MESSAGE;
    let by_core = CORE_SHARE * 1e9 / (cpu_ns * heard_per_second);
    let by_memory = MEMORY_SHARE * available_bytes as f64 / bytes.max(1.0);
    let (pupils, why) = [
        (by_core, "its core ends it"),
        (by_memory, "its memory ends it"),
        (CONNECTIONS_MAX, "the hub's table ends there"),
    ]
    .into_iter()
    .min_by(|a, b| a.0.total_cmp(&b.0))?;
    // Two digits are all that such an estimate is good for.
    let unit = 10f64.powf((pupils.log10().floor() - 1.0).max(0.0));
    let pupils = (pupils / unit).floor() * unit;
    Some(format!(
        "How many pupils does this machine carry? About {} ({why}): in classes of {CLASS}, each of whom says something every {SECONDS_PER_MESSAGE} s, \
         with the hub's core at most {:.0} % busy at {} a delivery that shares its write with no other (as in open), and at most {:.0} % of the free memory at {} a member (as among {} here); \
         on loopback, where a real network's driver costs what it costs besides.",
        table::count(pupils),
        CORE_SHARE * 100.0,
        table::us(cpu_ns / 1000.0),
        MEMORY_SHARE * 100.0,
        table::bytes(bytes),
        table::count(held as f64),
    ))
}
