//! What is done when time passes, and how often the hub wakes up for it.
//!
//! Owns: the deadlines of the protocol, in virtual time. Refuses to know: the wheel that keeps them.

use classhub::hub::Settings;
use classhub::limits;
use classhub::net::exchange::Options;
use serde_json::json;

use super::class::{Class, ENDLESS, settings};

const BEAT: &str = r#"{"msgType":1}"#;

impl Class {
    /// Sleeps like the poll does, from deadline to deadline, until `until_ms`. Says how often it woke.
    pub fn sleep_until(&mut self, until_ms: u64) -> usize {
        let mut wakes = 0;
        while let Some(due_ms) = self.exchange.next_deadline_ms().filter(|due_ms| *due_ms <= until_ms) {
            let passed_ms = due_ms.saturating_sub(self.now.monotonic_ms);
            self.now = self.now.after_ms(passed_ms);
            self.exchange.expire(self.now);
            self.exchange.finish(self.now);
            wakes += 1;
        }
        self.now = self.now.after_ms(until_ms.saturating_sub(self.now.monotonic_ms));
        wakes
    }

    pub fn beat(&mut self, member: usize) {
        self.frame(member, classhub::wire::frame::TEXT, BEAT.as_bytes());
        self.turn();
    }
}

#[test]
fn a_hub_with_nobody_connected_never_wakes() {
    let class = Class::new(Options::default(), settings());
    assert_eq!(class.exchange.next_deadline_ms(), None);
}

#[test]
fn a_hub_that_everybody_left_sleeps_for_good_once_their_room_has_ended() {
    let mut class = Class::of(3, settings());
    for member in 0..3 {
        class.frame(member, 0x88, &[]);
    }
    class.turn();
    let wakes = class.sleep_until(u64::MAX / 4);
    assert!(wakes < 10, "{wakes}");
    assert_eq!((class.exchange.len(), class.exchange.hub().rooms()), (0, 0));
    assert_eq!(class.exchange.next_deadline_ms(), None);
}

#[test]
fn two_hundred_silent_members_wake_the_hub_less_than_twice_a_second() {
    let mut class = Class::new(Options::default(), settings());
    for _ in 0..200 {
        let member = class.connect();
        class.join(member, "R");
        class.turn();
        class.now = class.now.after_ms(50);
    }
    let start_ms = class.now.monotonic_ms;
    for seconds in (5..=100).step_by(5) {
        let wakes = class.sleep_until(start_ms + seconds * 1000);
        assert!(wakes < 5 * 2, "{wakes} times within the five seconds to {seconds}");
    }
    assert_eq!(class.exchange.len(), 200);
}

#[test]
fn silence_ends_a_connection_after_the_heartbeat_and_its_grace_and_no_sooner() {
    let mut class = Class::of(2, settings());
    let silent_since_ms = class.now.monotonic_ms;
    class.sleep_until(silent_since_ms + 100_000);
    class.beat(0);
    class.sleep_until(silent_since_ms + 124_000);
    assert_eq!(class.exchange.hub().roster("R").unwrap().len(), 2);
    class.sleep_until(silent_since_ms + 127_000);
    assert_eq!(class.read(1), ["close 4000"]);
    assert_eq!(class.read(0), ["left 1 heartbeat"]);
}

#[test]
fn any_whole_frame_is_a_sign_of_life_and_a_heartbeat_is_never_answered() {
    let mut class = Class::of(4, settings());
    for n in 0..10 {
        let next_ms = class.now.monotonic_ms + 110_000;
        class.sleep_until(next_ms);
        class.beat(0);
        class.frame(1, 0x8A, b"pong");
        class.frame(2, 0x89, b"ping");
        // A fragment, of a message that may never be whole.
        class.frame(3, if n == 0 { 0x01 } else { 0x00 }, b"x");
        class.turn();
    }
    assert_eq!(class.read(0), [""; 0]);
    assert_eq!(class.read(2), ["pong ping"; 10]);
    assert_eq!(class.exchange.hub().roster("R").unwrap().len(), 4);
}

#[test]
fn a_heartbeat_over_the_rate_is_life_and_is_not_answered() {
    let mut class = Class::of(1, Settings { messages_per_second: 1, burst: 1, ..settings() });
    for _ in 0..50 {
        class.beat(0);
    }
    let beaten_ms = class.now.monotonic_ms;
    class.sleep_until(beaten_ms + 124_000);
    assert_eq!(class.read(0), [""; 0]);
    assert_eq!(class.exchange.len(), 1);
}

