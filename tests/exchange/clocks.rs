//! A board without a clock: what the date is, and that it jumps by years in the middle of a lesson, is told to people and changes nothing else.
//!
//! Owns: the same lesson under several dates, in virtual time. Refuses to know: tokens that end at a date, which is what they are for.

use classhub::hub::Settings;
use classhub::wire::frame;
use serde_json::{Value, json};

use super::class::{Class, settings};

/// 1970, the day of the hub's first release, a year that is far off, and the last that has four digits.
const DATES_MS: [u64; 4] = [0, 1_767_225_600_000, 4_000_000_000_000, 253_402_300_799_000];

/// What everybody read in a lesson, but for the times that it was told.
fn lesson(date_ms: impl Fn(usize) -> Option<u64>) -> Vec<Vec<Vec<u8>>> {
    let mut class = Class::new(Default::default(), Settings { linger_s: 5, empty_for_s: 60, ..settings() });
    let mut read = Vec::new();
    let mut steps = 0;
    let mut step = |class: &mut Class, after_ms: u64| {
        class.turn();
        if let Some(date_ms) = date_ms(steps) {
            class.now.wall_ms = date_ms;
        }
        steps += 1;
        class.sleep_until(class.now.monotonic_ms + after_ms);
        class.turn();
        read.push((0..class.members.len()).map(|member| without_times(class, member)).collect::<Vec<_>>().concat());
    };

    for member in 0..4 {
        assert_eq!(class.connect(), member);
        class.join(member, "R");
        step(&mut class, 10);
    }
    class.say(0, "R", "good morning");
    step(&mut class, 60_000);
    // One breaks off, lingers and is gone; one is kept out, for a minute.
    class.hang_up(3);
    step(&mut class, 2_000);
    step(&mut class, 10_000);
    let removed = json!({"roomNumber": "R", "id": "2", "forS": 60});
    class.send(0, json!({"msgType": 3, "textData": {"dataType": 5, "data": removed}}));
    step(&mut class, 30_000);
    class.join(2, "R");
    step(&mut class, 31_000);
    class.join(2, "R");
    step(&mut class, 1_000);
    // From here on nobody says anything but one, and is left alone; at last the room ends, and another begins under its name.
    for _ in 0..3 {
        class.frame(1, frame::TEXT, br#"{"msgType":1}"#);
        step(&mut class, 100_000);
    }
    step(&mut class, 300_000);
    let late = class.connect();
    class.join(late, "R");
    step(&mut class, 10);
    read
}

/// What a member read since the last look, each frame's time blanked.
fn without_times(class: &Class, member: usize) -> Vec<Vec<u8>> {
    let blanked = |bytes: Vec<u8>| match bytes[0] {
        frame::TEXT => {
            let mut value: Value = serde_json::from_slice(frame::payload(&bytes)).expect("the hub speaks JSON");
            blank(&mut value);
            value.to_string().into_bytes()
        }
        _ => bytes,
    };
    class.frames(member).into_iter().map(blanked).collect()
}

fn blank(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "time" || name == "createTime" {
                    *value = Value::Null;
                } else {
                    blank(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(blank),
        _ => {}
    }
}

#[test]
fn a_lesson_is_the_same_in_1970_and_whatever_the_date_does_meanwhile() {
    let usual = lesson(|_| None);
    let all = usual.concat().concat();
    let all = String::from_utf8_lossy(&all);
    for part in ["good morning", "Join successfully", "\"reason\":\"lost\"", "\"code\":\"removed\"", "newLeaveMember"] {
        assert!(all.contains(part), "the lesson has no {part}: {all}");
    }
    // It stands still, it goes to and fro between them, and it only goes back.
    for date_ms in DATES_MS {
        assert!(lesson(|_| Some(date_ms)) == usual, "it is {date_ms} all the time");
    }
    assert!(lesson(|step| Some(DATES_MS[step % 4])) == usual, "it jumps forward by years");
    assert!(lesson(|step| Some(DATES_MS[3 - step % 4])) == usual, "it jumps back by years");
}

#[test]
fn the_date_is_told_as_it_is_at_the_moment() {
    let mut class = Class::of(1, settings());
    for date_ms in [DATES_MS[2], DATES_MS[0], DATES_MS[3], DATES_MS[1]] {
        class.now.wall_ms = date_ms;
        class.say(0, "R", "what year is it");
        class.turn();
        let [said] = &class.frames(0)[..] else { panic!("one frame") };
        let said: Value = serde_json::from_slice(frame::payload(said)).expect("the hub speaks JSON");
        // A turn is a millisecond.
        assert_eq!(said["resultBody"]["extendFields"]["time"], date_ms + 1);
    }
}
