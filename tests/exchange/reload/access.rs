//! Other tokens, names and keys.
//!
//! Owns: what a change asks of those who come, and that it asks nothing of those who are here. Refuses to know: passcodes, which are a room's.

use classhub::hub::{Claims, SealKeySettings, Settings, TokenKey};
use classhub::net::exchange::Options;
use classhub::net::http::Site;
use classhub::wire::frame;
use classhub::wire::seal::{SealKey, Side};
use serde_json::{Value, json};

use super::super::class::{Class, settings};

#[test]
fn a_token_is_asked_for_from_now_on_and_another_secret_makes_others() {
    let of = |secret: &str| Settings { token_key: Some(TokenKey::new(secret)), ..settings() };
    let token = |secret: &str| {
        let claims = Claims { sub: "new".into(), rooms: None, owner: false, exp: None, nbf: None };
        json!({"token": TokenKey::new(secret).sign(&claims)})
    };
    let mut class = Class::of(2, settings());
    class.apply(of("first"));
    class.say(0, "R", "0");
    class.turn();
    assert_eq!(class.read(1), ["R 0"]);
    assert_eq!(class.come_in("new", "R"), "token");
    assert_eq!(class.come_with("new", "R", token("first")).1, "welcome R");
    class.apply(of("second"));
    assert_eq!(class.come_with("new", "Q", token("first")).1, "token");
    assert_eq!(class.come_with("new", "Q", token("second")).1, "welcome Q");
    class.apply(settings());
    assert_eq!(class.come_in("newer", "R"), "welcome R");
}

#[test]
fn names_and_origins_are_let_in_from_now_on() {
    let site =
        Site { allowed_origins: vec!["http://a.example".into()], names: vec!["b.example".into()], ..Site::default() };
    let options = Options { secure_site: Site { secure: true, ..site.clone() }, site, ..Options::default() };
    let upgrade = |host: &str, origin: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let mut class = Class::of(1, settings());
    let answers = |class: &mut Class| {
        [("h", "http://a.example"), ("b.example", "http://b.example"), ("h", "http://c.example")].map(
            |(host, origin)| {
                let member = class.knock();
                class.input(member, upgrade(host, origin).as_bytes());
                class.turn();
                let output = std::mem::take(&mut class.wire(member).output);
                String::from_utf8_lossy(&output)[9..12].to_owned()
            },
        )
    };
    assert_eq!(answers(&mut class), ["403", "403", "403"]);
    class.apply_all(options, settings());
    assert_eq!(answers(&mut class), ["101", "101", "403"]);
    class.apply(settings());
    assert_eq!(answers(&mut class), ["403", "403", "403"]);
}

// ---- Keys ---------------------------------------------------------------------------------------

fn key(id: u8, byte: u8) -> SealKeySettings {
    SealKeySettings { id, key: [byte; 32] }
}

fn sealed_by(keys: &[SealKeySettings]) -> Settings {
    Settings { seal_keys: keys.to_vec(), ..settings() }
}

impl Class {
    fn send_sealed(&mut self, member: usize, key: &SealKeySettings, request: &Value) {
        let mut sealed = Vec::new();
        let text = request.to_string();
        let nonce = [self.now.monotonic_ms as u8; 12];
        SealKey::new(key.id, &key.key)
            .seal(&mut sealed, Side::Client, &nonce, |out| out.extend_from_slice(text.as_bytes()));
        self.frame(member, frame::BINARY, &sealed);
        self.turn();
    }

    fn come_sealed(&mut self, id: &str, room: &str, key: &SealKeySettings) -> (usize, Vec<String>) {
        let member = self.connect();
        let data = json!({"from": {"id": id}, "roomNumber": room});
        self.send_sealed(member, key, &json!({"msgType": 2, "textData": {"dataType": 1, "data": data}}));
        (member, self.read_sealed(member, key))
    }

    fn say_sealed(&mut self, member: usize, key: &SealKeySettings, room: &str, content: &str) {
        let data = json!({"roomNumber": room, "content": content});
        self.send_sealed(member, key, &json!({"msgType": 3, "textData": {"dataType": 3, "data": data}}));
    }

