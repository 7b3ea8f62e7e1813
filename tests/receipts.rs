//! Receipts and pulls, the source's reserved types: who is told what, and what the room is asked.
//!
//! Owns: the exact frames of PROTOCOL.md, Receipts and pull, over real sockets, and to whom they go. Refuses to know: how seats end and are
//! had back (`recovery.rs`), which only changes here who is an author.

mod common;

use common::{
    Client, Hub, NO_RATES, PONG, ROOM, Raw, chat, data, hang_up, ids, join, leave, pull, receipt, resume_token, said,
    seq, with_ref,
};
use serde_json::{Value, json};

/// Another room than [`ROOM`].
const OTHER: &str = "E00002";

/// Seats that linger do so while a test runs.
const PATIENT: &str = "[heartbeat]\nprobe_s = 60\nlinger_s = 60\n";

#[track_caller]
fn start() -> Hub {
    Hub::start(&format!("{NO_RATES}{PATIENT}"))
}

/// A room of these, each of whom has read everything.
#[track_caller]
fn class<const N: usize>(hub: &Hub, class: [&str; N]) -> [Client; N] {
    let mut clients: Vec<Client> = Vec::new();
    for id in class {
        let client = hub.join(id);
        clients.iter_mut().for_each(|other| assert_eq!(data(&other.recv_json())["newJoinMember"]["id"], id));
        clients.push(client);
    }
    clients.try_into().unwrap_or_else(|_| unreachable!("one for each"))
}

/// One of them says something, and all hear it. Gives its number.
#[track_caller]
fn says(class: &mut [&mut Client], who: usize, content: &str) -> u64 {
    class[who].send_json(&chat(ROOM, content));
    let numbers: Vec<u64> = class.iter_mut().map(|client| seq(&client.hear(content))).collect();
    numbers[0]
}

/// A Member with an id and nothing else.
fn member(id: &str) -> Value {
    json!({"id": id, "personName": "", "personNum": "", "nickName": "", "headImgUrl": ""})
}

/// What an author is told.
fn received(from: &str, seq: impl Into<Value>) -> Value {
    let data = json!({"from": member(from), "roomNumber": ROOM, "seq": seq.into()});
    let body = json!({"msgType": 4, "textData": {"dataType": 3, "data": data}});
    json!({"status": 1, "msg": "Receive successfully", "resultBody": body})
}

// ---- Receipts -----------------------------------------------------------------------------------

#[test]
fn an_author_is_told_who_has_received() {
    let hub = start();
    let [mut anna, mut bert, mut carl] = class(&hub, ["anna", "bert", "carl"]);
    let chat = says(&mut [&mut anna, &mut bert, &mut carl], 0, "hi");
    anna.send_json(&said(100, ROOM, json!({"up": true})));
    let hand = [&mut anna, &mut bert, &mut carl].map(|client| seq(&client.recv_json()))[0];
    for seq in [chat, hand] {
        for (id, who) in [("bert", &mut bert), ("carl", &mut carl)] {
            // As often as it is said; a `ref` goes nowhere.
            for _ in 0..2 {
                who.send_json(&with_ref(receipt(ROOM, seq), "r"));
                assert_eq!(anna.recv_json(), received(id, seq));
            }
        }
    }
    // Nobody else hears of it, nor does who has said it.
    [&mut anna, &mut bert, &mut carl].into_iter().for_each(Client::fence);
    // It has no number in the room's series.
    assert_eq!(says(&mut [&mut anna, &mut bert, &mut carl], 1, "next"), hand + 1);
}

#[test]
fn a_receipt_says_who_it_was_as_it_joined() {
    let hub = start();
    let mut anna = hub.join("anna");
    let anna_said = seq(&anna.say("hi"));
    let mut request = join(ROOM, "\"bert\"\\");
    request["textData"]["data"]["from"] = json!({"id": "\"bert\"\\", "personName": "张三", "personNum": "XS1", "nickName": "老三", "headImgUrl": "/a.jpg"});
    let mut bert = hub.connect();
    let full = data(&bert.join_with(&request))["newJoinMember"].clone();
    assert_eq!(full, request["textData"]["data"]["from"]);
    anna.recv_json();
    // Whatever stands in `from` there is not looked at.
    let mut forged = receipt(ROOM, anna_said);
    forged["textData"]["data"]["from"] = member("carl");
    for request in [receipt(ROOM, anna_said), forged] {
        bert.send_json(&request);
        let told = anna.recv_json();
        assert_eq!(*data(&told), json!({"from": full, "roomNumber": ROOM, "seq": anna_said}));
    }
    // And as an author it is found, odd as its id is.
    let bert_said = seq(&bert.say("hi"));
    anna.hear("hi");
    anna.send_json(&receipt(ROOM, bert_said));
    assert_eq!(bert.recv_json(), received("anna", bert_said));
}

