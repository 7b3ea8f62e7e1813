//! Other rooms, and more or fewer of everything that has a table.
//!
//! Owns: what a change means to rooms and their owners, and to who fits in. Refuses to know: what is asked of those who come.

use std::net::{IpAddr, Ipv4Addr};

use classhub::hub::{RoomSettings, Settings};
use classhub::limits;
use classhub::net::exchange::{Options, TurnedAway};
use serde_json::json;

use super::super::class::{Class, numbered, settings};
use super::{configured, passcode, room, teacher};

// ---- Rooms --------------------------------------------------------------------------------------

#[test]
fn what_is_as_it_was_is_told_to_nobody() {
    let same = configured([RoomSettings { owner: teacher("王"), passcode: passcode("瓜"), ..room("Q") }]);
    let mut class = Class::of(3, same.clone());
    let deadline_ms = class.exchange.next_deadline_ms();
    for _ in 0..10 {
        class.wire(0).writes.clear();
        class.apply(same.clone());
        assert!(class.wire(0).writes.is_empty());
    }
    assert_eq!((class.rooms(), class.exchange.next_deadline_ms()), (2, deadline_ms));
    class.say(0, "R", "0");
    class.turn();
    assert_eq!(class.read(2), ["R 0"]);
}

#[test]
fn a_room_that_is_configured_while_a_class_is_in_it_keeps_the_class() {
    let mut class = Class::of(2, settings());
    let before = class.room(0, "R");
    let other = RoomSettings { name: "物理".into(), desc: "d".into(), passcode: passcode("瓜"), ..room("R") };
    class.apply(configured([other]));
    // Everyone sees what it is called now; the rest is as it was.
    let told = class.replies(1).remove(0);
    assert_eq!(told["msg"], "Rule successfully");
    let data = &told["resultBody"]["textData"]["data"];
    assert_eq!((&data["name"], &data["desc"], &data["owner"]), (&json!("物理"), &json!("d"), &before["owner"]));
    assert_eq!((&data["createTime"], &data["locked"]), (&before["createTime"], &json!(false)));
    assert_eq!(class.read(0), ["rule 物理"]);
    class.say(1, "R", "0");
    class.turn();
    assert_eq!((class.read(0), class.read(1)), (numbered("R", 0..1), numbered("R", 0..1)));
    assert_eq!(class.come_in("new", "R"), "passcode");
    assert_eq!(class.come_with("new", "R", json!({"passcode": "瓜"})).1, "welcome R");
    // And it is always there.
    for member in [0, 1, 3] {
        class.frame(member, 0x88, &[]);
    }
    class.turn();
    class.sleep(3_600_000);
    assert_eq!(class.exchange.hub().roster("R"), Some(vec![]));
}

#[test]
fn a_room_that_is_configured_no_longer_ends_as_one_that_was_made_and_is_guarded_until_then() {
    let guarded = RoomSettings { passcode: passcode("瓜"), name: "物理".into(), ..room("R") };
    let mut class = Class::new(Options::default(), configured([guarded.clone(), room("Q")]));
    let (member, told) = class.come_with("0", "R", json!({"passcode": "瓜"}));
    assert_eq!(told, "welcome R");
    class.sleep(120_000);
    class.beat(member);
    class.apply(configured([]));
    assert_eq!(class.read(member), [""; 0], "it is told nothing");
    assert_eq!(class.come_in("new", "R"), "passcode");
    assert_eq!(class.room(member, "R")["name"], "物理");
    // The one where nobody is has stood empty for two minutes of ten.
    class.sleep(470_000);
    assert_eq!(class.exchange.hub().roster("Q"), Some(vec![]));
    class.sleep(20_000);
    assert_eq!(class.exchange.hub().roster("Q"), None);
    // The other's ten minutes begin when its last member goes, and by then it is gone.
    assert_eq!(class.exchange.hub().roster("R"), Some(vec![]));
    class.sleep(600_000);
    assert_eq!((class.rooms(), class.come_in("new", "R")), (0, "welcome R".into()));
    // Configured anew, it is what the configuration says again.
    class.apply(configured([guarded]));
    assert_eq!(class.come_in("newer", "R"), "passcode");
}

