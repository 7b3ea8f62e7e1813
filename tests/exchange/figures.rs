//! What an operator is told of members who do not read: how far they lag, and that nothing is counted as delivered that was not.

use classhub::host::metrics::Figures;
use classhub::hub::Settings;
use classhub::wire::CloseReason;
use serde_json::Value;

use super::class::{Class, ENDLESS, settings, text};

fn figures(class: &Class) -> Figures {
    class.exchange.figures(class.now)
}

#[test]
fn the_slowest_member_is_told_of_until_it_has_caught_up() {
    let mut class = Class::of(3, settings());
    let before = figures(&class).tally.deliveries;
    class.wire(1).room = 0;
    class.wire(2).room = 1500;
    for n in 0..3 {
        class.say(0, "R", &text(n, 1000));
        class.turn();
    }
    let frame_bytes = class.frames(0)[0].len() as u64;
    let lagging = figures(&class);
    assert_eq!((lagging.census.lagging, lagging.census.lag_bytes), (2, 3 * frame_bytes));
    // The third has one whole frame, and half of another.
    assert_eq!(lagging.tally.deliveries - before, 3 + 1);
    class.make_room(1, ENDLESS);
    let half = figures(&class);
    assert_eq!((half.census.lagging, half.census.lag_bytes), (1, 3 * frame_bytes - 1500));
    assert_eq!(half.tally.deliveries - before, 3 + 3 + 1);
    class.make_room(2, ENDLESS);
    let none = figures(&class);
    assert_eq!((none.census.lagging, none.census.lag_bytes), (0, 0));
    assert_eq!(none.tally.deliveries - before, 9);
}

/// What was said in this turn has not been offered to anybody, and nobody lags for that.
#[test]
fn nobody_lags_for_what_was_not_offered() {
    let mut class = Class::of(2, settings());
    class.say(0, "R", &text(0, 1000));
    class.exchange.read_ready(class.now);
    assert_eq!(figures(&class).census.lagging, 0);
    assert_eq!(figures(&class).tally.messages, 3);
}

#[test]
fn who_is_let_go_is_counted_by_limit_and_its_room_is_counted_on() {
    let small = Settings { room_log_bytes: 65_536, empty_for_s: 1, ..settings() };
    let mut class = Class::of(2, small);
    class.wire(1).room = 100;
    for n in 0..80 {
        class.say(0, "R", &text(n, 1000));
        class.turn();
    }
    let slow = figures(&class);
    assert_eq!(slow.traffic.closes[CloseReason::TooSlow.place()], 1);
    // One had its own join's reply, the other's join, and then 80 messages and the leave. The other had none whole: what is left of the one that it
    // is in goes to its own queue, and so it is handed one.
    assert_eq!(slow.tally.deliveries, 1 + 80 + 1 + 1);
    class.leave(0, "R");
    class.turn();
    class.now = class.now.after_ms(5_000);
    class.turn();
    let ended = figures(&class);
    assert_eq!(
        (ended.census.rooms, ended.tally.deliveries),
        (0, slow.tally.deliveries + 1),
        "a room's count outlives it"
    );
    assert_eq!((ended.census.log_bytes, ended.census.log_buffer_bytes), (0, 0));
}

/// In whatever portions sockets take it, each member is counted every whole frame that it was given, and no other.
#[test]
fn deliveries_are_the_frames_that_members_read() {
    let mut class = Class::of(4, settings());
    let before = figures(&class).tally.deliveries;
    let mut random = 7_u32;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    for member in 1..4 {
        class.wire(member).room = 0;
    }
    for n in 0..400 {
        match next(4) {
            0 => class.say(0, "R", &text(n, 200 + next(2000) as usize)),
            // Its reply goes behind all that it is owed.
            1 => class.say(1 + next(3) as usize, "nowhere", "refused"),
            _ => class.make_room(1 + next(3) as usize, next(3000) as usize),
        }
        class.turn();
    }
    for member in 1..4 {
        class.make_room(member, ENDLESS);
    }
    let is_of_room = |frame: &Vec<u8>| {
        let reply: Value = serde_json::from_slice(classhub::wire::frame::payload(frame)).expect("JSON");
        reply["resultBody"]["extendFields"]["seq"].is_u64()
    };
    let read: usize = (0..4).map(|member| class.frames(member).iter().filter(|frame| is_of_room(frame)).count()).sum();
    let after = figures(&class);
    assert_eq!(after.tally.deliveries - before, read as u64);
    assert!(read > 200, "only {read} frames");
    assert_eq!((after.census.lag_bytes, after.owed_bytes, after.traffic.closes.iter().sum::<u64>()), (0, 0, 0));
}
