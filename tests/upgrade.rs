//! A new program takes the hub over, with everybody in it: the real binary, over real sockets.
//!
//! Owns: what must be the same after an upgrade as before it, who has to come back, and what becomes of everybody where it fails. Refuses to know:
//! what is written down (`src/hub/state.rs`), and every state that a hub may be in: the simulation upgrades in the middle of anything.

mod common;
#[path = "upgrade/foreign.rs"]
mod foreign;
#[path = "upgrade/house.rs"]
mod house;
#[path = "upgrade/program.rs"]
mod program;
#[path = "upgrade/refused.rs"]
mod refused;
#[path = "upgrade/signals.rs"]
mod signals;

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Client, Hub, NO_RATES, ROOM, Raw, chat, data, join, resume, resume_token, seq, tcp, upgrade_head};
use program::{Behind, Program};
use serde_json::json;

const UPGRADES: usize = 10;
const ROOMS: usize = 4;
const CLASS: usize = 50;

/// One who talks and listens, and counts what it hears.
struct Talker {
    client: Client,
    room: String,
    id: String,
    said: usize,
    seq: u64,
}

impl Talker {
    fn new(hub: &Hub, n: usize) -> Talker {
        let (room, id) = (format!("room {}", n % ROOMS), format!("talker {n}"));
        let mut client = hub.connect();
        let seq = seq(&client.join(&room, &id));
        Talker { client, room, id, said: 0, seq }
    }

    fn say(&mut self) {
        self.said += 1;
        self.client.send_json(&chat(&self.room, &format!("{} of {}", self.said, self.id)));
    }

    /// Reads until its own word comes back. Every frame of the room follows the one before.
    fn hear(&mut self) {
        loop {
            let frame = self.client.recv_json();
            self.seq += 1;
            assert_eq!(seq(&frame), self.seq, "{} has missed something, or heard it twice: {frame}", self.id);
            let data = data(&frame);
            if data["from"]["id"] == self.id.as_str() {
                assert_eq!(data["content"], format!("{} of {}", self.said, self.id).as_str());
                return;
            }
        }
    }
}

#[test]
fn two_hundred_who_talk_notice_nothing_of_ten_upgrades() {
    let hub = Hub::start(NO_RATES);
    let mut talkers: Vec<Talker> = (0..ROOMS * CLASS).map(|n| Talker::new(&hub, n)).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for some in talkers.chunks_mut(CLASS) {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    some.iter_mut().for_each(Talker::say);
                    some.iter_mut().for_each(Talker::hear);
                }
            });
        }
        for n in 1..=UPGRADES {
            hub.upgrade(n);
            // Some talk, so that each has something to take over.
            thread::sleep(Duration::from_millis(50));
        }
        is_over.store(true, Ordering::Relaxed);
    });
    // Each says a last word that all others hear: nobody is gone, and nothing is lost.
    let said: usize = talkers.iter().map(|talker| talker.said).sum();
    for talker in &mut talkers {
        talker.say();
        talker.hear();
    }
    let said = said + talkers.len();
    for room in 0..ROOMS {
        let last = talkers.iter().filter(|talker| talker.room == format!("room {room}")).map(|talker| talker.seq).max();
        for talker in talkers.iter_mut().filter(|talker| talker.room == format!("room {room}")) {
            while Some(talker.seq) < last {
                talker.seq += 1;
                assert_eq!(seq(&talker.client.recv_json()), talker.seq);
            }
            talker.client.fence();
        }
    }
    let pauses_ms: Vec<f64> = hub.wait_for_lines("upgraded from", UPGRADES).iter().map(|line| pause_ms(line)).collect();
    println!("{said} messages; pauses in ms: {pauses_ms:?}");
    assert!(hub.lines().iter().all(|line| !line.contains("ERROR")), "{:?}", hub.lines());
    // Of what the promise is worth on this machine only an optimised build tells, and only while nobody else has the processor.
    if cfg!(not(debug_assertions)) {
        let mut sorted = pauses_ms;
        sorted.sort_by(f64::total_cmp);
        assert!(sorted[UPGRADES / 2] < 100.0, "{sorted:?}");
    }
}