#[test]
fn whoever_never_takes_a_seat_is_sent_away_thirty_seconds_after_the_last_try() {
    let mut class = Class::of(1, Settings { members_per_room: 1, ..settings() });
    let [idle, tries, joins] = [(); 3].map(|()| class.connect());
    class.join(joins, "Q");
    class.turn();
    class.frame(
        joins,
        classhub::wire::frame::TEXT,
        br#"{"msgType":3,"textData":{"dataType":2,"data":{"roomNumber":"Q"}}}"#,
    );
    class.turn();
    let start_ms = class.now.monotonic_ms;
    class.sleep_until(start_ms + 20_000);
    class.join(tries, "R");
    class.turn();
    class.sleep_until(start_ms + 33_000);
    assert_eq!(class.read(idle), ["close 1008"]);
    assert_eq!(class.read(tries), ["room_full"]);
    class.sleep_until(start_ms + 53_000);
    assert_eq!(class.read(tries), ["close 1008"]);
    // One that had a seat and left it stays as long as it beats.
    class.beat(joins);
    class.sleep_until(start_ms + 120_000);
    assert_eq!(class.read(joins), ["welcome Q", "left 3 left"]);
}

#[test]
fn a_head_must_come_in_ten_seconds_and_a_close_be_answered_in_five() {
    let mut class = Class::of(2, settings());
    let half = class.knock();
    class.input(half, b"GET / HTTP/1.1\r\n");
    class.turn();
    let start_ms = class.now.monotonic_ms;
    class.sleep_until(start_ms + limits::HEAD_MS - 100);
    assert!(class.wire(half).output.is_empty());
    class.sleep_until(start_ms + limits::HEAD_MS + 100);
    assert!(class.wire(half).output.starts_with(b"HTTP/1.1 408 "));
    assert!(class.wire(half).ended);
    assert_eq!(class.exchange.len(), 3);
    class.sleep_until(start_ms + limits::HEAD_MS + limits::CLOSE_MS + 200);
    assert_eq!(class.exchange.len(), 2);

    class.frame(1, 0x82, b"not text");
    class.turn();
    assert_eq!(class.read(1), ["close 1003"]);
    assert_eq!(class.exchange.len(), 2);
    let closed_ms = class.now.monotonic_ms;
    class.sleep_until(closed_ms + limits::CLOSE_MS + 100);
    assert_eq!(class.exchange.len(), 1);
}

#[test]
fn an_empty_room_ends_when_its_time_is_over_however_short() {
    for empty_for_s in [1, 3, 60] {
        let mut class = Class::of(1, Settings { empty_for_s, ..settings() });
        class.leave(0, "R");
        class.turn();
        let empty_ms = class.now.monotonic_ms;
        class.sleep_until(empty_ms + u64::from(empty_for_s) * 1000 - 100);
        assert_eq!(class.exchange.hub().rooms(), 1);
        class.sleep_until(empty_ms + u64::from(empty_for_s) * 1000 + 100);
        assert_eq!(class.exchange.hub().rooms(), 0, "after {empty_for_s} s");
    }
}

#[test]
fn a_room_entered_again_is_tidied_when_it_falls_quiet() {
    let mut class = Class::of(1, settings());
    class.leave(0, "R");
    class.turn();
    let left_ms = class.now.monotonic_ms;
    class.sleep_until(left_ms + 100_000);
    class.join(0, "R");
    class.turn();
    let (held, buffer) = class.log_bytes();
    assert!(buffer as u64 > held);
    let joined_ms = class.now.monotonic_ms;
    class.sleep_until(joined_ms + limits::QUIET_MS + 100);
    assert_eq!(class.log_bytes(), (held, held as usize));
}

#[test]
fn a_stopping_hub_gives_everyone_what_they_are_owed_and_says_goodbye() {
    let mut class = Class::of(3, settings());
    class.wire(1).room = 10;
    class.send(0, json!({"msgType":3,"textData":{"dataType":3,"data":{"roomNumber":"R","content":"last"}}}));
    class.turn();
    class.exchange.stop(class.now);
    class.make_room(1, ENDLESS);
    for member in 0..3 {
        assert_eq!(class.read(member), ["R last", "close 1001"]);
        assert!(class.wire(member).ended);
    }
}