#[test]
fn each_author_is_told_once_of_its_own() {
    let hub = start();
    let [mut anna, mut bert, mut carl] = class(&hub, ["anna", "bert", "carl"]);
    let mut say = |who, content| says(&mut [&mut anna, &mut bert, &mut carl], who, content);
    let (a1, b1, c1) = (say(0, "a1"), say(1, "b1"), say(2, "c1"));
    let (b2, a2, c2) = (say(1, "b2"), say(0, "a2"), say(2, "c2"));
    // Each has its own, in the order of the request, and none twice; a number alone stays an array.
    carl.send_json(&receipt(ROOM, json!([a2, b1, a1, b1, c1, a2, c1])));
    assert_eq!(anna.recv_json(), received("carl", json!([a2, a1])));
    assert_eq!(bert.recv_json(), received("carl", json!([b1])));
    // Oneself is an author as any other.
    assert_eq!(carl.recv_json(), received("carl", json!([c1])));
    carl.send_json(&receipt(ROOM, c2));
    assert_eq!(carl.recv_json(), received("carl", c2));
    carl.send_json(&receipt(ROOM, json!([b2])));
    assert_eq!(bert.recv_json(), received("carl", json!([b2])));
    [&mut anna, &mut bert, &mut carl].into_iter().for_each(Client::fence);
}

#[test]
fn an_author_is_whoever_sits_there_now() {
    let hub = start();
    let [mut anna, mut bert, mut carl] = class(&hub, ["anna", "bert", "carl"]);
    let bert_said = says(&mut [&mut anna, &mut bert, &mut carl], 1, "hi");
    let both = json!([bert_said, says(&mut [&mut anna, &mut bert, &mut carl], 2, "hi too")]);

    // Bert's seat lingers: nobody is told for it, then or later, and that is no failure.
    hang_up(bert.stream);
    says(&mut [&mut anna, &mut carl], 0, "he is away");
    for seqs in [json!(bert_said), json!([bert_said])] {
        anna.send_json(&receipt(ROOM, seqs));
        anna.fence();
    }
    anna.send_json(&receipt(ROOM, both.clone()));
    assert_eq!(carl.recv_json(), received("anna", json!([both[1].clone()])));
    anna.fence();
    // He is back on another connection.
    let mut bert = hub.connect();
    bert.join(ROOM, "bert");
    bert.fence();
    anna.send_json(&receipt(ROOM, bert_said));
    assert_eq!(bert.recv_json(), received("anna", bert_said));

    // He leaves, and is nobody's author for a while.
    bert.send_json(&leave(ROOM));
    for client in [&mut anna, &mut bert, &mut carl] {
        assert_eq!(data(&client.recv_json())["newLeaveMember"]["id"], "bert");
    }
    anna.send_json(&receipt(ROOM, bert_said));
    anna.fence();
    bert.fence();
    // What he said under this id is his own again once he is back in another seat.
    bert.join(ROOM, "bert");
    for client in [&mut anna, &mut carl] {
        assert_eq!(data(&client.recv_json())["newJoinMember"]["id"], "bert");
    }
    anna.send_json(&receipt(ROOM, json!([bert_said])));
    assert_eq!(bert.recv_json(), received("anna", json!([bert_said])));
    [&mut anna, &mut bert, &mut carl].into_iter().for_each(Client::fence);
}