/// How long an upgrade took, as the hub says.
fn pause_ms(line: &str) -> f64 {
    let (_, rest) = line.split_once(" in ").expect("it says how long");
    rest.split_once(" ms").expect("in milliseconds").0.parse().expect("a number")
}

#[test]
fn the_process_is_the_same_and_so_are_room_seats_and_rights() {
    let room = "[[room]]\nnumber = \"E00001\"\npasscode = \"open\"\nowner_passcode = \"mine\"\n";
    let hub = Hub::start(room);
    let with = |id: &str, passcode: &str| {
        let mut request = join(ROOM, id);
        request["extendFields"] = json!({ passcode: if passcode == "passcode" { "open" } else { "mine" } });
        request
    };
    let (mut teacher, mut pupil, mut other) = (hub.connect(), hub.connect(), hub.connect());
    teacher.join_with(&with("teacher", "ownerPasscode"));
    let token = resume_token(&pupil.join_with(&with("pupil", "passcode")));
    other.join_with(&with("other", "passcode"));
    teacher.send_json(&json!({"msgType": 3, "textData": {"dataType": 5,
        "data": {"roomNumber": ROOM, "id": "other", "forS": 600}}}));
    teacher.send_json(&json!({"msgType": 3, "textData": {"dataType": 4, "data": {"roomNumber": ROOM, "quiet": true}}}));
    for _ in 0..4 {
        teacher.recv_json();
    }
    let before = process(&hub);
    hub.upgrade(1);
    assert_eq!(process(&hub), before);
    // Its rule holds, and is still the teacher's.
    pupil.send_json(&chat(ROOM, "psst"));
    assert_eq!(data(&pupil.recv_json())["newJoinMember"]["id"], "other");
    assert_eq!(pupil.recv_json()["resultBody"]["extendFields"]["reason"], "removed");
    pupil.recv_json();
    pupil.recv_failure("quiet");
    teacher.say("still mine");
    pupil.hear("still mine");
    other.send_json(&with("other", "passcode"));
    let refused = loop {
        let frame = other.recv_json();
        if frame["status"] == 0 {
            break frame;
        }
    };
    assert_eq!(refused["code"], "removed");
    // The token of a seat is as good as it was, and what was said before the upgrade is still held.
    let mut again = hub.connect();
    let reply = again.join_with(&resume(ROOM, "pupil", &token, 2));
    assert!(data(&reply).get("members").is_none(), "{reply}");
    assert_eq!([seq(&again.recv_json()), seq(&again.recv_json())], [3, 4]);
    pupil.expect_close(4001);
}

/// What the system knows the process by: its name, and when it began.
fn process(hub: &Hub) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", hub.pid().as_raw_nonzero())).expect("it runs");
    let fields: Vec<&str> = stat.split_whitespace().collect();
    format!("{} {}", fields[0], fields[21])
}

#[test]
fn who_is_in_the_middle_of_a_message_comes_back_and_nobody_else_hears_of_it() {
    let hub = Hub::start(NO_RATES);
    let (mut witness, mut half, mut fragments) = (hub.join("witness"), hub.connect(), hub.connect());
    let tokens = [(&mut half, "half"), (&mut fragments, "fragments")].map(|(client, id)| {
        let reply = client.join(ROOM, id);
        (resume_token(&reply), seq(&reply))
    });
    let frame = Raw::text(&chat(ROOM, "never said").to_string()).bytes();
    half.send_bytes(&frame[..frame.len() / 2]);
    fragments.send(&Raw::text("{\"msgType\":").unfinished());
    // So that the hub has read as far as that.
    fragments.send(&Raw::new(common::PING, "read"));
    while fragments.recv().opcode != common::PONG {}
    for _ in 0..2 {
        witness.recv_json();
    }
    hub.upgrade(1);
    half.recv_to_close(1001);
    fragments.recv_to_close(1001);
    for (n, id) in ["half", "fragments"].into_iter().enumerate() {
        let (token, seen) = &tokens[n];
        let mut back = hub.connect();
        let reply = back.join_with(&resume(ROOM, id, token, *seen));
        assert!(data(&reply).get("members").is_none(), "{reply}");
        back.send_json(&chat(ROOM, id));
        witness.hear(id);
    }
    witness.fence();
}

