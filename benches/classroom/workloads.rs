//! What is asked of a server.
//!
//! Owns: the workloads by name, and how each is run and checked: everything that was said has to reach everyone, in each sender's order, and nobody may be closed.
//! Refuses to know: which server it is, and how figures are put together.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::churn;
use crate::load::{Failed, Heard, Load, Member, PATIENCE};
use crate::measure::{Cpu, Memory};
use crate::servers::Running;
use crate::wire;

/// Connections that are opened at once: fewer than any server's backlog.
const TOGETHER: usize = 64;
/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(400);

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

/// One who speaks.
struct Sender {
    id: String,
    frame: Vec<u8>,
    /// How often it has spoken.
    said: u32,
    /// How often it has heard itself.
    heard: u32,
    /// When it said what it has not heard yet.
    said_at: VecDeque<Instant>,
}

impl Sender {
    fn say(&mut self, member: &mut Member, at: Instant) -> std::io::Result<()> {
        wire::set_number(&mut self.frame, self.said);
        self.said += 1;
        self.said_at.push_back(at);
        member.say(&self.frame)
    }
}

/// People who speak in rooms.
struct Talk {
    /// By number: the first members, who are spread over the rooms.
    senders: Vec<Sender>,
    /// What each member had heard before anybody spoke.
    heard_before: Vec<u64>,
    latencies_ns: Vec<u32>,
}

impl Talk {
    fn new(load: &Load, senders: usize, content_bytes: usize) -> Talk {
        let heard_before = load.members.iter().flatten().map(|member| member.heard).collect();
        let senders = load.members.iter().flatten().take(senders).map(|member| Sender {
            id: wire::id(member.n),
            frame: wire::chat(member.room, content_bytes),
            said: 0,
            heard: 0,
            said_at: VecDeque::new(),
        });
        Talk { senders: senders.collect(), heard_before, latencies_ns: Vec::new() }
    }

    fn closed(
        &mut self,
        load: &mut Load,
        in_flight: usize,
        server: &Running,
        length: Duration,
    ) -> Result<Outcome, Failed> {
        for (member, sender) in load.members.iter_mut().flatten().zip(&mut self.senders) {
            member.listen_to(wire::TELLING_BYTES);
            for _ in 0..in_flight {
                sender.say(member, Instant::now())?;
            }
        }
        self.go_on(load, true, Instant::now() + WARM_UP)?;
        self.latencies_ns.clear();
        let window = Window::begin(load, server)?;
        self.go_on(load, true, window.began + length)?;
        let mut outcome = window.end(load, server)?;
        outcome.latencies_ns = std::mem::take(&mut self.latencies_ns);
        self.go_on(load, false, Instant::now())?;
        self.check(load)?;
        Ok(outcome)
    }

    /// Lets everyone speak on until then, or, where nobody `speaks` any more, until all is heard.
    fn go_on(&mut self, load: &mut Load, speaks: bool, until: Instant) -> Result<(), Failed> {
        let Talk { senders, latencies_ns, .. } = self;
        let patience = until + PATIENCE;
        loop {
            let now = Instant::now();
            if if speaks { now >= until } else { senders.iter().all(|sender| sender.said_at.is_empty()) } {
                return Ok(());
            }
            if now > patience {
                return Err("not everyone has heard what they said themselves".into());
            }
            load.turn(Some(Duration::from_millis(50)), &mut |member, heard| {
                let (Heard::Text(frame), Some(sender)) = (heard, senders.get_mut(member.n)) else { return Ok(()) };
                if !frame.get(wire::AUTHOR_AT..).is_some_and(|rest| rest.starts_with(sender.id.as_bytes())) {
                    return Ok(());
                }
                let now = Instant::now();
                latencies_ns.push(ns(now - sender.own(frame)?));
                if speaks { sender.say(member, now) } else { Ok(()) }
            })?;
        }
    }