    /// The frames that the hub sealed with this key, and the others, as [`Class::read`] says them.
    fn read_sealed(&self, member: usize, key: &SealKeySettings) -> Vec<String> {
        let opener = SealKey::new(key.id, &key.key);
        let mut output = Vec::new();
        for bytes in self.frames(member) {
            if bytes[0] == frame::BINARY {
                let text = opener.open(Side::Hub, frame::payload(&bytes)).expect("the hub sealed it with this key");
                frame::append(&mut output, frame::TEXT, |out| out.extend_from_slice(&text));
            } else {
                output.extend_from_slice(&bytes);
            }
        }
        self.wire(member).output = output;
        self.read(member)
    }
}

#[test]
fn a_key_that_is_gone_is_good_for_those_who_speak_it_and_for_nobody_else() {
    // The new one has the id of the old one.
    let (old, new) = (key(1, 7), key(1, 8));
    let mut class = Class::new(Options::default(), sealed_by(&[key(9, 9), old.clone()]));
    let (first, told) = class.come_sealed("first", "R", &old);
    assert_eq!(told, ["welcome R"]);
    let (second, _) = class.come_sealed("second", "R", &old);
    let plain = class.come_with("plain", "R", json!({})).0;
    class.read_sealed(first, &old);
    for n in 0..3 {
        class.apply(sealed_by(&[new.clone(), key(3 + n, 3)]));
        class.say_sealed(second, &old, "R", "0");
        assert_eq!(class.read_sealed(first, &old).last().unwrap(), "R 0");
        assert_eq!(class.read(plain).last().unwrap(), "R 0");
    }
    // No other room for it, no other member, and while they are here no other key in this one.
    let data = json!({"from": {"id": "first"}, "roomNumber": "Q"});
    class.send_sealed(first, &old, &json!({"msgType": 2, "textData": {"dataType": 1, "data": data}}));
    assert_eq!(class.read_sealed(first, &old), ["key"]);
    assert_eq!(class.come_sealed("third", "R", &old).1, ["close 1008"], "not authentic under the new one");
    assert_eq!(class.come_sealed("third", "Q", &new).1, ["welcome Q"]);
    assert_eq!(class.come_sealed("fourth", "R", &new).1, ["key"]);
    for member in [first, second] {
        class.frame(member, 0x88, &[]);
        class.turn();
    }
    assert_eq!(class.come_sealed("fourth", "R", &new).1, ["welcome R"]);
    // Nobody is left who could speak under the first.
    class.apply(sealed_by(std::slice::from_ref(&old)));
    assert_eq!(class.come_sealed("fifth", "P", &old).1, ["welcome P"]);
    assert_eq!(class.come_sealed("sixth", "P", &new).1, ["close 1008"]);
}

#[test]
fn a_lingering_seat_keeps_its_rooms_key_and_whoever_comes_back_needs_one_that_is_good() {
    let (old, new) = (key(1, 7), key(2, 8));
    let of = |keys: &[SealKeySettings]| Settings { linger_s: 5, ..sealed_by(keys) };
    let mut class = Class::new(Options::default(), of(std::slice::from_ref(&old)));
    let (gone, _) = class.come_sealed("gone", "R", &old);
    let (plain, _) = class.come_with("plain", "R", json!({}));
    class.hang_up(gone);
    class.turn();
    class.apply(of(std::slice::from_ref(&new)));
    class.say(plain, "R", "0");
    class.turn();
    assert_eq!(class.come_sealed("gone", "R", &old).1, ["key", "close 1008"]);
    assert_eq!(class.come_sealed("gone", "R", &new).1, ["key"], "the room is under the other until the seat has ended");
    class.sleep(6_000);
    assert_eq!(class.come_sealed("gone", "R", &new).1, ["welcome R"]);
}

#[test]
fn sealed_speech_is_required_of_those_who_come_and_can_be_taken_away() {
    let first = key(1, 7);
    let mut class = Class::of(2, settings());
    class.apply(Settings { encryption_required: true, ..sealed_by(std::slice::from_ref(&first)) });
    class.say(0, "R", "0");
    class.turn();
    assert_eq!(class.read(1), ["R 0"], "who is here in plain stays");
    assert_eq!(class.come_in("new", "R"), "encryption");
    let (sealed, told) = class.come_sealed("new", "R", &first);
    assert_eq!(told, ["welcome R"]);
    class.apply(settings());
    class.say_sealed(sealed, &first, "R", "1");
    assert_eq!(class.read_sealed(sealed, &first), ["R 1"]);
    assert_eq!(class.come_sealed("newer", "R", &first).1, ["close 1003"], "nobody speaks sealed here any more");
    assert_eq!(class.come_in("newer", "R"), "welcome R");
}
