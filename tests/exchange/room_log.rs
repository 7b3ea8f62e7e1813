//! The rules of the room log, one by one: each test fails when its rule is taken out.
//!
//! Owns: what can be seen of the rules from a peer's socket, through the real exchange. Refuses to know: how the rules are kept.

use classhub::hub::{RoomSettings, Settings};
use classhub::limits;
use classhub::net::exchange::Options;
use classhub::wire::frame;
use serde_json::{Value, json};

use super::class::{Class, ENDLESS, numbered, settings, text};

// ---- 1. Blocked ---------------------------------------------------------------------------------

#[test]
fn rule_1_a_blocked_connection_is_not_tried_until_it_is_writable() {
    let mut class = Class::of(2, settings());
    class.wire(1).room = 100;
    class.wire(1).writes.clear();
    class.say(0, "R", &text(0, 300));
    class.turn();
    // A part was taken, and then a refusal was waited for: only that makes the poll tell.
    assert_eq!(class.wire(1).writes, [100, 0]);
    for n in 1..50 {
        class.say(0, "R", &text(n, 300));
        class.turn();
    }
    assert_eq!(class.wire(1).writes, [100, 0], "tried in vain");
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), numbered("R", 0..50));
    assert_eq!(class.wire(1).writes.len(), 3, "all that was owed is one write");
}

// ---- 2. Whole frames ----------------------------------------------------------------------------

#[test]
fn rule_2_a_frame_begun_is_finished_before_anything_else() {
    for taken in [1, 3, 4, 5, 100, 300] {
        let mut class = Class::of(2, settings());
        class.wire(1).room = taken;
        class.say(0, "R", &text("half", 300));
        class.turn();
        class.frame(1, 0x89, b"are you there");
        class.turn();
        class.say(0, "R", &text("next", 300));
        class.turn();
        class.send(1, json!([]));
        class.turn();
        class.make_room(1, 500);
        class.make_room(1, ENDLESS);
        assert_eq!(class.read(1), ["R half", "pong are you there", "R next", "bad_json"], "after {taken} bytes");
    }
}

#[test]
fn rule_2_busy_rooms_take_turns() {
    let mut class = Class::of(2, settings());
    for member in [0, 1] {
        class.join(member, "Q");
        class.turn();
        class.read(member);
    }
    class.wire(1).room = 0;
    for n in 0..40 {
        for room in ["R", "Q"] {
            class.say(0, room, &text(n, 4_000));
        }
        class.turn();
    }
    class.wire(1).writes.clear();
    class.make_room(1, ENDLESS);
    let writes = std::mem::take(&mut class.wire(1).writes);
    assert!(writes.iter().all(|bytes| *bytes <= limits::SLICE_BYTES), "{writes:?}");
    let read = class.read(1);
    let rooms: Vec<&str> = read.iter().map(|word| &word[..1]).collect();
    let turns = rooms.chunk_by(|a, b| a == b).map(<[&str]>::len).collect::<Vec<_>>();
    assert!(turns.iter().all(|frames| *frames <= 4), "{turns:?}");
    for room in ["R", "Q"] {
        let of_room: Vec<String> = read.iter().filter(|word| word.starts_with(room)).cloned().collect();
        assert_eq!(of_room, numbered(room, 0..40));
    }
}

#[test]
fn rule_2_a_half_frame_of_one_room_stands_before_those_of_another() {
    let mut class = Class::of(2, settings());
    for member in [0, 1] {
        class.join(member, "Q");
        class.turn();
        class.read(member);
    }
    // The second room's frame is the half one.
    class.wire(1).room = 50;
    class.say(0, "Q", &text("half", 300));
    class.turn();
    class.say(0, "R", &text("other", 300));
    class.turn();
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), ["Q half", "R other"]);
}

// ---- 3. One order -------------------------------------------------------------------------------

#[test]
fn rule_3_a_reply_stands_where_it_was_made() {
    let mut class = Class::of(3, settings());
    class.wire(1).room = 0;
    class.say(0, "R", &text("before", 300));
    class.turn();
    class.join(1, "Q");
    class.turn();
    class.say(0, "R", &text("after", 300));
    class.turn();
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), ["R before", "welcome Q", "R after"]);
}

