//! Coming back: resume, linger and probe, in virtual time.
//!
//! Owns: what a member who was away is told, and what the room hears of it, for any history. Refuses to know: how tokens are made.

use std::collections::BTreeMap;

use classhub::base::TICK_MS;
use classhub::hub::Settings;
use classhub::net::exchange::Options;
use classhub::wire::frame;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::class::{Class, ENDLESS, settings, text};

fn lingering() -> Settings {
    // Nobody here beats.
    Settings { heartbeat_interval_s: 86_400, linger_s: 5, probe_s: 3, ..settings() }
}

impl Class {
    /// Asks for a seat in room `R`, with what is shown of an earlier one.
    fn come(&mut self, member: usize, id: &str, shown: Value) {
        let data = json!({"from": {"id": id, "nickName": member.to_string()}, "roomNumber": "R"});
        let types = json!({"dataType": 1, "data": data});
        self.send(member, json!({"msgType": 2, "textData": types, "extendFields": shown}));
        self.turn();
    }

    /// Comes on a new connection and says what the hub answers: which connection that is, and the answer.
    fn come_anew(&mut self, id: &str, shown: Value) -> (usize, Value) {
        let member = self.connect();
        self.come(member, id, shown);
        let reply = self.replies(member).remove(0);
        (member, reply)
    }

    /// What the hub said, as JSON.
    pub fn replies(&self, member: usize) -> Vec<Value> {
        self.frames(member).iter().map(|bytes| serde_json::from_slice(frame::payload(bytes)).unwrap()).collect()
    }

    fn cut(&mut self, member: usize) {
        self.hang_up(member);
        self.turn();
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after_ms(ms - 1);
        self.turn();
    }

    fn roster(&self) -> Vec<Value> {
        let roster = self.exchange.hub().roster("R").unwrap_or_default();
        roster.iter().map(|member| serde_json::from_str(member).unwrap()).collect()
    }
}

fn extend(reply: &Value) -> &Value {
    &reply["resultBody"]["extendFields"]
}

fn token(reply: &Value) -> Value {
    let token = &extend(reply)["resumeToken"];
    assert!(token.is_string(), "{reply}");
    token.clone()
}

fn members(reply: &Value) -> Option<&Vec<Value>> {
    reply["resultBody"]["textData"]["data"]["members"].as_array()
}

fn is_duplicate(reply: &Value) -> bool {
    reply.get("code").is_none() && reply["status"] == 0
}

// ---- Resume -------------------------------------------------------------------------------------

#[test]
fn a_seat_is_taken_over_by_its_token_and_the_room_sees_nothing() {
    let mut class = Class::of(1, lingering());
    let (first, reply) = class.come_anew("a", json!({}));
    let (shown, seq) = (token(&reply), extend(&reply)["seq"].clone());
    assert_eq!(class.read(0), ["joined a"]);
    class.say(0, "R", "one");
    class.turn();
    assert_eq!(class.read(first), ["R one"]);
    // The new connection stands while the old one does.
    let (second, reply) = class.come_anew("a", json!({"resumeToken": shown, "lastSeq": seq, "ref": "r"}));
    assert_eq!(members(&reply), None);
    assert_eq!((&extend(&reply)["seq"], &extend(&reply)["ref"]), (&seq, &json!("r")));
    assert_eq!(token(&reply), shown, "a resume does not change it");
    assert_eq!(
        reply["resultBody"]["textData"]["data"]["newJoinMember"]["nickName"],
        first.to_string(),
        "as first joined"
    );
    assert_eq!(class.read(first), ["close 4001"]);
    // What the old one says is not heard, and the new one has the seat.
    class.say(first, "R", "ghost");
    class.say(second, "R", "two");
    class.turn();
    assert_eq!(class.read(0), ["R one", "R two"]);
    assert_eq!(class.read(second), ["R two"]);
}

#[test]
fn the_replay_stands_behind_the_reply_and_before_what_comes() {
    let mut class = Class::of(1, lingering());
    let (away, reply) = class.come_anew("a", json!({}));
    class.cut(away);
    for n in 0..3 {
        class.say(0, "R", &n.to_string());
        class.turn();
    }
    let back = class.connect();
    class.say(0, "R", "3");
    class.come(back, "a", json!({"resumeToken": token(&reply), "lastSeq": extend(&reply)["seq"]}));
    class.say(0, "R", "4");
    class.turn();
    let said = class.read(back);
    assert_eq!(said[1..], ["R 0", "R 1", "R 2", "R 3", "R 4"]);
    assert!(said[0].starts_with("joined"), "{said:?}");
}