#[test]
fn what_is_no_message_of_the_room_is_said_once() {
    const HISTORY: u64 = 8;
    let hub = Hub::start(&format!("{NO_RATES}[rooms]\nhistory = {HISTORY}\n{PATIENT}"));
    let [mut anna, mut bert] = class(&hub, ["anna", "bert"]);
    let mut carl = hub.connect();
    let carl_joined = seq(&carl.join(ROOM, "carl"));
    carl.send_json(&leave(ROOM));
    let carl_left = seq(&carl.recv_json());
    for client in [&mut anna, &mut bert] {
        assert_eq!([seq(&client.recv_json()), seq(&client.recv_json())], [carl_joined, carl_left]);
    }
    let first = says(&mut [&mut anna, &mut bert], 0, "the first");
    // A join, a leave, what is yet to come, and what no frame can be.
    for no in ["0", "-1", "-0", "18446744073709551615", "18446744073709551616", "-99999999999999999999999", "1000"]
        .map(str::to_owned)
        .into_iter()
        .chain([carl_joined.to_string(), carl_left.to_string(), (first + 1).to_string()])
    {
        for seqs in [no.clone(), format!("[{no}]"), format!("[{no},{no}]")] {
            let text = with_ref(receipt(ROOM, "SEQ"), &seqs[..seqs.len().min(64)]).to_string();
            bert.send_text(&text.replace("\"SEQ\"", &seqs));
            let failure = bert.recv_failure("no_such_message");
            assert_eq!(failure["ref"], seqs[..seqs.len().min(64)]);
            bert.fence();
        }
        // Among others it is passed over; the author is told of the rest, and one failure follows.
        let text = with_ref(receipt(ROOM, "SEQ"), "r").to_string();
        bert.send_text(&text.replace("\"SEQ\"", &format!("[{no},{first},1]")));
        assert_eq!(anna.recv_json(), received("bert", json!([first])));
        assert_eq!(bert.recv_failure("no_such_message")["ref"], "r");
        bert.fence();
    }
    anna.fence();
    // One's own receipt comes before it.
    anna.send_json(&receipt(ROOM, json!([0, first])));
    assert_eq!(anna.recv_json(), received("anna", json!([first])));
    assert_eq!(anna.recv_failure("no_such_message").get("ref"), None);

    // As long as it is held, and no longer.
    for n in 1..HISTORY {
        says(&mut [&mut anna, &mut bert], 1, &format!("{n} more"));
    }
    bert.send_json(&receipt(ROOM, first));
    assert_eq!(anna.recv_json(), received("bert", first));
    says(&mut [&mut anna, &mut bert], 1, "one too many");
    bert.send_json(&receipt(ROOM, json!([first])));
    bert.recv_failure("no_such_message");
    bert.fence();
    anna.fence();
}

#[test]
fn whoever_is_not_in_the_room_has_received_nothing() {
    let hub = start();
    let mut anna = hub.join("anna");
    let said = seq(&anna.say("hi"));
    let mut outside = hub.connect();
    let refused = |client: &mut Client, room: &str| {
        for seqs in [json!(said), json!([said]), json!(1000)] {
            client.send_json(&with_ref(receipt(room, seqs), "r"));
            assert_eq!(client.recv_failure("not_joined")["ref"], "r");
        }
        client.fence();
    };
    refused(&mut outside, ROOM);
    refused(&mut outside, "a room that was never made");
    // Nor does a seat elsewhere help, though that room has a frame of this number too.
    outside.join(OTHER, "bert");
    refused(&mut outside, ROOM);
    refused(&mut anna, OTHER);
    anna.fence();
    // Nor does having been there.
    outside.join(ROOM, "bert");
    outside.send_json(&receipt(ROOM, said));
    outside.send_json(&leave(ROOM));
    outside.recv_json();
    refused(&mut outside, ROOM);
    assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], "bert");
    assert_eq!(anna.recv_json(), received("bert", said));
    assert_eq!(data(&anna.recv_json())["newLeaveMember"]["id"], "bert");
    anna.fence();
}

#[test]
fn a_receipt_is_for_one_message_or_for_up_to_64() {
    const MOST: usize = 64;
    let hub = start();
    let [mut anna, mut bert] = class(&hub, ["anna", "bert"]);
    let seqs: Vec<u64> = (0..=MOST).map(|n| says(&mut [&mut anna, &mut bert], n % 2, &format!("{n}"))).collect();
    bert.send_json(&receipt(ROOM, seqs[..MOST].to_vec()));
    let of = |who: usize| seqs[..MOST].iter().skip(who).step_by(2).copied().collect::<Vec<_>>();
    assert_eq!(anna.recv_json(), received("bert", of(0)));
    assert_eq!(bert.recv_json(), received("bert", of(1)));
    // One more, though the same one over and over.
    for too_many in [seqs.clone(), vec![seqs[0]; MOST + 1]] {
        bert.send_json(&with_ref(receipt(ROOM, too_many), "r"));
        let failure = bert.recv_failure("too_long");
        let msg = failure["msg"].as_str().unwrap_or_default();
        assert!(msg.starts_with("textData.data.seq: ") && msg.contains("64"), "{msg}");
        assert_eq!(failure["ref"], "r");
    }
    bert.send_json(&receipt(ROOM, vec![seqs[0]; MOST]));
    assert_eq!(anna.recv_json(), received("bert", json!([seqs[0]])));

    for wrong in [
        json!([]),
        json!(null),
        json!("1"),
        json!(""),
        json!(1.0),
        json!(1e3),
        json!(true),
        json!({}),
        json!({"0": 1}),
        json!(["1"]),
        json!([1.5]),
        json!([1, null]),
        json!([1, [2]]),
        json!([1, {}]),
        json!([[1]]),
    ] {
        bert.send_json(&with_ref(receipt(ROOM, wrong.clone()), "r"));
        let failure = bert.recv_failure("bad_json");
        let msg = failure["msg"].as_str().unwrap_or_default();
        assert!(msg.starts_with("textData.data.seq: expected "), "{wrong}: {msg}");
        assert_eq!(failure["ref"], "r");
        bert.fence();
    }
    let mut without = receipt(ROOM, 1);
    without["textData"]["data"].as_object_mut().expect("data is an object").remove("seq");
    bert.send_json(&without);
    bert.recv_failure("bad_json");
    // Nothing of all that reached anybody.
    anna.fence();
}

