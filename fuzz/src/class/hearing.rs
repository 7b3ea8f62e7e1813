//! What a client hears.
//!
//! Owns: which answers and which last words there may be, given what was asked and done, and that everybody hears the same of a room, in whatever
//! voice. Refuses to know: what a room's series may say (`view`), and who may come in (`door`).

use std::collections::btree_map::Entry;

use classhub::limits;
use serde_json::Value;

use super::{CONFIGURED, Class, Client, Given, NUMBERS, Stage, place_of};
use crate::door::Shown;
use crate::socket::{Frame, frame};
use crate::view::{Ask, Asked, Sits, View, number, text};
use crate::voice::Voice;

impl Class {
    /// Lets a client hear what it has read.
    pub(super) fn listen(&mut self, client: usize) {
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
            let last_word = self.clients[client].offences.last_word;
            assert!(
                last_word.is_none() || matches!(frame, Frame::Close(_)),
                "{frame:?} where only {last_word:?} is left"
            );
            match frame {
                Frame::Text(json) => self.hear(client, json, false),
                Frame::Binary(sealed) => {
                    let Voice::Sealed(place) = self.clients[client].voice else {
                        panic!("a sealed frame for one who speaks in the clear")
                    };
                    let json = self.keys.open(place, sealed);
                    self.hear(client, &json, true);
                }
                Frame::Ping => self.send(client, 0x8A, b""),
                Frame::Pong => {}
                Frame::Close(code) => self.hear_close(client, code),
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

    fn hear_close(&mut self, client: usize, code: Option<u16>) {
        let known = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013, 3000, 4000, 4001, 4002, 4999];
        assert!(code.is_none_or(|code| known.contains(&code)), "closed with {code:?}");
        assert!(code != Some(1013) || !self.setting.may_owe_much, "hardly anything is owed");
        self.tries(client);
        let Client { id, hesitated_ms, offences, .. } = &self.clients[client];
        assert!(offences.last_word.is_none_or(|last_word| code == Some(last_word)), "{code:?} for {offences:?}");
        assert!(code != Some(1003) || offences.unsupported, "nothing came that is not spoken here");
        if code == Some(1008) {
            let never_joined = id.is_none() && *hesitated_ms >= limits::JOIN_MS;
            let is_flood = self.loosest.is_rated || offences.limited >= limits::REFUSALS as u64;
            let is_bad = offences.bad >= limits::BAD_IN_A_ROW.into();
            let is_guessing = offences.wrong >= limits::WRONG_CREDENTIALS.into();
            assert!(never_joined || is_flood || is_bad || is_guessing || offences.unopened, "{offences:?}");
        }
        let it = &mut self.clients[client];
        it.stage = Stage::Over;
        it.views.clear();
    }

    fn hear(&mut self, client: usize, json: &[u8], is_sealed: bool) {
        let message: Value = serde_json::from_slice(json).expect("every message is JSON");
        let body = &message["resultBody"];
        let reference = if message["status"] == 0 { &message["ref"] } else { &body["extendFields"]["ref"] };
        let asked = reference.as_str().map(|n| n.parse::<usize>().expect("a ref is one that was sent"));
        // One who speaks sealed could not read what is said of a key that it does not share.
        let is_of_key = message["code"] == "key" && asked.is_none();
        assert_eq!(is_sealed, self.clients[client].voice != Voice::Plain && !is_of_key, "{message} in the wrong voice");
        if message["status"] == 0 {
            return self.hear_failure(client, &message, asked);
        }
        assert_eq!(message["status"], 1);
        let data = &body["textData"]["data"];
        let told = data["number"].as_str().or(data["roomNumber"].as_str()).expect("a room's number");
        let room = NUMBERS[place_of(told)];
        if let Some(owner) = data["owner"]["id"].as_str() {
            self.door.check_owner(room, owner);
        }
        if body["extendFields"]["resumeToken"].is_string() {
            return self.sit_down(client, room, body, asked.expect("a seat for nobody"));
        }
        let asked = asked.map(|asked| &self.asked[asked]);
        let by_itself = asked.is_some_and(|asked| asked.client == client);
        let it = &mut self.clients[client];
        let view = it.views.get_mut(room).unwrap_or_else(|| panic!("{message} for one who does not sit there"));
        match (text(&message["msg"], "msg"), number(&body["textData"]["dataType"], "dataType")) {
            ("Pull successfully", _) => view.pulled(body),
            ("Receive successfully", _) => {
                let seqs = &data["seq"];
                let last = seqs.as_array().map_or(seqs, |seqs| seqs.last().expect("a receipt names a message"));
                assert!(number(last, "seq") <= view.seen);
            }
            ("Rule successfully", 5) => assert!(by_itself),
            (msg, _) => {
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
                self.compare(room, seen, json);
            }
        }
    }

    /// What one hears of a room all hear, to the byte.
    fn compare(&mut self, room: &'static str, seq: u64, json: &[u8]) {
        // Others end, and begin again with the same numbers.
        if place_of(room) >= CONFIGURED {
            return;
        }
        match self.told.entry((room, seq)) {
            Entry::Vacant(place) => drop(place.insert(json.into())),
            Entry::Occupied(told) => assert!(told.get() == json, "two frames {seq} in {room}"),
        }
    }

    fn sit_down(&mut self, client: usize, room: &'static str, body: &Value, asked: usize) {
        let asked = &self.asked[asked];
        assert_eq!(asked.client, client, "somebody else's seat");
        let (id, shown) = Self::join_of(asked);
        self.door.check_seat(id, room, shown, self.turns_wall_ms[asked.turn..].iter().copied());
        let guesses = self.guesses_sent[self.clients[client].address];
        if self.door.makes_owner(id, room, shown, guesses) {
            assert_eq!(body["textData"]["data"]["owner"]["id"], id, "{shown:?} makes no owner");
        }
        let it = &mut self.clients[client];
        assert!(it.id.is_none_or(|known| known == id));
        it.id = Some(id);
        let view = View::begin(body, asked);
        let missing = self.missing[place_of(room)];
        self.given.push(Given { id, room, missing, token: view.token.clone(), seen: view.seen });
        assert!(it.views.insert(room, view).is_none(), "a seat more in the same room");
        assert!(it.views.len() <= self.settings.rooms_per_connection as usize);
    }

    fn join_of(asked: &Asked) -> (&'static str, &Shown) {
        let Ask::Join { shown, .. } = &asked.ask else { panic!("a join for {asked:?}") };
        (asked.id.expect("a join has an id"), shown)
    }

    fn hear_failure(&mut self, client: usize, message: &Value, asked: Option<usize>) {
        assert_eq!(message["resultBody"], "");
        let asked = asked.map(|asked| &self.asked[asked]);
        let by_itself = asked.is_some_and(|asked| asked.client == client);
        let Client { offences, address, .. } = &mut self.clients[client];
        let Some(code) = message["code"].as_str() else {
            // The specification's own refusal has three fields.
            return assert_eq!(message.as_object().expect("an object").len(), 3);
        };
        match (code, asked) {
            ("key", None) => {
                assert!(offences.unopened, "it named no key but its own");
                offences.last_word = Some(1008);
            }
            ("rate_limited", None) => assert!(self.loosest.is_rated),
            ("bad_json" | "unknown_type" | "no_such_message" | "not_joined", None) => {}
            (_, None) => panic!("{message} for what nobody asked"),
            (_, Some(asked)) => assert!(by_itself, "{message} for {asked:?}"),
        }
        offences.bad += u64::from(matches!(code, "bad_json" | "unknown_type" | "too_long"));
        offences.limited += u64::from(code == "rate_limited");
        let Some(asked) = asked.filter(|asked| matches!(asked.ask, Ask::Join { .. })) else {
            assert!(!matches!(code, "token" | "passcode" | "encryption" | "key") || asked.is_none(), "{message}");
            assert!(code != "rate_limited" || self.loosest.is_rated);
            return;
        };
        let (id, shown) = Self::join_of(asked);
        let walls_ms = self.turns_wall_ms[asked.turn..].iter().copied();
        self.door.check_refusal(code, id, asked.room, shown, walls_ms, self.guesses_sent[*address]);
        if matches!(code, "token" | "passcode") {
            offences.wrong += 1;
            if offences.wrong == u64::from(limits::WRONG_CREDENTIALS) {
                offences.last_word = Some(1008);
            }
        }
        if shown.guessed(code) {
            self.guesses_answered[*address] += 1;
            let ran_ms = self.now.monotonic_ms - self.started_ms;
            self.door.check_guesses(self.guesses_answered[*address], ran_ms);
        }
    }
}
