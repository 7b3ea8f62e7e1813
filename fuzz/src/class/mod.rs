//! A class on the real exchange: what each step does to it.
//!
//! Owns: the hub's setting, the clients and their sockets, and the clocks. Refuses to know: what is asked of the hub (`asking`, `odd`), what its
//! answers may be (`hearing`), what else must be true after a turn (`checks`), and how one process follows another (`upgrade`).

mod asking;
mod checks;
mod hearing;
mod odd;
mod upgrade;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use classhub::base::{Key, Now};
use classhub::hub::{Passcode, RoomSettings, Settings};
use classhub::limits;
use classhub::net::exchange::{Exchange, Options};
use classhub::wire::Member;
use classhub::wire::seal::Side;

use crate::door::{Door, OWNED_ROOM, OWNER, OWNER_PASSCODE, PASSCODE, WORD_ROOM};
use crate::socket::{Socket, Wire, append_frame};
use crate::steps::{Act, Head, Play, Reload, Setting, Step, Wait};
use crate::view::{Asked, View};
use crate::voice::{Keys, Voice};

const PLACES: usize = 8;
const ADDRESSES: usize = 4;
const CONNECTIONS: u32 = 6;
const MESSAGE_BYTES: u32 = 1024;
const ROOMS: u32 = 4;
const SEATS: u32 = 3;
const IDS: [&str; 4] = [OWNER, "学七", "a\"b\\", "s"];
/// By a step's room; two of them are more often meant than others.
const NUMBERS: [&str; 8] = [OWNED_ROOM, WORD_ROOM, "C", "D", "E", "\"引\"\\", OWNED_ROOM, "C"];
/// How many of them differ, and how many are always there: the first of them.
const DIFFERENT: usize = 6;
const CONFIGURED: usize = 2;

/// One connection, from its client's side.
struct Client {
    key: Key,
    wire: Rc<RefCell<Wire>>,
    /// Where it is.
    address: usize,
    stage: Stage,
    voice: Voice,
    /// It has sent a data frame, which settles its voice.
    has_spoken: bool,
    /// The id that it joins with.
    id: Option<&'static str>,
    /// By the numbers of their rooms.
    views: BTreeMap<&'static str, View>,
    /// When it connected, or last tried to join, and the longest that it took until it tried.
    tried_ms: u64,
    hesitated_ms: u64,
    offences: Offences,
}

/// What may be held against a connection, or has been.
#[derive(Debug, Default)]
struct Offences {
    /// It sent something that no key opens, or named a key that is not its own.
    unopened: bool,
    /// It sent a kind of frame that is not spoken here.
    unsupported: bool,
    /// It sent something that no connection survives.
    fatal: bool,
    /// Refusals that it heard: of bad messages, for a rate, and for tokens and passcodes.
    bad: u64,
    limited: u64,
    wrong: u64,
    /// It heard a refusal that the hub's last word follows: what that is.
    last_word: Option<u16>,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Head,
    Open,
    /// It was answered with anything but an upgrade: what comes is a body.
    Refused,
    /// The hub has had its last word.
    Over,
}

/// A token that was given, and the last number that was seen from its seat.
struct Given {
    id: &'static str,
    room: &'static str,
    /// How often the room was seen not to be there by then.
    missing: u64,
    token: String,
    seen: u64,
}