#[test]
fn a_receipt_for_many_counts_as_one_message() {
    let hub = Hub::start("[limits]\nmessages_per_second = 1\nburst = 3\nbytes_per_second = 0\n");
    let mut anna = hub.join("anna");
    let said = seq(&anna.say("hi"));
    let mut bert = hub.connect();
    bert.join(ROOM, "bert");
    anna.recv_json();
    let seqs: Vec<u64> = (1..=64).map(|n| if n == 64 { said } else { 1000 + n }).collect();
    let requests: Vec<Raw> =
        (0..4).map(|n| Raw::text(&with_ref(receipt(ROOM, seqs.clone()), &format!("{n}")).to_string())).collect();
    bert.send_all(&requests);
    let codes: Vec<Value> = requests.iter().map(|_| bert.recv_json()["code"].clone()).collect();
    let taken = codes.iter().filter(|code| **code == "no_such_message").count();
    let refused = codes.iter().filter(|code| **code == "rate_limited").count();
    // The join has had its part of the three, unless a second has passed since.
    assert!((2..=3).contains(&taken) && taken + refused == codes.len(), "{codes:?}");
    for _ in 0..taken {
        assert_eq!(anna.recv_json(), received("bert", json!([said])));
    }
    // What was refused was not delivered.
    anna.send(&Raw::new(common::PING, "last"));
    assert_eq!(anna.recv().opcode, PONG);
}

#[test]
fn a_receipt_stands_where_it_was_made() {
    let hub = start();
    let [mut anna, mut bert] = class(&hub, ["anna", "bert"]);
    let said = says(&mut [&mut anna, &mut bert], 0, "hi");
    // In one write: the author hears them in this order.
    let requests = [chat(ROOM, "before"), receipt(ROOM, said), chat(ROOM, "after"), receipt(ROOM, json!([said]))];
    let frames: Vec<Raw> = requests.iter().map(|request| Raw::text(&request.to_string())).collect();
    for _ in 0..50 {
        bert.send_all(&frames);
        anna.hear("before");
        assert_eq!(anna.recv_json(), received("bert", said));
        anna.hear("after");
        assert_eq!(anna.recv_json(), received("bert", json!([said])));
        bert.hear("before");
        bert.hear("after");
    }
    [&mut anna, &mut bert].into_iter().for_each(Client::fence);
}

// ---- Pull ---------------------------------------------------------------------------------------

/// The answer to a pull: this room with these members.
fn pulled(room: &Value, members: &[&str], extend_fields: &Value) -> Value {
    let mut data = room.clone();
    let fields = data.as_object_mut().expect("a Room is an object");
    fields.remove("newJoinMember");
    fields.insert("members".to_owned(), members.iter().map(|id| member(id)).collect());
    let body = json!({"msgType": 5, "textData": {"dataType": 1, "data": data}, "extendFields": extend_fields});
    json!({"status": 1, "msg": "Pull successfully", "resultBody": body})
}

