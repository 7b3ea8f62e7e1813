//! The run: a seed's school, its clients and their habits, turn by turn, and everything that is checked.
//!
//! Owns: what happens when, the hub under test, and the rules that can be checked from outside: who may be too slow, what may be held, when a
//! socket is given up. Refuses to know: what the hub is made of; it is driven as a poll would drive it, by what its sockets say.
//!
//! One thing the model cannot know is when a connection that lags is found too slow: the flow of bytes decides that, in the middle of a turn. So
//! whoever could be (`Client::at_risk`) is read first in a turn and says one thing at most that others can see; all others must not be closed.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use classhub::base::{Key, Now};
use classhub::hub::{RoomSettings, Settings};
use classhub::limits;
use classhub::net::exchange::{Exchange, Options};

use crate::client::{self, Ask, Member, Request, Said, Unit};
use crate::model::{End, Item, Model, Stage};
use crate::network::{Frame, Frames, Journal, Socket, Wire};
use crate::rng::Rng;

const STEPS: usize = 3_000;
/// Deadlines are kept to a tick of the wheel's, and one tick after that where they are set again; those of heartbeats to a part of their length.
const LATE_MS: u64 = 2 * classhub::base::TICK_MS + 25_000 / limits::TIMERS_TOGETHER;
const STEPS_TOLD: usize = 30;
/// No frame here is larger, but for rosters.
const FRAME_MAX: usize = 24 * 1024;
/// What a join or leave can take: a room with its owner, and a member.
const NOTICE_MAX: usize = 3_500;

/// How a client reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
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

struct Client {
    wire: Rc<RefCell<Wire>>,
    key: Key,
    habit: Habit,
    member: Member,
    /// Accepted to be told that there is no place.
    spare: bool,
    since: Now,
    silent: bool,
    last_sent_ms: u64,
    /// To be sent, and how much of the first was.
    backlog: VecDeque<Unit>,
    begun: usize,
    /// It may have stopped in the middle of a message.
    cut_short: bool,
    /// Sent: where in the stream each unit ends, and what it is in frame bytes.
    sent: VecDeque<(u64, usize, Said)>,
    sent_bytes: u64,
    read_bytes: u64,
    readable_anew: bool,
    /// The event of its socket comes a turn late.
    late: bool,
    frames: Frames,
    has_head: bool,
    /// It was answered with a page instead of the upgrade.
    is_refused: bool,
    /// Its head did not come in time.
    was_late: bool,
    close: Option<Option<u16>>,
    /// It may be found too slow in this turn.
    at_risk: bool,
    /// It has no seat to see it by, and may have been closed for being slow.
    unsure: bool,
    ended_at: Option<Now>,
    ended_in: usize,
    /// How it may have ended.
    ends: Vec<End>,
    /// How much was expected when it ended; all up to the last reply must come.
    slow: bool,
    /// Text frames that came in turns after the one in which it ended.
    told_after: usize,
    is_done: bool,
}

impl Client {
    /// What it was about to say is never said, and what it was saying not to the end.
    fn fall_silent(&mut self) {
        self.cut_short |= !self.backlog.is_empty();
        self.backlog.clear();
        self.begun = 0;
    }

    fn is_dropped(&self) -> bool {
        self.wire.borrow().dropped
    }
}

pub struct World {
    rng: Rng,
    exchange: Exchange<Socket>,
    options: Options,
    model: Model,
    clients: Vec<Client>,
    journal: Journal,
    now: Now,
    step: usize,
    serial: usize,
    numbers: Vec<&'static str>,
    ids: Vec<String>,
    steps: VecDeque<String>,
    line: String,
    told: usize,
    slow: usize,
    bursts: usize,
    /// The newest frame of each room, a turn ago.
    seqs: Vec<u64>,
}

