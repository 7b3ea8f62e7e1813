//! Whose word counts in a room: the owner's, and what it can do to the others.
//!
//! Owns: PROTOCOL.md, Moderation, frame by frame over real sockets. Refuses to know: how seats linger and are had back otherwise (`recovery.rs`).

mod common;

use std::net::{IpAddr, Ipv4Addr};

use common::{
    Client, Hub, NO_LINGER, NO_RATES, ROOM, Raw, chat, data, hang_up, ids, join, leave, pull, resume, resume_token,
    said, seq, tcp_from, upgrade_head, with_ref,
};
use serde_json::{Value, json};

/// Seats that linger do so while a test runs.
const PATIENT: &str = "[heartbeat]\nprobe_s = 60\nlinger_s = 60\n";

#[track_caller]
fn start(more: &str) -> Hub {
    Hub::start(&format!("{NO_RATES}{PATIENT}{more}"))
}

fn rule(rule: &Value) -> Value {
    let mut data = rule.clone();
    data["roomNumber"] = json!(ROOM);
    json!({"msgType": 3, "textData": {"dataType": 4, "data": data}})
}

fn remove(id: &str, for_s: u32) -> Value {
    json!({"msgType": 3, "textData": {"dataType": 5, "data": {"roomNumber": ROOM, "id": id, "forS": for_s}}})
}

/// A join that shows a passcode.
fn join_as_owner(id: &str, passcode: &str) -> Value {
    let mut request = join(ROOM, id);
    request["extendFields"] = json!({"ownerPasscode": passcode});
    request
}

/// The next frame must say what holds now, and carry this `ref`.
#[track_caller]
fn sees_rule(client: &mut Client, locked: bool, quiet: bool, reference: Option<&str>) -> Value {
    let frame = client.recv_json();
    assert_eq!((&frame["status"], &frame["msg"]), (&json!(1), &json!("Rule successfully")), "{frame}");
    let body = &frame["resultBody"];
    assert_eq!((&body["msgType"], &body["textData"]["dataType"]), (&json!(3), &json!(4)));
    let room = data(&frame);
    assert_eq!((&room["locked"], &room["quiet"]), (&json!(locked), &json!(quiet)), "{frame}");
    assert_eq!(room["members"], Value::Null, "the Room is without members");
    assert_eq!(body["extendFields"]["ref"], json!(reference), "{frame}");
    frame
}

#[track_caller]
fn sees_leave(client: &mut Client, id: &str, reason: &str) -> Value {
    let frame = client.recv_json();
    assert_eq!(frame["msg"], "Leave successfully", "{frame}");
    assert_eq!(data(&frame)["newLeaveMember"]["id"], id, "{frame}");
    assert_eq!(frame["resultBody"]["extendFields"]["reason"], reason, "{frame}");
    frame
}

#[track_caller]
fn sees_join(client: &mut Client, id: &str) -> Value {
    let frame = client.recv_json();
    assert_eq!(data(&frame)["newJoinMember"]["id"], id, "{frame}");
    frame
}

/// Asks for a rule and sees it hold.
#[track_caller]
fn rules(owner: &mut Client, change: &Value) -> Value {
    owner.send_json(&with_ref(rule(change), "rule"));
    let frame = owner.recv_json();
    assert_eq!(frame["msg"], "Rule successfully", "{frame}");
    frame
}

/// Whether the room takes this client's word for its owner's: it says what holds, and nothing changes.
#[track_caller]
fn is_owner(client: &mut Client) -> bool {
    client.send_json(&with_ref(rule(&json!({})), "am I?"));
    let answer = client.recv_json();
    assert_eq!(answer.get("ref").unwrap_or(&answer["resultBody"]["extendFields"]["ref"]), "am I?", "{answer}");
    assert!(answer["status"] == 1 || answer["code"] == "not_owner", "{answer}");
    answer["status"] == 1
}

// ---- Lock and quiet -----------------------------------------------------------------------------