pub struct Class {
    exchange: Exchange<Socket>,
    /// As the operator has decided.
    decided: (Options, Settings),
    /// What may show of all that was decided: the loosest.
    options: Options,
    settings: Settings,
    setting: Setting,
    /// As the settings before: the loosest that there were, of what may be decided anew.
    loosest: Setting,
    door: Door,
    keys: Keys,
    now: Now,
    started_ms: u64,
    /// The wall clock in each turn.
    turns_wall_ms: Vec<u64>,
    /// When the hub last read anything, or anything was to be seen of a room, and what.
    changed_ms: u64,
    rooms: Vec<(u64, usize)>,
    /// After how many turns each room was not there.
    missing: [u64; DIFFERENT],
    clients: Vec<Client>,
    /// Who is where, by their places in `clients`.
    places: [Option<usize>; PLACES],
    asked: Vec<Asked>,
    given: Vec<Given>,
    /// The frames of rooms that are always there, by room and number.
    told: BTreeMap<(&'static str, u64), Vec<u8>>,
    /// By address: joins that showed something that may be wrong, and refusals of what was shown.
    guesses_sent: [u64; ADDRESSES],
    guesses_answered: [u64; ADDRESSES],
}

impl Class {
    /// Does all of it, and winds up.
    ///
    /// # Panics
    /// Where the hub does anything that it must not.
    pub fn play(play: &Play) {
        let mut class = Class::new(play.setting);
        for step in &play.steps {
            class.act(step);
            if step.ends_turn {
                class.turn();
            }
        }
        class.wind_up();
    }

    fn new(setting: Setting) -> Class {
        let door = Door::new(setting);
        let (options, settings) = decided(setting, &door);
        // The wall clock has just been set.
        let now = Now { monotonic_ms: 1000, wall_ms: limits::BUILT_S * 1000 };
        Class {
            exchange: Exchange::new(options.clone(), settings.clone(), [7; 32], now),
            decided: (options.clone(), settings.clone()),
            options,
            settings,
            setting,
            loosest: setting,
            door,
            keys: Keys::new(),
            now,
            started_ms: now.monotonic_ms,
            turns_wall_ms: Vec::new(),
            changed_ms: now.monotonic_ms,
            rooms: Vec::new(),
            missing: [0; DIFFERENT],
            clients: Vec::new(),
            places: [None; PLACES],
            asked: Vec::new(),
            given: Vec::new(),
            told: BTreeMap::new(),
            guesses_sent: [0; ADDRESSES],
            guesses_answered: [0; ADDRESSES],
        }
    }