#[test]
fn rule_3_it_holds_within_one_turn_too() {
    let mut class = Class::of(2, settings());
    class.say(1, "R", "one");
    class.send(1, json!([]));
    class.say(1, "R", "two");
    class.send(1, json!([]));
    class.turn();
    assert_eq!(class.read(1), ["R one", "bad_json", "R two", "bad_json"]);
}

#[test]
fn rule_3_own_replies_go_out_before_the_next_connection_is_read() {
    let mut class = Class::new(Options::default(), settings());
    for _ in 0..5 {
        class.connect();
    }
    class.order.borrow_mut().clear();
    for member in 0..5 {
        class.join(member, "R");
    }
    class.exchange.read_ready(class.now);
    let expected: Vec<_> = (0..5).flat_map(|member| [("read", member), ("write", member)]).collect();
    assert_eq!(*class.order.borrow(), expected);
}

#[test]
fn rule_3_a_joiner_sees_its_reply_then_all_after_its_join_and_none_before() {
    let mut class = Class::of(2, settings());
    let late = class.connect();
    class.say(0, "R", "before");
    class.join(late, "R");
    class.say(1, "R", "after");
    class.turn();
    assert_eq!(class.read(late), ["welcome R", "R after"]);
    assert_eq!(class.read(0), ["R before", "joined 2", "R after"]);
}

// ---- 4. Lag -------------------------------------------------------------------------------------

#[test]
fn rule_4_nobody_is_slow_for_lack_of_an_offer() {
    let mut class = Class::of(20, settings());
    // Ten logs' worth in one turn, to readers who keep up: all the while, but not with all of it at once.
    for member in 0..20 {
        class.wire(member).drains = Some(200_000);
    }
    let said: usize = 20 * 9;
    for n in 0..9 {
        for member in 0..20 {
            class.say(member, "R", &text(n, 15_000));
        }
    }
    class.turn();
    for member in 0..20 {
        let read = class.read(member);
        assert_eq!(read.len(), said, "{:?}", read.last());
    }
    let (held, _) = class.log_bytes();
    assert!(held <= u64::from(limits::ROOM_LOG_BYTES.default), "{held}");
}

#[test]
fn rule_4_keeps_the_log_under_one_and_a_half_of_its_limit_and_a_frame() {
    let mut class = Class::of(2, Settings { room_log_bytes: 65_536, ..settings() });
    class.wire(1).room = 0;
    for n in 0..3 {
        class.say(0, "R", &text(n, 15_000));
    }
    class.turn();
    for n in 0..30 {
        class.say(0, "R", &text(n, 15_000));
        class.say(0, "R", &text(n, 15_000));
        class.exchange.read_ready(class.now);
        let (held, buffer) = class.log_bytes();
        assert!(held <= 65_536 * 3 / 2 + 16_384, "{held}");
        assert!(buffer as u64 <= 3 * 65_536 * 5 / 4 + 2 * 16_384, "{buffer}");
    }
}

// ---- 5. Letting go ------------------------------------------------------------------------------

#[test]
fn rule_5_frames_beyond_the_history_wait_for_those_who_have_not_passed_them() {
    let mut class = Class::of(2, Settings { history: 10, ..settings() });
    class.wire(1).room = 100;
    for n in 0..50 {
        class.say(0, "R", &text(n, 300));
        class.turn();
    }
    let lagging = class.log_bytes().0;
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), numbered("R", 0..50));
    class.say(0, "R", &text(50, 300));
    class.turn();
    let (held, _) = class.log_bytes();
    assert!(held < lagging / 4, "{held} of {lagging}: ten frames are kept, and no more");
}

