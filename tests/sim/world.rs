//! The run: a seed's school, turn by turn.
//!
//! Owns: what happens when, and the hub under test, which is driven as a poll would drive it, by what its sockets say. Refuses to know: what is
//! right; that is judged in `judge`.
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::rc::Rc;

use classhub::base::Now;
use classhub::hub::{Hub, Passcode, RoomSettings, Settings};
use classhub::limits;
use classhub::net::exchange::{Exchange, Options};

use crate::client::{Ask, Member, Request, Said};
use crate::crowd::{Client, Habit, Path};
use crate::delivery::Delivery;
use crate::model::{Look, Model};
use crate::network::{Frames, Journal, Socket};
use crate::peer::Stage;
use crate::person::{self, Person, Views};
use crate::rng::Rng;
use crate::teaching;
use crate::text;

const STEPS: usize = 10_000;
/// Deadlines are kept to a tick of the wheel's, and one tick after that where they are set again; those of heartbeats to a part of their length.
pub const LATE_MS: u64 = 2 * classhub::base::TICK_MS + 25_000 / limits::TIMERS_TOGETHER;
const STEPS_TOLD: usize = 40;
/// So often is the hub upgraded, on average.
const STEPS_AN_UPGRADE: usize = 300;
/// So often does the operator decide anew.
const STEPS_A_RELOAD: usize = 300;
/// No frame here is larger, but for rosters.
pub const FRAME_MAX: usize = 24 * 1024;

pub struct World {
    pub rng: Rng,
    pub exchange: Exchange<Socket>,
    pub options: Options,
    pub model: Model,
    pub clients: Vec<Client>,
    /// Those of which something may still be seen.
    pub live: Vec<usize>,
    pub people: Vec<Person>,
    /// Some that were given to somebody.
    pub tokens: Vec<Rc<str>>,
    pub journal: Journal,
    pub now: Now,
    pub step: usize,
    pub serial: usize,
    pub numbers: Vec<&'static str>,
    /// Whether it has become a sport here to try passcodes.
    pub is_guessing: bool,
    /// Whether every step is written down.
    pub is_told: bool,
    pub steps: VecDeque<String>,
    pub line: String,
    pub told: usize,
    pub slow: usize,
    pub bursts: usize,
    pub upgrades: usize,
    pub reloads: usize,
    /// The newest frame of each room, a turn ago.
    pub seqs: Vec<u64>,
    pub dues: Vec<u64>,
    /// What a join or leave can take: a room with its owner, and a member.
    pub notice_max: usize,
}

/// The hub, looked at.
pub struct Seen<'a>(pub &'a Hub);

impl Look for Seen<'_> {
    fn rank(&self, room: &str) -> usize {
        match self.0.roster(room) {
            // Gone; or gone and made again; or never gone.
            None => 0,
            Some(roster) => 1 + usize::from(roster.is_empty()),
        }
    }

    fn sits(&self, room: &str, member: &str) -> bool {
        self.0.roster(room).is_some_and(|roster| roster.contains(&member))
    }
}

impl World {
    /// A school of its own for every seed. Where `is_told`, the last steps can be told afterwards.
    pub fn new(seed: u64, is_told: bool) -> Self {
        let mut rng = Rng::new(seed);
        let log_bytes = rng.pick(&[8 * 1024, 16 * 1024, 64 * 1024, 64 * 1024, 256 * 1024]);
        let member = |id: &'static str| classhub::wire::Member { id: id.into(), ..Default::default() };
        let passcode = |rng: &mut Rng| rng.chance(50).then(|| Passcode(teaching::PASSCODE.to_owned()));
        let configured = vec![
            RoomSettings {
                number: "E00001".into(),
                name: "一年级".into(),
                desc: "a \"desc\"".into(),
                owner_passcode: passcode(&mut rng),
                ..RoomSettings::default()
            },
            RoomSettings {
                number: "E00002".into(),
                name: "Two".into(),
                owner: Some(member("teacher")),
                owner_passcode: passcode(&mut rng),
                ..Default::default()
            },
        ];
        let rated = rng.chance(25);
        let settings = Settings {
            heartbeat_interval_s: rng.range(4, 20) as u32,
            heartbeat_grace_s: rng.range(0, 5) as u32,
            probe_s: rng.pick(&[1, 2, 3, 3, 5]),
            linger_s: rng.pick(&[0, 1, 3, 5, 5, 10, 40]),
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
            // Everyone may come in who knows the network.
            ..Settings::default()
        };
        let options = Options {
            connections: rng.pick(&[12, 20, 24, 32]),
            message_bytes: (log_bytes / 4).min(16 * 1024),
            reply_bytes: rng.pick(&[32 << 20, 32 << 20, 4 * log_bytes, log_bytes]),
            ..Default::default()
        };
        let now = Now { monotonic_ms: rng.range(0, 1_000) as u64, wall_ms: 1_600_000_000_000 };
        let ids = ["teacher", "学号七", "a\"b\\c", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"];
        let ids = ids.map(str::to_owned).into_iter().chain([String::from("s12"), "i".repeat(64)]);
        // Some ids are two people's.
        let people: Vec<String> = ids.clone().chain(ids.step_by(3)).collect();
        let address = |n: usize| person::address(if n % 5 < 2 { n % person::SHARED } else { person::SHARED + n });
        let people = people.iter().enumerate();
        let people = people.map(|(n, id)| Person::new(Member::random(&mut rng, id), address(n)));
        let people: Vec<Person> = people.collect();
        let longest = people.iter().map(|person| text::member(&person.member).len()).max();
        World {
            notice_max: 2 * longest.unwrap_or(0) + 500,
            exchange: Exchange::new(options.clone(), settings.clone(), [seed as u8; 32], now),
            model: Model::new(settings, options.connections, now),
            options,
            clients: Vec::new(),
            live: Vec::new(),
            people,
            tokens: Vec::new(),
            journal: Journal::default(),
            now,
            step: 0,
            serial: 0,
            numbers: vec!["E00001", "E00002", "A", "B", "\"引\"\\", "C", "D", "room-with-a-long-number", "E"],
            is_guessing: rng.chance(10),
            is_told,
            steps: VecDeque::new(),
            line: String::new(),
            told: 0,
            slow: 0,
            bursts: 0,
            upgrades: 0,
            reloads: 0,
            seqs: Vec::new(),
            dues: Vec::new(),
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
            "{} steps, {clients} clients, {} frames, {} too slow, {} bursts of the slow, {} upgrades, {} reloads; {}",
            self.step, self.told, self.slow, self.bursts, self.upgrades, self.reloads, self.model.counts
        ))
    }