#[test]
fn the_other_seats_of_a_connection_that_was_taken_over_linger() {
    let mut class = Class::of(1, lingering());
    let (first, reply) = class.come_anew("a", json!({}));
    class.send(
        first,
        json!({"msgType": 2, "textData": {"dataType": 1, "data": {"from": {"id": "a"}, "roomNumber": "S"}}}),
    );
    class.turn();
    class.read(first);
    class.read(0);
    class.join(0, "S");
    class.turn();
    class.read(0);
    class.come_anew("a", json!({"resumeToken": token(&reply)}));
    assert_eq!(class.read(first), ["joined 0", "close 4001"]);
    class.pass(5_000 - 64);
    assert_eq!(class.read(0), [""; 0]);
    class.pass(64 + TICK_MS);
    assert_eq!(class.read(0), ["left a lost"]);
    assert_eq!(class.exchange.hub().roster("R").unwrap().len(), 2);
    assert_eq!(class.exchange.hub().roster("S").unwrap().len(), 1);
}

#[test]
fn a_connection_that_is_taken_over_inside_a_frame_is_sent_the_rest_of_it() {
    let mut class = Class::of(1, lingering());
    let (first, reply) = class.come_anew("a", json!({}));
    class.wire(first).room = 400;
    class.say(0, "R", &text("long", 1_000));
    class.turn();
    class.say(0, "R", "never read");
    class.turn();
    class.come_anew("a", json!({"resumeToken": token(&reply)}));
    class.make_room(first, ENDLESS);
    assert_eq!(class.read(first), ["R long", "close 4001"]);
}

#[test]
fn who_breaks_off_in_mid_replay_misses_nothing_the_next_time() {
    let mut class = Class::of(1, lingering());
    let (mut away, reply) = class.come_anew("a", json!({}));
    let shown = token(&reply);
    let mut seen = extend(&reply)["seq"].as_u64().unwrap();
    class.cut(away);
    for n in 0..60 {
        class.say(0, "R", &text(n, 300));
        class.turn();
    }
    let mut heard = Vec::new();
    for room in [300, 1_000, 1_001, 5_000, 9_999, ENDLESS] {
        away = class.connect();
        class.wire(away).room = room;
        class.come(away, "a", json!({"resumeToken": shown, "lastSeq": seen}));
        // All that came whole counts as seen.
        let mut output = std::mem::take(&mut class.wire(away).output);
        while output.len() > 4 && output.len() >= frame::length(&output) {
            let rest = output.split_off(frame::length(&output));
            let reply: Value = serde_json::from_slice(frame::payload(&output)).unwrap();
            output = rest;
            if reply["msg"] == "Chat successfully" {
                seen = extend(&reply)["seq"].as_u64().unwrap();
                heard.push(seen);
            } else {
                assert_eq!(extend(&reply)["seq"], seen);
                assert_eq!(extend(&reply).get("gap"), None);
            }
        }
        class.cut(away);
    }
    assert_eq!(heard, (3..63).collect::<Vec<u64>>());
}

#[test]
fn the_token_of_a_seat_that_has_ended_replays_into_a_new_one() {
    let mut class = Class::of(1, lingering());
    let (away, reply) = class.come_anew("a", json!({}));
    let (shown, seq) = (token(&reply), extend(&reply)["seq"].clone());
    class.cut(away);
    class.pass(6_000);
    class.say(0, "R", "while away");
    class.turn();
    let (back, reply) = class.come_anew("a", json!({"resumeToken": shown, "lastSeq": seq}));
    assert_eq!((members(&reply), &extend(&reply)["seq"]), (None, &seq));
    assert_ne!(token(&reply), shown, "it is another seat");
    assert_eq!(class.read(0), ["joined a", "left a lost", "R while away", "joined a"]);
    // The first of these came with the reply and is gone with it: the rest of a turn's frames.
    assert_eq!(class.read(back), [""; 0]);
    // Now the old token is of a seat that another has: a duplicate.
    let (_, reply) = class.come_anew("a", json!({"resumeToken": shown, "lastSeq": seq}));
    assert!(is_duplicate(&reply), "{reply}");
}

