//! People who speak in rooms, and hear each other.
//!
//! Owns: who says what and when, how long it takes to be heard, and the check of it: everything that was said has to reach everyone, in each sender's order.
//! Refuses to know: which server it is, and how a room fills.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::load::{Failed, Heard, Load, Member, PATIENCE};
use crate::servers::Running;
use crate::window::{Outcome, Window};
use crate::wire;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(400);

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

/// People who speak in rooms.
pub struct Talk {
    /// By number: the first members, who are spread over the rooms.
    senders: Vec<Sender>,
    /// What each member had heard before anybody spoke.
    heard_before: Vec<u64>,
    latencies_ns: Vec<u32>,
}

impl Talk {
    /// The first `senders` members of the load speak, who are spread over its rooms.
    pub fn new(load: &Load, senders: usize, content_bytes: usize) -> Talk {
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

    /// Everyone says the next thing when they have heard their own one: so many each are on the way.
    pub fn closed(
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
    pub fn open(
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

/// At most four seconds.
fn ns(duration: Duration) -> u32 {
    duration.as_nanos().try_into().unwrap_or(u32::MAX)
}
