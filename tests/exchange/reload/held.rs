//! Other sizes, rates and periods.
//!
//! Owns: what a change means to what is held for somebody and held against somebody. Refuses to know: rooms and who may come in.

use classhub::hub::Settings;
use classhub::net::exchange::Options;
use classhub::wire::frame;
use serde_json::json;

use super::super::class::{Class, ENDLESS, numbered, settings, text};

// ---- What is held for whom ----------------------------------------------------------------------

fn log_of(room_log_bytes: u32) -> Settings {
    Settings { room_log_bytes, ..settings() }
}

/// A class in which member 1 has been sent nothing of 150 KB that were said.
fn with_a_laggard() -> Class {
    let mut class = Class::of(2, log_of(256 << 10));
    class.wire(1).room = 100;
    for n in 0..50 {
        class.say(0, "R", &text(n, 3_000));
        class.turn();
    }
    class.read(0);
    class
}

#[test]
fn a_smaller_log_makes_nobody_too_slow_who_lagged_before() {
    let mut class = with_a_laggard();
    class.apply(log_of(64 << 10));
    for n in 50..60 {
        class.say(0, "R", &text(n, 3_000));
        class.turn();
    }
    assert!(class.log_bytes().0 > 150_000, "{:?}", class.log_bytes());
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), numbered("R", 0..60));
    // It has caught up: from now on it is as anybody.
    class.say(0, "R", &text(60, 3_000));
    class.turn();
    assert!(class.log_bytes().0 <= 64 << 10, "{:?}", class.log_bytes());
    assert_eq!(class.read(1), numbered("R", 60..61));
    class.wire(1).room = 100;
    for n in 0..25 {
        class.say(0, "R", &text(n, 3_000));
        class.turn();
    }
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1).last().unwrap(), "close 4002");
}

#[test]
fn a_laggard_among_many_changes_has_the_largest_log_that_there_was_and_no_more() {
    let mut class = with_a_laggard();
    for kib in [128, 64, 96] {
        class.apply(log_of(kib << 10));
    }
    let mut owed_bytes = class.log_bytes().0;
    while class.exchange.hub().roster("R").unwrap().len() == 2 {
        owed_bytes = class.log_bytes().0;
        class.say(0, "R", &text("more", 3_000));
        class.turn();
    }
    assert!((252 << 10..=256 << 10).contains(&owed_bytes), "{owed_bytes}");
}

#[test]
fn what_a_laggard_is_owed_may_wait_in_its_own_queue_as_before() {
    let mut class = with_a_laggard();
    class.apply(log_of(64 << 10));
    // The answer stands behind all that was said.
    class.send(1, json!([]));
    class.turn();
    class.make_room(1, 10_000);
    class.send(1, json!([]));
    class.turn();
    class.make_room(1, ENDLESS);
    let read = class.read(1);
    assert_eq!(read[..50], numbered("R", 0..50));
    assert_eq!(read[50..], ["bad_json", "bad_json"]);
    // And no more than that once it has caught up.
    class.wire(1).room = 0;
    for n in 0..22 {
        class.say(0, "R", &text(n, 3_000));
        class.leave(1, "another");
        class.turn();
    }
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1).last().unwrap(), "close 4002");
}

#[test]
fn a_quiet_room_gives_back_what_it_may_hold_no_longer() {
    let mut class = Class::of(2, log_of(256 << 10));
    for n in 0..80 {
        class.say(0, "R", &text(n, 3_000));
    }
    class.turn();
    class.sleep(60_000);
    let (held, _) = class.log_bytes();
    assert!(held > 200_000);
    class.apply(log_of(64 << 10));
    class.sleep(1_000);
    let (held, buffer) = class.log_bytes();
    assert!(held <= 64 << 10 && buffer <= 66 << 10, "{held} {buffer}");
}