#[test]
fn a_class_that_is_gone_for_a_minute_of_talk_misses_nothing() {
    let mut class = Class::of(1, lingering());
    let mut away = Vec::new();
    for n in 0..40 {
        let (member, reply) = class.come_anew(&format!("m{n}"), json!({}));
        away.push((n, member, token(&reply), extend(&reply)["seq"].clone()));
    }
    for (_, member, ..) in &away {
        class.hang_up(*member);
    }
    class.turn();
    class.read(0);
    let mut heard = Vec::new();
    for second in 0..60 {
        class.say(0, "R", &format!("second {second}"));
        class.pass(1_000);
        heard.extend(class.read(0));
    }
    let left = heard.iter().filter(|word| word.starts_with("left m") && word.ends_with(" lost")).count();
    assert_eq!((left, heard.len()), (40, 100), "{heard:?}");
    for (n, _, shown, seq) in away {
        let member = class.connect();
        class.come(member, &format!("m{n}"), json!({"resumeToken": shown, "lastSeq": seq}));
        // The joins of those who came after it, the minute, and the joins of those who were back before it; its own is the last.
        let frames = class.replies(member);
        assert_eq!(extend(&frames[0]).get("gap"), None);
        let seqs: Vec<u64> = frames[1..].iter().map(|frame| extend(frame)["seq"].as_u64().unwrap()).collect();
        let first = seq.as_u64().unwrap() + 1;
        assert_eq!(seqs, (first..first + seqs.len() as u64).collect::<Vec<_>>());
        assert_eq!(seqs.last(), Some(&(1 + 40 + 100 + n + 1)));
        assert_eq!(class.read(0), [format!("joined m{n}")]);
    }
}

#[test]
fn a_connection_that_shows_the_token_of_its_own_seat_is_a_duplicate() {
    let mut class = Class::of(1, lingering());
    let (a, reply) = class.come_anew("a", json!({}));
    class.come(a, "a", json!({"resumeToken": token(&reply), "lastSeq": 1}));
    assert_eq!(class.read(a), ["duplicate"]);
}

// ---- Linger -------------------------------------------------------------------------------------

#[test]
fn a_broken_connection_keeps_its_seat_for_a_while() {
    let mut class = Class::of(1, lingering());
    let (away, _) = class.come_anew("a", json!({}));
    class.cut(away);
    class.pass(4_900);
    // A plain client, which shows nothing.
    let (back, reply) = class.come_anew("a", json!({}));
    assert_eq!(members(&reply).map(Vec::len), Some(2));
    assert_eq!(extend(&reply).get("gap"), None);
    class.pass(10_000);
    assert_eq!(class.read(0), ["joined a"]);
    class.cut(back);
    class.pass(5_000 - 2 * TICK_MS);
    assert_eq!(class.read(0), [""; 0]);
    class.pass(3 * TICK_MS);
    assert_eq!(class.read(0), ["left a lost"]);
}

#[test]
fn each_seat_lingers_for_its_own_time() {
    let mut class = Class::of(1, lingering());
    let members: Vec<usize> = ["a", "b", "c"].map(|id| class.come_anew(id, json!({})).0).into();
    let first_ms = class.now.monotonic_ms;
    for (member, at_ms) in members.into_iter().zip([0, 1_000, 2_000]) {
        class.pass(first_ms + at_ms + 10 - class.now.monotonic_ms);
        class.cut(member);
    }
    class.read(0);
    for (n, left) in ["left a lost", "left b lost", "left c lost"].into_iter().enumerate() {
        class.pass(first_ms + 5_200 + 1_000 * n as u64 - class.now.monotonic_ms);
        assert_eq!(class.read(0), [left]);
    }
}

#[test]
fn whoever_goes_on_purpose_goes_at_once() {
    let mut class = Class::of(1, lingering());
    for (payload, leave) in [
        (&b""[..], "left a closed"),
        (&1000u16.to_be_bytes(), "left a closed"),
        (&3000u16.to_be_bytes(), "left a closed"),
    ] {
        let (member, _) = class.come_anew("a", json!({}));
        class.frame(member, 0x88, payload);
        class.turn();
        assert_eq!(class.read(0), ["joined a", leave]);
    }
    let (member, _) = class.come_anew("a", json!({}));
    class.frame(member, 0x88, &1001u16.to_be_bytes());
    class.turn();
    assert_eq!(class.read(0), ["joined a"], "a page that is loaded again");
    class.pass(6_000);
    assert_eq!(class.read(0), ["left a lost"]);
}

