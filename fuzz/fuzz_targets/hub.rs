//! A class on the real exchange, in memory and in virtual time, that does anything in any order.
//!
//! Owns: what must be true after every turn, whatever was done. Refuses to know: what else is right, for which the simulation has a model (`tests/sim`).
#![no_main]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use classhub::base::{Key, Now, TICK_MS};
use classhub::hub::{Passcode as Word, RoomSettings, Settings};
use classhub::limits;
use classhub::net::exchange::{Exchange, Options};
use classhub::wire::Member;
use classhub_fuzz::socket::{Frame, Socket, Wire, append_frame, frame};
use classhub_fuzz::steps::{Act, Head, LastSeq, Passcode, Play, Setting, Step, Token, Wait};
use classhub_fuzz::view::{Ask, Asked, Sits, View, number, text};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const PLACES: usize = 8;
const CONNECTIONS: u32 = 6;
const MESSAGE_BYTES: u32 = 1024;
const ROOMS: u32 = 4;
const SEATS: u32 = 3;
/// The first is the owner of the first room.
const IDS: [&str; 4] = ["t", "学七", "a\"b\\", "s"];
/// The first two are always there. By a step's room; two of them are more often meant than others.
const NUMBERS: [&str; 8] = ["A", "B", "C", "D", "E", "\"引\"\\", "A", "C"];
/// How many of them differ.
const DIFFERENT: usize = 6;
const PASSCODE: &str = "芝麻开门";
const WRONG_TOKEN: &str = "1.00000000000000000000000000000000";

fuzz_target!(|play: Play| {
    let mut class = Class::new(play.setting);
    for step in &play.steps {
        class.act(step);
        if step.ends_turn {
            class.turn();
        }
    }
    class.wind_up();
});

/// One connection, from its client's side.
struct Client {
    key: Key,
    wire: Rc<RefCell<Wire>>,
    stage: Stage,
    /// The id that it joins with.
    id: Option<&'static str>,
    /// By the numbers of their rooms.
    views: BTreeMap<&'static str, View>,
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
    token: String,
    seen: u64,
}

struct Class {
    exchange: Exchange<Socket>,
    options: Options,
    settings: Settings,
    setting: Setting,
    now: Now,
    /// When the hub last read anything, or anything was to be seen of a room, and what.
    changed_ms: u64,
    rooms: Vec<(u64, usize)>,
    clients: Vec<Client>,
    /// Who is where, by their places in `clients`.
    places: [Option<usize>; PLACES],
    asked: Vec<Asked>,
    given: Vec<Given>,
}

