//! One process leaves everything to the next: what is the same afterwards, and what was written down by earlier versions.
//!
//! Owns: the deadlines, rights and bounds that no client sees at once, and a state as the first version wrote it. Refuses to know: processes; and
//! what happens when an upgrade comes in the middle of anything, which is the simulation's.

use std::fs;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use classhub::base::state::{StateError, StateReader, StateWriter};
use classhub::hub::{Passcode, SealKeySettings, Settings};
use classhub::limits;
use classhub::net::exchange::{Exchange, ExchangeState, Options};
use classhub::wire::Member;
use serde_json::json;
use serde_json::value::RawValue;

use super::class::{Class, ENDLESS, numbered, settings, text};
use super::reload::room;

impl Class {
    /// Everything goes over to another exchange, as to another process, and a poll begins anew.
    pub fn upgrade(&mut self) {
        let file = self.state();
        let (options, settings) = (Options::default(), self.exchange.hub().settings().clone());
        self.take_over(file).expect("it was written just now");
        self.exchange.apply(self.now, options, settings);
        self.poll();
    }

    /// What is left to the next process.
    fn state(&mut self) -> Vec<u8> {
        self.exchange.prepare(self.now);
        let mut file = Vec::new();
        let mut writer = StateWriter::new(&mut file);
        let state = self.exchange.save(&mut writer, |socket| socket.name as i32);
        writer.finish(&state).expect("memory takes everything");
        file
    }

    fn take_over(&mut self, file: Vec<u8>) -> Result<(), StateError> {
        let mut file = Cursor::new(file);
        let (mut reader, state): (_, ExchangeState) = StateReader::open(&mut file)?;
        let is_there = |number: &usize| *number < self.members.len();
        let socket = |number: i32| usize::try_from(number).ok().filter(is_there).map(|number| self.socket_of(number));
        let next = Exchange::restore(state, &mut reader, self.now, socket).map_err(|(error, _)| error)?;
        self.exchange = next;
        for key in self.exchange.keys() {
            let name = self.exchange.stream_mut(key).expect("it is there").name;
            self.members[name].0 = key;
        }
        Ok(())
    }

    /// Tells of every socket what a new poll would.
    fn poll(&mut self) {
        for member in 0..self.members.len() {
            let (key, has_room) = (self.members[member].0, self.wire(member).room > 0);
            if has_room {
                self.exchange.write(key);
            }
            let has_ended = self.wire(member).input_ended;
            self.exchange.set_readable(key, has_ended);
        }
        self.turn();
    }
}

#[test]
fn deadlines_go_on_and_none_begins_anew() {
    let mut class = Class::of(2, Settings { linger_s: 40, heartbeat_interval_s: 100, ..settings() });
    let (beginner, idler) = (class.knock(), class.connect());
    class.hang_up(1);
    class.turn();
    class.sleep(limits::HEAD_MS / 2);
    class.upgrade();
    class.sleep(limits::HEAD_MS / 2 + 200);
    assert!(class.wire(beginner).output.starts_with(b"HTTP/1.1 408 "), "half of its time was over before");
    class.sleep(limits::JOIN_MS - limits::HEAD_MS);
    class.upgrade();
    class.sleep(3_000);
    assert_eq!(class.read(idler), ["close 1008"], "it never joined");
    assert_eq!(class.read(0), Vec::<String>::new());
    class.upgrade();
    class.sleep(8_000);
    assert_eq!(class.read(0), ["left 1 lost"], "it lingered for its time, and no longer");
    class.upgrade();
    class.sleep(110_000 - 45_000);
    assert_eq!(class.read(0), ["close 4000"], "it has said nothing for so long");
}

#[test]
fn a_hub_that_has_run_for_a_hundred_years_has_no_time_to_catch_up_with() {
    let mut class = Class::new(Options::default(), settings());
    class.now.monotonic_ms = 100 * 365 * 24 * 3_600_000;
    class.turn();
    for member in 0..3 {
        class.connect();
        class.join(member, "R");
    }
    class.turn();
    class.knock();
    class.hang_up(2);
    let (now, state) = (class.now, class.state());
    class.take_over(state).expect("it was written just now");
    // A wheel that begins at nought would turn through all of that.
    let due_ms = class.exchange.next_deadline_ms().expect("somebody has knocked");
    assert!(due_ms >= now.monotonic_ms, "{due_ms} is long over");
    let (options, settings) = (Options::default(), class.exchange.hub().settings().clone());
    class.exchange.apply(now, options, settings);
    let due_ms = class.exchange.next_deadline_ms().expect("all have heartbeats");
    assert!(due_ms >= now.monotonic_ms, "{due_ms} is long over");
}