#[test]
fn the_lingering_seat_of_who_made_the_room_needs_its_token() {
    let mut class = Class::new(Options::default(), lingering());
    let (owner, reply) = class.come_anew("owner", json!({}));
    let shown = token(&reply);
    class.cut(owner);
    let (_, refused) = class.come_anew("owner", json!({}));
    assert!(is_duplicate(&refused));
    let (owner, reply) = class.come_anew("owner", json!({"resumeToken": shown}));
    assert_eq!(token(&reply), shown);
    class.cut(owner);
    class.pass(6_000);
    let (_, reply) = class.come_anew("owner", json!({}));
    assert_eq!(reply["status"], 1);
}

#[test]
fn of_more_seats_than_there_are_places_the_one_that_lingered_longest_ends() {
    let options = Options { connections: 8, ..Options::default() };
    let mut class = Class::new(options, Settings { rooms_per_connection: 1, linger_s: 60, ..settings() });
    class.connect();
    class.join(0, "R");
    class.turn();
    // One for each connection.
    let places = 8;
    for n in 1..places {
        let (member, _) = class.come_anew(&format!("m{n}"), json!({}));
        class.cut(member);
        class.pass(10);
    }
    assert!(class.read(0).iter().all(|word| !word.starts_with("left")));
    for n in 1..5 {
        let (member, _) = class.come_anew(&format!("late{n}"), json!({}));
        class.cut(member);
        assert_eq!(class.read(0), [format!("left m{n} lost"), format!("joined late{n}")]);
        assert_eq!(class.roster().len(), places);
    }
}

#[test]
fn the_owners_lingering_seat_is_not_had_by_the_token_of_an_earlier_seat() {
    let mut class = Class::new(Options::default(), lingering());
    let (first, reply) = class.come_anew("a", json!({}));
    let earlier = token(&reply);
    class.leave(first, "R");
    class.turn();
    // First into the empty room, and its owner for as long as nobody comes who has more of a claim.
    let (second, reply) = class.come_anew("a", json!({}));
    let own = token(&reply);
    class.cut(second);
    let (_, reply) = class.come_anew("a", json!({"resumeToken": earlier}));
    assert!(is_duplicate(&reply), "{reply}");
    let (_, reply) = class.come_anew("a", json!({"resumeToken": own}));
    assert_eq!(token(&reply), own);
}

// ---- Probe --------------------------------------------------------------------------------------

#[test]
fn a_holder_that_does_not_answer_loses_all_its_seats_at_once() {
    let mut class = Class::of(1, lingering());
    let (dead, _) = class.come_anew("a", json!({}));
    class.join(0, "S");
    class.turn();
    let data = json!({"from": {"id": "a"}, "roomNumber": "S"});
    class.send(dead, json!({"msgType": 2, "textData": {"dataType": 1, "data": data}}));
    class.turn();
    class.read(0);
    class.read(dead);
    let knocks = class.connect();
    let asked_ms = class.now.monotonic_ms;
    class.come(knocks, "a", json!({}));
    assert_eq!((class.read(knocks), class.read(dead)), (vec!["duplicate".into()], vec!["ping ".into()]));
    // However often: one ping.
    class.pass(2_900);
    class.come(knocks, "a", json!({}));
    assert_eq!((class.read(knocks), class.read(dead)), (vec!["duplicate".into()], vec![]));
    class.pass(asked_ms + 3_000 + 2 * TICK_MS - class.now.monotonic_ms);
    assert_eq!(class.read(dead), ["close 4000"]);
    let mut left = class.read(0);
    left.sort();
    assert_eq!(left, ["left a lost", "left a lost"]);
    class.come(knocks, "a", json!({}));
    assert_eq!(class.read(knocks), ["welcome R"]);
}