/// What is delivered to the hub in one turn: how many bytes of whose backlog.
type Delivery = Vec<(usize, usize)>;

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let log_bytes = rng.pick(&[8 * 1024, 16 * 1024, 64 * 1024, 64 * 1024, 256 * 1024]);
        let member = |id: &'static str| classhub::wire::Member { id: id.into(), ..Default::default() };
        let configured = vec![
            RoomSettings { number: "E00001".into(), name: "一年级".into(), desc: "a \"desc\"".into(), owner: None },
            RoomSettings {
                number: "E00002".into(),
                name: "Two".into(),
                owner: Some(member("teacher")),
                ..Default::default()
            },
        ];
        let rated = rng.chance(25);
        let settings = Settings {
            heartbeat_interval_s: rng.range(4, 20) as u32,
            heartbeat_grace_s: rng.range(0, 5) as u32,
            probe_s: 100_000,
            linger_s: 0,
            rooms: rng.range(3, 7) as u32,
            members_per_room: rng.pick(&[3, 8, 16, 40]),
            rooms_per_connection: rng.pick(&[1, 2, 3, 4, 4]),
            messages_per_second: if rated { 20 } else { 0 },
            burst: 40,
            bytes_per_second: if rated { 40_000 } else { 0 },
            bytes_burst: 64 * 1024,
            room_log_bytes: log_bytes,
            history: rng.pick(&[4, 64, 1024]),
            auto_create: rng.chance(85),
            empty_for_s: rng.range(1, 60) as u32,
            configured,
        };
        let options = Options {
            connections: rng.pick(&[12, 20, 24, 32]),
            message_bytes: (log_bytes / 4).min(16 * 1024),
            reply_bytes: rng.pick(&[32 << 20, 32 << 20, 4 * log_bytes, log_bytes]),
            ..Default::default()
        };
        let now = Now { monotonic_ms: rng.range(0, 1_000) as u64, wall_ms: 1_600_000_000_000 };
        World {
            exchange: Exchange::new(options.clone(), settings.clone(), [7; 32], now),
            model: Model::new(settings, now),
            options,
            clients: Vec::new(),
            journal: Journal::default(),
            now,
            step: 0,
            serial: 0,
            numbers: vec!["E00001", "E00002", "A", "B", "\"引\"\\", "C", "D", "room-with-a-long-number", "E"],
            ids: [
                "teacher",
                "学号七",
                "a\"b\\c",
                "s1",
                "s2",
                "s3",
                "s4",
                "s5",
                "s6",
                "s7",
                "s8",
                "s9",
                "s10",
                "s11",
                "s12",
            ]
            .map(str::to_owned)
            .into_iter()
            .chain(["i".repeat(64)])
            .collect(),
            steps: VecDeque::new(),
            line: String::new(),
            told: 0,
            slow: 0,
            bursts: 0,
            seqs: Vec::new(),
            rng,
        }
    }

    pub fn last_steps(&self) -> String {
        self.steps.iter().map(|line| format!("{line}\n")).collect::<String>() + &self.line
    }

    /// Runs to the end. Says what there was to see.
    pub fn run(&mut self) -> Result<String, String> {
        while self.step < STEPS {
            self.step()?;
        }
        let clients = self.clients.len();
        self.drain()?;
        match self.rng.chance(30) {
            true => self.stop()?,
            false => self.wind_up()?,
        }
        Ok(format!(
            "{} steps, {clients} clients, {} frames, {} too slow, {} bursts of the slow",
            self.step, self.told, self.slow, self.bursts
        ))
    }

    fn step(&mut self) -> Result<(), String> {
        self.begin();
        self.behave();
        let newcomers = usize::from(self.rng.chance(20)) * self.rng.range(1, 4);
        let here = self.clients.iter().filter(|client| !client.is_dropped()).count();
        // A few more than there are places for.
        let newcomers = if here < self.options.connections as usize + 2 { newcomers } else { 0 };
        for who in 0..self.clients.len() {
            self.speak(who);
            self.listen(who);
        }
        let ms = self.time_step();
        self.pass(ms);
        let delivery = self.choose();
        self.turn(delivery, newcomers)
    }

    fn begin(&mut self) {
        self.step += 1;
        if !self.line.is_empty() {
            self.steps.push_back(std::mem::take(&mut self.line));
        }
        if self.steps.len() > STEPS_TOLD {
            self.steps.pop_front();
        }
    }

    fn note(&mut self, text: std::fmt::Arguments) {
        use std::fmt::Write;
        let _ = write!(self.line, " | {text}");
    }

    // ---- Time -----------------------------------------------------------------------------------

    fn time_step(&mut self) -> u64 {
        let silence_ms = u64::from(self.model.settings.heartbeat_interval_s) * 1000;
        match self.rng.below(1000) {
            0..500 => 0,
            500..800 => self.rng.range(1, 50) as u64,
            800..960 => self.rng.range(50, 900) as u64,
            960..990 => self.rng.below(silence_ms as usize / 2) as u64,
            // As a poll with nothing to do would.
            990..999 => {
                self.exchange.next_deadline_ms().map_or(0, |ms| ms.saturating_sub(self.now.monotonic_ms).min(8_000))
            }
            _ => self.rng.range(5_000, 70_000) as u64,
        }
    }

    /// Lets time pass, and a little more where a deadline would be so near that it may have been kept or not.
    fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        let mut dues = self.model.dues();
        dues.extend(self.heads());
        while let Some(due) = dues.iter().find(|due| (**due..**due + LATE_MS).contains(&self.now.monotonic_ms)) {
            self.now = self.now.after_ms(due + LATE_MS - self.now.monotonic_ms);
        }
        let (step, monotonic_ms) = (self.step, self.now.monotonic_ms);
        self.line = format!("{step} at {monotonic_ms}");
    }

    fn heads(&self) -> impl Iterator<Item = u64> {
        let in_head = |(who, client): &(usize, &Client)| {
            self.model.peers[*who].stage == Stage::Head && !client.spare && !client.is_dropped()
        };
        self.clients.iter().enumerate().filter(in_head).map(|(_, client)| client.since.monotonic_ms + limits::HEAD_MS)
    }

    // ---- Clients --------------------------------------------------------------------------------

    fn new_client(&mut self) -> Client {
        let id = self.rng.pick(&self.ids);
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
        let wire = Wire { capacity, write_max, ..Default::default() };
        let mut backlog = VecDeque::new();
        if rng.chance(97) {
            backlog.push_back(Unit { bytes: client::HEAD.into(), said: Said::Head });
        }
        Client {
            wire: Rc::new(RefCell::new(wire)),
            key: Key::first_at(0),
            habit,
            member: Member::random(rng, &id),
            spare: false,
            since: self.now,
            silent: rng.chance(10),
            last_sent_ms: self.now.monotonic_ms,
            backlog,
            begun: 0,
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
            at_risk: false,
            unsure: false,
            ended_at: None,
            ended_in: 0,
            ends: Vec::new(),
            slow: false,
            told_after: 0,
            is_done: false,
        }
    }

    /// Whom nothing holds to their habits: a connection is cut, somebody hangs up.
    fn behave(&mut self) {
        for who in 0..self.clients.len() {
            let closed = self.clients[who].close.is_some();
            let reads_all = self.clients[who].wire.borrow().in_flight == 0;
            let client = &mut self.clients[who];
            let wire = client.wire.clone();
            let wire = &mut *wire.borrow_mut();
            if wire.dropped || wire.reset || wire.ended {
                continue;
            }
            if let Habit::Stall { reading } = &mut client.habit
                && self.rng.chance(if *reading { 3 } else { 6 })
            {
                *reading = !*reading;
            }
            if closed && reads_all && self.rng.chance(40) || self.rng.below(2500) == 0 {
                // What was said before is still read.
                wire.ended = true;
                client.readable_anew = true;
                client.fall_silent();
            } else if self.rng.below(2500) == 0 {
                wire.reset = true;
                wire.to_hub.clear();
                client.fall_silent();
                client.sent.clear();
                client.readable_anew = self.rng.chance(50);
            }
        }
    }

    fn speak(&mut self, who: usize) {
        let client = &self.clients[who];
        let over = {
            let wire = client.wire.borrow();
            wire.dropped || wire.reset || wire.ended
        };
        if over || client.close.is_some() || client.spare || client.backlog.len() > 150 || client.unsure {
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
            self.clients[who].backlog.extend(units);
        }
        let seats = self.model.peers[who].seats.len();
        let seated = seats > 0 && (seats == self.model.settings.rooms_per_connection as usize || self.rng.chance(80));
        if !self.rng.chance(if seated { 10 } else { 20 }) || self.clients[who].silent && self.rng.chance(90) {
            return;
        }
        let loyal = self.clients[who].habit == Habit::Loyal;
        match self.rng.below(1000) {
            // A lecture, or somebody who leans on a key.
            0..30 => {
                let most = if loyal { 120 } else { 25 };
                let count = self.rng.range(2, most);
                let room = self.room_of(who);
                let bytes = self.rng.pick(&[1, 100, 600, 4_000]);
                for _ in 0..count {
                    self.say(who, room.clone(), bytes);
                }
            }
            30..50 => {
                for _ in 0..self.rng.range(2, 20) {
                    self.serial += 1;
                    let units = client::bad(&mut self.rng, self.serial);
                    self.clients[who].backlog.extend(units);
                }
            }
            // Everybody asks for everything at once.
            50..60 => {
                for number in self.numbers.clone() {
                    self.join(who, number);
                }
            }
            _ => self.speak_once(who, seated),
        }
    }

    fn speak_once(&mut self, who: usize, seated: bool) {
        self.serial += 1;
        let serial = self.serial;
        let units = match self.rng.below(1000) {
            _ if !seated && self.rng.chance(70) => {
                let number = self.number();
                return self.join(who, number);
            }
            0..90 => {
                let number = self.number();
                return self.join(who, number);
            }
            90..180 => {
                let room = self.room_of(who);
                let reference = client::reference(&mut self.rng, serial);
                client::leave(&mut self.rng, &room, reference)
            }
            180..800 => {
                let room = self.room_of(who);
                let bytes = match self.rng.below(10) {
                    0..5 => self.rng.below(80),
                    5..8 => self.rng.below(2_000),
                    8 => self.rng.below(20_000),
                    // As much as a message may be.
                    _ => usize::MAX,
                };
                return self.say(who, room, bytes);
            }
            800..880 => client::heartbeat(&mut self.rng),
            880..930 => vec![client::ping(&mut self.rng)],
            930..940 => vec![client::pong(&mut self.rng)],
            940..980 => client::bad(&mut self.rng, serial),
            980..994 => vec![client::close(&mut self.rng)],
            _ => vec![client::fault(&mut self.rng, self.options.message_bytes as usize)],
        };
        self.clients[who].backlog.extend(units);
    }

    /// A room that the client sits in, or now and then any.
    fn room_of(&mut self, who: usize) -> String {
        let seats = &self.model.peers[who].seats;
        if seats.is_empty() || self.rng.chance(5) {
            return self.rng.pick(&self.numbers).to_owned();
        }
        self.model.rooms[self.rng.pick(seats)].number.clone()
    }

    /// A few rooms are everybody's.
    fn number(&mut self) -> &'static str {
        let popular = if self.rng.chance(60) { 4 } else { self.numbers.len() };
        self.numbers[self.rng.below(popular)]
    }

    fn join(&mut self, who: usize, number: &str) {
        self.serial += 1;
        let mut member = self.clients[who].member.clone();
        if self.rng.chance(3) {
            member.id = self.rng.pick(&self.ids);
        }
        let reference = client::reference(&mut self.rng, self.serial);
        let units = client::join(&mut self.rng, number, &member, reference);
        self.clients[who].backlog.extend(units);
    }

    fn say(&mut self, who: usize, room: String, bytes: usize) {
        self.serial += 1;
        let from = match self.rng.below(20) {
            0..4 => Some(self.clients[who].member.id.clone()),
            4 => Some(self.rng.pick(&self.ids)),
            _ => None,
        };
        let bytes_max = self.options.message_bytes as usize;
        let units = client::say(&mut self.rng, &room, from, self.serial, bytes, bytes_max);
        self.clients[who].backlog.extend(units);
    }

    fn listen(&mut self, who: usize) {
        let client = &self.clients[who];
        let wire = &mut *client.wire.borrow_mut();
        let bytes = match client.habit {
            Habit::Loyal => wire.in_flight,
            _ if wire.dropped => wire.in_flight,
            Habit::Medium if self.rng.chance(70) => self.rng.range(0, wire.in_flight),
            Habit::Trickle if self.rng.chance(50) => self.rng.range(1, 40).min(wire.in_flight),
            Habit::Stall { reading: true } => wire.in_flight,
            _ => 0,
        };
        wire.in_flight -= bytes;
    }

    // ---- What is delivered ----------------------------------------------------------------------

    fn choose(&mut self) -> Delivery {
        let mut delivery = Delivery::new();
        for who in 0..self.clients.len() {
            let client = &mut self.clients[who];
            client.late = self.rng.chance(4);
            let bytes: usize = client.backlog.iter().map(|unit| unit.bytes.len()).sum::<usize>() - client.begun;
            if bytes == 0 || client.unsure || !self.rng.chance(60) {
                continue;
            }
            let (dropped, leftover) = {
                let wire = client.wire.borrow();
                (wire.dropped, wire.to_hub.len())
            };
            if dropped || self.model.peers[who].stage == Stage::Over && self.rng.chance(50) {
                client.fall_silent();
                continue;
            }
            // More than one read takes only from those who can't be too slow: of the others the model could not tell what was still heard.
            let most = if client.habit == Habit::Loyal {
                usize::MAX
            } else {
                (limits::READ_BYTES - 1).saturating_sub(leftover)
            };
            let count = match self.rng.below(10) {
                0..6 => bytes,
                6 => 1,
                7 => self.rng.range(1, 300),
                _ => self.rng.range(1, bytes),
            };
            let count = self.whole(who, count.min(bytes).min(most));
            if count > 0 {
                delivery.push((who, count));
            }
        }
        let ready = self.exchange.has_ready();
        self.judge_risks(&delivery);
        // Of those who may be too slow one at most speaks, first of all, and where nobody is read before.
        let (risky, safe): (Delivery, Delivery) = delivery.into_iter().partition(|(who, _)| self.clients[*who].at_risk);
        if risky.is_empty() || ready {
            return safe;
        }
        let (who, count) = self.rng.pick(&risky);
        if self.is_burst(who, count) {
            self.bursts += 1;
            self.note(format_args!("a burst"));
            return vec![(who, count)];
        }
        let count = self.up_to_second_public(who, count);
        let mut chosen = safe;
        if count > 0 {
            chosen.insert(0, (who, count));
        }
        chosen
    }

    /// So many bytes of a backlog, or a few more where they end within what must not be cut.
    fn whole(&self, who: usize, count: usize) -> usize {
        let client = &self.clients[who];
        let mut end = 0;
        for unit in &client.backlog {
            let start = end;
            end += unit.bytes.len();
            if unit.is_whole() && (start + 1..end).contains(&(count + client.begun)) {
                return end - client.begun;
            }
        }
        count
    }

    /// The units that so many bytes of a backlog complete.
    fn completed(&self, who: usize, count: usize) -> impl Iterator<Item = &Unit> {
        let client = &self.clients[who];
        let mut left = count + client.begun;
        client.backlog.iter().take_while(move |unit| {
            let is_in = unit.bytes.len() <= left;
            left = left.saturating_sub(unit.bytes.len());
            is_in
        })
    }

    fn up_to_second_public(&self, who: usize, count: usize) -> usize {
        let client = &self.clients[who];
        let (mut end, mut publics) = (0, 0);
        for (n, unit) in client.backlog.iter().enumerate() {
            // What comes after something private may not be heard any more either.
            if unit.said.is_public() && (publics > 0 || n > 0) {
                return count.min((end - client.begun.min(end)).max(usize::from(client.begun > end)));
            }
            publics += usize::from(unit.said.is_public());
            end += unit.bytes.len();
        }
        count
    }

    /// Whether all that is delivered is said to one room, where somebody will hear all of it.
    fn is_burst(&self, who: usize, count: usize) -> bool {
        let mut rooms = self.completed(who, count).map(|unit| match &unit.said {
            Said::Text(Request { ask: Ask::Say { room, from: None, .. }, .. }) => Some(room),
            _ => None,
        });
        let Some(Some(number)) = rooms.next() else { return false };
        let Some(room) = self.model.room(number) else { return false };
        let rated = self.model.settings.messages_per_second > 0;
        !rated && rooms.all(|room| room == Some(number)) && self.witness(who, room).is_some()
    }

    /// Somebody else in the room who cannot be too slow.
    fn witness(&self, who: usize, room: usize) -> Option<usize> {
        let seats = &self.model.rooms[room].seats;
        seats.iter().any(|seat| seat.peer == who).then_some(())?;
        let is_fit = |witness: &usize| {
            let client = &self.clients[*witness];
            let wire = client.wire.borrow();
            *witness != who
                && !client.at_risk
                && !self.model.is_due(*witness, self.now)
                && !wire.refused
                && !wire.reset
                && !wire.ended
                && client.habit == Habit::Loyal
        };
        seats.iter().map(|seat| seat.peer).find(is_fit)
    }

    /// Decides who may be found too slow in the coming turn: everybody who could be owed more than a log, unless the socket has room for all of it.
    fn judge_risks(&mut self, delivery: &Delivery) {
        let rooms = self.model.settings.members_per_room as usize;
        let (mut heard, mut own) = (0, vec![0; self.clients.len()]);
        let mut leavers = vec![false; self.clients.len()];
        for (who, client) in self.clients.iter().enumerate() {
            let wire = client.wire.borrow();
            leavers[who] = !wire.dropped && (wire.reset || wire.ended) || self.model.is_due(who, self.now);
        }
        let units =
            delivery.iter().flat_map(|(who, count)| self.completed(*who, *count).map(move |unit| (*who, &unit.said)));
        let sent = self
            .clients
            .iter()
            .enumerate()
            .flat_map(|(who, client)| client.sent.iter().map(move |(.., said)| (who, said)));
        for (who, said) in units.chain(sent) {
            match said {
                Said::Text(Request { ask: Ask::Say { content, .. }, .. }) => heard += NOTICE_MAX + content.len(),
                Said::Text(Request { ask: Ask::Join { .. }, .. }) => {
                    heard += NOTICE_MAX;
                    own[who] += NOTICE_MAX + rooms * NOTICE_MAX / 2;
                }
                Said::Text(Request { ask: Ask::Leave { .. }, .. }) => heard += NOTICE_MAX,
                Said::Close(_) | Said::Fault(_) => leavers[who] = true,
                Said::Text(Request { ask: Ask::Bad(_), .. }) => leavers[who] = true,
                _ => {}
            }
            own[who] += 600;
        }
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let reply_bytes = self.options.reply_bytes as usize;
        let rated = self.model.settings.messages_per_second > 0;
        for who in 0..self.clients.len() {
            self.clients[who].at_risk = false;
            leavers[who] |= rated && own[who] > 0;
        }
        loop {
            let seats = |who: usize| self.model.peers[who].seats.len() + 1;
            let leaves: usize = (0..leavers.len()).filter(|who| leavers[*who]).map(|who| seats(who) * NOTICE_MAX).sum();
            let could_owe = |who: usize| self.model.peers[who].owed + own[who] + heard + leaves + 256;
            let roomy = |who: usize| {
                let client = &self.clients[who];
                let wire = client.wire.borrow();
                wire.dropped || wire.room() >= could_owe(who) && !(client.late && wire.refused)
            };
            let all: usize = (0..leavers.len()).filter(|who| !roomy(*who)).map(could_owe).sum();
            let risky = |who: &usize| {
                let alive = self.model.peers[*who].stage != Stage::Over;
                alive
                    && !self.clients[*who].at_risk
                    && !roomy(*who)
                    && (could_owe(*who) > log_bytes || all > reply_bytes)
            };
            let risky: Vec<usize> = (0..leavers.len()).filter(risky).collect();
            if risky.is_empty() {
                return;
            }
            for who in risky {
                self.clients[who].at_risk = true;
                leavers[who] = true;
            }
        }
    }

    /// Moves bytes of a backlog onto the wire.
    fn send(&mut self, who: usize, count: usize) {
        let client = &mut self.clients[who];
        let mut wire = client.wire.borrow_mut();
        let mut left = count;
        let mut told = Vec::new();
        while left > 0 {
            let Some(unit) = client.backlog.front() else { break };
            let part = &unit.bytes[client.begun..];
            let part = &part[..part.len().min(left)];
            wire.to_hub.extend_from_slice(part);
            left -= part.len();
            client.begun += part.len();
            client.sent_bytes += part.len() as u64;
            if client.begun == unit.bytes.len() {
                client.begun = 0;
                told.push(unit.said.brief());
                if let Some(Unit { said, bytes }) = client.backlog.pop_front() {
                    client.sent.push_back((client.sent_bytes, bytes.len(), said));
                }
            }
        }
        client.readable_anew = true;
        client.last_sent_ms = self.now.monotonic_ms;
        drop(wire);
        self.note(format_args!(
            "{who}{}: {count}B {}",
            if self.clients[who].at_risk { "!" } else { "" },
            told.join(", ")
        ));
    }

    // ---- A turn ---------------------------------------------------------------------------------

    fn turn(&mut self, delivery: Delivery, newcomers: usize) -> Result<(), String> {
        let now = self.now;
        let burst = match delivery[..] {
            [(who, count)] if self.clients[who].at_risk && self.is_burst(who, count) => Some(who),
            _ => None,
        };
        let first = delivery.first().map(|(who, _)| *who);
        for (who, count) in delivery {
            self.send(who, count);
        }
        // What the poll says: who can be written again, and who has something to read.
        let mut readable = Vec::new();
        for who in 0..self.clients.len() {
            let client = &mut self.clients[who];
            let mut wire = client.wire.borrow_mut();
            if wire.dropped {
                continue;
            }
            let hung_up = wire.ended || wire.reset;
            let spurious = self.rng.chance(1);
            if wire.is_writable_anew() && !client.late || spurious && !wire.refused {
                wire.refused = false;
                drop(wire);
                self.exchange.write(client.key);
            }
            if std::mem::take(&mut client.readable_anew) || spurious {
                readable.push((who, hung_up));
            }
        }
        for _ in 0..newcomers {
            self.accept();
        }
        // The one that may be too slow has to be first.
        readable.sort_by_key(|(who, _)| Some(*who) != first);
        let by_one = self.rng.chance(50) || self.model.has_ties();
        for (who, hung_up) in readable {
            self.exchange.set_readable(self.clients[who].key, hung_up);
            if by_one {
                self.read(burst)?;
            }
        }
        self.read(burst)?;
        self.exchange.expire(now);
        if burst.is_none() {
            self.model.expire(now);
        }
        self.exchange.finish(now);
        if let Some(who) = burst {
            self.hear_burst(who)?;
            self.model.expire(now);
        }
        self.judge()
    }

    fn accept(&mut self) {
        let mut client = self.new_client();
        let taken = self.clients.iter().filter(|client| !client.is_dropped() && !client.spare).count();
        let who = self.clients.len();
        let socket = Socket { client: who, wire: client.wire.clone(), journal: self.journal.clone() };
        let (key, fits) = self.exchange.accept(self.now, socket, IpAddr::V4(Ipv4Addr::LOCALHOST));
        client.key = key;
        assert_eq!(fits.is_ok(), taken < self.options.connections as usize, "{taken} places are taken");
        client.spare = fits.is_err();
        self.model.add_peer();
        if client.spare {
            self.model.peers[who].stage = Stage::Over;
            client.ended_at = Some(self.now);
            client.fall_silent();
        }
        self.note(format_args!(
            "{who} comes, {:?}{}",
            client.habit,
            if client.spare { ", to be sent away" } else { "" }
        ));
        self.clients.push(client);
    }

    /// Lets the hub read whoever is ready, and the model what was read.
    fn read(&mut self, burst: Option<usize>) -> Result<(), String> {
        self.exchange.read_ready(self.now);
        if burst.is_none() {
            self.tell_model(|_| true);
        }
        let (owed, reply_bytes) = (self.exchange.owed_bytes(), self.options.reply_bytes as usize);
        if owed > reply_bytes {
            return Err(format!("own queues hold {owed} bytes in mid-turn, of {reply_bytes}"));
        }
        let log_bytes = u64::from(self.model.settings.room_log_bytes);
        for room in self.model.rooms_now() {
            // Rule 4 of the room log, in the middle of a turn.
            if let Some((held, _)) = self.exchange.hub().log_bytes(&room.number)
                && held > log_bytes * 3 / 2 + FRAME_MAX as u64
            {
                return Err(format!("room {} holds {held} bytes in mid-turn, of {log_bytes}", room.number));
            }
        }
        Ok(())
    }

    /// Tells the model what the hub has read, as far as it `heard` it.
    fn tell_model(&mut self, heard: impl Fn(&Said) -> bool) {
        let reads = std::mem::take(&mut *self.journal.borrow_mut());
        for (who, count) in reads {
            self.clients[who].read_bytes += count as u64;
            let client = &mut self.clients[who];
            while let Some((end, ..)) = client.sent.front()
                && *end <= client.read_bytes
            {
                let (_, bytes, said) = client.sent.pop_front().expect("it was there");
                let hub = self.exchange.hub();
                if heard(&said) {
                    self.model.received(self.now, who, &said, bytes, &|number| match hub.roster(number) {
                        // Gone; or gone and made again; or never gone.
                        None => 0,
                        Some(roster) => 1 + usize::from(roster.is_empty()),
                    });
                }
            }
            self.model.read_ends(who);
        }
    }

    /// Only somebody who heard all of it knows how much of a burst was heard before its speaker was found too slow.
    fn hear_burst(&mut self, who: usize) -> Result<(), String> {
        let said = self.clients[who].sent.iter().find_map(|(.., said)| match said {
            Said::Text(Request { ask: Ask::Say { room, .. }, .. }) => self.model.room(room),
            _ => None,
        });
        let Some(room) = said else {
            self.tell_model(|_| true);
            return Ok(());
        };
        let witness = self.witness(who, room).ok_or("the witness of a burst is gone")?;
        let taken = String::from_utf8_lossy(&self.clients[witness].wire.borrow().taken).into_owned();
        self.tell_model(|said| match said {
            Said::Text(Request { ask: Ask::Say { content, .. }, .. }) => taken.contains(content),
            _ => true,
        });
        Ok(())
    }

    // ---- Judgement ------------------------------------------------------------------------------

    /// Compares everything there is to see, now that the turn is over.
    fn judge(&mut self) -> Result<(), String> {
        self.find_ended()?;
        self.model_finish();
        self.check_rooms()?;
        for who in 0..self.clients.len() {
            if !self.clients[who].is_done {
                self.check_client(who).map_err(|wrong| {
                    let client = &self.clients[who];
                    format!("{wrong}\n(connection {who}, {:?}, at risk: {})", client.habit, client.at_risk)
                })?;
            }
        }
        self.check_kept()?;
        self.check_sums()
    }

    fn model_finish(&mut self) {
        for who in self.model.finish(self.now) {
            let ends = self.model.peers[who].ends.clone();
            let reasons: Vec<&str> = ends.iter().map(|end| end.reason).collect();
            self.note(format_args!("{who} ends: {}", reasons.join(" or ")));
            self.clients[who].ends = ends;
            self.clients[who].ended_at = Some(self.now);
            self.clients[who].ended_in = self.step;
        }
    }

    /// Finds out who broke, and who was found too slow, and whether rightly so.
    fn find_ended(&mut self) -> Result<(), String> {
        let mut slow = Vec::new();
        for who in 0..self.clients.len() {
            if self.model.peers[who].stage == Stage::Over {
                continue;
            }
            if self.clients[who].wire.borrow().end_was_seen {
                self.model.peers[who].ends.push(End { reason: "lost", close: None });
                if self.model.peers[who].stage == Stage::Head {
                    self.model.peers[who].stage = Stage::Over;
                    self.clients[who].ends = self.model.peers[who].ends.clone();
                    self.clients[who].ended_at = Some(self.now);
                }
            }
            if self.model.peers[who].stage == Stage::Head {
                if self.heads_due(who) {
                    self.clients[who].was_late = true;
                    self.model.peers[who].stage = Stage::Over;
                    self.clients[who].ended_at = Some(self.now);
                }
                continue;
            }
            if !self.clients[who].at_risk && !self.clients[who].unsure {
                continue;
            }
            let ends = [4002, 1013].map(|code| End { reason: "slow", close: Some(Some(code)) });
            let seats = &self.model.peers[who].seats;
            if seats.is_empty() {
                self.clients[who].unsure = true;
            }
            if self.clients[who].unsure || !self.model.peers[who].ends.is_empty() {
                if !self.model.peers[who].ends.is_empty() {
                    // Whichever was first.
                    self.model.peers[who].ends.extend(ends);
                    self.clients[who].slow = true;
                }
                continue;
            }
            let hub = self.exchange.hub();
            let is_here = |room: &usize| {
                let room = &self.model.rooms[*room];
                let seat = room.seats.iter().find(|seat| seat.peer == who).expect("it has a seat there");
                let roster = hub.roster(&room.number).unwrap_or_default();
                roster.iter().any(|text| match &seat.text {
                    Some(known) => known == text,
                    None => serde_json::from_str::<serde_json::Value>(text).is_ok_and(|json| json == seat.member),
                })
            };
            if seats.iter().any(is_here) {
                continue;
            }
            slow.push(who);
        }
        let ends = |who: &usize| !self.model.peers[*who].ends.is_empty() && self.model.is_open(*who);
        let mut leavers: Vec<usize> = (0..self.clients.len()).filter(ends).collect();
        leavers.extend(&slow);
        for who in slow {
            self.slow += 1;
            self.clients[who].slow = true;
            self.take_output(who)?;
            let owed: usize = self.model.peers.iter().map(|peer| peer.owed).sum();
            let mut ends = Vec::new();
            if self.lags(who, &leavers) {
                ends.push(End { reason: "slow", close: Some(Some(4002)) });
            }
            if owed > self.options.reply_bytes as usize {
                ends.push(End { reason: "slow", close: Some(Some(1013)) });
            }
            if ends.is_empty() {
                let owed = self.model.peers[who].owed;
                return Err(format!("connection {who} was closed for being slow, and is owed {owed} bytes only"));
            }
            self.model.peers[who].ends = ends;
        }
        Ok(())
    }

    fn heads_due(&self, who: usize) -> bool {
        self.now.monotonic_ms >= self.clients[who].since.monotonic_ms + limits::HEAD_MS
    }

    /// Whether this connection is owed more of one room than its log holds, or more than that in its own queue, besides one frame.
    fn lags(&self, who: usize, leavers: &[usize]) -> bool {
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let peer = &self.model.peers[who];
        let mut of_rooms: Vec<(usize, usize)> = Vec::new();
        let (mut all, mut largest) = (0, 0);
        for item in &peer.expected {
            all += item.bytes();
            largest = largest.max(item.bytes());
            if let Item::Room(frame) = item {
                match of_rooms.iter_mut().find(|(room, _)| *room == frame.room) {
                    Some((_, bytes)) => *bytes += frame.bytes,
                    None => of_rooms.push((frame.room, frame.bytes)),
                }
            }
        }
        // The leaves of the same turn are not among what it should be told, but may have pushed it out.
        let pushed = |room: usize| self.model.leave_bytes(leavers, room);
        of_rooms.iter().any(|(room, bytes)| bytes + pushed(*room) > log_bytes) || all - largest + 256 > log_bytes
    }

    fn check_rooms(&mut self) -> Result<(), String> {
        let hub = self.exchange.hub();
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let rooms = self.model.rooms_now().count();
        if hub.rooms() as usize != rooms {
            return Err(format!("there are {} rooms, and should be {rooms}", hub.rooms()));
        }
        for room in self.model.rooms.iter_mut().filter(|room| !room.is_over) {
            let number = room.number.clone();
            let roster = hub.roster(&number).ok_or_else(|| format!("there is no room {number}"))?;
            let members = || room.seats.iter().map(|seat| seat.member.to_string()).collect::<Vec<_>>();
            if roster.len() != room.seats.len() {
                return Err(format!("room {number} has\n  {roster:?}, and should have\n  {:?}", members()));
            }
            for (place, text) in roster.iter().enumerate() {
                let seat = &room.seats[place];
                let is_it = match &seat.text {
                    Some(known) => known == text,
                    None => serde_json::from_str::<serde_json::Value>(text).is_ok_and(|json| json == seat.member),
                };
                if !is_it {
                    return Err(format!("room {number} has\n  {roster:?}, and should have\n  {:?}", members()));
                }
            }
            for (seat, text) in room.seats.iter_mut().zip(&roster) {
                seat.text.get_or_insert_with(|| (*text).to_owned());
            }
            let (held, buffer) = hub.log_bytes(&number).ok_or("a room without a log")?;
            if held as usize > log_bytes {
                return Err(format!("room {number} holds {held} bytes after the turn, of {log_bytes}"));
            }
            let buffer_max = 2 * (log_bytes * 3 / 2 + FRAME_MAX) + log_bytes / 4 + 4096;
            if buffer > buffer_max {
                return Err(format!(
                    "the buffer of room {number} takes {buffer} bytes, at most {buffer_max} are explained"
                ));
            }
        }
        Ok(())
    }

    /// Hands what the hub wrote to the model, frame by frame.
    fn take_output(&mut self, who: usize) -> Result<(), String> {
        let client = &mut self.clients[who];
        let bytes = std::mem::take(&mut client.wire.borrow_mut().taken);
        client.frames.feed(&bytes);
        if !client.has_head {
            let Some(head) = client.frames.head() else { return Ok(()) };
            client.has_head = true;
            let wanted = match () {
                _ if client.spare => "HTTP/1.1 503 ",
                _ if client.was_late => "HTTP/1.1 408 ",
                _ => "HTTP/1.1 101 ",
            };
            if !head.starts_with(wanted) || wanted.contains("101") && !head.contains(client::ACCEPT) {
                return Err(format!("answered {head}, and not {wanted}"));
            }
            client.is_refused = !wanted.contains("101");
        }
        if client.is_refused {
            client.frames.skip_all();
        }
        while let Some(frame) = self.clients[who].frames.next()? {
            self.told += 1;
            if self.clients[who].close.is_some() {
                return Err("a frame behind the close frame".into());
            }
            match frame {
                Frame::Text(payload) => {
                    self.model.told(who, &payload)?;
                    let client = &mut self.clients[who];
                    client.told_after += usize::from(client.ended_at.is_some_and(|_| client.ended_in != self.step));
                }
                Frame::Pong(payload) => self.model.ponged(who, &payload)?,
                Frame::Ping => {}
                Frame::Close(code) => self.closed(who, code)?,
            }
        }
        Ok(())
    }

    fn closed(&mut self, who: usize, code: Option<u16>) -> Result<(), String> {
        let client = &mut self.clients[who];
        client.close = Some(code);
        if client.unsure {
            client.slow = true;
            client.unsure = false;
            client.ends.extend([4002, 1013, 4000, 1008].map(|code| End { reason: "slow", close: Some(Some(code)) }));
            client.ended_at.get_or_insert(self.now);
            self.model.peers[who].stage = Stage::Over;
        }
        if !client.ends.iter().any(|end| end.close == Some(code)) {
            return Err(format!("closed with {code:?}, where {:?} was due", client.ends));
        }
        let is_slow = matches!(code, Some(4002 | 1013));
        if is_slow && client.told_after > 1 {
            let frames = client.told_after;
            return Err(format!("closed with {code:?}, and told {frames} frames more, which were to be forgotten"));
        }
        let is_reply = |item: &Item| matches!(item, Item::Own(..));
        if !is_slow && self.model.peers[who].expected.iter().any(is_reply) {
            return Err(format!("closed with {code:?} before a reply that was made before"));
        }
        Ok(())
    }

    fn check_client(&mut self, who: usize) -> Result<(), String> {
        self.take_output(who)?;
        let client = &mut self.clients[who];
        let wire = client.wire.borrow();
        if let Some(wrong) = wire.wrong {
            return Err(format!("the hub {wrong}"));
        }
        let peer = &self.model.peers[who];
        let ended = peer.stage == Stage::Over;
        if wire.dropped {
            client.is_done = true;
            let in_time = client.ended_at.is_none_or(|at| self.now.monotonic_ms >= at.monotonic_ms + limits::CLOSE_MS);
            if !ended && !client.unsure {
                return Err("the hub gave up a socket that was neither closed nor broken".into());
            }
            // Where too much is owed in all, those who are closing are given up first.
            let all: usize = self.model.peers.iter().map(|peer| peer.owed).sum();
            let shed = all > self.options.reply_bytes as usize;
            if ended && !wire.end_was_seen && !in_time && !client.slow && !client.spare && !shed {
                return Err("the hub gave up a socket before the client had time to read and to hang up".into());
            }
            self.model.peers[who].stage = Stage::Over;
            self.model.peers[who].expected.clear();
            self.model.peers[who].owed = 0;
            return Ok(());
        }
        // One that was closed before is given up when its time is over, whether or not a write has found it broken.
        let is_lost = !client.ends.is_empty() && client.ends.iter().all(|end| end.close.is_none());
        if wire.end_was_seen && is_lost && !client.unsure {
            return Err("the hub keeps a socket that has ended".into());
        }
        if ended
            && client.ended_at.is_some_and(|at| self.now.monotonic_ms >= at.monotonic_ms + limits::CLOSE_MS + LATE_MS)
        {
            return Err("the hub keeps a socket for longer than a close may take".into());
        }
        if wire.refused || wire.end_was_seen {
            return Ok(());
        }
        // A socket that takes more: nothing may be left.
        if ended {
            let said = client.close.is_some() || client.spare || !client.has_head || client.ends.is_empty();
            if !said || !wire.shut_down {
                return Err(format!(
                    "ended, with a socket that takes more, but close {:?}, shut down: {}",
                    client.close, wire.shut_down
                ));
            }
            return Ok(());
        }
        if wire.shut_down {
            return Err("the hub has ended its side for no reason".into());
        }
        if peer.owed > 0 && !client.unsure {
            return Err(format!(
                "{} frames, {} pongs and {} bytes wait for a socket that would take them",
                peer.expected.len(),
                peer.pongs.len(),
                peer.owed
            ));
        }
        if !client.frames.is_between_frames() {
            return Err("half a frame waits for a socket that would take the rest".into());
        }
        // It was told everything: so it was not closed.
        client.unsure = false;
        Ok(())
    }

    /// A room where something was just said to people who have all of it holds as much as its bounds allow, and no more.
    fn check_kept(&mut self) -> Result<(), String> {
        self.seqs.resize(self.model.rooms.len(), 0);
        for (n, room) in self.model.rooms.iter().enumerate().filter(|(_, room)| !room.is_over) {
            let was = std::mem::replace(&mut self.seqs[n], room.seq);
            let owed = |item: &Item| matches!(item, Item::Room(frame) if frame.room == n);
            let lags = room.seats.iter().any(|seat| self.model.peers[seat.peer].expected.iter().any(owed));
            if was == room.seq || lags {
                continue;
            }
            if let (Some(due), Some((held, _))) =
                (room.held_bytes(&self.model.settings), self.exchange.hub().log_bytes(&room.number))
                && held != due
            {
                return Err(format!("room {} holds {held} bytes, and should hold {due}", room.number));
            }
        }
        Ok(())
    }

    fn check_sums(&mut self) -> Result<(), String> {
        let here = self.clients.iter().filter(|client| !client.is_dropped()).count();
        if self.exchange.len() as usize != here {
            return Err(format!("{} connections, and {here} sockets", self.exchange.len()));
        }
        let owed = self.exchange.owed_bytes();
        let blocked = |who: &usize| {
            let wire = self.clients[*who].wire.borrow();
            !wire.dropped && (wire.refused || wire.end_was_seen)
        };
        let model_owed: usize =
            (0..self.clients.len()).filter(blocked).map(|who| self.model.peers[who].owed + 400).sum();
        if owed > model_owed || owed > self.options.reply_bytes as usize {
            return Err(format!(
                "own queues hold {owed} bytes, {model_owed} are owed, {} allowed",
                self.options.reply_bytes
            ));
        }
        let alive = (0..self.clients.len()).filter(|who| self.model.is_open(*who) && !self.clients[*who].unsure);
        for who in alive {
            let (queued, largest) = self.model.queued(who);
            if queued > self.model.settings.room_log_bytes as usize + 2 * largest {
                return Err(format!(
                    "connection {who} is owed {queued} bytes, of them one frame {largest}, by its own queue"
                ));
            }
        }
        let dues = self.model.dues().into_iter().chain(self.heads());
        if let Some(due) = dues.min()
            && self.exchange.next_deadline_ms().is_none_or(|next| next > due + LATE_MS)
            && !self.clients.iter().any(|client| client.unsure)
        {
            return Err(format!(
                "something is due at {due}, and the hub sleeps until {:?}",
                self.exchange.next_deadline_ms()
            ));
        }
        Ok(())
    }

    // ---- The end --------------------------------------------------------------------------------

    /// Everybody reads again: now everything that is owed must come.
    fn drain(&mut self) -> Result<(), String> {
        for client in &mut self.clients {
            client.habit = Habit::Loyal;
            client.fall_silent();
            client.wire.borrow_mut().capacity = 16 << 20;
        }
        for _ in 0..4 {
            self.begin();
            for who in 0..self.clients.len() {
                self.listen(who);
                self.clients[who].late = false;
            }
            self.pass(0);
            self.line.push_str(" | drain");
            self.judge_risks(&Delivery::new());
            self.turn(Delivery::new(), 0)?;
        }
        for (who, peer) in self.model.peers.iter().enumerate() {
            if peer.stage == Stage::Open && peer.owed > 0 {
                return Err(format!("connection {who} reads everything, and {} bytes never came", peer.owed));
            }
        }
        Ok(())
    }

    /// Everybody goes, one way or another, and the hub comes to rest: it is driven by its own deadlines only.
    fn wind_up(&mut self) -> Result<(), String> {
        for who in 0..self.clients.len() {
            let client = &mut self.clients[who];
            let mut wire = client.wire.borrow_mut();
            match self.rng.below(4) {
                // It stays until its silence is noticed.
                0 => {}
                1 => {
                    wire.reset = true;
                    wire.to_hub.clear();
                    client.sent.clear();
                    client.readable_anew = true;
                }
                _ => {
                    wire.ended = true;
                    client.readable_anew = true;
                }
            }
        }
        for _ in 0..2_000 {
            self.begin();
            for who in 0..self.clients.len() {
                self.listen(who);
            }
            self.pass(0);
            self.line.push_str(" | wind up");
            self.judge_risks(&Delivery::new());
            self.turn(Delivery::new(), 0)?;
            if self.exchange.has_ready() {
                continue;
            }
            let Some(next) = self.exchange.next_deadline_ms() else { break };
            self.pass(next.saturating_sub(self.now.monotonic_ms).max(1));
        }
        if let Some(next) = self.exchange.next_deadline_ms() {
            return Err(format!("nobody is here, and still something is due at {next}"));
        }
        self.check_empty()?;
        for room in &self.model.settings.configured {
            let log_bytes = self.exchange.hub().log_bytes(&room.number);
            if log_bytes != Some((0, 0)) {
                return Err(format!("room {} was empty for long, and holds {log_bytes:?}", room.number));
            }
        }
        let rooms = self.exchange.hub().rooms() as usize;
        if rooms != self.model.settings.configured.len() {
            return Err(format!("{rooms} rooms are left"));
        }
        Ok(())
    }

    /// The hub stops, while a few do not read: all get what they are owed, and 1001.
    fn stop(&mut self) -> Result<(), String> {
        let open: Vec<usize> = (0..self.clients.len()).filter(|who| self.model.is_open(*who)).collect();
        for who in &open {
            let mut wire = self.clients[*who].wire.borrow_mut();
            if self.rng.chance(50) && !wire.reset && !wire.ended {
                wire.capacity = wire.in_flight + self.rng.below(300);
            }
        }
        self.begin();
        for who in &open {
            if !self.model.peers[*who].seats.is_empty() && !self.clients[*who].cut_short && self.rng.chance(25) {
                let room = self.room_of(*who);
                self.say(*who, room, 50);
            }
        }
        self.pass(0);
        let delivery = self.choose();
        self.turn(delivery, 0)?;
        self.line.push_str(" | stop");
        let log_bytes = self.model.settings.room_log_bytes as usize;
        let lagging = |who: &usize| self.model.peers[*who].owed * 2 > log_bytes;
        if self.exchange.has_ready() || open.iter().any(lagging) {
            // Whoever would be too slow leaves, and that is another matter.
            return self.wind_up();
        }
        self.exchange.stop(self.now);
        for who in open {
            let peer = &mut self.model.peers[who];
            if peer.stage != Stage::Open {
                continue;
            }
            peer.stage = Stage::Over;
            let ends = vec![End { reason: "", close: Some(Some(1001)) }];
            self.clients[who].ends = ends;
            self.clients[who].ended_at = Some(self.now);
            let wire = self.clients[who].wire.clone();
            wire.borrow_mut().capacity = 16 << 20;
            if std::mem::take(&mut wire.borrow_mut().refused) {
                self.exchange.write(self.clients[who].key);
            }
            self.take_output(who)?;
            let client = &self.clients[who];
            let end_was_seen = client.wire.borrow().end_was_seen;
            let owed = self.model.peers[who].owed;
            if !end_was_seen && (owed > 0 || client.close != Some(Some(1001))) {
                return Err(format!(
                    "the hub stopped, and connection {who} was not told {owed} bytes; close: {:?}",
                    client.close
                ));
            }
        }
        for _ in 0..3 {
            self.now = self.now.after_ms(limits::CLOSE_MS / 2 + LATE_MS);
            self.exchange.read_ready(self.now);
            self.exchange.expire(self.now);
            self.exchange.finish(self.now);
        }
        self.check_empty()
    }

    fn check_empty(&self) -> Result<(), String> {
        match (self.exchange.len(), self.exchange.owed_bytes()) {
            (0, 0) => Ok(()),
            (len, owed) => Err(format!("everybody is gone, and {len} connections and {owed} bytes are left")),
        }
    }
}
