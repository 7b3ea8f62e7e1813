//! The clients and the people behind them: what they do when nobody tells them to.
//!
//! Owns: who comes and comes back, what they say, how they read, how their connections fail, and what of all that is sent has reached them. Refuses
//! to know: what the hub makes of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;

use classhub::base::{Key, Now};

use crate::client::{self, Said, Unit};
use crate::expected::Told;
use crate::network::{Frames, Wire};
use crate::peer::End;
use crate::person::{self, Views};
use crate::world::World;

/// How a client reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Habit {
    /// All, in every turn, for ever. Never too slow.
    Loyal,
    /// Some, in most turns.
    Medium,
    /// A few bytes at a time.
    Trickle,
    /// Everything for a while, nothing for a while.
    Stall { reading: bool },
    /// Nothing, ever.
    Never,
}

/// What the network does to a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Path {
    Fine,
    /// Nothing gets through, in either direction, before this step.
    Stalled(usize),
    /// Nothing ever gets through again, and nobody is told.
    HalfOpen,
}

pub struct Client {
    pub wire: Rc<RefCell<Wire>>,
    pub key: Key,
    pub habit: Habit,
    pub path: Path,
    pub person: usize,
    pub address: IpAddr,
    /// Accepted to be told that there is no place.
    pub spare: bool,
    pub since: Now,
    pub silent: bool,
    pub last_sent_ms: u64,
    /// To be sent, and how much of the first was.
    pub backlog: VecDeque<Unit>,
    pub begun: usize,
    pub backlog_bytes: usize,
    /// It may have stopped in the middle of a message.
    pub cut_short: bool,
    /// Sent: where in the stream each unit ends, and what it is in frame bytes.
    pub sent: VecDeque<(u64, usize, Said)>,
    pub sent_bytes: u64,
    pub read_bytes: u64,
    pub readable_anew: bool,
    /// The event of its socket comes a turn late.
    pub late: bool,
    pub frames: Frames,
    pub has_head: bool,
    /// It was answered with a page instead of the upgrade.
    pub is_refused: bool,
    /// Its head did not come in time.
    pub was_late: bool,
    pub close: Option<Option<u16>>,
    /// Frames on their way to it, and where in the stream each ends.
    pub inbox: VecDeque<(u64, Mail)>,
    pub views: Views,
    /// It may be found too slow in this turn.
    pub at_risk: bool,
    /// What this turn may bring it beside what all are told, and whether it may end with it.
    pub own_bytes: usize,
    pub may_leave: bool,
    /// It has no seat to see it by, and may have been closed for being slow.
    pub unsure: bool,
    pub ended_at: Option<Now>,
    pub ended_in: usize,
    /// How it may have ended.
    pub ends: Vec<End>,
    /// How much was expected when it ended; all up to the last reply must come.
    pub slow: bool,
    /// Text frames that came in turns after the one in which it ended.
    pub told_after: usize,
    pub is_done: bool,
}

/// What a client is sent and can't overlook.
pub enum Mail {
    Told(Told),
    Ping,
}

impl Client {
    /// What it was about to say is never said, and what it was saying not to the end.
    pub fn fall_silent(&mut self) {
        self.cut_short |= !self.backlog.is_empty();
        self.backlog.clear();
        self.begun = 0;
        self.backlog_bytes = 0;
    }

    pub fn will_say(&mut self, units: Vec<Unit>) {
        self.backlog_bytes += units.iter().map(|unit| unit.bytes.len()).sum::<usize>();
        self.backlog.extend(units);
    }

    /// Its side of the connection ends. What it said before is still read.
    pub fn hang_up(&mut self) {
        self.wire.borrow_mut().ended = true;
        self.readable_anew = true;
        self.fall_silent();
    }

    /// The connection breaks, and what was on its way is lost.
    pub fn break_off(&mut self, is_noticed: bool) {
        {
            let mut wire = self.wire.borrow_mut();
            wire.reset = true;
            wire.lose_unread();
        }
        self.fall_silent();
        self.sent.clear();
        self.readable_anew = is_noticed;
    }

    pub fn is_dropped(&self) -> bool {
        self.wire.borrow().dropped
    }

    /// Whether whoever is behind it thinks that it works.
    pub fn is_well(&self) -> bool {
        let wire = self.wire.borrow();
        !wire.dropped && !wire.reset && !wire.ended && self.path == Path::Fine && self.close.is_none()
    }

    /// Whether anything is still said here. Whoever has hung up may have stopped in the middle of a frame, and what came behind that would be
    /// taken for the rest of it.
    pub fn may_speak(&self) -> bool {
        let wire = self.wire.borrow();
        let is_over = wire.dropped || wire.reset || wire.ended || self.path == Path::HalfOpen;
        !is_over && self.close.is_none() && !self.spare && !self.unsure
    }
}