#[test]
fn a_locked_room_lets_nobody_new_in_and_everybody_back() {
    let hub = start("");
    let mut teacher = hub.connect();
    teacher.join(ROOM, "teacher");
    let mut anna = hub.connect();
    let anna_token = resume_token(&anna.join(ROOM, "anna"));
    let mut bert = hub.connect();
    let bert_token = resume_token(&bert.join(ROOM, "bert"));
    for (client, joins) in [(&mut teacher, 2), (&mut anna, 1)] {
        (0..joins).for_each(|_| drop(client.recv_json()));
    }
    teacher.send_json(&with_ref(rule(&json!({"locked": true})), "r"));
    let seen = [&mut teacher, &mut anna, &mut bert].map(|client| sees_rule(client, true, false, Some("r")));
    assert!(seen.iter().all(|frame| *frame == seen[0]), "one frame for all");

    let mut carl = hub.connect();
    carl.send_json(&with_ref(join(ROOM, "carl"), "c"));
    assert_eq!(carl.recv_failure("locked")["ref"], "c");
    // Who sits there is told so first.
    carl.send_json(&join(ROOM, "anna"));
    carl.recv_duplicate();

    // A connection that broke keeps its seat, token or not.
    hang_up(anna.stream);
    let mut anna = hub.connect();
    let reply = anna.join_with(&join(ROOM, "anna"));
    assert_eq!(data(&reply)["locked"], true);
    // One that left has its token.
    bert.send_json(&leave(ROOM));
    let left = sees_leave(&mut bert, "bert", "left");
    assert_eq!(data(&left)["locked"], true, "a room that is locked says so wherever it appears");
    assert_eq!(data(&left).get("quiet"), None);
    for client in [&mut teacher, &mut anna] {
        assert_eq!(client.recv_json(), left);
    }
    bert.send_json(&join(ROOM, "bert"));
    bert.recv_failure("locked");
    bert.send_json(&resume(ROOM, "bert", "1.0123456789abcdef0123456789abcdef", 0));
    bert.recv_failure("locked");
    let back = bert.join_with(&resume(ROOM, "bert", &bert_token, Value::Null));
    assert_eq!(data(&back)["locked"], true);
    let seen = sees_join(&mut teacher, "bert");
    assert_eq!(data(&seen)["locked"], true);
    assert_eq!(sees_join(&mut anna, "bert"), seen);
    let _ = anna_token;

    teacher.send_json(&pull(ROOM));
    let pulled = teacher.recv_json();
    assert_eq!(
        (&data(&pulled)["locked"], ids(&data(&pulled)["members"])),
        (&json!(true), vec!["teacher", "anna", "bert"])
    );

    rules(&mut teacher, &json!({"locked": false}));
    let reply = carl.join(ROOM, "carl");
    assert_eq!((data(&reply).get("locked"), data(&reply).get("quiet")), (None, None));
}

#[test]
fn a_quiet_room_hears_its_owner_and_sees_hands() {
    let hub = start("");
    let mut teacher = hub.join("teacher");
    let mut anna = hub.join("anna");
    sees_join(&mut teacher, "anna");
    teacher.send_json(&rule(&json!({"quiet": true})));
    for client in [&mut teacher, &mut anna] {
        sees_rule(client, false, true, None);
    }
    anna.send_json(&with_ref(chat(ROOM, "psst"), "p"));
    assert_eq!(anna.recv_failure("quiet")["ref"], "p");
    for data_type in [100, 65_535] {
        anna.send_json(&said(data_type, ROOM, json!({"up": true})));
        for client in [&mut teacher, &mut anna] {
            assert_eq!(client.recv_json()["resultBody"]["textData"]["dataType"], data_type);
        }
    }
    teacher.say("be quiet");
    anna.hear("be quiet");
    // Each of the two is changed alone.
    teacher.send_json(&rule(&json!({"locked": true, "quiet": null})));
    for client in [&mut teacher, &mut anna] {
        sees_rule(client, true, true, None);
    }
    teacher.send_json(&rule(&json!({"quiet": false})));
    for client in [&mut teacher, &mut anna] {
        sees_rule(client, true, false, None);
    }
    anna.say("at last");
    teacher.hear("at last");
}