impl Class {
    fn new(setting: Setting) -> Class {
        let passcode = || Some(Word(PASSCODE.into()));
        let owner = Member { id: IDS[0].into(), ..Member::default() };
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
            configured: vec![
                RoomSettings {
                    number: NUMBERS[0].into(),
                    owner: Some(owner),
                    owner_passcode: passcode(),
                    ..RoomSettings::default()
                },
                RoomSettings { number: NUMBERS[1].into(), owner_passcode: passcode(), ..RoomSettings::default() },
            ],
            ..Settings::default()
        };
        let options = Options {
            connections: CONNECTIONS,
            connections_per_ip: if setting.is_limited_by_address { 3 } else { 0 },
            message_bytes: MESSAGE_BYTES,
            reply_bytes: if setting.may_owe_much { 1 << 20 } else { 6000 },
            ..Options::default()
        };
        let now = Now { monotonic_ms: 1000, wall_ms: 1_600_000_000_000 };
        Class {
            exchange: Exchange::new(options.clone(), settings.clone(), [7; 32], now),
            options,
            settings,
            setting,
            now,
            changed_ms: now.monotonic_ms,
            rooms: Vec::new(),
            clients: Vec::new(),
            places: [None; PLACES],
            asked: Vec::new(),
            given: Vec::new(),
        }
    }

    // ---- What is done ---------------------------------------------------------------------------

    fn act(&mut self, step: &Step) {
        let number = NUMBERS[step.room];
        match step.act {
            Act::Wait(wait) => return self.wait(wait),
            Act::Jump(to) => return self.now.wall_ms = u64::from(to) << 36,
            _ => {}
        }
        let client = self.places[step.who].filter(|client| !self.clients[*client].wire.borrow().dropped);
        if let Act::Connect { address, head } = step.act {
            if client.is_none() {
                self.connect(step.who, address, head);
            }
            return;
        }
        let Some(client) = client else { return };
        if let Some(request) = self.request(client, number, &step.act) {
            return self.send(client, 0x81, request.to_string().as_bytes());
        }
        let key = self.clients[client].key;
        let mut wire = self.clients[client].wire.borrow_mut();
        match step.act {
            Act::Odd(which) => {
                drop(wire);
                self.odd(client, which);
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

    fn connect(&mut self, place: usize, address: u8, head: Head) {
        let wire = Rc::new(RefCell::new(Wire { tells_unsent: self.setting.tells_unsent, ..Wire::default() }));
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, address));
        let (key, _) = self.exchange.accept(self.now, Socket(wire.clone()), address);
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
        self.clients.push(Client { key, wire, stage: Stage::Head, id: None, views: BTreeMap::new() });
    }

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

    /// What is asked by it, where anything is.
    fn request(&mut self, client: usize, room: &'static str, act: &Act) -> Option<Value> {
        let id = match act {
            Act::Join { id, .. } => Some(IDS[usize::from(*id)]),
            _ => self.clients[client].id,
        };
        let (msg_type, data_type, mut data, ask) = match *act {
            Act::Join { .. } => (2, 1, json!({"from": {"id": id}}), Ask::Join { shows_token: false, last_seq: None }),
            Act::Leave => (3, 2, json!({}), Ask::Other),
            Act::Say { data_type, bytes, claims } => {
                let mut data = json!({"content": "x".repeat(bytes)});
                if claims {
                    data["from"] = json!({"id": id});
                }
                (3, data_type, data, Ask::Say { data_type: data_type.into(), bytes })
            }
            Act::Receipt { back, count } => {
                let seen = self.clients[client].views.get(room).map_or(0, |view| view.seen);
                let first = seen.saturating_sub(back.into());
                let seq = if count == 0 { json!(first) } else { (first..first + u64::from(count)).collect() };
                (4, 3, json!({"seq": seq}), Ask::Other)
            }
            Act::Pull => (5, 1, json!({}), Ask::Other),
            Act::Rule { locked, quiet } => {
                (3, 4, json!({"locked": locked, "quiet": quiet}), Ask::Rule { locked, quiet })
            }
            Act::Remove { id, for_s } => {
                let id = IDS[usize::from(id)];
                (3, 5, json!({"id": id, "forS": for_s}), Ask::Remove { id })
            }
            _ => return None,
        };
        data["roomNumber"] = json!(room);
        let mut message = json!({"msgType": msg_type, "textData": {"dataType": data_type, "data": data},
            "extendFields": {"ref": self.asked.len().to_string()}});
        let mut asked = Asked { client, id, room, ask };
        if let Act::Join { token, passcode, last_seq, .. } = *act {
            self.show(&mut message["extendFields"], &mut asked, token, passcode, last_seq);
        }
        self.asked.push(asked);
        Some(message)
    }

    /// Lets a join show what it has of an earlier seat.
    fn show(&self, fields: &mut Value, asked: &mut Asked, token: Token, passcode: Passcode, last_seq: LastSeq) {
        let is_own = |given: &&Given| Some(given.id) == asked.id && given.room == asked.room;
        let given = match token {
            Token::None | Token::Wrong => None,
            Token::Own => self.given.iter().rev().find(is_own),
            Token::Any(which) => self.given.get(usize::from(which)),
        };
        let shown = given.map(|given| given.token.as_str());
        let shown = if matches!(token, Token::Wrong) { Some(WRONG_TOKEN) } else { shown };
        let seen = given.map_or(0, |given| given.seen);
        let last_seq = match last_seq {
            LastSeq::None => None,
            LastSeq::Seen(less) => Some(seen.saturating_sub(less.into())),
            LastSeq::Beyond => Some(seen + 1),
            LastSeq::Endless => Some(u64::MAX),
        };
        fields["resumeToken"] = json!(shown);
        fields["lastSeq"] = json!(last_seq);
        fields["ownerPasscode"] = match passcode {
            Passcode::None => Value::Null,
            Passcode::Right => json!(PASSCODE),
            Passcode::Wrong => json!("芝麻关门"),
        };
        asked.ask = Ask::Join { shows_token: given.is_some(), last_seq };
    }

    fn odd(&mut self, client: usize, which: u8) {
        let too_long = [&[0x81, 0xFE, 0x04, 0x01, 0, 0, 0, 0][..], &[b'x'; 1025]].concat();
        match which % 20 {
            0 | 1 => self.send(client, 0x81, br#"{"msgType":1}"#),
            2 => self.send(client, 0x89, b"ping"),
            3 => self.send(client, 0x89, &[b'p'; 125]),
            4 => self.send(client, 0x8A, b""),
            5 => self.send(client, 0x01, br#"{"msgType":"#),
            6 => self.send(client, 0x00, b""),
            7 => self.send(client, 0x80, b"1}"),
            8 => self.send(client, 0x81, b"{}"),
            9 => self.send(client, 0x81, br#"{"msgType":6}"#),
            10 => self.send(client, 0x82, b"\x01\x01"),
            11 => self.send(client, 0x81, b"\xFF"),
            12 => self.send(client, 0x8B, b""),
            13 => self.send(client, 0x09, b""),
            14 => self.send_raw(client, &too_long),
            15 => self.send_raw(client, &[0x81, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
            16 => self.send_raw(client, &[0x81, 0x00]),
            // Half a ping; what follows is its payload.
            17 => self.send_raw(client, &[0x89, 0x84, 0, 0, 0, 0]),
            18 => self.send_raw(client, b"GET / HTTP/1.1\r\n\r\n"),
            // Many at once.
            _ => (0..120).for_each(|_| {
                self.send(client, 0x81, br#"{"msgType":5,"textData":{"dataType":1,"data":{"roomNumber":"C"}}}"#)
            }),
        }
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

    // ---- A turn, and what must be true after it -------------------------------------------------

    fn turn(&mut self) {
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

    /// Lets a client hear what it has read.
    fn listen(&mut self, client: usize) {
        let mut bytes = std::mem::take(&mut self.clients[client].wire.borrow_mut().output);
        let mut at = 0;
        if self.clients[client].stage == Stage::Head
            && let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n")
        {
            let is_upgrade = bytes.starts_with(b"HTTP/1.1 101 ");
            self.clients[client].stage = if is_upgrade { Stage::Open } else { Stage::Refused };
            at = if is_upgrade { end + 4 } else { bytes.len() };
        }
        while self.clients[client].stage == Stage::Open
            && let Some((frame, length)) = frame(&bytes[at..])
        {
            match frame {
                Frame::Text(json) => {
                    let message = serde_json::from_slice(json).expect("every message is JSON");
                    self.hear(client, &message);
                }
                Frame::Ping => self.send(client, 0x8A, b""),
                Frame::Pong => {}
                Frame::Close(code) => {
                    let known = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013, 3000, 4000, 4001, 4002, 4999];
                    assert!(code.is_none_or(|code| known.contains(&code)), "closed with {code:?}");
                    assert!(code != Some(1013) || !self.setting.may_owe_much, "hardly anything is owed");
                    self.clients[client].stage = Stage::Over;
                    self.clients[client].views.clear();
                }
            }
            at += length;
        }
        let Client { stage, wire, .. } = &self.clients[client];
        let mut wire = wire.borrow_mut();
        match *stage {
            Stage::Refused => return,
            Stage::Over => return assert_eq!(at, bytes.len(), "more behind the last word"),
            Stage::Head | Stage::Open => {}
        }
        bytes.drain(..at);
        let is_end = wire.shut_down && wire.held.is_empty() && !wire.reset;
        assert!(!is_end, "an end without a last word, {} bytes behind a frame", bytes.len());
        wire.output = bytes;
    }

    fn hear(&mut self, client: usize, message: &Value) {
        let msg = text(&message["msg"], "msg");
        let body = &message["resultBody"];
        let reference = if message["status"] == 0 { &message["ref"] } else { &body["extendFields"]["ref"] };
        let asked = reference.as_str().map(|n| &self.asked[n.parse::<usize>().expect("a ref is one that was sent")]);
        let by_itself = asked.is_some_and(|asked| asked.client == client);
        let it = &mut self.clients[client];
        if message["status"] == 0 {
            assert_eq!(body, "");
            match message["code"].as_str() {
                // The specification's own refusal has three fields.
                None => assert_eq!(message.as_object().unwrap().len(), 3),
                Some("rate_limited") => assert!(self.setting.is_rated),
                Some("bad_json" | "unknown_type" | "no_such_message" | "not_joined") => {
                    assert!(asked.is_none() || by_itself);
                }
                Some(code) => assert!(by_itself, "{code} for {asked:?}"),
            }
            return;
        }
        assert_eq!(message["status"], 1);
        let data = &body["textData"]["data"];
        let number_of = |data: &Value| {
            let number = data["number"].as_str().or(data["roomNumber"].as_str()).expect("a room's number");
            *NUMBERS.iter().find(|known| **known == number).expect("a room that there is")
        };
        let room = number_of(data);
        if body["extendFields"]["resumeToken"].is_string() {
            let asked = asked.filter(|_| by_itself).expect("a seat for nobody");
            let id = asked.id.expect("a join has an id");
            assert!(it.id.is_none_or(|known| known == id));
            it.id = Some(id);
            let view = View::begin(body, asked);
            self.given.push(Given { id, room, token: view.token.clone(), seen: view.seen });
            assert!(it.views.insert(room, view).is_none(), "a seat more in the same room");
            assert!(it.views.len() <= self.settings.rooms_per_connection as usize);
            return;
        }
        let view = it.views.get_mut(room).unwrap_or_else(|| panic!("{message} for one who does not sit there"));
        match (msg, number(&body["textData"]["dataType"], "dataType")) {
            ("Pull successfully", _) => view.pulled(body),
            ("Receive successfully", _) => {
                let seqs = &data["seq"];
                let last = seqs.as_array().map_or(seqs, |seqs| seqs.last().expect("a receipt names a message"));
                assert!(number(last, "seq") <= view.seen);
            }
            ("Rule successfully", 5) => assert!(by_itself),
            _ => {
                let sits = view.hear(msg, body, asked);
                let (seen, token) = (view.seen, &view.token);
                if let Some(given) =
                    self.given.iter_mut().rev().find(|given| given.token == *token && given.room == room)
                {
                    given.seen = seen;
                }
                if sits == Sits::NoMore {
                    it.views.remove(room);
                }
            }
        }
    }

    fn check(&self) {
        let (exchange, hub) = (&self.exchange, self.exchange.hub());
        assert!(exchange.owed_bytes() <= self.options.reply_bytes as usize);
        assert!(exchange.len() <= CONNECTIONS + limits::SPARE_CONNECTIONS);
        assert!(!exchange.is_empty() || exchange.owed_bytes() == 0, "owed to nobody");
        assert!((2..=ROOMS).contains(&hub.rooms()));
        let now_ms = self.now.monotonic_ms;
        assert!(exchange.next_deadline_ms().is_none_or(|due_ms| due_ms > now_ms), "a deadline was left behind");
        let living = || self.places.into_iter().flatten().map(|client| &self.clients[client]);
        for number in &NUMBERS[..DIFFERENT] {
            let (Some(roster), Some(lingering)) = (hub.roster(number), hub.lingering(number)) else { continue };
            assert!(roster.len() <= SEATS as usize);
            assert!(self.settings.linger_s > 0 || !lingering.contains(&true));
            let held = lingering.iter().filter(|lingers| !**lingers).count();
            assert!(held <= living().filter(|client| !client.wire.borrow().dropped).count(), "a seat held by nobody");
            let (bytes, buffer) = hub.log_bytes(number).expect("a room has a log");
            let log = u64::from(self.settings.room_log_bytes);
            assert!(bytes <= log, "{bytes} bytes in a log of {log}");
            assert!(buffer as u64 <= 2 * (log * 3 / 2 + 2 * u64::from(MESSAGE_BYTES)) * 5 / 4 + 8 * 1024, "{buffer}");
            let ids: Vec<&str> = roster.iter().map(|member| id_of(member)).collect();
            for client in living().filter(|client| client.stage == Stage::Open && client.wire.borrow().is_clear()) {
                assert!(client.wire.borrow().output.is_empty(), "half a frame, and more would be taken");
                let Some(view) = client.views.get(number) else { continue };
                let place = ids.iter().position(|id| Some(*id) == client.id).expect("a seat that is none");
                assert!(!lingering[place], "a seat that somebody holds lingers");
                assert!(view.roster.as_ref().is_none_or(|known| *known == ids), "{:?} is {ids:?}", view.roster);
            }
        }
        for client in living() {
            let is_known = client.views.keys().all(|number| hub.roster(number).is_some());
            assert!(is_known || !client.wire.borrow().is_clear(), "a room ended with somebody in it");
        }
    }

    /// What was sent and the hub has yet to read.
    fn unread_bytes(&self) -> usize {
        self.clients.iter().map(|client| client.wire.borrow().to_hub.len()).sum()
    }

    /// A room in which nothing was said for long has given back what its log's buffer had to spare. What is said comes to it when it is read,
    /// which may be long after it was sent; and a frame may take the place of one that was as long.
    fn check_quiet(&mut self) {
        let hub = self.exchange.hub();
        let seen = |number: &&str| Some((hub.log_bytes(number)?, hub.roster(number)?.len()));
        let rooms: Vec<_> = NUMBERS[..DIFFERENT].iter().filter_map(seen).collect();
        let looks: Vec<_> = rooms.iter().map(|((bytes, _), members)| (*bytes, *members)).collect();
        if looks != self.rooms {
            self.rooms = looks;
            self.changed_ms = self.now.monotonic_ms;
        }
        if self.now.monotonic_ms > self.changed_ms + limits::QUIET_MS + TICK_MS {
            for ((bytes, buffer), _) in rooms {
                assert_eq!(bytes, buffer as u64, "a quiet room's buffer");
            }
        }
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
        assert!(self.exchange.is_empty() && self.exchange.owed_bytes() == 0);
        assert_eq!(self.exchange.hub().rooms(), 2);
        for client in &self.clients {
            assert!(client.wire.borrow().dropped, "a socket is left open");
        }
        for number in &NUMBERS[..2] {
            let (bytes, buffer) = self.exchange.hub().log_bytes(number).unwrap();
            assert_eq!((bytes, buffer), (0, 0), "an empty room keeps what was said");
        }
    }
}

/// Whose Member this is. Compared, not parsed: it is asked after every turn.
fn id_of(member: &str) -> &'static str {
    const WRITTEN: [&str; 4] = [r#"{"id":"t","#, r#"{"id":"学七","#, r#"{"id":"a\"b\\","#, r#"{"id":"s","#];
    let place = WRITTEN.iter().position(|written| member.starts_with(written));
    IDS[place.unwrap_or_else(|| panic!("{member} is nobody"))]
}