impl World {
    pub fn new_client(&mut self) -> Client {
        // Mostly somebody who has no client that works.
        let mut person = self.rng.below(self.people.len());
        for _ in 0..3 {
            let clients = &self.people[person].clients;
            if !clients.iter().any(|who| self.clients[*who].is_well()) || self.rng.chance(10) {
                break;
            }
            person = self.rng.below(self.people.len());
        }
        let habit = match self.rng.below(10) {
            0..4 => Habit::Loyal,
            4..6 => Habit::Medium,
            6 => Habit::Trickle,
            7 | 8 => Habit::Stall { reading: true },
            _ => Habit::Never,
        };
        let rng = &mut self.rng;
        let (capacity, write_max) = match habit {
            Habit::Loyal => (8 << 20, rng.pick(&[usize::MAX, 1000, 65_536])),
            Habit::Trickle => (rng.range(1, 4096), rng.pick(&[usize::MAX, 1, 100])),
            Habit::Never => (rng.range(150, 32 * 1024), rng.pick(&[usize::MAX, 700])),
            _ => (rng.range(256, 128 * 1024), rng.pick(&[usize::MAX, 700, 5_000])),
        };
        let wakes_at = rng.pick(&[1, capacity / 3]);
        // Mostly from home; else from where others are too.
        let address = match rng.chance(85) {
            true => self.people[person].address,
            false => person::address(rng.below(person::SHARED)),
        };
        let wire = Wire { capacity, wakes_at, write_max, ..Default::default() };
        let mut client = Client {
            wire: Rc::new(RefCell::new(wire)),
            key: Key::first_at(0),
            habit,
            path: Path::Fine,
            person,
            address,
            spare: false,
            since: self.now,
            silent: rng.chance(10),
            last_sent_ms: self.now.monotonic_ms,
            backlog: VecDeque::new(),
            begun: 0,
            backlog_bytes: 0,
            cut_short: false,
            sent: VecDeque::new(),
            sent_bytes: 0,
            read_bytes: 0,
            readable_anew: false,
            late: false,
            frames: Frames::default(),
            has_head: false,
            is_refused: false,
            was_late: false,
            close: None,
            inbox: VecDeque::new(),
            views: Views::new(),
            at_risk: false,
            own_bytes: 0,
            may_leave: false,
            unsure: false,
            ended_at: None,
            ended_in: 0,
            ends: Vec::new(),
            slow: false,
            told_after: 0,
            is_done: false,
        };
        if self.rng.chance(97) {
            client.will_say(vec![Unit { bytes: client::HEAD.into(), said: Said::Head }]);
            if self.rng.chance(80) {
                // Back to where it was.
                self.remember(person);
                let known: Vec<String> = self.people[person].known.keys().cloned().collect();
                for number in known {
                    if self.rng.chance(70) {
                        let units = self.join_units(person, &number);
                        client.will_say(units);
                    }
                }
            }
        }
        client
    }

    /// What this person's clients know by now.
    pub fn remember(&mut self, person: usize) {
        let person = &mut self.people[person];
        for who in std::mem::take(&mut person.clients) {
            person.remember(&self.clients[who].views);
            if !self.clients[who].is_done {
                person.clients.push(who);
            }
        }
    }