#[test]
fn only_the_owner_may() {
    let hub = start("");
    let mut teacher = hub.join("teacher");
    let mut anna = hub.join("anna");
    sees_join(&mut teacher, "anna");
    for request in [rule(&json!({"locked": true})), remove("teacher", 60), remove("nobody", 0)] {
        anna.send_json(&with_ref(request.clone(), "a"));
        assert_eq!(anna.recv_failure("not_owner")["ref"], "a");
        let mut outside = hub.connect();
        outside.send_json(&request);
        outside.recv_failure("not_joined");
    }
    for id in ["nobody", "teacher"] {
        teacher.send_json(&with_ref(remove(id, 60), "t"));
        assert_eq!(teacher.recv_failure("no_such_member")["ref"], "t");
    }
    teacher.fence();
    anna.fence();
}

// ---- Removing -----------------------------------------------------------------------------------

#[test]
fn a_removed_member_is_told_stays_connected_and_is_kept_out_until_it_is_let_back_in() {
    let hub = start("");
    let mut teacher = hub.join("teacher");
    let mut anna = hub.connect();
    let token = resume_token(&anna.join(ROOM, "anna"));
    sees_join(&mut teacher, "anna");
    anna.say("x".repeat(4000).as_str());
    teacher.recv_json();
    teacher.send_json(&with_ref(remove("anna", 60), "out"));
    let leave = sees_leave(&mut teacher, "anna", "removed");
    assert_eq!(leave["resultBody"]["extendFields"]["ref"], "out");
    assert_eq!(anna.recv_json(), leave);
    anna.send_json(&chat(ROOM, "still here?"));
    anna.recv_failure("not_joined");
    // Nothing passes: neither another connection nor the token of the seat.
    let mut other = hub.connect();
    for client in [&mut anna, &mut other] {
        client.send_json(&with_ref(join(ROOM, "anna"), "j"));
        assert_eq!(client.recv_failure("removed")["ref"], "j");
        client.send_json(&resume(ROOM, "anna", &token, seq(&leave)));
        client.recv_failure("removed");
    }
    // Other rooms are not concerned.
    other.join("E00002", "anna");

    teacher.send_json(&with_ref(remove("anna", 0), "in"));
    let data = json!({"roomNumber": ROOM, "id": "anna", "forS": 0});
    let body = json!({"msgType": 3, "textData": {"dataType": 5, "data": data}, "extendFields": {"ref": "in"}});
    assert_eq!(teacher.recv_json(), json!({"status": 1, "msg": "Rule successfully", "resultBody": body}));
    // Whoever was not kept out can be lifted as well.
    teacher.send_json(&remove("nobody", 0));
    assert_eq!(teacher.recv_json()["status"], 1);
    // Its token has not ended: it saw its leave frame, and the rest follows.
    let back = anna.join_with(&resume(ROOM, "anna", &token, seq(&leave)));
    assert_eq!(back["resultBody"]["extendFields"]["seq"], seq(&leave));
    assert_eq!(sees_join(&mut teacher, "anna"), sees_join(&mut anna, "anna"));
}

#[test]
fn a_lingering_member_is_removed_as_well() {
    let hub = start("");
    let mut teacher = hub.join("teacher");
    let anna = hub.join("anna");
    sees_join(&mut teacher, "anna");
    hang_up(anna.stream);
    teacher.fence();
    teacher.send_json(&remove("anna", 60));
    sees_leave(&mut teacher, "anna", "removed");
    let mut anna = hub.connect();
    anna.send_json(&join(ROOM, "anna"));
    anna.recv_failure("removed");
    teacher.send_json(&remove("anna", 60));
    teacher.recv_failure("no_such_member");
}

