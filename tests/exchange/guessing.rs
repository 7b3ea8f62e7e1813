//! Who guesses, minute by minute (PROTOCOL.md, Authentication).
//!
//! Owns: when an address has guessed too often, for how long, and who there is not held up. Refuses to know: what else a join may be refused for.

use std::net::{IpAddr, Ipv4Addr};

use classhub::hub::{Claims, Passcode, RoomSettings, Settings, TokenKey};
use classhub::limits;
use classhub::net::exchange::Options;
use serde_json::{Value, json};

use super::class::{Class, settings};

/// A class before a room with a passcode, and with an owner's.
fn class() -> Class {
    let word = |word: &str| Some(Passcode(word.to_owned()));
    let room = RoomSettings {
        number: "R".into(),
        name: "R".into(),
        passcode: word("melon"),
        owner_passcode: word("sesame"),
        ..RoomSettings::default()
    };
    Class::new(Options::default(), Settings { configured: vec![room], linger_s: 3600, ..settings() })
}

impl Class {
    /// What a newcomer is told who shows this, at the address where the class is now.
    fn try_to_join(&mut self, shown: &Value) -> String {
        let member = self.connect();
        self.show(member, shown);
        self.read(member).remove(0)
    }

    fn show(&mut self, member: usize, shown: &Value) {
        let data = json!({"from": {"id": member.to_string()}, "roomNumber": "R"});
        self.send(member, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}, "extendFields": shown}));
        self.turn();
    }

    /// Shows so many that are wrong, a connection each. Says how often one was looked at.
    fn guess(&mut self, times: usize) -> usize {
        (0..times).filter(|n| self.try_to_join(&json!({"passcode": n.to_string()})) == "passcode").count()
    }

    fn skip(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms);
    }

    fn move_to(&mut self, last: u8) {
        self.address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    }
}

fn right() -> Value {
    json!({"passcode": "melon"})
}

#[test]
fn twenty_are_free_and_then_one_every_three_seconds() {
    let mut class = class();
    assert_eq!(class.guess(20), 20);
    assert_eq!(class.guess(100), 0, "over however many connections");
    assert_eq!(class.try_to_join(&right()), "rate_limited");
    // Each turn above was a millisecond; what came in vain has not put it off.
    let held_until_ms = class.now.monotonic_ms + 3_000;
    class.skip(3_000);
    assert_eq!(class.guess(5), 1);
    assert_eq!(class.try_to_join(&right()), "rate_limited");
    assert!(class.now.monotonic_ms < held_until_ms + 3_000);
    class.skip(3_000);
    // Who is right costs nothing, and a whole class behind this address gets in.
    for _ in 0..40 {
        assert_eq!(class.try_to_join(&right()), "welcome R");
    }
    assert_eq!(class.guess(2), 1);
    class.skip(60_000);
    assert_eq!(class.guess(30), 20, "a minute later");
}

#[test]
fn nobody_is_held_up_for_longer_than_three_seconds() {
    let mut class = class();
    assert_eq!(class.guess(20), 20);
    let last_ms = class.now.monotonic_ms;
    let mut tries = 0;
    while class.try_to_join(&right()) == "rate_limited" {
        tries += 1;
        class.skip(100);
    }
    assert!(class.now.monotonic_ms - last_ms <= 3_100 && tries > 20, "{tries}");
}

#[test]
fn another_address_and_another_room_are_not_concerned() {
    let mut class = class();
    class.move_to(1);
    assert_eq!(class.guess(21), 20);
    let member = class.connect();
    class.join(member, "Q");
    class.turn();
    assert_eq!(class.read(member), ["welcome Q"], "nobody asks for anything there");
    class.move_to(2);
    assert_eq!(class.try_to_join(&right()), "welcome R");
    assert_eq!(class.guess(21), 20);
}

#[test]
fn nothing_shown_is_no_guess() {
    let mut class = class();
    for _ in 0..100 {
        assert_eq!(class.try_to_join(&json!({"passcode": null, "ownerPasscode": ""})), "passcode");
    }
    assert_eq!(class.guess(21), 20);
}

#[test]
fn a_resume_is_never_held_and_is_no_way_to_guess() {
    let mut class = class();
    let member = class.connect();
    class.show(member, &right());
    let reply: Value = serde_json::from_slice(classhub::wire::frame::payload(&class.frames(member)[0])).unwrap();
    let seat = reply["resultBody"]["extendFields"]["resumeToken"].clone();
    let resume = |class: &mut Class, word: Option<&str>| {
        let again = class.connect();
        let data = json!({"from": {"id": member.to_string()}, "roomNumber": "R"});
        let shown = json!({"resumeToken": seat, "ownerPasscode": word});
        class.send(again, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}, "extendFields": shown}));
        class.turn();
        let told = class.read(again).remove(0);
        // Whether it owns the room shows in whether it may say what holds.
        let rule = json!({"roomNumber": "R", "quiet": false});
        class.send(again, json!({"msgType": 3, "textData": {"dataType": 4, "data": rule}}));
        class.turn();
        (told, class.read(again).remove(0) != "not_owner")
    };
    let somebody = class.connect();
    class.show(somebody, &json!({"ownerPasscode": "sesame"}));
    // Its seat is its own, whatever it shows beside it; but what it shows is counted.
    for n in 0..20 {
        assert_eq!(resume(&mut class, Some(&n.to_string())), ("welcome R".to_owned(), false));
    }
    assert_eq!(class.try_to_join(&right()), "rate_limited");
    assert_eq!(resume(&mut class, Some("sesame")), ("welcome R".to_owned(), false), "not looked at");
    assert_eq!(resume(&mut class, None), ("welcome R".to_owned(), false));
    class.skip(3_000);
    assert_eq!(resume(&mut class, Some("sesame")), ("welcome R".to_owned(), true));
}

/// A client that does not listen is not answered for ever: what is refused for a rate is counted, whatever the rate is of.
#[test]
fn whoever_goes_on_all_the_same_is_sent_away() {
    let mut class = class();
    class.guess(20);
    let member = class.connect();
    for _ in 0..limits::REFUSALS {
        class.show(member, &right());
    }
    let told = class.read(member);
    assert_eq!(told.len(), usize::from(limits::REFUSALS) + 1);
    assert_eq!(told.last().map(String::as_str), Some("close 1008"));
}

#[test]
fn a_clock_that_was_never_set_judges_no_end() {
    let key = TokenKey::new("a secret");
    let mut class = Class::new(Options::default(), Settings { token_key: Some(key.clone()), ..settings() });
    let sign = |exp| json!({"token": key.sign(&Claims { sub: "0".into(), exp, ..Claims::default() })});
    let member = class.connect();
    class.now.wall_ms = limits::BUILT_S * 1000 - 10;
    class.show(member, &sign(Some(i64::MAX)));
    assert_eq!(class.read(member), ["token"]);
    class.show(member, &sign(None));
    assert_eq!(class.read(member), ["welcome R"]);
    class.leave(member, "R");
    class.turn();
    class.read(member);
    // Then somebody sets it.
    class.now.wall_ms = limits::BUILT_S * 1000;
    class.show(member, &sign(Some(limits::BUILT_S as i64)));
    assert_eq!(class.read(member), ["token"]);
    class.show(member, &sign(Some(limits::BUILT_S as i64 + 1)));
    assert_eq!(class.read(member), ["welcome R"]);
}