#[test]
fn knocking_does_not_put_off_the_end_of_a_dead_holder() {
    let mut class = Class::of(1, lingering());
    class.come_anew("a", json!({}));
    let knocks = class.connect();
    let asked_ms = class.now.monotonic_ms;
    // Also between the end of its time and the tick on which that is looked at.
    loop {
        class.come(knocks, "a", json!({}));
        if class.read(knocks) == ["welcome R"] {
            break;
        }
        class.pass(1);
        assert!(class.now.monotonic_ms < asked_ms + 60_000, "it can be put off for ever");
    }
    let waited_ms = class.now.monotonic_ms - asked_ms;
    assert!((3_000..3_000 + 2 * TICK_MS).contains(&waited_ms), "{waited_ms}");
}

#[test]
fn what_a_dead_holders_socket_had_room_for_is_no_sign_of_life() {
    let mut class = Class::of(1, lingering());
    let (dead, _) = class.come_anew("a", json!({}));
    let knocks = class.connect();
    class.wire(dead).room = 100;
    class.say(0, "R", &text("long", 2_000));
    class.turn();
    // There was room when the write was refused, or soon after: none of it was made since the question.
    class.wire(dead).room = 50;
    class.come(knocks, "a", json!({}));
    class.pass(3_000 + 2 * TICK_MS);
    assert_eq!(class.roster().len(), 1);

    // One that is not blocked takes what is said just then, and need not read it.
    let (dead, _) = class.come_anew("b", json!({}));
    class.come(knocks, "b", json!({}));
    class.now = class.now.after_ms(3_000 - 1);
    while class.roster().len() == 2 {
        class.say(0, "R", "something new in every turn");
        class.turn();
        assert!(class.now.monotonic_ms < 30_000);
    }
    assert_eq!(class.read(dead).last().map(String::as_str), Some("close 4000"));
}

#[test]
fn a_living_holder_is_never_dropped() {
    let mut class = Class::of(1, Settings { messages_per_second: 1, burst: 4, ..lingering() });
    let (alive, _) = class.come_anew("a", json!({}));
    // With a pong, half a frame, or a message: anything counts.
    let knocks = class.connect();
    for round in 0..30 {
        class.come(knocks, "a", json!({}));
        if round % 3 == 0 {
            assert_eq!(class.read(alive), ["ping "], "asked again in round {round}");
            match round % 2 {
                0 => class.frame(alive, 0x8A, b""),
                _ => class.input(alive, &[0x8A]),
            }
            class.turn();
            if round % 2 == 1 {
                class.input(alive, &[0x80, 0, 0, 0, 0]);
            }
        }
        assert_eq!(class.read(knocks), ["duplicate"]);
        class.pass(1_010);
    }
    assert_eq!(class.read(0), ["joined a"]);
}

#[test]
fn a_holder_whose_blocked_socket_takes_a_byte_is_alive() {
    let mut class = Class::of(1, lingering());
    let (slow, _) = class.come_anew("a", json!({}));
    class.wire(slow).room = 100;
    class.say(0, "R", &text("long", 2_000));
    class.turn();
    let knocks = class.connect();
    // Of its own queue, since the ping had to be put behind the frame; the poll does not tell of so little room.
    for _ in 0..5 {
        class.come(knocks, "a", json!({}));
        class.pass(2_000);
        class.wire(slow).room = 1;
        class.pass(1_000 + 2 * TICK_MS);
        assert_eq!(class.roster().len(), 2);
    }
    // Of its room, since the ping was sent before it was blocked.
    class.make_room(slow, ENDLESS);
    for n in 0..3 {
        class.come(knocks, "a", json!({}));
        class.wire(slow).room = 100;
        class.say(0, "R", &text(n, 2_000));
        class.turn();
        class.wire(slow).room = 1;
        class.pass(3_000 + 2 * TICK_MS);
        assert_eq!(class.roster().len(), 2);
        class.make_room(slow, ENDLESS);
    }
    // And one that takes none is not.
    class.wire(slow).room = 0;
    class.say(0, "R", "more");
    class.turn();
    class.come(knocks, "a", json!({}));
    class.pass(3_000 + 2 * TICK_MS);
    assert_eq!(class.roster().len(), 1);
    class.make_room(slow, ENDLESS);
    assert_eq!(class.read(slow).last().map(String::as_str), Some("close 4000"));
}

// ---- Complete or gap ----------------------------------------------------------------------------