#[test]
fn a_probe_is_due_when_it_was() {
    let mut class = Class::of(1, Settings { probe_s: 10, ..settings() });
    class.come_in("0", "R");
    assert_eq!(class.read(0), ["ping "], "somebody asks for its seat");
    class.sleep(9_000);
    class.upgrade();
    class.sleep(900);
    assert_eq!(class.read(0), Vec::<String>::new());
    class.sleep(300);
    assert_eq!(class.read(0), ["close 4000"], "it has not answered");
}

#[test]
fn rates_patience_and_what_was_refused_are_not_forgotten() {
    let rated = Settings { messages_per_second: 1, burst: 20, ..settings() };
    let mut class = Class::of(1, rated);
    for n in 0..19 {
        class.say(0, "R", &n.to_string());
    }
    class.upgrade();
    assert_eq!(class.read(0), numbered("R", 0..19));
    class.say(0, "R", "too much");
    class.turn();
    assert_eq!(class.read(0), ["rate_limited"]);
    class.sleep(60_000);
    // Patience with bad messages: fifteen before, and one after.
    for _ in 0..15 {
        class.frame(0, 0x81, b"{");
    }
    class.upgrade();
    class.frame(0, 0x81, b"{");
    class.turn();
    let read = class.read(0);
    assert_eq!((read.len(), &*read[15]), (17, "bad_json"));
    assert_eq!(read[16], "close 1008");
}

#[test]
fn a_blocked_reader_is_sent_the_rest_of_its_frame_and_then_what_its_room_owes() {
    let mut class = Class::of(3, settings());
    class.wire(1).room = 50;
    for n in 0..5 {
        class.say(0, "R", &text(n, 100));
    }
    class.turn();
    // What is said by its own is answered behind that, as ever.
    class.upgrade();
    class.say(0, "R", &text(5, 100));
    class.send(1, json!({"msgType": 9}));
    class.turn();
    class.upgrade();
    class.make_room(1, 75);
    class.upgrade();
    class.make_room(1, ENDLESS);
    let mut due = numbered("R", 0..6);
    due.push("unknown_type".to_owned());
    assert_eq!(class.read(1), due);
    assert_eq!(class.read(2), numbered("R", 0..6));
}