#[test]
fn a_shorter_history_is_kept_from_now_on() {
    let mut class = Class::of(2, settings());
    let (back, _) = class.come_with("back", "R", json!({}));
    for n in 0..10 {
        class.say(0, "R", &n.to_string());
    }
    class.turn();
    class.apply(Settings { history: 4, ..settings() });
    class.read(back);
    let room = class.room(back, "R");
    assert_eq!(room["members"].as_array().unwrap().len(), 3);
    class.send(back, json!({"msgType": 4, "textData": {"dataType": 3, "data": {"roomNumber": "R", "seq": [9, 10]}}}));
    class.turn();
    assert_eq!(class.read(back), ["no_such_message"], "9 is gone");
    assert_eq!(class.replies(0).last().unwrap()["resultBody"]["textData"]["data"]["seq"], json!([10]));
}

#[test]
fn fewer_replies_that_may_be_owed_close_nobody_who_was_owed_them_before() {
    let of = |reply_bytes| Options { reply_bytes, ..Options::default() };
    let mut class = Class::of(1, log_of(1 << 20));
    class.wire(0).room = 0;
    for _ in 0..100 {
        class.send(0, json!({"msgType": 2, "textData": {"dataType": 2, "data": {"roomNumber": "x"}}, "extendFields": {"ref": text("r", 60)}}));
        class.send(0, json!({"msgType": 5, "textData": {"dataType": 1, "data": {"roomNumber": "R"}}}));
    }
    for n in 0..90 {
        class.say(0, "R", &text(n, 3_000));
        class.send(0, json!({"msgType": 5, "textData": {"dataType": 1, "data": {"roomNumber": "R"}}}));
    }
    class.turn();
    let owed = class.exchange.owed_bytes();
    assert!(owed > 256 << 10, "{owed}");
    class.apply_all(of(256 << 10), log_of(1 << 20));
    class.send(0, json!({"msgType": 5, "textData": {"dataType": 1, "data": {"roomNumber": "R"}}}));
    class.turn();
    class.make_room(0, ENDLESS);
    assert!(class.read(0).len() > 200 && class.exchange.owed_bytes() == 0);
    class.wire(0).room = 0;
    for n in 0..90 {
        class.say(0, "R", &text(n, 3_000));
        class.send(0, json!({"msgType": 5, "textData": {"dataType": 1, "data": {"roomNumber": "R"}}}));
    }
    class.turn();
    class.make_room(0, ENDLESS);
    assert_eq!(class.read(0).last().unwrap(), "close 1013");
}

#[test]
fn a_message_that_has_begun_may_be_as_long_as_when_it_began() {
    let of = |message_bytes| Options { message_bytes, ..Options::default() };
    let mut class = Class::of(3, settings());
    let long =
        json!({"msgType": 3, "textData": {"dataType": 3, "data": {"roomNumber": "R", "content": text("long", 8_000)}}});
    let long = long.to_string().into_bytes();
    // Member 0 is between two fragments, 1 in the middle of a frame, 2 in neither.
    class.frame(0, frame::TEXT & 0x7F, &long[..3_000]);
    let mut whole = vec![0x81, 0x80 | 126];
    whole.extend_from_slice(&(long.len() as u16).to_be_bytes());
    whole.extend_from_slice(&[0; 4]);
    whole.extend_from_slice(&long);
    class.input(1, &whole[..5_000]);
    class.turn();
    class.apply_all(of(1024), settings());
    class.frame(0, 0x80, &long[3_000..]);
    class.turn();
    class.input(1, &whole[5_000..]);
    class.turn();
    assert_eq!(class.read(2), ["R long", "R long"]);
    for member in [0, 1, 2] {
        class.read(member);
        class.say(member, "R", &text("short", 500));
        class.turn();
        assert_eq!(class.read(member), ["R short"]);
        class.apply_all(of(16 << 10), settings());
        class.say(member, "R", &text("long", 8_000));
        class.turn();
        assert_eq!(class.read(member), ["R long"]);
        class.apply_all(of(1024), settings());
        class.say(member, "R", &text("long", 8_000));
        class.turn();
        assert_eq!(class.read(member), ["close 1009"]);
    }
    let newcomer = class.connect();
    class.input(newcomer, &whole);
    class.turn();
    assert_eq!(class.read(newcomer), ["close 1009"]);
}