/// Something that happens in a room, while one member who reads everything looks on.
#[derive(Clone, Debug)]
enum Step {
    Say {
        bytes: usize,
    },
    Pass {
        ms: u64,
    },
    Cut {
        who: usize,
    },
    Close {
        who: usize,
    },
    /// Comes back with the token it was given last, or an older one, or none, and this much too low or high a number.
    Return {
        who: usize,
        shows: Shows,
        off: i64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Shows {
    Nothing,
    LastSeqAlone,
    Token { age: usize },
    TokenOf { other: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let shows = prop_oneof![
        1 => Just(Shows::Nothing),
        1 => Just(Shows::LastSeqAlone),
        6 => Just(Shows::Token { age: 0 }),
        2 => (1usize..3).prop_map(|age| Shows::Token { age }),
        1 => (0usize..3).prop_map(|other| Shows::TokenOf { other }),
    ];
    let off = prop_oneof![6 => Just(0i64), 2 => -8i64..8, 1 => any::<i64>()];
    prop_oneof![
        6 => (1usize..700).prop_map(|bytes| Step::Say { bytes }),
        2 => prop_oneof![1u64..1_000, 1_000u64..9_000].prop_map(|ms| Step::Pass { ms }),
        3 => (0usize..3).prop_map(|who| Step::Cut { who }),
        1 => (0usize..3).prop_map(|who| Step::Close { who }),
        6 => (0usize..3, shows, off).prop_map(|(who, shows, off)| Step::Return { who, shows, off }),
    ]
}

/// Somebody who comes and goes.
#[derive(Default)]
struct Person {
    connection: Option<usize>,
    /// Each with the number of the join that it was given for.
    tokens: Vec<(Value, u64)>,
    seen: u64,
}

/// What the member who looks on has seen: every frame there ever was after its own join, which is the first.
struct Told {
    frames: BTreeMap<u64, Vec<u8>>,
}

impl Told {
    fn look(&mut self, class: &mut Class) {
        for bytes in class.frames(0) {
            let reply: Value = serde_json::from_slice(frame::payload(&bytes)).unwrap();
            let seq = extend(&reply)["seq"].as_u64().unwrap();
            assert_eq!(seq, self.latest() + 1, "{reply}");
            self.frames.insert(seq, bytes);
        }
    }

    fn latest(&self) -> u64 {
        self.frames.last_key_value().map_or(1, |(seq, _)| *seq)
    }

    /// The oldest frame that a room within these bounds holds, where its first was `first_bytes` long.
    fn oldest_held(&self, settings: &Settings, first_bytes: u64) -> u64 {
        let mut held_bytes = 0;
        let mut oldest = self.latest() + 1;
        let sizes = self.frames.iter().rev().map(|(seq, bytes)| (*seq, bytes.len() as u64)).chain([(1, first_bytes)]);
        for (seq, bytes) in sizes.take(settings.history as usize) {
            held_bytes += bytes;
            if held_bytes > u64::from(settings.room_log_bytes) {
                break;
            }
            oldest = seq;
        }
        oldest
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Whatever happened, whoever shows how far it had come is told either all of the rest, or that there is a gap and who is here: what the room
    /// still holds decides, and nothing else.
    #[test]
    fn exactly_one_of_complete_or_gap(
        steps in prop::collection::vec(step(), 1..60),
        history in prop_oneof![1u32..12, Just(1024)],
        log_bytes in prop_oneof![Just(2_048u32), Just(8_192), Just(65_536)],
        linger_s in 0u32..6,
    ) {
        let settings = Settings { history, room_log_bytes: log_bytes, linger_s, ..lingering() };
        let mut class = Class::of(1, settings.clone());
        let first_bytes = class.log_bytes().0;
        let mut told = Told { frames: BTreeMap::new() };
        let mut persons: [Person; 3] = Default::default();
        for step in steps {
            match step {
                Step::Say { bytes } => {
                    class.say(0, "R", &text(bytes, bytes));
                    class.turn();
                }
                Step::Pass { ms } => class.pass(ms),
                Step::Cut { who } => {
                    if let Some(connection) = persons[who].connection.take() {
                        class.cut(connection);
                    }
                }
                Step::Close { who } => {
                    if let Some(connection) = persons[who].connection.take() {
                        class.frame(connection, 0x88, &1000u16.to_be_bytes());
                        class.turn();
                        class.hang_up(connection);
                        class.turn();
                    }
                }
                Step::Return { who, shows, off } => {
                    let member = class.connect();
                    // No seat is to end in the very turn.
                    while class.exchange.next_deadline_ms().is_some_and(|due_ms| due_ms <= class.now.monotonic_ms + 1) {
                        class.pass(1);
                    }
                    told.look(&mut class);
                    // As it comes: its own join frame pushes nothing out before it was offered what there is.
                    let (latest, oldest) = (told.latest(), told.oldest_held(&settings, first_bytes));
                    let id = ["a", "b", "c"][who];
                    let was_there = class.roster().iter().any(|member| member["id"] == id);
                    let last_seq = persons[who].seen.checked_add_signed(off).unwrap_or(u64::MAX);
                    let (shown, its_join) = match shows {
                        Shows::Nothing => (json!({}), None),
                        Shows::LastSeqAlone => (json!({"lastSeq": last_seq}), None),
                        Shows::Token { age } => match persons[who].tokens.iter().rev().nth(age) {
                            Some((token, seq)) => (json!({"resumeToken": token, "lastSeq": last_seq}), Some(*seq)),
                            None => (json!({"resumeToken": "1.00", "lastSeq": last_seq}), None),
                        },
                        Shows::TokenOf { other } => match persons[other].tokens.last() {
                            Some((token, seq)) if other == who => {
                                (json!({"resumeToken": token, "lastSeq": last_seq}), Some(*seq))
                            }
                            Some((token, _)) => (json!({"resumeToken": token, "lastSeq": last_seq}), None),
                            None => (json!({"lastSeq": last_seq}), None),
                        },
                    };
                    let shows_last = shown.get("lastSeq").is_some();
                    class.come(member, id, shown);
                    told.look(&mut class);
                    let mut frames = class.frames(member);
                    let reply: Value = serde_json::from_slice(frame::payload(&frames.remove(0))).unwrap();
                    let holds = persons[who].connection.is_some();
                    let takes = its_join.is_some() && persons[who].tokens.last().map(|(_, seq)| *seq) == its_join;
                    if holds && !takes {
                        prop_assert!(is_duplicate(&reply), "{}", reply);
                        // The one that was asked answers, so that nobody is dropped here.
                        if let Some(connection) = persons[who].connection {
                            class.frame(connection, 0x8A, b"");
                            class.turn();
                        }
                        class.hang_up(member);
                        class.turn();
                        continue;
                    }
                    prop_assert_eq!(&reply["status"], 1, "{}", reply);
                    if let Some(old) = persons[who].connection.replace(member) {
                        prop_assert_eq!(class.read(old).pop(), Some("close 4001".to_owned()));
                        class.hang_up(old);
                        class.turn();
                    }
                    let joined = u64::from(!was_there);
                    prop_assert_eq!(told.latest(), latest + joined, "the room sees it come, or sees nothing");
                    if joined == 1 {
                        persons[who].tokens.push((token(&reply), told.latest()));
                    } else {
                        prop_assert_eq!(&token(&reply), &persons[who].tokens.last().unwrap().0);
                    }
                    let seq = extend(&reply)["seq"].as_u64().unwrap();
                    let is_reachable = its_join.is_some_and(|joined| (joined..=latest).contains(&last_seq))
                        && last_seq + 1 >= oldest;
                    if shows_last && is_reachable {
                        prop_assert_eq!(extend(&reply).get("gap"), None);
                        prop_assert_eq!(members(&reply), None);
                        prop_assert_eq!(seq, last_seq);
                        let rest: Vec<&Vec<u8>> = told.frames.range(last_seq + 1..).map(|(_, bytes)| bytes).collect();
                        prop_assert_eq!(frames.iter().collect::<Vec<_>>(), rest);
                    } else {
                        prop_assert_eq!(extend(&reply).get("gap").is_some(), shows_last);
                        prop_assert_eq!(members(&reply), Some(&class.roster()));
                        prop_assert_eq!(seq, told.latest());
                        prop_assert!(frames.is_empty());
                    }
                    persons[who].seen = told.latest();
                }
            }
            told.look(&mut class);
            // Those who are here hear all of it.
            for person in &mut persons {
                let Some(connection) = person.connection else { continue };
                for bytes in class.frames(connection) {
                    if bytes[0] == frame::TEXT {
                        person.seen += 1;
                        prop_assert_eq!(Some(&bytes), told.frames.get(&person.seen));
                    }
                }
                prop_assert_eq!(person.seen, told.latest());
            }
        }
    }
}