    /// Everyone listens, and speaks in turn, each at its time. What is late is said at once, and counts from when it was due.
    fn open(
        &mut self,
        load: &mut Load,
        messages_per_second: u32,
        server: &Running,
        length: Duration,
    ) -> Result<Outcome, Failed> {
        let period = Duration::from_secs(1) / messages_per_second;
        let warm_up = messages_per_second.div_ceil(4);
        let count = warm_up + (length.as_secs_f64() * f64::from(messages_per_second)).ceil() as u32;
        load.members.iter_mut().flatten().for_each(|member| member.listen_to(wire::TELLING_BYTES));
        let people = self.senders.len();
        // The n-th message is number n / people of its author, who is n % people.
        let due = |began: Instant, n: u32| began + period * n;
        let began = Instant::now();
        let expected = load.heard + u64::from(count) * people as u64;
        let (mut said, mut window) = (0, None);
        while load.heard < expected {
            let now = Instant::now();
            while said < count && due(began, said) <= now {
                if said == warm_up {
                    window = Some(Window::begin(load, server)?);
                    self.latencies_ns.clear();
                }
                let n = said as usize % people;
                let (Some(member), sender) = (&mut load.members[n], &mut self.senders[n]) else { continue };
                sender.say(member, due(began, said))?;
                said += 1;
            }
            if now > due(began, count) + PATIENCE {
                return Err(format!("{} of {expected} deliveries came", load.heard).into());
            }
            // The poll counts in milliseconds: the last two are waited for awake.
            let wait = due(began, said).saturating_duration_since(Instant::now());
            let wait = if said < count { wait.saturating_sub(Duration::from_millis(2)) } else { PATIENCE / 100 };
            let Talk { senders, latencies_ns, .. } = self;
            let mut wrong = None;
            load.turn(Some(Duration::from_millis(wait.as_millis() as u64)), &mut |member, heard| {
                let Heard::Text(frame) = heard else { return Ok(()) };
                let Some((author, number)) = wire::author_and_number(frame) else {
                    wrong = Some("something else than what was said came");
                    return Ok(());
                };
                let author = std::str::from_utf8(&author[1..]).ok().and_then(|digits| digits.parse::<usize>().ok());
                let Some(author) = author.filter(|author| *author < people && number < count) else {
                    wrong = Some("a message came from nobody, or was not said");
                    return Ok(());
                };
                latencies_ns.push(ns(due(began, number * people as u32 + author as u32).elapsed()));
                if author == member.n {
                    senders[author].own(frame)?;
                }
                Ok(())
            })?;
            if let Some(wrong) = wrong {
                return Err(wrong.into());
            }
        }
        let window = window.ok_or("the run was too short")?;
        let mut outcome = window.end(load, server)?;
        outcome.latencies_ns = std::mem::take(&mut self.latencies_ns);
        self.check(load)?;
        Ok(outcome)
    }

    /// Waits until everyone has heard everything that was said in their room, and not more.
    fn check(&self, load: &mut Load) -> Result<(), Failed> {
        let mut said = vec![0; load.members.iter().flatten().map(|member| member.room + 1).max().unwrap_or(0)];
        for (member, sender) in load.members.iter().flatten().zip(&self.senders) {
            said[member.room] += u64::from(sender.said);
        }
        let due: Vec<u64> = load
            .members
            .iter()
            .flatten()
            .zip(&self.heard_before)
            .map(|(member, before)| before + said[member.room])
            .collect();
        let all = load.heard - load.members.iter().flatten().map(|member| member.heard).sum::<u64>()
            + due.iter().sum::<u64>();
        load.until("the last deliveries", |load| load.heard >= all)?;
        // Whatever comes too much comes soon.
        load.turn(Some(Duration::from_millis(20)), &mut |_, _| Ok(()))?;
        for (member, due) in load.members.iter().flatten().zip(due) {
            if member.heard != due {
                return Err(format!("member {} heard {} frames, not {due}", member.n, member.heard).into());
            }
        }
        Ok(())
    }
}

impl Sender {
    /// It has heard itself. Says when it had said that; an error where that is not what comes next.
    fn own(&mut self, frame: &[u8]) -> std::io::Result<Instant> {
        let number = wire::author_and_number(frame).map(|(_, number)| number);
        if number != Some(self.heard) {
            let wrong = format!("{} hears its message {number:?}, and {} is next", self.id, self.heard);
            return Err(std::io::Error::other(wrong));
        }
        self.heard += 1;
        self.said_at.pop_front().ok_or_else(|| std::io::Error::other("a message came that was not said"))
    }
}

/// At most four seconds.
fn ns(duration: Duration) -> u32 {
    duration.as_nanos().try_into().unwrap_or(u32::MAX)
}