#[test]
fn an_owner_owns_until_its_seat_ends_and_another_word_counts_at_the_next_join() {
    let of =
        |owner_passcode| RoomSettings { owner: teacher("王"), owner_passcode: passcode(owner_passcode), ..room("R") };
    let mut class = Class::new(Options::default(), configured([of("old")]));
    let (owner, _) = class.come_with("T", "R", json!({"ownerPasscode": "old"}));
    class.come_in("0", "R");
    let rule = |class: &mut Class, member: usize| {
        let data = json!({"roomNumber": "R", "quiet": false});
        class.send(member, json!({"msgType": 3, "textData": {"dataType": 4, "data": data}}));
        class.turn();
        class.read(member).join(", ")
    };
    class.read(owner);
    class.apply(configured([of("new")]));
    assert_eq!(rule(&mut class, owner), "rule R");
    class.leave(owner, "R");
    class.turn();
    assert_eq!(class.come_with("T", "R", json!({"ownerPasscode": "old"})).1, "passcode");
    let (owner, told) = class.come_with("T", "R", json!({"ownerPasscode": "new"}));
    assert_eq!((told.as_str(), rule(&mut class, owner)), ("welcome R", "rule R".into()));
}

#[test]
fn an_owner_whose_word_is_good_no_longer_gets_nothing_back_by_the_token_of_its_seat() {
    let of = |owner_passcode| RoomSettings { owner_passcode: passcode(owner_passcode), ..room("R") };
    for (word, owns) in [("old", true), ("new", false)] {
        let mut class = Class::new(Options::default(), configured([of("old")]));
        let owner = class.connect();
        let data = json!({"from": {"id": "0"}, "roomNumber": "R"});
        let shown = json!({"ownerPasscode": "old"});
        class.send(owner, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}, "extendFields": shown}));
        class.turn();
        let token = class.replies(owner).remove(0)["resultBody"]["extendFields"]["resumeToken"].clone();
        class.come_in("1", "R");
        class.apply(configured([of(word)]));
        class.leave(owner, "R");
        class.turn();
        let (again, told) = class.come_with("0", "R", json!({"resumeToken": token}));
        assert_eq!(told, "welcome R");
        let data = json!({"roomNumber": "R", "quiet": true});
        class.send(again, json!({"msgType": 3, "textData": {"dataType": 4, "data": data}}));
        class.turn();
        assert_eq!(class.read(again), [if owns { "rule R" } else { "not_owner" }], "{word}");
    }
}

#[test]
fn another_owner_is_shown_where_no_owner_is_here() {
    let of = |name| configured([RoomSettings { owner: teacher(name), ..room("R") }]);
    let mut class = Class::new(Options::default(), of("王"));
    let (member, _) = class.come_with("0", "R", json!({}));
    assert_eq!(class.room(member, "R")["owner"]["personName"], "王");
    class.apply(of("李"));
    assert_eq!(class.read(member), ["rule R"]);
    assert_eq!(class.room(member, "R")["owner"]["personName"], "李");
    let (owner, _) = class.come_with("T", "R", json!({}));
    class.read(member);
    class.apply(of("赵"));
    assert_eq!(class.read(member), [""; 0], "who owns it is here, and says itself what it is called");
    class.leave(owner, "R");
    class.turn();
    assert_eq!(class.room(member, "R")["owner"]["id"], "T");
}

#[test]
fn fewer_rooms_end_the_empty_ones_and_let_nobody_make_another() {
    let mut class = Class::of(1, Settings { rooms_per_connection: 8, ..settings() });
    for n in 0..6 {
        class.join(0, &format!("M{n}"));
    }
    class.turn();
    for n in 0..3 {
        class.leave(0, &format!("M{n}"));
        class.turn();
    }
    class.read(0);
    assert_eq!(class.rooms(), 7);
    class.apply(Settings { rooms: 6, rooms_per_connection: 8, ..settings() });
    assert_eq!((class.rooms(), class.exchange.hub().roster("M0")), (6, None), "the one that was empty longest");
    class.apply(Settings { rooms: 2, rooms_per_connection: 8, ..settings() });
    assert_eq!((class.rooms(), class.come_in("new", "N")), (4, "hub_full".into()));
    for n in 3..6 {
        assert_eq!(class.come_in("new", "N"), "hub_full", "{n}");
        class.leave(0, &format!("M{n}"));
        class.turn();
    }
    assert_eq!((class.come_in("new", "N"), class.rooms()), ("welcome N".into(), 2));
    class.apply(Settings { rooms: 3, ..settings() });
    assert_eq!((class.come_in("newer", "O"), class.rooms()), ("welcome O".into(), 3));
}

#[test]
fn a_configured_room_is_there_though_every_place_is_taken() {
    let of = |rooms: &[&str]| Settings {
        rooms: 2,
        ..configured(rooms.iter().map(|number| room(number)).collect::<Vec<_>>())
    };
    let mut class = Class::new(Options::default(), of(&[]));
    let (member, _) = class.come_with("0", "R", json!({}));
    class.join(member, "S");
    class.turn();
    class.apply(of(&["A", "B"]));
    assert_eq!(
        (class.rooms(), class.come_in("a", "A"), class.come_in("b", "B")),
        (4, "welcome A".into(), "welcome B".into())
    );
    assert_eq!(class.come_in("c", "C"), "hub_full");
    // Now they are in use and not wanted, and others are wanted.
    class.apply(of(&["D", "E"]));
    assert_eq!((class.rooms(), class.come_in("d", "D")), (6, "welcome D".into()));
    // One that is empty makes room for one that is wanted.
    class.leave(member, "S");
    class.turn();
    class.apply(of(&["D", "F"]));
    assert_eq!(
        (class.rooms(), class.exchange.hub().roster("S").is_some(), class.come_in("f", "F")),
        (5, false, "welcome F".into())
    );
    class.say(member, "R", "0");
    class.turn();
    assert_eq!(class.read(member).last().unwrap(), "R 0");
}