    fn step(&mut self) -> Result<(), String> {
        self.begin();
        self.behave()?;
        let newcomers = usize::from(self.rng.chance(20)) * self.rng.range(1, 4);
        // A few more than there are places for.
        let newcomers = if self.exchange.len() < self.options.connections + 2 { newcomers } else { 0 };
        for n in 0..self.live.len() {
            let who = self.live[n];
            self.listen(who)?;
            self.speak(who);
        }
        let ms = self.time_step();
        self.pass(ms);
        let delivery = self.choose();
        self.turn(delivery, newcomers)?;
        if self.rng.below(STEPS_AN_UPGRADE) == 0 {
            self.upgrade()?;
        }
        if self.rng.below(STEPS_A_RELOAD) == 0 { self.reload() } else { Ok(()) }
    }

    pub fn begin(&mut self) {
        self.step += 1;
        if !self.line.is_empty() {
            self.steps.push_back(std::mem::take(&mut self.line));
        }
        if self.steps.len() > STEPS_TOLD {
            self.steps.pop_front();
        }
    }

    pub fn note(&mut self, text: std::fmt::Arguments) {
        if self.is_told {
            let _ = write!(self.line, " | {text}");
        }
    }

    // ---- Time -----------------------------------------------------------------------------------

    fn time_step(&mut self) -> u64 {
        let silence_ms = u64::from(self.model.settings.heartbeat_interval_s) * 1000;
        let ms = match self.rng.below(1000) {
            0..500 => 0,
            500..800 => self.rng.range(1, 50) as u64,
            800..960 => self.rng.range(50, 900) as u64,
            960..990 => self.rng.below(silence_ms as usize / 2) as u64,
            // As a poll with nothing to do would.
            990..999 => {
                self.exchange.next_deadline_ms().map_or(0, |ms| ms.saturating_sub(self.now.monotonic_ms).min(8_000))
            }
            _ => self.rng.range(5_000, 70_000) as u64,
        };
        // Whoever is there answers at once, and is given the time for it.
        let answering =
            |who: &&usize| self.clients[**who].habit == Habit::Loyal && self.clients[**who].path == Path::Fine;
        let answers = self.live.iter().filter(answering).filter_map(|who| self.model.peers[*who].alive_by_ms);
        match answers.min() {
            Some(by_ms) => ms.min(by_ms.saturating_sub(self.now.monotonic_ms) / 4),
            None => ms,
        }
    }