#[test]
fn a_member_pulls_the_room_and_everyone_in_it() {
    let hub = start();
    let mut anna = hub.connect();
    let room = data(&anna.join(ROOM, "anna")).clone();
    let asks = |members: &[&str], latest: u64, anna: &mut Client| {
        anna.send_json(&pull(ROOM));
        assert_eq!(anna.recv_json(), pulled(&room, members, &json!({"seq": latest})));
        anna.send_json(&with_ref(pull(ROOM), "r"));
        assert_eq!(anna.recv_json(), pulled(&room, members, &json!({"seq": latest, "ref": "r"})));
    };
    asks(&["anna"], 1, &mut anna);
    let mut bert = hub.join("bert");
    let carl = hub.join("carl");
    assert_eq!([anna.recv_json(), anna.recv_json()].map(|frame| seq(&frame)), [2, 3]);
    asks(&["anna", "bert", "carl"], 3, &mut anna);
    assert_eq!(seq(&anna.say("hi")), 4);
    asks(&["anna", "bert", "carl"], 4, &mut anna);
    // It has no number of its own, and nobody else hears of it.
    assert_eq!(seq(&bert.recv_json()), 3);
    bert.hear("hi");
    bert.fence();
    // Who lingers is there, in the old place.
    hang_up(bert.stream);
    assert_eq!(seq(&anna.say("he is away")), 5);
    asks(&["anna", "bert", "carl"], 5, &mut anna);
    let mut bert = hub.connect();
    bert.join(ROOM, "bert");
    asks(&["anna", "bert", "carl"], 5, &mut anna);
    bert.send_json(&leave(ROOM));
    assert_eq!(seq(&anna.recv_json()), 6);
    asks(&["anna", "carl"], 6, &mut anna);
    carl.stream.shutdown(std::net::Shutdown::Both).expect("it is connected");
}

#[test]
fn a_pull_says_what_a_join_says() {
    let hub = Hub::start(&format!(
        "{NO_RATES}{PATIENT}[[room]]\nnumber = \"E00001\"\nname = \"房间\"\ndesc = \"描述\"\n[room.owner]\nid = \"t\"\nnickName = \"老师\"\n"
    ));
    let mut first = hub.join("anna");
    let mut bert = hub.connect();
    let reply = bert.join(ROOM, "bert");
    let room = data(&reply);
    assert_eq!((&room["desc"], &room["owner"]["nickName"]), (&json!("描述"), &json!("老师")));
    assert_eq!(ids(&room["members"]), ["anna", "bert"]);
    bert.send_json(&pull(ROOM));
    let answer = bert.recv_json();
    assert_eq!(answer, pulled(room, &["anna", "bert"], &json!({"seq": 2})));
    assert_eq!(data(&answer)["members"], room["members"]);
    // A token is for whoever took the seat, at that moment.
    assert!(!answer.to_string().contains(&resume_token(&reply)));
    assert_eq!(seq(&first.recv_json()), 2);
    first.fence();
}

#[test]
fn whoever_is_not_in_the_room_pulls_nothing() {
    let hub = start();
    let mut anna = hub.join("anna");
    let mut outside = hub.connect();
    for room in [ROOM, OTHER] {
        outside.send_json(&with_ref(pull(room), "r"));
        assert_eq!(outside.recv_failure("not_joined")["ref"], "r");
    }
    outside.join(OTHER, "bert");
    outside.send_json(&pull(ROOM));
    outside.recv_failure("not_joined");
    // It did not make that room, either, nor has it a place elsewhere.
    outside.send_json(&leave(OTHER));
    outside.recv_json();
    outside.send_json(&pull(OTHER));
    outside.recv_failure("not_joined");
    let mut wrong = pull(ROOM);
    wrong["textData"]["data"]["roomNumber"] = json!(1);
    anna.send_json(&wrong);
    let failure = anna.recv_failure("bad_json");
    assert!(failure["msg"].as_str().is_some_and(|msg| msg.starts_with("textData.data.roomNumber: ")), "{failure}");
    anna.fence();
}

#[test]
fn a_pull_stands_where_it_was_made() {
    let hub = start();
    let mut anna = hub.join("anna");
    let requests = [chat(ROOM, "before"), pull(ROOM), chat(ROOM, "after")];
    let frames: Vec<Raw> = requests.iter().map(|request| Raw::text(&request.to_string())).collect();
    for _ in 0..50 {
        anna.send_all(&frames);
        let before = seq(&anna.hear("before"));
        let answer = anna.recv_json();
        assert_eq!((&answer["msg"], seq(&answer)), (&json!("Pull successfully"), before));
        assert_eq!(seq(&anna.hear("after")), before + 1);
    }
}

#[test]
fn only_the_types_that_there_are() {
    let hub = start();
    let mut anna = hub.join("anna");
    let said = seq(&anna.say("hi"));
    for (msg_type, data_type) in [(4, 1), (4, 2), (4, 4), (4, 100), (5, 2), (5, 3), (5, 100), (6, 1), (6, 3)] {
        let mut request = with_ref(receipt(ROOM, said), "r");
        request["msgType"] = json!(msg_type);
        request["textData"]["dataType"] = json!(data_type);
        anna.send_json(&request);
        assert_eq!(anna.recv_failure("unknown_type")["ref"], "r");
        anna.fence();
    }
}
