//! What is asked too often, owed too long, or said too badly: where the hub's bounds and patience end, and for whom.
//!
//! Owns: that each bound holds at every moment, and takes no innocent along. Refuses to know: how what is owed is kept.

use classhub::hub::Settings;
use classhub::net::exchange::Options;
use serde_json::json;

use super::class::{Class, ENDLESS, settings, text};

const REPLY_BYTES: usize = 256 * 1024;

fn options() -> Options {
    Options { reply_bytes: REPLY_BYTES as u32, ..Options::default() }
}

impl Class {
    /// Asks for so many short replies: chats to a room that the member is not in.
    fn ask(&mut self, member: usize, replies: usize) {
        for _ in 0..replies {
            self.say(member, &text("nowhere", 60), "x");
        }
    }

    /// Joins under a Member as long as one may be, so that rosters are long.
    fn join_at_length(&mut self, member: usize, room: &str) {
        let (name, url) = ("\u{1}".repeat(90), "\u{1}".repeat(250));
        let from = json!({"id": member.to_string(), "personName": name, "nickName": name, "headImgUrl": url});
        let data = json!({"from": from, "roomNumber": room});
        self.send(member, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}}));
    }
}

#[test]
fn overload_closes_no_more_than_it_must() {
    let mut class = Class::new(options(), settings());
    for _ in 0..40 {
        let member = class.connect();
        class.join(member, &member.to_string());
        class.turn();
        class.read(member);
        class.wire(member).room = 0;
    }
    for member in 0..40 {
        class.ask(member, 70);
    }
    class.turn();
    assert!(class.exchange.owed_bytes() <= REPLY_BYTES);
    let mut closed = 0;
    for member in 0..40 {
        class.make_room(member, ENDLESS);
        closed += usize::from(class.read(member).contains(&"close 1013".to_string()));
    }
    assert!((1..20).contains(&closed), "{closed} of 40 were closed");
}

#[test]
fn rosters_sent_by_half_take_no_innocent_along() {
    let mut class = Class::new(options(), settings());
    for _ in 0..60 {
        let member = class.connect();
        class.join_at_length(member, "R");
        class.turn();
        class.read(member);
    }
    for _ in 0..3 {
        let slow = class.connect();
        class.wire(slow).room = 1_000;
        class.join_at_length(slow, "R");
    }
    let innocent = class.connect();
    class.join(innocent, "I");
    class.turn();
    class.read(innocent);
    class.wire(innocent).room = 0;
    class.ask(innocent, 1);
    class.turn();
    assert!(class.exchange.owed_bytes() <= REPLY_BYTES);
    class.make_room(innocent, ENDLESS);
    assert_eq!(class.read(innocent), ["not_joined"]);
}

#[test]
fn replies_are_bounded_within_a_turn_too() {
    let mut class = Class::new(options(), settings());
    for _ in 0..200 {
        class.connect();
    }
    for member in 0..200 {
        class.wire(member).room = 1_000;
        class.join_at_length(member, "R");
    }
    class.exchange.read_ready(class.now);
    let one_roster = 200 * 3_000;
    let owed = class.exchange.owed_bytes();
    assert!(owed <= REPLY_BYTES + one_roster, "{owed} bytes are owed in mid-turn");
    class.exchange.finish(class.now);
    assert!(class.exchange.owed_bytes() <= REPLY_BYTES);
}

#[test]
fn a_stopping_hub_closes_nobody_for_what_it_moves_itself() {
    let mut class = Class::of(2, settings());
    for member in 0..2 {
        class.join(member, "S");
        class.turn();
    }
    for member in 0..2 {
        class.read(member);
    }
    class.wire(1).room = 0;
    // In each room less than its log may hold, in both together more than an own queue may.
    for n in 0..14 {
        for room in ["R", "S"] {
            class.say(0, room, &text(n, 14_000));
            class.turn();
        }
    }
    class.exchange.stop(class.now);
    class.make_room(1, ENDLESS);
    let read = class.read(1);
    assert_eq!((read.len(), read.last().unwrap().as_str()), (29, "close 1001"));
}

#[test]
fn bad_messages_over_the_rate_end_even_between_heartbeats() {
    let mut class = Class::of(1, Settings::default());
    for _ in 0..200 {
        class.send(0, json!({}));
        class.send(0, json!({"msgType": 1}));
    }
    class.turn();
    let read = class.read(0);
    assert!(read.len() < 150, "{} answers", read.len());
    assert_eq!(read.last().unwrap(), "close 1008");
}

#[test]
fn a_hundred_refusals_within_any_ten_seconds_end_it() {
    let mut class =
        Class::of(1, Settings { messages_per_second: 1, burst: 1, bytes_per_second: 0, ..Settings::default() });
    class.now = class.now.after_ms(1_000);
    class.say(0, "R", "in time");
    let refuse = |class: &mut Class, after_ms, times| {
        class.now = class.now.after_ms(after_ms);
        for _ in 0..times {
            class.say(0, "R", "too fast");
        }
        class.turn();
    };
    // Ninety-nine within ten seconds, and again when the first of them are ten seconds old.
    refuse(&mut class, 0, 1);
    // (By then one more may pass.)
    refuse(&mut class, 9_500, 99);
    refuse(&mut class, 600, 1);
    assert_eq!(class.read(0).len(), 102);
    // The hundredth within ten seconds, whenever those began.
    refuse(&mut class, 100, 2);
    let read = class.read(0);
    assert_eq!((read.len(), read.last().unwrap().as_str()), (2, "close 1008"));
}

#[test]
fn a_log_grows_by_quarters_whatever_a_request_brings() {
    let mut class = Class::of(1, settings());
    let reference = "\u{1}".repeat(64);
    let (mut before, mut grown) = (0, 0);
    for n in 0..700 {
        let data = json!({"roomNumber": "R", "content": "x".repeat(n % 97)});
        let fields = json!({"ref": reference});
        class.send(0, json!({"msgType": 3, "textData": {"dataType": 65_535, "data": data}, "extendFields": fields}));
        class.turn();
        let (_, buffer) = class.log_bytes();
        if before > 130_000 && buffer > before {
            grown += 1;
            assert!(buffer < before * 4 / 3, "from {before} to {buffer}");
        }
        before = buffer;
    }
    assert!(grown > 2, "it never grew");
}

#[test]
fn a_client_that_ends_its_side_still_reads_its_answer() {
    let mut class = Class::new(Options::default(), settings());
    let member = class.knock();
    class.wire(member).room = 100;
    class.input(member, b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    class.turn();
    class.hang_up(member);
    class.turn();
    class.make_room(member, ENDLESS);
    let output = String::from_utf8_lossy(&class.wire(member).output).into_owned();
    let (head, body) = output.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "the page is cut off");
}