#[test]
fn a_page_that_is_half_sent_is_sent_to_its_end() {
    let mut class = Class::of(1, settings());
    let [whole, half] = [0; 2].map(|_| class.knock());
    class.wire(half).room = 1000;
    for reader in [whole, half] {
        class.input(reader, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    class.turn();
    class.upgrade();
    let page = class.wire(whole).output.clone();
    assert!(page.starts_with(b"HTTP/1.1 200 ") && page.len() > 3500, "{}", page.len());
    assert_eq!(class.wire(half).output, page[..1000]);
    class.make_room(half, 2000);
    class.upgrade();
    assert_eq!(class.wire(half).output, page[..3000]);
    class.make_room(half, ENDLESS);
    assert_eq!(class.wire(half).output, page);
    assert!(class.wire(half).ended);
}

#[test]
fn a_reader_that_is_too_slow_is_found_to_be_whoever_serves_it() {
    let mut class = Class::of(2, Settings { room_log_bytes: limits::ROOM_LOG_BYTES.min, ..settings() });
    class.wire(1).room = 10;
    for n in 0..4 {
        class.say(0, "R", &text(n, 15_000));
        class.turn();
    }
    class.upgrade();
    for n in 4..8 {
        class.say(0, "R", &text(n, 15_000));
        class.turn();
    }
    class.make_room(1, ENDLESS);
    let read = class.read(1);
    assert_eq!(read, ["R 0", "close 4002"], "the frame that it was in the middle of, and no more");
}

/// A class in as many states as fit: what `version-1.state` was written from, by the first version of the program that could.
fn class() -> Class {
    let owner = Member { id: "teacher".into(), person_name: "老师".into(), ..Member::default() };
    let passcode = |word: &str| Some(Passcode(word.to_owned()));
    let mut class = Class::new(
        Options::default(),
        Settings {
            linger_s: 60,
            configured: vec![
                classhub::hub::RoomSettings {
                    passcode: passcode("open"),
                    owner_passcode: passcode("mine"),
                    ..room("C")
                },
                classhub::hub::RoomSettings { owner: Some(owner), ..room("D") },
            ],
            seal_keys: vec![SealKeySettings { id: 7, key: [7; 32] }],
            ..settings()
        },
    );
    for _ in 0..4 {
        let member = class.connect();
        class.join(member, "R");
        class.turn();
        class.read(member);
    }
    // The first owns the room, in which it is quiet; the third has lingered for a while, and the fourth is kept out.
    class.send(0, json!({"msgType": 3, "textData": {"dataType": 4, "data": {"roomNumber": "R", "quiet": true}}}));
    class.send(
        0,
        json!({"msgType": 3, "textData": {"dataType": 5, "data": {"roomNumber": "R", "id": "3", "forS": 600}}}),
    );
    class.hang_up(2);
    class.turn();
    class.read(0);
    class.read(1);
    class.wire(1).room = 40;
    class.say(0, "R", "half of it");
    class.turn();
    // One is in a configured room.
    class.come_with("4", "C", json!({"passcode": "open"}));
    // One has guessed, and sits nowhere; one's head is half here.
    class.come_with("5", "C", json!({"passcode": "shut"}));
    let beginner = class.knock();
    class.input(beginner, b"GET /ws HTTP/1.1\r\nHost: h\r\n");
    class.turn();
    class
}

#[test]
fn what_the_first_version_wrote_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exchange/upgrade/version-1.state");
    let mut class = class();
    let written = class.state();
    if !path.exists() {
        // Once a version: to be committed, and never written again.
        fs::write(&path, &written).expect("the checkout can be written");
    }
    // The one from long ago, on the sockets of now.
    let old = fs::read(&path).expect("it is in the repository");
    class.take_over(old).expect("every version that there was is read");
    let (options, settings) = (Options::default(), class.exchange.hub().settings().clone());
    class.exchange.apply(class.now, options, settings);
    class.poll();
    let hub = class.exchange.hub();
    let ids = |number: &str| {
        let roster = hub.roster(number).expect("the room is there");
        let id = |member: &&str| {
            serde_json::from_str::<serde_json::Value>(member).unwrap()["id"].as_str().map(str::to_owned)
        };
        roster.iter().filter_map(id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!([ids("R"), ids("C"), ids("D")], ["0 1 2", "4", ""]);
    assert_eq!(hub.lingering("R"), Some(vec![false, false, true]));
    class.say(1, "R", "psst");
    class.say(0, "R", "all of it");
    class.turn();
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), ["R half of it", "quiet", "R all of it"]);
    assert_eq!(class.come_in("3", "R"), "removed");
    assert_eq!(class.come_in("5", "C"), "passcode");
    assert_eq!(class.come_with("5", "C", json!({"ownerPasscode": "mine"})).1, "welcome C");
    class.input(6, b"Connection: close\r\n\r\n");
    class.turn();
    let answer = String::from_utf8_lossy(&class.wire(6).output).into_owned();
    assert!(answer.starts_with("HTTP/1.1 426 "), "the rest of the head: {answer:?}");
}

#[test]
fn a_state_that_says_what_cannot_be_is_refused_and_its_sockets_come_back() {
    let mut class = class();
    let file = class.state();
    let (bytes, document) =
        file[..file.len() - TRAILER_BYTES].split_at(file.len() - TRAILER_BYTES - document_bytes(&file));
    let document = str::from_utf8(document).expect("it is text");
    // What is wrong with it, and what is said of it.
    let changes = [
        (r#""number":"C","name_json""#, r#""number":"","name_json""#, "number"),
        (r#""seq":1,"frames""#, r#""seq":0,"frames""#, "frames"),
        (r#""joined_seq":1,"member""#, r#""joined_seq":77,"member""#, "seats"),
        (r#""member":{"id":"0""#, r#""member":{"name":"0""#, "member"),
        (r#""joined_seq":1,"seen_seq":1"#, r#""joined_seq":1,"seen_seq":991"#, "read"),
        (r#"{"instance":2,"joined_seq":1"#, r#"{"instance":2,"joined_seq":8"#, "seat"),
        (r#"{"instance":2,"joined_seq""#, r#"{"instance":99,"joined_seq""#, "room"),
        (r#""stage":"Open""#, r#""stage":{"Closing":{"shut_down":false}}"#, "what connection 0 is"),
    ];
    for (place, value, says) in changes {
        assert!(document.contains(place), "there is no {place}: {document}");
        refuses(&class, bytes, &document.replacen(place, value, 1), says);
    }
    // An answer to somebody who has not asked as yet, of bytes that are there.
    let (before, asks) = document.split_once(r#""Head":"#).expect("one is half here");
    let queue = asks.find(r#""queue":"#).expect("each has one")..asks.find(r#","written_bytes""#).expect("and so on");
    let answered = r#""queue":{"unsent":{"at":0,"bytes":5},"part":5}"#;
    let asks = format!("{}{answered}{}", &asks[..queue.start], &asks[queue.end..]);
    refuses(&class, bytes, &format!(r#"{before}"Head":{asks}"#), "half a head");
}

#[test]
fn no_more_are_turned_away_than_there_is_a_place_for() {
    let mut class = Class::new(Options::default(), settings());
    for _ in 0..=limits::SPARE_CONNECTIONS {
        class.knock();
    }
    let file = class.state();
    let (bytes, document) =
        file[..file.len() - TRAILER_BYTES].split_at(file.len() - TRAILER_BYTES - document_bytes(&file));
    let document = str::from_utf8(document).expect("it is text");
    refuses(&class, bytes, &document.replace(r#""spare":false"#, r#""spare":true"#), "turned away");
}

/// A state that says this is refused, with these words, and all the sockets that were asked for come back. Beside it are the same bytes, at the same places.
fn refuses(class: &Class, bytes: &[u8], document: &str, says: &str) {
    let document: Box<RawValue> = serde_json::from_str(document).expect("it is JSON");
    let mut changed = Vec::new();
    let mut writer = StateWriter::new(&mut changed);
    writer.put(bytes);
    writer.finish(&document).expect("memory takes everything");
    let mut changed = Cursor::new(changed);
    let (mut reader, state): (_, ExchangeState) =
        StateReader::open(&mut changed).unwrap_or_else(|error| panic!("{says}: {error}"));
    let mut taken = 0;
    let refused = Exchange::restore(state, &mut reader, class.now, |number| {
        taken += 1;
        Some(class.socket_of(number as usize))
    });
    let Err((error, streams)) = refused else { panic!("{says}: it is taken") };
    assert!(error.to_string().contains(says), "{says}: {error}");
    assert_eq!(streams.len(), taken, "{says}");
}

/// Where numbers stand in a document.
fn numbers(document: &str) -> Vec<Range<usize>> {
    let bytes = document.as_bytes();
    let (mut numbers, mut at, mut is_text) = (Vec::new(), 0, false);
    while at < bytes.len() {
        let begin = at;
        at += 1;
        match bytes[begin] {
            b'\\' if is_text => at += 1,
            b'"' => is_text = !is_text,
            b'0'..=b'9' if !is_text => {
                while bytes[at].is_ascii_digit() {
                    at += 1;
                }
                numbers.push(begin..at);
            }
            _ => {}
        }
    }
    numbers
}

#[test]
fn no_number_of_a_state_is_believed_that_cannot_be() {
    let file = class().state();
    let (bytes, document) =
        file[..file.len() - TRAILER_BYTES].split_at(file.len() - TRAILER_BYTES - document_bytes(&file));
    let document = str::from_utf8(document).expect("it is text");
    let numbers = numbers(document);
    assert!(numbers.len() > 100, "{}", numbers.len());
    let mut believed = Vec::new();
    for place in numbers {
        for value in ["0", "1", "255", "65536", "4294967295", "9007199254740993", "18446744073709551615"] {
            let changed = format!("{}{value}{}", &document[..place.start], &document[place.end..]);
            let changed: Box<RawValue> = serde_json::from_str(&changed).expect("it is JSON");
            let mut file = Vec::new();
            let mut writer = StateWriter::new(&mut file);
            writer.put(bytes);
            writer.finish(&changed).expect("memory takes everything");
            let gone_on = std::panic::catch_unwind(|| {
                let mut class = class();
                let settings = class.exchange.hub().settings().clone();
                if class.take_over(file).is_err() {
                    return;
                }
                class.exchange.apply(class.now, Options::default(), settings);
                class.poll();
                class.say(0, "R", "still here");
                // In a room that was empty, and in one that is new.
                for room in ["D", "N"] {
                    let newcomer = class.connect();
                    class.join(newcomer, room);
                }
                class.turn();
                class.sleep(200_000);
                let _again = class.state();
            });
            if gone_on.is_err() {
                believed.push(format!("{value} at ...{}", &document[place.start.saturating_sub(60)..place.end]));
            }
        }
    }
    assert!(believed.is_empty(), "{believed:#?}");
}

const TRAILER_BYTES: usize = 64;

/// How long the document is, as the trailer says.
fn document_bytes(file: &[u8]) -> usize {
    let trailer = &file[file.len() - TRAILER_BYTES..];
    u64::from_le_bytes(trailer[8..16].try_into().expect("eight bytes")) as usize
}