#[test]
fn rooms_are_made_on_demand_or_not_from_now_on() {
    let mut class = Class::of(1, settings());
    class.apply(Settings { auto_create: false, ..settings() });
    assert_eq!((class.come_in("a", "Q"), class.come_in("a", "R")), ("no_such_room".into(), "welcome R".into()));
    class.apply(settings());
    assert_eq!(class.come_in("a", "Q"), "welcome Q");
}

#[test]
fn an_empty_room_is_kept_for_as_long_as_the_latest_word_says() {
    let mut class = Class::of(1, settings());
    class.leave(0, "R");
    class.turn();
    class.sleep(100_000);
    class.apply(Settings { empty_for_s: 200, ..settings() });
    class.sleep(99_000);
    assert_eq!(class.rooms(), 1);
    class.beat(0);
    class.apply(Settings { empty_for_s: 10, ..settings() });
    class.sleep(1_000);
    assert_eq!(class.rooms(), 0);
}

// ---- Tables -------------------------------------------------------------------------------------

#[test]
fn fewer_connections_send_nobody_away_and_more_let_more_in() {
    let of = |connections| Options { connections, ..Options::default() };
    let mut class = Class::new(of(5), settings());
    for member in 0..5 {
        let member = class.come_with(&member.to_string(), "R", json!({})).0;
        assert_eq!(member, class.members.len() - 1);
    }
    class.apply_all(of(2), settings());
    for _ in 0..3 * limits::SPARE_CONNECTIONS {
        assert_eq!(class.knock_in_vain(), TurnedAway::Full);
    }
    for member in 0..4 {
        assert_eq!(class.knock_in_vain(), TurnedAway::Full, "{member} have gone");
        class.frame(member, 0x88, &[]);
        class.turn();
        class.hang_up(member);
        class.turn();
    }
    class.read(4);
    assert_eq!(class.come_in("new", "R"), "welcome R");
    assert_eq!(class.knock_in_vain(), TurnedAway::Full);
    assert_eq!(class.read(4), ["joined new"]);
    class.apply_all(of(40), settings());
    for n in 0..38 {
        assert_eq!(class.come_in(&format!("more {n}"), "R"), "welcome R");
    }
    assert_eq!(class.knock_in_vain(), TurnedAway::Full);
}

impl Class {
    fn knock_in_vain(&mut self) -> TurnedAway {
        let socket = self.socket();
        self.exchange.accept(self.now, socket, self.address).1.expect_err("it is full")
    }
}

#[test]
fn an_address_may_have_fewer_connections_and_keeps_those_that_it_has() {
    let of = |connections_per_ip| Options { connections_per_ip, ..Options::default() };
    let mut class = Class::of(3, settings());
    class.apply_all(of(2), settings());
    assert_eq!(class.knock_in_vain(), TurnedAway::AddressFull);
    class.address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(class.come_in("far", "R"), "welcome R");
    class.apply_all(of(0), settings());
    class.address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(class.come_in("near", "R"), "welcome R");
}

#[test]
fn smaller_rooms_and_fewer_of_them_for_each_count_for_whoever_comes() {
    let mut class = Class::of(3, settings());
    for number in ["A", "B", "C"] {
        class.join(0, number);
    }
    class.turn();
    class.apply(Settings { members_per_room: 2, rooms_per_connection: 2, ..settings() });
    assert_eq!(class.come_in("new", "R"), "room_full");
    class.read(0);
    class.join(0, "D");
    class.turn();
    assert_eq!(class.read(0), ["too_many_rooms"]);
    for member in [1, 2] {
        class.leave(member, "R");
    }
    class.turn();
    assert_eq!((class.come_in("new", "R"), class.come_in("newer", "R")), ("welcome R".into(), "room_full".into()));
    class.apply(Settings { members_per_room: 1000, rooms_per_connection: 5, ..settings() });
    for n in 0..100 {
        assert_eq!(class.come_in(&format!("more {n}"), "R"), "welcome R");
    }
    class.read(0);
    class.join(0, "D");
    class.turn();
    assert_eq!(class.read(0), ["welcome D"]);
}