// ---- Rates and periods --------------------------------------------------------------------------

#[test]
fn rates_hold_from_now_on_and_forget_what_was_spent_under_slower_ones() {
    let of = |messages_per_second, burst| Settings { messages_per_second, burst, ..settings() };
    let mut class = Class::of(1, of(1, 1000));
    let say = |class: &mut Class, times: usize| {
        for n in 0..times {
            class.say(0, "R", &n.to_string());
        }
        class.turn();
        class.read(0).iter().filter(|word| word.starts_with("R ")).count()
    };
    assert_eq!(say(&mut class, 990), 990);
    class.sleep(1_000);
    // A thousand seconds of the rate are spent, and a burst of the new one is all that counts.
    class.apply(of(100, 10));
    assert_eq!(say(&mut class, 20), 0);
    class.sleep(1_000);
    assert_eq!(say(&mut class, 20), 10);
    class.apply(of(0, 1));
    assert_eq!(say(&mut class, 500), 500);
    class.apply(of(1, 3));
    class.sleep(10_000);
    assert_eq!(say(&mut class, 20), 3);
}

#[test]
fn a_shorter_heartbeat_is_expected_from_now_on_and_makes_nobody_late_at_once() {
    let of = |heartbeat_interval_s| Settings { heartbeat_interval_s, ..settings() };
    let mut class = Class::of(3, of(120));
    class.sleep(100_000);
    class.beat(2);
    class.apply(of(20));
    // 0 and 1 were silent for 100 s, which was right until now.
    class.sleep(20_000);
    class.beat(1);
    assert_eq!(class.exchange.hub().roster("R").unwrap().len(), 3);
    class.beat(2);
    class.sleep(6_000);
    assert_eq!(class.read(0), ["close 4000"]);
    assert_eq!(class.read(1), ["left 0 heartbeat"]);
    class.apply(of(600));
    class.sleep(590_000);
    assert_eq!(class.exchange.hub().roster("R").unwrap().len(), 2);
    class.sleep(60_000);
    assert_eq!(class.exchange.hub().roster("R").unwrap().len(), 0);
}

#[test]
fn a_deadline_that_was_near_is_not_put_off_by_changes() {
    let of = |heartbeat_interval_s| Settings { heartbeat_interval_s, ..settings() };
    let mut class = Class::of(1, of(120));
    class.sleep(100_000);
    for n in 0..20 {
        class.apply(of(60 - n));
        class.sleep(1_000);
    }
    class.sleep(7_000);
    assert_eq!(class.read(0), ["close 4000"]);
}

#[test]
fn a_probe_on_its_way_has_the_time_that_it_had_or_a_whole_one_of_the_new() {
    for (probe_s, passes_ms, is_there) in [(1, 900, true), (1, 1_200, false), (60, 30_000, true)] {
        let mut class = Class::of(1, Settings { probe_s: 30, linger_s: 0, ..settings() });
        assert_eq!(class.come_in("0", "R"), "duplicate");
        class.sleep(10_000);
        class.apply(Settings { probe_s, linger_s: 0, ..settings() });
        class.sleep(passes_ms);
        assert_eq!(class.exchange.hub().roster("R").unwrap().len() == 1, is_there, "{probe_s} s");
    }
}

#[test]
fn a_seat_lingers_for_as_long_as_it_was_to() {
    let of = |linger_s| Settings { linger_s, ..settings() };
    let mut class = Class::of(3, of(100));
    class.hang_up(0);
    class.turn();
    class.apply(of(5));
    class.hang_up(1);
    class.turn();
    class.sleep(6_000);
    assert_eq!(class.read(2), ["left 1 lost"]);
    class.sleep(90_000);
    assert_eq!(class.read(2), [""; 0]);
    class.sleep(5_000);
    assert_eq!(class.read(2), ["left 0 lost"]);
}
