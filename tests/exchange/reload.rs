//! The operator decides anew while everybody is here: each kind of change, in virtual time, and any of them at random.
//!
//! Owns: that no change disconnects anybody, and what the files below it need. Refuses to know: files and signals.

mod access;
mod held;
mod rooms;

use classhub::hub::{Passcode, RoomSettings, Settings};
use classhub::net::exchange::Options;
use classhub::wire::Member;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::class::{Class, numbered, settings};

impl Class {
    /// These settings hold from now on.
    pub fn apply(&mut self, settings: Settings) {
        self.apply_all(Options::default(), settings);
    }

    pub fn apply_all(&mut self, options: Options, settings: Settings) {
        let connected = self.exchange.len();
        self.exchange.apply(self.now, options, settings);
        assert_eq!(self.exchange.len(), connected, "nobody is disconnected");
    }

    /// Asks for a seat in `room` on a new connection, with something to show. Says how that was answered.
    pub fn come_with(&mut self, id: &str, room: &str, shown: Value) -> (usize, String) {
        let member = self.connect();
        let data = json!({"from": {"id": id}, "roomNumber": room});
        self.send(member, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}, "extendFields": shown}));
        self.turn();
        (member, self.read(member).join(", "))
    }

    pub fn come_in(&mut self, id: &str, room: &str) -> String {
        self.come_with(id, room, json!({})).1
    }

    /// What a pull says of the room.
    pub fn room(&mut self, member: usize, room: &str) -> Value {
        self.send(member, json!({"msgType": 5, "textData": {"dataType": 1, "data": {"roomNumber": room}}}));
        self.turn();
        self.replies(member).pop().expect("an answer")["resultBody"]["textData"]["data"].clone()
    }

    pub fn sleep(&mut self, ms: u64) {
        self.sleep_until(self.now.monotonic_ms + ms);
    }

    pub fn rooms(&self) -> u32 {
        self.exchange.hub().rooms()
    }
}

pub fn room(number: &str) -> RoomSettings {
    RoomSettings { number: number.into(), name: number.into(), ..RoomSettings::default() }
}

pub fn configured(rooms: impl Into<Vec<RoomSettings>>) -> Settings {
    Settings { configured: rooms.into(), ..settings() }
}

pub fn passcode(word: &str) -> Option<Passcode> {
    Some(Passcode(word.into()))
}

pub fn teacher(name: &'static str) -> Option<Member<'static>> {
    Some(Member { id: "T".into(), person_name: name.into(), ..Member::default() })
}

fn any_settings() -> impl Strategy<Value = (Options, Settings)> {
    let tables = (1u32..20, 1u32..6, 1u32..20, 1u32..4);
    let bytes = (64u32..256, 1u32..50, 1u32..16, 256u32..1024);
    let periods = (60u32..200, 1u32..10, 0u32..10, 1u32..700);
    let rooms = prop::collection::vec((0usize..6, any::<bool>()), 0..4);
    (tables, bytes, periods, rooms, any::<bool>()).prop_map(|(tables, bytes, periods, rooms, auto_create)| {
        let (connections, rooms_max, members_per_room, rooms_per_connection) = tables;
        let (log_kib, history, message_kib, reply_kib) = bytes;
        let (heartbeat_interval_s, probe_s, linger_s, empty_for_s) = periods;
        let mut configured: Vec<RoomSettings> = Vec::new();
        for (number, is_guarded) in rooms {
            let number = ["R", "A", "B", "C", "D", "E"][number];
            if configured.len() < rooms_max as usize && configured.iter().all(|other| other.number != number) {
                let passcode = passcode("瓜").filter(|_| is_guarded);
                configured.push(RoomSettings { passcode, name: format!("{number} {is_guarded}"), ..room(number) });
            }
        }
        let message_bytes = (message_kib << 10).min(log_kib << 8);
        let options = Options { connections, message_bytes, reply_bytes: reply_kib << 10, ..Options::default() };
        let settings = Settings {
            heartbeat_interval_s,
            probe_s,
            linger_s,
            rooms: rooms_max,
            members_per_room,
            rooms_per_connection,
            room_log_bytes: log_kib << 10,
            history,
            auto_create,
            empty_for_s,
            configured,
            ..settings()
        };
        (options, settings)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Who is in stays in and hears everything, in order, whatever is changed; those who come are answered.
    #[test]
    fn no_change_disconnects_anybody(changes in prop::collection::vec((any_settings(), 0u64..5_000), 1..30)) {
        let mut class = Class::of(4, settings());
        class.join(0, "A");
        class.turn();
        for (n, ((options, settings), passes_ms)) in changes.into_iter().enumerate() {
            let configured: Vec<String> = settings.configured.iter().map(|room| room.number.clone()).collect();
            class.apply_all(options, settings);
            let members = class.members.len();
            class.sleep(passes_ms);
            for member in 0..4 {
                class.read(member);
                class.beat(member);
            }
            class.say(n % 4, "R", &n.to_string());
            class.say(0, "A", &n.to_string());
            class.turn();
            prop_assert_eq!(class.members.len(), members);
            for member in 1..4 {
                prop_assert_eq!(class.read(member), numbered("R", n..n + 1));
            }
            let mut heard = class.read(0);
            heard.sort();
            prop_assert_eq!(heard, [format!("A {n}"), format!("R {n}")]);
            for number in configured {
                prop_assert!(class.exchange.hub().roster(&number).is_some(), "{} is not there", number);
            }
            prop_assert_eq!(class.exchange.hub().roster("R").map(|roster| roster.len()), Some(4));
        }
    }
}