    /// Lets time pass, and a little more where a deadline would be so near that it may have been kept or not.
    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
        let mut dues = std::mem::take(&mut self.dues);
        dues.clear();
        self.model.dues(&mut dues);
        self.model.asks_again(&mut dues);
        self.heads(&mut dues);
        while let Some(due) = dues.iter().find(|due| (**due..**due + LATE_MS).contains(&self.now.monotonic_ms)) {
            self.now = self.now.after_ms(due + LATE_MS - self.now.monotonic_ms);
        }
        self.dues = dues;
        if self.is_told {
            self.line = format!("{} at {}", self.step, self.now.monotonic_ms);
        }
    }

    pub fn heads(&self, dues: &mut Vec<u64>) {
        let in_head = |who: &&usize| {
            let client = &self.clients[**who];
            self.model.peers[**who].stage == Stage::Head && !client.spare && !client.is_dropped()
        };
        let of_head = |who: &usize| self.clients[*who].since.monotonic_ms + limits::HEAD_MS;
        dues.extend(self.live.iter().filter(in_head).map(of_head));
    }

    // ---- A turn ---------------------------------------------------------------------------------

    pub fn turn(&mut self, delivery: Delivery, newcomers: usize) -> Result<(), String> {
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
        for n in 0..self.live.len() {
            let who = self.live[n];
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
                if std::mem::take(&mut client.wire.borrow_mut().moved_on) {
                    self.model.is_alive(who);
                }
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
        self.expire()?;
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

    /// The hub does what is due. Whom it is about to give up as dead it may first offer once what they did not take before.
    fn expire(&mut self) -> Result<(), String> {
        let is_due = |by_ms: u64| self.now.monotonic_ms >= by_ms;
        let mut asked = Vec::new();
        for who in self.live.iter().copied() {
            let peer = &self.model.peers[who];
            if !self.model.is_open(who) || !peer.alive_by_ms.is_some_and(is_due) {
                continue;
            }
            let mut wire = self.clients[who].wire.borrow_mut();
            wire.may_retry = true;
            wire.moved_on = false;
            let is_sure = peer.ends.is_empty() && !self.clients[who].at_risk && !wire.reset && !wire.end_was_seen;
            asked.push((who, is_sure && wire.refused && wire.room() > 0));
        }
        self.exchange.expire(self.now);
        for (who, would_take) in asked {
            let mut wire = self.clients[who].wire.borrow_mut();
            wire.may_retry = false;
            wire.was_retried = false;
            if std::mem::take(&mut wire.moved_on) {
                self.model.is_alive(who);
            } else if would_take {
                return Err(format!("{who} is given up as dead, and would have taken what it is owed"));
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        let mut client = self.new_client();
        let taken =
            self.live.iter().map(|who| &self.clients[*who]).filter(|client| !client.is_dropped() && !client.spare);
        let taken = taken.count();
        let who = self.clients.len();
        let socket = Socket { client: who, wire: client.wire.clone(), journal: self.journal.clone() };
        let (key, fits) = self.exchange.accept(self.now, socket, client.address);
        client.key = key;
        assert_eq!(fits.is_ok(), taken < self.options.connections as usize, "{taken} places are taken");
        client.spare = fits.is_err();
        self.model.add_peer(client.address);
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
        self.people[client.person].clients.push(who);
        self.clients.push(client);
        self.live.push(who);
    }

    /// Lets the hub read whoever is ready, and the model what was read. Whoever is asked for a sign of life is offered once what it did not take
    /// before, so that only what it takes from then on is one.
    fn read(&mut self, burst: Option<usize>) -> Result<(), String> {
        for who in &self.live {
            let mut wire = self.clients[*who].wire.borrow_mut();
            wire.may_retry = burst.is_none();
        }
        self.exchange.read_ready(self.now);
        if burst.is_none() {
            self.tell_model(|_| true);
        }
        for who in &self.live {
            let mut wire = self.clients[*who].wire.borrow_mut();
            wire.may_retry = false;
            if std::mem::take(&mut wire.was_retried) {
                wire.moved_on = false;
                if !self.model.was_asked(*who, self.now) {
                    return Err(format!("a write to {who}, which is blocked, and which nobody asked for"));
                }
            }
        }
        self.check_bounds()
    }

    /// Tells the model what the hub has read, as far as it `heard` it.
    fn tell_model(&mut self, heard: impl Fn(&Said) -> bool) {
        let mut reads = std::mem::take(&mut *self.journal.borrow_mut());
        let look = Seen(self.exchange.hub());
        for (who, count) in reads.drain(..) {
            let client = &mut self.clients[who];
            client.read_bytes += count as u64;
            self.model.is_alive(who);
            while client.sent.front().is_some_and(|(end, ..)| *end <= client.read_bytes)
                && let Some((_, bytes, said)) = client.sent.pop_front()
            {
                if heard(&said) {
                    self.model.received(self.now, who, &said, bytes, &look);
                }
            }
            self.model.read_ends(who);
        }
        *self.journal.borrow_mut() = reads;
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

    /// Nothing more will be seen of this client: what it knows stays with its person.
    pub fn is_done(&mut self, who: usize) -> Result<(), String> {
        self.listen(who)?;
        self.hear(who)?;
        let client = &mut self.clients[who];
        client.is_done = true;
        client.fall_silent();
        client.sent = VecDeque::new();
        client.inbox = VecDeque::new();
        client.frames = Frames::default();
        let person = client.person;
        self.remember(person);
        self.clients[who].views = Views::new();
        self.live.retain(|live| *live != who);
        self.model.forget_peer(who);
        Ok(())
    }
}
