//! What a process costs, as the kernel tells it.
//!
//! Owns: reading `/proc`. Refuses to know: which process it is, and what it does.

use std::{fs, io};

use rustix::process::Pid;

/// What a process has used since it was started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// All threads, user and system, in nanoseconds.
    pub total_ns: u64,
    /// In user space, in ticks of the clock: a hundredth of a second.
    pub user_ticks: u64,
    /// In the kernel.
    pub system_ticks: u64,
}

impl Cpu {
    /// What it has used by now.
    pub fn of(pid: Pid) -> io::Result<Cpu> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
        // The name may have blanks in it; what follows its parenthesis is the third field.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let mut fields = after_name.split_whitespace().skip(11).map(|field| field.parse().unwrap_or(0));
        let (user_ticks, system_ticks) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        let mut total_ns = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))? {
            // A thread may have ended meanwhile.
            let Ok(schedstat) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            total_ns += schedstat.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Cpu { total_ns, user_ticks, system_ticks })
    }

    /// What it has used since `earlier`.
    pub fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            total_ns: self.total_ns.saturating_sub(earlier.total_ns),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// The part that was spent in user space; `None` where there were too few ticks to tell.
    pub fn user_share(self) -> Option<f64> {
        let ticks = self.user_ticks + self.system_ticks;
        (ticks >= 50).then(|| self.user_ticks as f64 / ticks as f64)
    }
}

/// What a process holds, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Resident, the program's own pages and those of libraries included.
    pub resident: u64,
    /// The same, but of what others use too only its share.
    pub proportional: u64,
    /// What only it has and has written to.
    pub anonymous: u64,
}

impl Memory {
    /// What it holds now.
    pub fn of(pid: Pid) -> io::Result<Memory> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.as_raw_nonzero()))?;
        let kib = |key: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(Memory { resident: kib("Rss:") << 10, proportional: kib("Pss:") << 10, anonymous: kib("Anonymous:") << 10 })
    }
}

/// What the machine could still give, in bytes.
pub fn available_memory() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}