#[test]
fn being_kept_out_ends_by_itself() {
    let hub = start("");
    let mut teacher = hub.join("teacher");
    let mut anna = hub.join("anna");
    sees_join(&mut teacher, "anna");
    teacher.send_json(&remove("anna", 1));
    sees_leave(&mut anna, "anna", "removed");
    loop {
        anna.send_json(&join(ROOM, "anna"));
        let reply = anna.recv_json();
        if reply["status"] == 1 {
            break;
        }
        assert_eq!(reply["code"], "removed");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn an_address_is_kept_out_unless_somebody_else_sits_there() {
    let hub = start("");
    let from = |last: u8| {
        let stream = tcp_from(IpAddr::from(Ipv4Addr::new(127, 0, 0, last)), hub.addr);
        let head = upgrade_head("/ws", "");
        std::io::Write::write_all(&mut { &stream }, head.as_bytes()).expect("the hub reads");
        Client::upgraded(stream).expect("an upgrade")
    };
    let mut teacher = hub.join("teacher");
    let [mut anna, mut bert, mut carl] = [(2, "anna"), (3, "bert"), (3, "carl")].map(|(last, id)| {
        let mut client = from(last);
        client.join(ROOM, id);
        sees_join(&mut teacher, id);
        client
    });
    teacher.send_json(&remove("anna", 60));
    sees_leave(&mut teacher, "anna", "removed");
    anna.recv_json(); // bert
    anna.recv_json(); // carl
    sees_leave(&mut anna, "anna", "removed");
    let mut renamed = from(2);
    renamed.send_json(&join(ROOM, "anna's other name"));
    renamed.recv_failure("removed");

    // Bert sits where Carl does: only he goes.
    teacher.send_json(&remove("bert", 60));
    sees_leave(&mut teacher, "bert", "removed");
    let mut dora = from(3);
    dora.join(ROOM, "dora");
    sees_join(&mut teacher, "dora");
    dora.send_json(&leave(ROOM));
    sees_leave(&mut teacher, "dora", "left");
    // Now Carl is alone there, lingering as he is.
    carl.recv_json(); // anna's leave
    hang_up(carl.stream);
    teacher.fence();
    teacher.send_json(&remove("carl", 60));
    sees_leave(&mut teacher, "carl", "removed");
    let mut emil = from(3);
    emil.send_json(&join(ROOM, "emil"));
    emil.recv_failure("removed");
    // Letting him back in lets in whoever sits with him.
    teacher.send_json(&remove("carl", 0));
    assert_eq!(teacher.recv_json()["status"], 1);
    emil.join(ROOM, "emil");
    bert.send_json(&join(ROOM, "bert"));
    assert_eq!(bert.recv_to_failure()["code"], "removed");
}

trait RecvToFailure {
    /// Past all that the room said before.
    fn recv_to_failure(&mut self) -> Value;
}

impl RecvToFailure for Client {
    fn recv_to_failure(&mut self) -> Value {
        loop {
            let frame = self.recv_json();
            if frame["status"] == 0 {
                return frame;
            }
        }
    }
}

// ---- Who is the owner ---------------------------------------------------------------------------

#[test]
fn what_holds_ends_with_the_owners_seat_behind_its_leave_frame() {
    let hub = Hub::start(&format!("{NO_RATES}{NO_LINGER}"));
    let mut anna;
    let ends: [fn(Client); 3] = [
        |mut teacher| {
            teacher.send_json(&leave(ROOM));
            sees_leave(&mut teacher, "teacher", "left");
            // Whoever has left hears no more of it.
            teacher.fence();
        },
        Client::close,
        |teacher| hang_up(teacher.stream),
    ];
    for (end, reason) in ends.into_iter().zip(["left", "closed", "lost"]) {
        let mut teacher = hub.join("teacher");
        anna = hub.join("anna");
        sees_join(&mut teacher, "anna");
        teacher.send_json(&rule(&json!({"locked": true, "quiet": true})));
        for client in [&mut teacher, &mut anna] {
            sees_rule(client, true, true, None);
        }
        end(teacher);
        let left = sees_leave(&mut anna, "teacher", reason);
        assert_eq!((&data(&left)["locked"], &data(&left)["quiet"]), (&json!(true), &json!(true)));
        let ruled = sees_rule(&mut anna, false, false, None);
        assert_eq!(seq(&ruled), seq(&left) + 1);
        assert_eq!(data(&ruled)["owner"]["id"], "teacher", "the last one's");
        anna.say("alone");
        assert!(!is_owner(&mut anna));
        let mut bert = hub.join("bert");
        sees_join(&mut anna, "bert");
        bert.send_json(&leave(ROOM));
        sees_leave(&mut bert, "bert", "left");
        sees_leave(&mut anna, "bert", "left");
        anna.close();
    }
}

#[test]
fn a_teacher_who_reloads_the_page_is_still_the_teacher_and_nobody_else_is() {
    let hub = start("");
    let mut teacher = hub.connect();
    let token = resume_token(&teacher.join(ROOM, "teacher"));
    let mut anna = hub.join("anna");
    sees_join(&mut teacher, "anna");
    rules(&mut teacher, &json!({"locked": true}));
    sees_rule(&mut anna, true, false, Some("rule"));
    // What a browser says when a page is reloaded.
    teacher.send(&Raw::close(1001));
    teacher.expect_close(1001);
    let mut mallory = hub.connect();
    mallory.send_json(&join(ROOM, "teacher"));
    mallory.recv_duplicate();
    let mut teacher = hub.connect();
    let reply = teacher.join_with(&resume(ROOM, "teacher", &token, Value::Null));
    assert_eq!((&data(&reply)["locked"], &data(&reply)["owner"]["id"]), (&json!(true), &json!("teacher")));
    assert!(is_owner(&mut teacher));
    sees_rule(&mut anna, true, false, Some("am I?"));
    anna.fence();
}

#[test]
fn who_made_a_room_owns_it_again_with_the_token_and_who_was_first_in_between_no_longer() {
    let hub = Hub::start(&format!("{NO_RATES}{NO_LINGER}"));
    let mut teacher = hub.connect();
    let token = resume_token(&teacher.join(ROOM, "teacher"));
    teacher.send_json(&leave(ROOM));
    sees_leave(&mut teacher, "teacher", "left");
    let mut anna = hub.connect();
    let reply = anna.join(ROOM, "anna");
    assert_eq!(data(&reply)["owner"]["id"], "anna", "first into a room that stood empty");
    assert!(is_owner(&mut anna));
    rules(&mut anna, &json!({"locked": true}));
    // A token stands for the lock, and brings back what the seat was.
    let reply = teacher.join_with(&resume(ROOM, "teacher", &token, Value::Null));
    assert_eq!(data(&reply)["owner"]["id"], "teacher");
    let seen = sees_join(&mut anna, "teacher");
    assert_eq!((&data(&seen)["owner"]["id"], &data(&seen)["locked"]), (&json!("teacher"), &json!(true)));
    assert!(is_owner(&mut teacher));
    sees_rule(&mut anna, true, false, Some("am I?"));
    assert!(!is_owner(&mut anna));
    // And the seat that it has now is the one that counts.
    let token = resume_token(&reply);
    teacher.send_json(&leave(ROOM));
    sees_leave(&mut teacher, "teacher", "left");
    sees_rule_after(&mut anna);
    let reply = teacher.join_with(&resume(ROOM, "teacher", &token, Value::Null));
    assert_eq!(data(&reply)["owner"]["id"], "teacher");
    assert!(is_owner(&mut teacher));
}

#[track_caller]
fn sees_rule_after(client: &mut Client) {
    sees_leave(client, "teacher", "left");
    sees_rule(client, false, false, None);
}

#[test]
fn a_room_with_a_named_owner_is_that_ones_whoever_is_first() {
    let hub = start("[[room]]\nnumber = \"E00001\"\n[room.owner]\nid = \"teacher\"\npersonName = \"王老师\"\n");
    let mut anna = hub.connect();
    let reply = anna.join(ROOM, "anna");
    assert_eq!(data(&reply)["owner"]["personName"], "王老师");
    assert!(!is_owner(&mut anna));
    let mut teacher = hub.join("teacher");
    sees_join(&mut anna, "teacher");
    assert!(is_owner(&mut teacher));
    sees_rule(&mut anna, false, false, Some("am I?"));
    // Its lingering seat is the owner's in any case: here its id is all that shows it.
    hang_up(teacher.stream);
    let mut teacher = hub.connect();
    teacher.join(ROOM, "teacher");
    assert!(is_owner(&mut teacher));
}

#[test]
fn a_passcode_goes_with_the_named_owner() {
    let hub = start("[[room]]\nnumber = \"E00001\"\nowner_passcode = \"芝麻开门\"\n[room.owner]\nid = \"teacher\"\n");
    let mut mallory = hub.connect();
    for request in [join(ROOM, "teacher"), join_as_owner("teacher", "芝麻关门"), join_as_owner("teacher", "")] {
        mallory.send_json(&with_ref_too(request, "m"));
        assert_eq!(mallory.recv_failure("passcode")["ref"], "m");
    }
    // To anybody else it means nothing, right or wrong.
    for passcode in ["wrong", "芝麻开门"] {
        mallory.join_with(&join_as_owner("mallory", passcode));
        assert!(!is_owner(&mut mallory));
        mallory.send_json(&leave(ROOM));
        sees_leave(&mut mallory, "mallory", "left");
    }
    let mut teacher = hub.connect();
    let token = resume_token(&teacher.join_with(&join_as_owner("teacher", "芝麻开门")));
    assert!(is_owner(&mut teacher));
    // The token stands for it.
    let mut again = hub.connect();
    again.join_with(&resume(ROOM, "teacher", &token, Value::Null));
    teacher.expect_close(4001);
    assert!(is_owner(&mut again));
    hang_up(again.stream);
    let mut mallory = hub.connect();
    mallory.send_json(&join(ROOM, "teacher"));
    mallory.recv_failure("passcode");
    let mut teacher = hub.connect();
    teacher.join_with(&join_as_owner("teacher", "芝麻开门"));
    assert!(is_owner(&mut teacher), "or the passcode itself");
}

#[test]
fn whoever_shows_the_passcode_of_a_room_without_a_named_owner_owns_it() {
    let hub = start("[[room]]\nnumber = \"E00001\"\nowner_passcode = \"open sesame\"\n");
    let mut anna = hub.join("anna");
    assert!(is_owner(&mut anna), "until then it is owned as a made room is");
    rules(&mut anna, &json!({"locked": true}));
    let mut teacher = hub.connect();
    teacher.send_json(&join_as_owner("teacher", "open"));
    teacher.recv_failure("passcode");
    // It is not locked out of its own room.
    let reply = teacher.join_with(&join_as_owner("teacher", "open sesame"));
    assert_eq!(data(&reply)["owner"]["id"], "teacher");
    sees_join(&mut anna, "teacher");
    assert!(!is_owner(&mut anna));
    // Who sits there already can show it later, and then everybody is told.
    hang_up(anna.stream);
    let mut anna = hub.connect();
    let reply = anna.join_with(&join_as_owner("anna", "open sesame"));
    assert_eq!(data(&reply)["owner"]["id"], "anna");
    let told = sees_rule(&mut teacher, true, false, None);
    assert_eq!(data(&told)["owner"]["id"], "anna");
    assert_eq!(reply["resultBody"]["extendFields"]["seq"], seq(&told));
    assert!(!is_owner(&mut teacher));
    assert!(is_owner(&mut anna));
}

#[test]
fn five_wrong_passcodes_end_a_connection_and_no_other() {
    let hub = start("[[room]]\nnumber = \"E00001\"\nowner_passcode = \"open sesame\"\n");
    let mut anna = hub.join("anna");
    let mut mallory = hub.connect();
    for n in 0..5 {
        // A good message between makes no difference.
        mallory.send_json(&json!({"msgType": 1}));
        mallory.send_json(&join_as_owner("mallory", &format!("{n}")));
        mallory.recv_failure("passcode");
    }
    mallory.expect_close(1008);
    anna.fence();
}

/// The request with a `ref` beside what it has there.
fn with_ref_too(mut request: Value, reference: &str) -> Value {
    request["extendFields"]["ref"] = json!(reference);
    request
}