#[test]
fn rule_5_what_is_too_much_goes_and_with_it_whoever_had_not_passed_it() {
    let mut class = Class::of(3, Settings { room_log_bytes: 65_536, ..settings() });
    class.wire(1).room = 0;
    let mut said = 0;
    while class.exchange.hub().roster("R").unwrap().len() == 3 {
        class.say(0, "R", &text(said, 1_000));
        class.turn();
        said += 1;
    }
    assert!(said * 1_000 > 50_000, "closed after {said} frames, long before the log was full");
    assert!(class.log_bytes().0 <= 65_536);
    let read = class.read(2);
    assert_eq!(read[..said], numbered("R", 0..said));
    assert_eq!(read[said], "left 1 slow");
    assert_eq!(class.read(0), read);
}

#[test]
fn rule_5_a_quiet_rooms_buffer_shrinks_to_its_frames() {
    let mut class = Class::of(2, settings());
    for n in 0..2_000 {
        class.say(0, "R", &text(n, 300));
        class.turn();
    }
    let (held, buffer) = class.log_bytes();
    assert!(buffer as u64 > held);
    class.now = class.now.after_ms(limits::QUIET_MS + 100);
    class.turn();
    assert_eq!(class.log_bytes(), (held, held as usize));
}

#[test]
fn rule_5_what_is_let_go_of_where_nothing_is_said_leaves_the_buffer_too() {
    let mut class = Class::of(2, Settings { history: 10, ..settings() });
    let (away, back) = (class.connect(), class.connect());
    class.join(away, "R");
    class.turn();
    let welcome: Value = serde_json::from_slice(frame::payload(&class.frames(away)[0])).unwrap();
    let token = &welcome["resultBody"]["extendFields"]["resumeToken"];
    class.wire(1).room = 0;
    for n in 0..15 {
        class.say(0, "R", &text(n, 300));
        class.turn();
    }
    class.now = class.now.after_ms(limits::QUIET_MS + 100);
    class.turn();
    let (held, buffer) = class.log_bytes();
    assert_eq!(held, buffer as u64);
    // The last who had not passed them does now, and somebody comes back, whom nobody hears of.
    class.make_room(1, ENDLESS);
    let data = json!({"from": {"id": away.to_string()}, "roomNumber": "R"});
    let shown = json!({"resumeToken": token, "lastSeq": 15});
    class.send(back, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}, "extendFields": shown}));
    class.turn();
    assert!(class.log_bytes().0 < held, "it is ten frames now");
    class.now = class.now.after_ms(limits::QUIET_MS + 100);
    class.turn();
    let (held, buffer) = class.log_bytes();
    assert_eq!(held, buffer as u64);
}

#[test]
fn rule_5_an_empty_room_keeps_its_frames_for_a_time_and_a_configured_one_its_series_for_ever() {
    let room = RoomSettings { number: "R".into(), name: "R".into(), ..RoomSettings::default() };
    let mut class = Class::of(1, Settings { empty_for_s: 60, configured: vec![room], ..settings() });
    class.leave(0, "R");
    class.turn();
    class.now = class.now.after_ms(50_000);
    class.turn();
    assert!(class.log_bytes().0 > 0);
    class.now = class.now.after_ms(20_000);
    class.turn();
    assert_eq!(class.log_bytes(), (0, 0));
    let next = class.connect();
    class.join(next, "R");
    class.turn();
    let output = class.wire(next).output.clone();
    assert!(String::from_utf8_lossy(&output).contains(r#""extendFields":{"seq":3,"#), "the series began anew");
}

// ---- 6. Seats that end --------------------------------------------------------------------------

#[test]
fn rule_6_a_slow_seat_is_given_the_rest_of_its_frame_and_then_the_close() {
    for taken in [0, 1, 4, 500, 1_300] {
        let mut class = Class::of(2, Settings { room_log_bytes: 65_536, ..settings() });
        class.wire(1).room = taken;
        for n in 0..100 {
            class.say(0, "R", &text(n, 1_000));
            class.turn();
        }
        class.make_room(1, ENDLESS);
        let read = class.read(1);
        let (last, frames) = read.split_last().unwrap();
        assert_eq!(last, "close 4002", "after {taken} bytes");
        assert_eq!(frames, numbered("R", 0..frames.len()));
        assert!(frames.len() <= 2 && (taken == 0) == frames.is_empty(), "{frames:?}");
    }
}

#[test]
fn rule_6_a_leaver_gets_everything_up_to_its_leave_and_nothing_after() {
    let mut class = Class::of(2, settings());
    class.wire(1).room = 50;
    class.say(0, "R", &text("before", 300));
    class.turn();
    class.leave(1, "R");
    class.say(0, "R", "after");
    class.turn();
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), ["R before", "left 1 left"]);
    assert_eq!(class.read(0), ["R before", "left 1 left", "R after"]);
}

