//! What is asked of a server.
//!
//! Owns: the workloads by name, how their rooms fill, and what is done then; nobody may be closed. Refuses to know: which server it is, what makes a run right
//! (`talk`, `churn`), and how figures are put together.

use std::time::Duration;

use crate::churn;
use crate::load::{Failed, Load};
use crate::measure::{Cpu, Memory};
use crate::servers::Running;
use crate::talk::Talk;
use crate::window::{Outcome, Window};

/// Connections that are opened at once: fewer than any server's backlog.
const TOGETHER: usize = 64;

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// Rooms, of so many members each.
    pub rooms: usize,
    /// Who sit in each.
    pub members: usize,
    /// How many of them connect, and then join, at once.
    pub joins_together: usize,
    /// What they do.
    pub kind: Kind,
}

/// What the members do.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Some in each room say the next thing when they have heard their own one: so many each are on the way.
    Talk { senders: usize, in_flight: usize, content_bytes: usize },
    /// So many messages a second in all, at their times, however the server does.
    Open { messages_per_second: u32, content_bytes: usize },
    /// Nothing.
    Idle,
    /// Those who sit there do nothing; so many others come, join, leave and come again.
    Churn { cyclers: usize },
}

const fn talk(senders: usize, in_flight: usize, content_bytes: usize) -> Kind {
    Kind::Talk { senders, in_flight, content_bytes }
}

const fn workload(name: &'static str, about: &'static str, rooms: usize, members: usize, kind: Kind) -> Workload {
    Workload { name, about, rooms, members, joins_together: TOGETHER, kind }
}

const OPEN: Kind = Kind::Open { messages_per_second: 20, content_bytes: 128 };

/// All of them, in the order in which they are run.
pub const ALL: [Workload; 7] = [
    workload("class", "50 members, 5 talk, 128 B", 1, 50, talk(5, 1, 128)),
    workload("lecture", "500 members, 10 talk, 4 in flight", 1, 500, talk(10, 4, 128)),
    workload("school", "40 rooms of 50, 2 talk in each", 40, 50, talk(2, 1, 128)),
    workload("big", "50 members, 5 talk, 4 KiB", 1, 50, talk(5, 1, 4096)),
    workload("open", "500 members, 20 messages/s in all, from when they were due", 1, 500, OPEN),
    workload("churn", "8 come, join, leave and go again; 20 stay", 1, 20, Kind::Churn { cyclers: 8 }),
    workload("idle", "2,000 members who say nothing", 40, 50, Kind::Idle),
];

impl Workload {
    /// How many sit there.
    pub fn people(&self) -> usize {
        self.rooms * self.members
    }

    /// Runs it against a server that nobody has spoken to yet.
    pub fn run(&self, server: &Running, seconds: f64) -> Result<Outcome, Failed> {
        let pid = server.pid();
        let mut load = Load::new(server.addr)?;
        let (empty, before) = (Memory::of(pid)?, Cpu::of(pid)?);
        let rooms = self.rooms;
        load.fill(0..self.people(), self.joins_together, |n| n % rooms)?;
        let joins = Cpu::of(pid)?.since(before);
        let window = Duration::from_secs_f64(seconds);
        let mut outcome = match self.kind {
            Kind::Talk { senders, in_flight, content_bytes } => {
                let mut talk = Talk::new(&load, senders * rooms, content_bytes);
                talk.closed(&mut load, in_flight, server, window)?
            }
            Kind::Open { messages_per_second, content_bytes } => {
                let mut talk = Talk::new(&load, self.people(), content_bytes);
                talk.open(&mut load, messages_per_second, server, window)?
            }
            Kind::Idle => {
                let window = Window::begin(&load, server)?;
                while window.began.elapsed().as_secs_f64() < seconds {
                    load.turn(Some(Duration::from_millis(100)), &mut |_, _| Ok(()))?;
                }
                window.end(&load, server)?
            }
            Kind::Churn { cyclers } => churn::run(&mut load, self.people(), cyclers, server, window)?,
        };
        outcome.cpu_per_join_ns = joins.total_ns as f64 / self.people() as f64;
        outcome.empty = empty;
        outcome.full = Memory::of(pid)?;
        outcome.latencies_ns.sort_unstable();
        Ok(outcome)
    }
}