    fn act(&mut self, step: &Step) {
        let number = NUMBERS[step.room];
        match step.act {
            Act::Wait(wait) => return self.wait(wait),
            Act::Jump(to) => return self.now.wall_ms = u64::from(to) << 36,
            Act::Reload(reload) => return self.reload(reload),
            Act::Upgrade => return self.upgrade(),
            _ => {}
        }
        let client = self.places[step.who].filter(|client| !self.clients[*client].wire.borrow().dropped);
        if let Act::Connect { address, head, voice } = step.act {
            if client.is_none() {
                self.connect(step.who, address, head, voice);
            }
            return;
        }
        let Some(client) = client else { return };
        if let Some(request) = self.request(client, number, &step.act) {
            return self.say(client, request.to_string().as_bytes());
        }
        let key = self.clients[client].key;
        let mut wire = self.clients[client].wire.borrow_mut();
        match step.act {
            Act::Odd(which) => {
                drop(wire);
                self.odd(client, number, which);
            }
            Act::Close(code) => {
                drop(wire);
                self.send(client, 0x88, &code.map_or(Vec::new(), |code: u16| code.to_be_bytes().into()));
            }
            Act::HangUp | Act::Break { .. } => {
                wire.ended = true;
                wire.reset |= matches!(step.act, Act::Break { .. });
                drop(wire);
                if !matches!(step.act, Act::Break { is_told: false }) {
                    self.exchange.set_readable(key, true);
                }
            }
            Act::Block(bytes) => wire.capacity = Some(bytes),
            Act::Take(bytes) => {
                let has_room = wire.take(bytes);
                drop(wire);
                if has_room {
                    self.exchange.write(key);
                }
            }
            Act::Read => {
                wire.capacity = None;
                let has_room = wire.take(usize::MAX);
                drop(wire);
                if has_room {
                    self.exchange.write(key);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, place: usize, address: u8, head: Head, voice: Voice) {
        let wire = Rc::new(RefCell::new(Wire { tells_unsent: self.setting.tells_unsent, ..Wire::default() }));
        let ip = IpAddr::V4(Ipv4Addr::new(10, 0, 0, address));
        let (key, _) = self.exchange.accept(self.now, Socket(wire.clone()), ip);
        let upgrade = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let head = match head {
            Head::Upgrade => upgrade,
            Head::Half => &upgrade[..20],
            Head::Wrong => "GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n",
        };
        wire.borrow_mut().to_hub.extend_from_slice(head.as_bytes());
        self.exchange.set_readable(key, false);
        self.places[place] = Some(self.clients.len());
        self.clients.push(Client {
            key,
            wire,
            address: address.into(),
            stage: Stage::Head,
            voice,
            has_spoken: false,
            id: None,
            views: BTreeMap::new(),
            tried_ms: self.now.monotonic_ms,
            hesitated_ms: 0,
            offences: Offences::default(),
        });
    }

    fn wait(&mut self, wait: Wait) {
        let ms = match wait {
            Wait::Ms(ms) => ms,
            Wait::ToDeadline => {
                let due_ms = self.exchange.next_deadline_ms().unwrap_or(0);
                due_ms.saturating_sub(self.now.monotonic_ms)
            }
        };
        self.now = self.now.after_ms(ms);
    }

    /// A client tries to join, or is told that it did not.
    fn tries(&mut self, client: usize) {
        let now_ms = self.now.monotonic_ms;
        let it = &mut self.clients[client];
        it.hesitated_ms = it.hesitated_ms.max(now_ms - std::mem::replace(&mut it.tried_ms, now_ms));
    }

    /// What was decided before may still show, and so may what is decided now.
    fn reload(&mut self, reload: Reload) {
        let Reload { lingers, is_rated, auto_create, has_long_history, has_large_logs, is_limited_by_address } = reload;
        let new = Setting {
            lingers,
            is_rated,
            auto_create,
            has_long_history,
            has_large_logs,
            is_limited_by_address,
            ..self.setting
        };
        self.decided = decided(new, &self.door);
        self.apply();
        self.loosest.lingers |= lingers;
        self.loosest.is_rated |= is_rated;
        self.loosest.has_large_logs |= has_large_logs;
        self.door.loosen(self.loosest);
        (self.options, self.settings) = decided(self.loosest, &self.door);
    }

    fn apply(&mut self) {
        let (options, settings) = self.decided.clone();
        self.exchange.apply(self.now, options, settings);
    }

    // ---- Sending --------------------------------------------------------------------------------

    /// Sends a message as this client speaks.
    fn say(&mut self, client: usize, text: &[u8]) {
        self.say_as(client, self.clients[client].voice, text);
    }

    /// Sends a message in a voice, which may not be the client's own.
    fn say_as(&mut self, client: usize, voice: Voice, text: &[u8]) {
        self.speaks(client, voice);
        match voice {
            Voice::Plain => self.send(client, 0x81, text),
            Voice::Sealed(place) => {
                let sealed = self.keys.seal(place, Side::Client, text);
                self.send(client, 0x82, &sealed);
            }
        }
    }

    /// Sends a frame.
    fn send(&mut self, client: usize, first: u8, payload: &[u8]) {
        let mut frame = Vec::new();
        append_frame(&mut frame, first, payload);
        self.send_raw(client, &frame);
    }

    fn send_raw(&mut self, client: usize, bytes: &[u8]) {
        let Client { key, wire, .. } = &self.clients[client];
        if !wire.borrow().ended {
            wire.borrow_mut().to_hub.extend_from_slice(bytes);
            self.exchange.set_readable(*key, false);
        }
    }

    // ---- A turn ---------------------------------------------------------------------------------

    fn turn(&mut self) {
        self.turns_wall_ms.push(self.now.wall_ms);
        let unread = self.unread_bytes();
        // A read takes 16 KiB; nobody has sent more than a few of them. Once in any case, as every turn does: who has rested is read again.
        for _ in 0..200 {
            self.exchange.read_ready(self.now);
            assert!(self.exchange.owed_bytes() <= self.options.reply_bytes as usize);
            if !self.exchange.has_ready() {
                break;
            }
        }
        assert!(!self.exchange.has_ready(), "somebody is read over and over again");
        if self.unread_bytes() < unread {
            self.changed_ms = self.now.monotonic_ms;
        }
        self.exchange.expire(self.now);
        self.exchange.finish(self.now);
        for client in self.places.into_iter().flatten() {
            self.listen(client);
        }
        self.check();
        self.check_quiet();
    }

    /// What was sent and the hub has yet to read.
    fn unread_bytes(&self) -> usize {
        self.clients.iter().map(|client| client.wire.borrow().to_hub.len()).sum()
    }

    /// Everybody goes, or the hub stops. Nothing is left of anybody.
    fn wind_up(&mut self) {
        self.turn();
        if self.setting.has_long_history {
            self.exchange.stop(self.now);
        }
        for client in self.places.into_iter().flatten() {
            let Client { key, wire, .. } = &self.clients[client];
            let key = *key;
            let has_room = {
                let mut wire = wire.borrow_mut();
                wire.capacity = None;
                wire.ended = true;
                wire.take(usize::MAX)
            };
            if has_room {
                self.exchange.write(key);
            }
            self.exchange.set_readable(key, true);
        }
        self.turn();
        let mut wakes = 0;
        while self.exchange.next_deadline_ms().is_some() {
            self.wait(Wait::ToDeadline);
            self.turn();
            wakes += 1;
            assert!(wakes < 1000, "the hub does not come to rest");
        }
        self.check_nothing_is_left();
    }
}

/// What the hub is told of it.
fn decided(setting: Setting, door: &Door) -> (Options, Settings) {
    let word = |word: &str| Some(Passcode(word.into()));
    let passcode = if setting.has_passcodes { word(PASSCODE) } else { None };
    let owned = RoomSettings {
        number: OWNED_ROOM.into(),
        owner: Some(Member { id: OWNER.into(), ..Member::default() }),
        passcode: passcode.clone(),
        owner_passcode: if setting.trusts_owner_id { None } else { word(OWNER_PASSCODE) },
        ..RoomSettings::default()
    };
    let with_word = RoomSettings {
        number: WORD_ROOM.into(),
        passcode,
        owner_passcode: word(OWNER_PASSCODE),
        ..RoomSettings::default()
    };
    let settings = Settings {
        heartbeat_interval_s: 20,
        linger_s: if setting.lingers { 5 } else { 0 },
        rooms: ROOMS,
        members_per_room: SEATS,
        rooms_per_connection: 2,
        messages_per_second: if setting.is_rated { 2 } else { 0 },
        burst: 8,
        bytes_per_second: if setting.is_rated { 2048 } else { 0 },
        bytes_burst: 4096,
        room_log_bytes: if setting.has_large_logs { 16 * 1024 } else { 4 * MESSAGE_BYTES },
        history: if setting.has_long_history { 1024 } else { 4 },
        auto_create: setting.auto_create,
        empty_for_s: 10,
        configured: vec![owned, with_word],
        token_key: door.key(),
        seal_keys: if setting.has_keys { Keys::settings() } else { Vec::new() },
        encryption_required: setting.requires_sealed,
        ..Settings::default()
    };
    let options = Options {
        connections: CONNECTIONS,
        connections_per_ip: if setting.is_limited_by_address { 3 } else { 0 },
        message_bytes: MESSAGE_BYTES,
        reply_bytes: if setting.may_owe_much { 1 << 20 } else { 6000 },
        ..Options::default()
    };
    (options, settings)
}

/// The place of a room's number.
fn place_of(room: &str) -> usize {
    let place = NUMBERS[..DIFFERENT].iter().position(|number| *number == room);
    place.unwrap_or_else(|| panic!("there is no room {room}"))
}