#[test]
fn a_head_and_a_slow_reader_go_on_where_they_were() {
    let hub = Hub::start(NO_RATES);
    let head = upgrade_head("/ws", "");
    let (first, rest) = head.split_at(head.len() / 2);
    let mut beginner = tcp(hub.addr);
    beginner.write_all(first.as_bytes()).expect("the hub reads");
    let mut slow = Client::upgrade(common::narrow_tcp(hub.addr), &head);
    let mut seen = seq(&slow.join(ROOM, "slow"));
    let mut talker = hub.join("talker");
    // More than the sockets between them hold, so that it is in the middle of a frame, and owed more than that.
    let content = "x".repeat(4000);
    for _ in 0..50 {
        talker.say(&content);
    }
    hub.upgrade(1);
    talker.say("after it");
    beginner.write_all(rest.as_bytes()).expect("the hub reads");
    let mut beginner = Client::upgraded(beginner).unwrap_or_else(|response| panic!("{response:?}"));
    beginner.send_json(&join(ROOM, "beginner"));
    for n in 0..53 {
        let frame = slow.recv_json();
        seen += 1;
        assert_eq!(seq(&frame), seen);
        match n {
            0 => assert_eq!(data(&frame)["newJoinMember"]["id"], "talker"),
            1..=50 => assert_eq!(data(&frame)["content"], content.as_str()),
            51 => assert_eq!(data(&frame)["content"], "after it"),
            _ => assert_eq!(data(&frame)["newJoinMember"]["id"], "beginner"),
        }
    }
}

#[test]
fn the_configuration_is_read_anew() {
    let hub = Hub::start("[limits]\nmembers_per_room = 2\n");
    let mut first = hub.join("first");
    hub.configure("[limits]\nmembers_per_room = 1\nmessage_bytes = 1024\n[[room]]\nnumber = \"E00002\"\n");
    hub.upgrade(1);
    first.say("still here");
    let mut second = hub.connect();
    second.send_json(&join(ROOM, "second"));
    second.recv_failure("room_full");
    second.join("E00002", "second");
    first.send_json(&chat(ROOM, &"x".repeat(1500)));
    first.expect_close(1009);
}

#[test]
fn a_program_that_does_not_run_leaves_the_hub_as_it_was() {
    let program = Program::new();
    let hub = Hub::start_as(program.command(), NO_RATES);
    let mut client = hub.join("client");
    program.replace_by(b"not a program", "644");
    hub.signal_upgrade();
    hub.wait_for_line("not upgraded, and going on as before");
    client.say("still here");
    // A program in its place is taken, though this one was replaced by then.
    program.restore();
    hub.upgrade(1);
    client.say("and still");
}

#[test]
fn a_state_that_cannot_be_read_is_said_and_everyone_gets_1001() {
    let program = Program::new();
    for state in [&b"nothing that we know of"[..], b""] {
        let behind = Behind::new(state, 20);
        let hub = Hub::start_as(behind.command(&program), NO_RATES);
        let line = hub.wait_for_line("the hub begins anew");
        assert!(line.contains("ERROR"), "{line}");
        for mut client in behind.into_clients() {
            client.expect_close(1001);
        }
        hub.join("anybody").say("a hub as any other");
    }
}

#[test]
fn a_hub_that_stops_is_not_upgraded_any_more() {
    let mut hub = Hub::start(NO_RATES);
    let client = hub.join("never hangs up");
    hub.terminate();
    hub.wait_for_line("stopping");
    hub.signal_upgrade();
    assert!(hub.wait().success());
    assert!(hub.lines().iter().all(|line| !line.contains("upgrad")), "{:?}", hub.lines());
    drop(client);
}