    /// What nothing holds to its habits: a connection breaks, or nobody can tell that it has; somebody hangs up.
    pub fn behave(&mut self) -> Result<(), String> {
        for n in 0..self.live.len() {
            let who = self.live[n];
            let chance = self.rng.below(20_000);
            let client = &mut self.clients[who];
            if let Path::Stalled(until) = client.path
                && until <= self.step
            {
                client.path = Path::Fine;
            }
            let (is_over, in_flight) = {
                let wire = client.wire.borrow();
                (wire.dropped || wire.reset || wire.ended || client.path == Path::HalfOpen, wire.in_flight)
            };
            if is_over {
                continue;
            }
            if let Habit::Stall { reading } = &mut client.habit
                && self.rng.chance(if *reading { 3 } else { 6 })
            {
                *reading = !*reading;
            }
            let has_read_all = client.close.is_some() && in_flight == 0 && client.path == Path::Fine;
            match chance {
                _ if has_read_all && self.rng.chance(40) => client.hang_up(),
                0..8 => client.hang_up(),
                8..24 => {
                    // It may have read on for a little, to any byte.
                    client.wire.borrow_mut().in_flight -= self.rng.range(0, in_flight);
                    self.hear(who)?;
                    let client = &mut self.clients[who];
                    if chance < 16 {
                        client.break_off(self.rng.chance(50));
                    } else {
                        client.path = Path::HalfOpen;
                        client.fall_silent();
                    }
                    self.note(format_args!("{who} {}", if chance < 16 { "breaks" } else { "is half open" }));
                }
                24..54 => {
                    let steps = self.rng.range(1, 60);
                    self.clients[who].path = Path::Stalled(self.step + steps);
                    self.note(format_args!("{who} stalls for {steps}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn speak(&mut self, who: usize) {
        let client = &self.clients[who];
        if !client.may_speak() || client.backlog.len() > 40 {
            return;
        }
        if client.backlog.is_empty() && client.sent.is_empty() && client.sent_bytes == 0 {
            // It never says a word.
            return;
        }
        let interval_ms = u64::from(self.model.settings.heartbeat_interval_s) * 1000;
        if !client.silent
            && self.now.monotonic_ms - client.last_sent_ms > interval_ms / 2
            && client.backlog.is_empty()
            && self.rng.chance(50)
        {
            let units = client::heartbeat(&mut self.rng);
            self.clients[who].will_say(units);
        }
        let seats = self.model.peers[who].seats.len();
        let seated = seats > 0 && (seats == self.model.settings.rooms_per_connection as usize || self.rng.chance(80));
        if !self.rng.chance(if seated { 9 } else { 20 }) || self.clients[who].silent && self.rng.chance(90) {
            return;
        }
        let loyal = self.clients[who].habit == Habit::Loyal;
        match self.rng.below(1000) {
            // A lecture, or somebody who leans on a key.
            0..25 => {
                let most = if loyal { 80 } else { 25 };
                let count = self.rng.range(2, most);
                let room = self.room_of(who);
                let bytes = self.rng.pick(&[1, 50, 300, 2_000]);
                for _ in 0..count {
                    self.say(who, room.clone(), bytes);
                }
            }
            25..38 => {
                for _ in 0..self.rng.range(2, 20) {
                    self.serial += 1;
                    let units = client::bad(&mut self.rng, self.serial);
                    self.clients[who].will_say(units);
                }
            }
            38..41 => self.guess(who),
            // Everybody asks for everything at once.
            41..49 => {
                for n in 0..self.numbers.len() {
                    self.join(who, self.numbers[n]);
                }
            }
            _ if self.is_guessing && self.rng.chance(5) => self.guess(who),
            _ => self.speak_once(who, seated),
        }
    }

    pub fn speak_once(&mut self, who: usize, seated: bool) {
        self.serial += 1;
        let serial = self.serial;
        // Who has no room of its own tries now and then.
        let moderates = if self.is_owner(who) { 35 } else { 2 };
        let units = match self.rng.below(1000) {
            _ if seated && self.rng.chance(moderates) => self.moderate(who),
            _ if !seated && self.rng.chance(70) => {
                let number = self.number();
                return self.join(who, number);
            }
            0..90 => {
                let number = self.number();
                return self.join(who, number);
            }
            90..170 => {
                let room = self.room_of(who);
                let reference = client::reference(&mut self.rng, serial);
                client::leave(&mut self.rng, &room, reference)
            }
            170..730 => {
                let room = self.room_of(who);
                let bytes = match self.rng.below(100) {
                    0..60 => self.rng.below(80),
                    60..92 => self.rng.below(600),
                    92..97 => self.rng.below(10_000),
                    // As much as a message may be.
                    _ => usize::MAX,
                };
                return self.say(who, room, bytes);
            }
            730..780 => {
                let room = self.room_of(who);
                let reference = client::reference(&mut self.rng, serial);
                let seqs = self.seqs_of(who, &room);
                client::receipt(&mut self.rng, &room, seqs, reference)
            }
            780..800 => {
                let room = self.room_of(who);
                let reference = client::reference(&mut self.rng, serial);
                client::pull(&mut self.rng, &room, reference)
            }
            800..880 => client::heartbeat(&mut self.rng),
            880..930 => vec![client::ping(&mut self.rng)],
            930..940 => vec![client::pong(&mut self.rng, b"unasked")],
            940..980 => client::bad(&mut self.rng, serial),
            980..994 => vec![client::close(&mut self.rng)],
            _ => vec![client::fault(&mut self.rng, self.options.message_bytes as usize)],
        };
        self.clients[who].will_say(units);
    }

    /// A room that the client sits in, or now and then any.
    pub fn room_of(&mut self, who: usize) -> String {
        let seats = &self.model.peers[who].seats;
        if seats.is_empty() || self.rng.chance(5) {
            return self.rng.pick(&self.numbers).to_owned();
        }
        self.model.rooms[self.rng.pick(seats)].number.clone()
    }

    /// A few rooms are everybody's.
    pub fn number(&mut self) -> &'static str {
        let popular = if self.rng.chance(60) { 4 } else { self.numbers.len() };
        self.numbers[self.rng.below(popular)]
    }

    /// What a client has received, as it says: mostly its newest frames.
    pub fn seqs_of(&mut self, who: usize, room: &str) -> Vec<i64> {
        let last_seq = self.clients[who].views.get(room).map_or(0, |view| view.last_seq) as i64;
        let count = match self.rng.below(10) {
            0..5 => 1,
            5..9 => self.rng.range(2, 8),
            _ => 64,
        };
        let rng = &mut self.rng;
        let one = |_| match rng.below(20) {
            0 => rng.pick(&[0, -1, i64::MAX, i64::MIN, last_seq + 1]),
            1 => last_seq - rng.below(500) as i64,
            _ => last_seq - rng.below(12) as i64,
        };
        (0..count).map(one).collect()
    }

    pub fn join(&mut self, who: usize, number: &str) {
        let person = self.clients[who].person;
        self.remember(person);
        let units = self.join_units(person, number);
        self.clients[who].will_say(units);
    }

    pub fn join_units(&mut self, person: usize, number: &str) -> Vec<Unit> {
        self.serial += 1;
        let mut member = self.people[person].member.clone();
        if self.rng.chance(3) {
            let other = self.rng.below(self.people.len());
            member.id.clone_from(&self.people[other].member.id);
        }
        let resume = self.people[person].shows(&mut self.rng, number, &self.tokens);
        let owner_passcode = self.passcode(number, &member.id);
        let reference = client::reference(&mut self.rng, self.serial);
        client::join(&mut self.rng, number, &member, resume, owner_passcode, reference)
    }

    pub fn say(&mut self, who: usize, room: String, bytes: usize) {
        self.serial += 1;
        let from = match self.rng.below(20) {
            0..4 => Some(self.people[self.clients[who].person].member.id.clone()),
            4 => {
                let other = self.rng.below(self.people.len());
                Some(self.people[other].member.id.clone())
            }
            _ => None,
        };
        let bytes_max = self.options.message_bytes as usize;
        let units = client::say(&mut self.rng, &room, from, self.serial, bytes, bytes_max);
        self.clients[who].will_say(units);
    }

    pub fn listen(&mut self, who: usize) -> Result<(), String> {
        let client = &self.clients[who];
        let mut wire = client.wire.borrow_mut();
        if wire.in_flight == 0 || client.path != Path::Fine || wire.reset {
            return Ok(());
        }
        let bytes = match client.habit {
            Habit::Loyal => wire.in_flight,
            _ if wire.dropped => wire.in_flight,
            Habit::Medium if self.rng.chance(70) => self.rng.range(0, wire.in_flight),
            Habit::Trickle if self.rng.chance(50) => self.rng.range(1, 40).min(wire.in_flight),
            Habit::Stall { reading: true } => wire.in_flight,
            _ => 0,
        };
        wire.in_flight -= bytes;
        drop(wire);
        self.hear(who)
    }

    /// A client takes note of what has reached it, byte for byte.
    pub fn hear(&mut self, who: usize) -> Result<(), String> {
        let client = &mut self.clients[who];
        let received = client.frames.total() - client.wire.borrow().in_flight as u64;
        while client.inbox.front().is_some_and(|(end, _)| *end <= received)
            && let Some((_, mail)) = client.inbox.pop_front()
        {
            match mail {
                Mail::Told(Told::Room(frame)) => {
                    let number = &self.model.rooms[frame.room].number;
                    person::told(&mut client.views, number, &frame)?;
                }
                Mail::Told(Told::Welcome(joined, token)) => {
                    person::welcomed(&mut client.views, &joined.welcome, &token)?;
                    if self.tokens.len() < 40 {
                        self.tokens.push(token);
                    } else {
                        let place = self.rng.below(self.tokens.len());
                        self.tokens[place] = token;
                    }
                }
                Mail::Told(Told::Other) => {}
                Mail::Ping => {
                    let wire = client.wire.borrow();
                    if wire.ended || wire.reset || wire.dropped || client.cut_short || client.path != Path::Fine {
                        continue;
                    }
                    // Between frames, and before all that it was about to say.
                    let place = usize::from(client.begun > 0);
                    let unit = client::pong(&mut self.rng, &[]);
                    client.backlog_bytes += unit.bytes.len();
                    client.backlog.insert(place, unit);
                }
            }
        }
        Ok(())
    }

    /// Every event of this client's socket is told in time from now on.
    pub fn quieten(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.late = false;
        client.fall_silent();
    }

    pub fn can_speak(&self, who: usize) -> bool {
        !self.clients[who].cut_short && self.clients[who].path == Path::Fine
    }

    pub fn breaks(&mut self, who: usize) {
        self.clients[who].break_off(true);
    }

    pub fn hangs_up(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.wire.borrow_mut().ended = true;
        client.readable_anew = true;
    }
}