#[test]
fn rule_6_many_leaves_in_a_turn_cost_everyone_else_one_write() {
    let mut class = Class::of(65, settings());
    class.wire(64).writes.clear();
    for member in 0..64 {
        class.frame(member, 0x88, &1000u16.to_be_bytes());
    }
    class.exchange.read_ready(class.now);
    class.exchange.finish(class.now);
    assert_eq!(class.wire(64).writes.len(), 1);
    assert_eq!(class.read(64).len(), 64);
}

// ---- 7. The own queue ---------------------------------------------------------------------------

#[test]
fn rule_7_replies_that_nobody_reads_have_a_bound() {
    let mut class = Class::of(2, Settings { room_log_bytes: 65_536, members_per_room: 4, ..settings() });
    class.wire(1).room = 0;
    let mut asked = 0;
    // Each second message is a good one, so that patience is not what ends.
    while class.exchange.hub().roster("R").unwrap().len() == 2 {
        class.send(1, json!([]));
        class.send(1, json!({"msgType": 1}));
        class.turn();
        asked += 1;
        assert!(class.exchange.owed_bytes() <= 65_536 + 1_024);
    }
    assert!(asked > 100, "closed after {asked} replies");
    assert!(class.exchange.owed_bytes() < 128, "what it would not read is kept");
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), ["close 4002"]);
    assert_eq!(class.read(0), ["left 1 slow"]);
}

#[test]
fn rule_7_one_frame_of_any_size_may_wait() {
    let mut class = Class::new(Options::default(), Settings { room_log_bytes: 65_536, ..settings() });
    for member in 0..500 {
        class.connect();
        let from = json!({"id": member.to_string(), "personName": text("n", 90), "headImgUrl": text("/", 250)});
        let data = json!({"from": from, "roomNumber": "R"});
        class.send(member, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}}));
        class.turn();
    }
    let late = class.connect();
    class.wire(late).room = 0;
    class.join(late, "R");
    class.turn();
    assert!(class.exchange.owed_bytes() > 65_536 * 2, "the roster is larger than the bound");
    class.say(0, "R", "after");
    class.turn();
    class.make_room(late, ENDLESS);
    assert_eq!(class.read(late), ["welcome R", "R after"]);
}

#[test]
fn rule_7_over_all_connections_the_one_that_is_owed_most_goes() {
    let options = Options { reply_bytes: 262_144, ..Options::default() };
    let mut class = Class::new(options, settings());
    for member in 0..4 {
        class.connect();
        class.join(member, "R");
    }
    class.turn();
    for member in 0..4 {
        class.read(member);
        class.wire(member).room = if member == 3 { ENDLESS } else { 0 };
    }
    let mut asked = 0;
    while class.exchange.hub().roster("R").unwrap().len() == 4 {
        asked += 1;
        for member in 0..3 {
            class.send(member, json!([]));
            class.send(member, json!({"msgType": 1}));
        }
        // This one asks for more than the others.
        class.send(1, json!([]));
        class.send(1, json!({"msgType": 1}));
        class.turn();
        assert!(asked < 10_000);
    }
    assert!(class.exchange.owed_bytes() <= 262_144);
    assert!(class.exchange.owed_bytes() > 100_000, "the others are kept");
    class.make_room(1, ENDLESS);
    assert_eq!(class.read(1), ["close 1013"]);
    assert_eq!(class.read(3), ["left 1 slow"]);
}
