//! Each limit of PROTOCOL.md and `limits.rs`: what happens at N, and what at N + 1.
//!
//! Owns: one test a limit, named after it: over real sockets, and in virtual time for the periods that nobody wants to wait for.
//! Refuses to know: how a limit is kept, and what else can be wrong with what a client sends (`hostile.rs`, `http.rs`).

mod common;

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use classhub::limits;
use common::{
    CONTINUATION, Client, Hub, NO_LINGER, NO_RATES, PATIENCE, PING, ROOM, Raw, chat, data, join, leave, narrow_tcp,
    said, seq, tcp, tcp_from, upgrade_head, with_ref,
};
use serde_json::{Value, json};

// ---- Tables -------------------------------------------------------------------------------------

#[test]
fn connections() {
    let hub = Hub::start("[limits]\nconnections = 2\n");
    let mut anna = hub.join("anna");
    let bert = hub.connect();
    for _ in 0..3 {
        let response = hub.http(upgrade_head("/ws", ""));
        assert_eq!(response.status, 503, "{response:?}");
        let seconds = response.header("Retry-After").expect("it says when to come back");
        assert!(seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{seconds}");
    }
    // Who is in does not notice.
    anna.say("all seats are taken");
    let mut bert = bert;
    bert.join(ROOM, "bert");
    assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], "bert");

    // The log has one line about it, however many were turned away.
    hub.wait_for_line("limits.connections");
    assert_eq!(hub.lines().iter().filter(|line| line.contains("limits.connections")).count(), 1);

    // One leaves, and there is a place again.
    bert.close();
    let mut carl = connect_at_last(|| tcp(hub.addr));
    assert_eq!(data(&anna.recv_json())["newLeaveMember"]["id"], "bert");
    carl.join(ROOM, "carl");
    assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], "carl");
    assert_eq!(hub.http(upgrade_head("/ws", "")).status, 503);
}

/// Not a limit of ours: the system may let the hub have fewer sockets than it has places for.
#[test]
fn open_files() {
    let hub = Hub::start_with_files(24, "");
    hub.wait_for_line("24 open files");
    let mut anna = hub.join("anna");
    let mut others = Vec::new();
    let refused = loop {
        let mut stream = tcp(hub.addr);
        stream.write_all(upgrade_head("/ws", "").as_bytes()).expect("the hub reads");
        match Client::upgraded(stream) {
            Ok(client) => others.push(client),
            Err(response) => break response,
        }
        assert!(others.len() < 24, "more sockets than files");
    };
    assert_eq!((refused.status, refused.header("Retry-After").is_some()), (503, true), "{refused:?}");
    hub.wait_for_line("no place for another connection");
    anna.say("nobody in here notices");
    // Nobody knocks, and it sleeps: the system refuses to accept even where there is nobody to accept.
    let before = hub.cpu_ticks();
    thread::sleep(Duration::from_millis(500));
    let spent = hub.cpu_ticks() - before;
    assert!(spent < 20, "{spent} of 50 ticks on a processor");
    others.pop().expect("some were let in").close();
    connect_at_last(|| tcp(hub.addr)).join(ROOM, "bert");
    assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], "bert");
}

#[test]
fn connections_per_ip() {
    let hub = Hub::start("[limits]\nconnections_per_ip = 2\n");
    let source = |last| IpAddr::from([127, 0, 0, last]);
    let connect = |last| {
        let mut stream = tcp_from(source(last), hub.addr);
        stream.write_all(upgrade_head("/ws", "").as_bytes()).expect("the hub reads");
        Client::upgraded(stream)
    };
    let Ok(mut anna) = connect(1) else { panic!("the first is taken") };
    let Ok(bert) = connect(1) else { panic!("the second is taken") };
    for _ in 0..3 {
        let Err(response) = connect(1) else { panic!("the third is turned away") };
        assert_eq!((response.status, response.header("Retry-After").is_some()), (503, true), "{response:?}");
        // It counts for this address alone.
        let Ok(other) = connect(2) else { panic!("another address is taken") };
        other.close();
    }
    anna.join(ROOM, "anna");
    bert.close();
    connect_at_last(|| tcp_from(source(1), hub.addr)).join(ROOM, "carl");
    assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], "carl");
}

/// Connects as soon as there is a place. When that is, after somebody has closed, nobody is told.
#[track_caller]
fn connect_at_last(tcp: impl Fn() -> std::net::TcpStream) -> Client {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut stream = tcp();
        stream.write_all(upgrade_head("/ws", "").as_bytes()).expect("the hub reads");
        match Client::upgraded(stream) {
            Ok(client) => return client,
            Err(response) => assert_eq!(response.status, 503),
        }
        assert!(Instant::now() < until, "no place is free again");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn rooms() {
    let hub = Hub::start("[limits]\nrooms = 3\n[[room]]\nnumber = \"configured\"\n");
    let (mut anna, mut bert, mut carl) = (hub.connect(), hub.connect(), hub.connect());
    anna.join("made 1", "anna");
    bert.join("made 2", "bert");
    carl.send_json(&with_ref(join("made 3", "carl"), "r"));
    assert_eq!(carl.recv_failure("hub_full")["ref"], "r");
    // The configured room has stood empty all the time, and does not end for it. Nor does one that people sit in.
    carl.join("configured", "carl");
    carl.send_json(&leave("configured"));
    carl.recv_json();
    carl.send_json(&join("made 3", "carl"));
    carl.recv_failure("hub_full");

    // Two stand empty; the one that has been longest ends, and the other goes on where it was.
    anna.send_json(&leave("made 1"));
    anna.recv_json();
    bert.send_json(&leave("made 2"));
    bert.recv_json();
    assert_eq!(seq(&carl.join("made 3", "carl")), 1);
    assert_eq!(seq(&bert.join("made 2", "bert")), 3);
    anna.send_json(&join("made 1", "anna"));
    anna.recv_failure("hub_full");
    // The configured one too.
    assert_eq!(seq(&anna.join("configured", "anna")), 3);
}

#[test]
fn rooms_are_not_made_on_demand() {
    let hub = Hub::start("[rooms]\nauto_create = false\n[[room]]\nnumber = \"E00001\"\n");
    let mut anna = hub.connect();
    anna.send_json(&join("E00002", "anna"));
    anna.recv_failure("no_such_room");
    anna.join("E00001", "anna");
}

#[test]
fn members_per_room() {
    let hub = Hub::start("[limits]\nmembers_per_room = 2\n");
    let (mut anna, bert) = (hub.join("anna"), hub.join("bert"));
    anna.recv_json();
    let mut carl = hub.connect();
    carl.send_json(&with_ref(join(ROOM, "carl"), "r"));
    let failure = carl.recv_failure("room_full");
    assert_eq!(failure["ref"], "r");
    assert!(failure["msg"].as_str().is_some_and(|msg| msg.contains('2')), "{failure}");
    // Whoever is in is told so first.
    carl.send_json(&join(ROOM, "anna"));
    assert!(carl.recv_json().get("code").is_none());
    // It stays connected, may go elsewhere, and gets in when somebody has left.
    carl.join("E00002", "carl");
    bert.close();
    assert_eq!(data(&anna.recv_json())["newLeaveMember"]["id"], "bert");
    carl.join(ROOM, "carl");
}

#[test]
fn rooms_per_connection() {
    let hub = Hub::start("");
    let most = limits::ROOMS_PER_CONNECTION.default;
    let mut anna = hub.connect();
    for n in 0..most {
        anna.join(&format!("room {n}"), "anna");
    }
    anna.send_json(&with_ref(join("one more", "anna"), "r"));
    let failure = anna.recv_failure("too_many_rooms");
    assert_eq!(failure["ref"], "r");
    assert!(failure["msg"].as_str().is_some_and(|msg| msg.contains(&most.to_string())), "{failure}");
    // It was not made either.
    let mut bert = hub.connect();
    assert_eq!(seq(&bert.join("one more", "bert")), 1);
    anna.send_json(&leave("room 0"));
    anna.recv_json();
    anna.join("one more", "anna");
}

// ---- Fields -------------------------------------------------------------------------------------

/// A text of so many bytes: of one each, of three each as far as they go, or of one each written as an escape.
fn texts(bytes: usize) -> [String; 3] {
    let wide = "字".repeat(bytes / 3) + &"a".repeat(bytes % 3);
    [quoted(&"a".repeat(bytes)), quoted(&wide), format!("\"{}\"", "\\u0061".repeat(bytes))]
}

fn quoted(text: &str) -> String {
    json!(text).to_string()
}

#[test]
fn field_lengths() {
    let hub = Hub::start(&format!("{NO_LINGER}{NO_RATES}"));
    // Each a request with one field left open, and where that field stands.
    let with_member = |field: &str| {
        let id = if field == "id" { "" } else { r#""id":"anna","# };
        format!(
            r#"{{"msgType":2,"textData":{{"dataType":1,"data":{{"roomNumber":"E00001","from":{{{id}"{field}":%}}}}}}}}"#
        )
    };
    let of_room = |msg_type: u32, data_type: u32| {
        format!(
            r#"{{"msgType":{msg_type},"textData":{{"dataType":{data_type},"data":{{"from":{{"id":"anna"}},"content":"","roomNumber":%}}}}}}"#
        )
    };
    let reference = |msg_type: u32, data_type: u32| {
        of_room(msg_type, data_type).replace('%', r#""E00001""#).replacen('{', r#"{"extendFields":{"ref":%},"#, 1)
    };
    let from_id =
        r#"{"msgType":3,"textData":{"dataType":3,"data":{"roomNumber":"E00001","content":"","from":{"id":%}}}}"#;
    for (request, field, limit) in [
        (with_member("id"), "textData.data.from.id", 64),
        (with_member("personName"), "textData.data.from.personName", 96),
        (with_member("personNum"), "textData.data.from.personNum", 64),
        (with_member("nickName"), "textData.data.from.nickName", 96),
        (with_member("headImgUrl"), "textData.data.from.headImgUrl", 256),
        (of_room(2, 1), "textData.data.roomNumber", 64),
        (of_room(2, 2), "textData.data.roomNumber", 64),
        (of_room(3, 2), "textData.data.roomNumber", 64),
        (of_room(3, 3), "textData.data.roomNumber", 64),
        (of_room(3, 100), "textData.data.roomNumber", 64),
        (reference(2, 1), "extendFields.ref", 64),
        (reference(3, 2), "extendFields.ref", 64),
        (reference(3, 3), "extendFields.ref", 64),
        (from_id.to_owned(), "textData.data.from.id", 64),
    ] {
        let at_limit: Vec<String> = texts(limit).into();
        for text in at_limit {
            let mut client = hub.connect();
            client.send_text(&request.replace('%', &text));
            let reply = client.recv_json();
            // Leaves and chats are for a room that it is not in: they were read to the end, and that is what counts.
            assert!(reply["status"] == 1 || reply["code"] == "not_joined", "{field} {text}: {reply}");
            // What was taken comes back whole.
            let text: Value = serde_json::from_str(&text).expect("it is a string");
            let (name, from) = (field.rsplit('.').next().expect("a name"), &data(&reply)["newJoinMember"]);
            match name {
                "ref" if reply["status"] == 0 => assert_eq!(reply["ref"], text),
                "ref" => assert_eq!(reply["resultBody"]["extendFields"]["ref"], text),
                "roomNumber" if reply["status"] == 1 => assert_eq!(data(&reply)["number"], text),
                _ if reply["status"] == 1 => assert_eq!(from[name], text),
                _ => {}
            }
        }
        let too_long: Vec<String> = texts(limit + 1).into();
        // As many characters as bytes are allowed, and more bytes.
        let wide = quoted(&"é".repeat(limit));
        for text in too_long.into_iter().chain([wide]) {
            let mut client = hub.connect();
            client.send_text(&request.replace('%', &text));
            let failure = client.recv_failure("too_long");
            let msg = failure["msg"].as_str().unwrap_or_default();
            assert!(msg.starts_with(&format!("{field}: ")) && msg.contains(&limit.to_string()), "{field}: {msg}");
        }
    }
}

#[test]
fn content_depth() {
    let hub = Hub::start(NO_RATES);
    let mut anna = hub.join("anna");
    let nested = |open: &str, close: &str, levels: usize| {
        let text = open.repeat(levels) + "1" + &close.repeat(levels);
        serde_json::from_str::<Value>(&text).expect("it is JSON")
    };
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[0,{"a":"#, "}]")] {
        let per_pair = open.matches(['[', '{']).count();
        let at_limit = nested(open, close, limits::CONTENT_DEPTH / per_pair);
        anna.send_json(&said(100, ROOM, at_limit.clone()));
        assert_eq!(data(&anna.recv_json())["content"], at_limit);
        let request = with_ref(said(100, ROOM, json!([at_limit])), "deep");
        anna.send_json(&request);
        let failure = anna.recv_failure("bad_json");
        assert_eq!(failure["ref"], "deep");
        let msg = failure["msg"].as_str().unwrap_or_default();
        assert!(msg.starts_with("textData.data.content: ") && msg.contains("32"), "{msg}");
    }
    // What only looks like depth is none.
    anna.say(&"[{".repeat(100));
    let wide = Value::from(vec![json!([[]]); 100]);
    anna.send_json(&said(100, ROOM, wide.clone()));
    assert_eq!(data(&anna.recv_json())["content"], wide);
}

// ---- Sizes --------------------------------------------------------------------------------------

/// A chat that is exactly so many bytes.
fn chat_of(bytes: usize) -> String {
    let empty = chat(ROOM, "").to_string();
    chat(ROOM, &"x".repeat(bytes - empty.len())).to_string()
}

/// A message in frames of so many bytes.
fn in_fragments(text: &str, bytes: usize) -> Vec<Raw> {
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(bytes).collect();
    let last = pieces.len() - 1;
    let frame = |(n, piece): (usize, &&[u8])| Raw {
        fin: n == last,
        ..Raw::new(if n == 0 { common::TEXT } else { CONTINUATION }, *piece)
    };
    pieces.iter().enumerate().map(frame).collect()
}

#[test]
fn message_bytes() {
    for (toml, limit) in
        [(NO_RATES.to_owned(), limits::MESSAGE_BYTES.default), (format!("{NO_RATES}message_bytes = 1024\n"), 1024)]
    {
        let hub = Hub::start(&toml);
        let limit = limit as usize;
        let mut anna = hub.join("anna");
        // Within: in one frame, in fragments, and padded with what means nothing.
        let text = chat_of(limit);
        assert_eq!(text.len(), limit);
        for frames in [vec![Raw::text(&text)], in_fragments(&text, 100), in_fragments(&text, limit - 1)] {
            anna.send_all(&frames);
            let heard = anna.recv_json();
            assert_eq!(text, chat(ROOM, data(&heard)["content"].as_str().expect("text")).to_string());
        }
        let short = chat(ROOM, "short").to_string();
        anna.send_text(&(" ".repeat(limit - short.len()) + &short));
        anna.hear("short");

        // Beyond it: whole, in fragments, and before it is all there.
        let text = chat_of(limit + 1);
        let announced = [&[0x81, 0xFF][..], &(1u64 << 40).to_be_bytes(), &[0; 4]].concat();
        let attempts = [
            Raw::text(&text).bytes(),
            Raw::new(common::BINARY, text.clone()).bytes(),
            in_fragments(&text, 100).iter().flat_map(Raw::bytes).collect(),
            in_fragments(&text, limit).iter().flat_map(Raw::bytes).collect(),
            in_fragments(&(text.clone() + "more"), limit + 1)[0].bytes(),
            Raw::text(&text).bytes()[..20].to_vec(),
            announced,
        ];
        for (n, bytes) in attempts.iter().enumerate() {
            let id = format!("big {n}");
            let mut big = hub.join(&id);
            assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], *id);
            big.send_bytes(bytes);
            big.expect_close(1009);
            let left = anna.recv_json();
            assert_eq!(data(&left)["newLeaveMember"]["id"], *id);
            assert_eq!(left["resultBody"]["extendFields"]["reason"], "closed");
        }
        anna.say("undisturbed");
    }
}

#[test]
fn head_bytes() {
    let hub = Hub::start("");
    let head = |bytes: usize| {
        let rest = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Long: \r\n\r\n";
        rest.replace("Long: ", &format!("Long: {}", "x".repeat(bytes - rest.len())))
    };
    let at_limit = head(limits::HEAD_BYTES);
    assert_eq!(at_limit.len(), limits::HEAD_BYTES);
    assert_eq!(hub.http(&at_limit).status, 200);
    assert_eq!(hub.http(head(limits::HEAD_BYTES + 1)).status, 431);
    // Without an end, at the limit at the latest; and far beyond it, the answer is still there to be read.
    assert_eq!(hub.http("GET / HTTP/1.1\r\nX-Long: ".to_owned() + &"x".repeat(limits::HEAD_BYTES)).status, 431);
    assert_eq!(hub.http(head(1 << 20)).status, 431);

    // What stands behind a head is no part of it.
    let mut upgrade = upgrade_head("/ws", "X-Long: \r\n");
    upgrade = upgrade.replace("Long: ", &format!("Long: {}", "x".repeat(limits::HEAD_BYTES - upgrade.len())));
    assert_eq!(upgrade.len(), limits::HEAD_BYTES);
    let mut bytes = upgrade.into_bytes();
    bytes.extend(Raw::text(&join(ROOM, "anna").to_string()).bytes());
    let mut stream = tcp(hub.addr);
    stream.write_all(&bytes).expect("the hub reads");
    let Ok(mut client) = Client::upgraded(stream) else { panic!("a head within its limit") };
    assert_eq!(client.recv_json()["msg"], "Join successfully");
}

#[test]
fn head_fields() {
    let hub = Hub::start("");
    let head = |fields: usize| {
        let more: String = (1..fields).map(|n| format!("X-{n}: 1\r\n")).collect();
        format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{more}\r\n")
    };
    assert_eq!(hub.http(head(limits::HEAD_FIELDS)).status, 200);
    assert_eq!(hub.http(head(limits::HEAD_FIELDS + 1)).status, 431);
}

// ---- Rates --------------------------------------------------------------------------------------

#[test]
fn messages_per_second() {
    let hub = Hub::start("[limits]\nmessages_per_second = 1\nburst = 5\n");
    let mut anna = hub.connect();
    // In one write, so that it is one moment: the join and four chats pass, the next does not.
    let chats = (1..=5).map(|n| with_ref(chat(ROOM, &format!("{n}")), &format!("ref {n}")));
    let all: Vec<Raw> = [join(ROOM, "anna")].into_iter().chain(chats).map(|one| Raw::text(&one.to_string())).collect();
    anna.send_all(&all);
    assert_eq!(anna.recv_json()["msg"], "Join successfully");
    for n in 1..=4 {
        anna.hear(&n.to_string());
    }
    assert_eq!(anna.recv_failure("rate_limited")["ref"], "ref 5");

    // Every frame counts, control frames and fragments too.
    for frames in [
        vec![Raw::new(PING, ""); 4],
        vec![Raw::new(common::PONG, ""); 4],
        vec![Raw::text(r#"{"msgType":1}"#); 4],
        [Raw::text("{").unfinished()].into_iter().chain(in_fragments(" \"msgType\":1}", 5)).collect(),
    ] {
        let mut bert = hub.connect();
        let mut frames = frames;
        for frame in frames.iter_mut().skip(1).filter(|frame| frame.opcode == common::TEXT && frame.payload[0] == b' ')
        {
            frame.opcode = CONTINUATION;
        }
        frames.insert(0, Raw::text(&join("E00002", "bert").to_string()));
        assert_eq!(frames.len(), 5);
        frames.push(Raw::text(&with_ref(leave("E00002"), "late").to_string()));
        bert.send_all(&frames);
        assert_eq!(bert.recv_json()["msg"], "Join successfully");
        let mut next = bert.recv();
        while next.opcode == common::PONG {
            next = bert.recv();
        }
        let failure = next.json();
        assert_eq!((&failure["code"], &failure["ref"]), (&json!("rate_limited"), &json!("late")), "{failure}");
        // What was refused was not done: it still sits there, until now.
        bert.close();
    }

    // It all comes back with time.
    let until = Instant::now() + PATIENCE;
    loop {
        anna.send_json(&chat(ROOM, "again"));
        let reply = anna.recv_json();
        if reply["status"] == 1 {
            break;
        }
        assert!(reply["code"] == "rate_limited" && Instant::now() < until, "{reply}");
        thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn bytes_per_second() {
    const BURST: usize = 4096;
    let hub = Hub::start(&format!(
        "[limits]\nmessages_per_second = 0\nmessage_bytes = 1024\nbytes_per_second = 1\nbytes_burst = {BURST}\n"
    ));
    for over in [0, 1] {
        let mut anna = hub.connect();
        let room = format!("room {over}");
        // In one write: a join, chats of 1,000 bytes on the wire, and a last one that makes it exactly the burst, or one more.
        let mut frames = vec![Raw::text(&join(&room, "anna").to_string())];
        let overhead = Raw::text(&"x".repeat(200)).bytes().len() - 200;
        let chat_of = |bytes: usize| {
            let empty = chat(&room, "").to_string().len();
            Raw::text(&chat(&room, &"x".repeat(bytes - overhead - empty)).to_string())
        };
        frames.extend([chat_of(1000), chat_of(1000), chat_of(1000)]);
        let so_far: usize = frames.iter().map(|frame| frame.bytes().len()).sum();
        frames.push(chat_of(BURST - so_far + over));
        assert_eq!(frames.iter().map(|frame| frame.bytes().len()).sum::<usize>(), BURST + over);
        anna.send_all(&frames);
        assert_eq!(anna.recv_json()["msg"], "Join successfully");
        for _ in 0..3 {
            assert_eq!(anna.recv_json()["msg"], "Chat successfully");
        }
        if over == 0 {
            assert_eq!(anna.recv_json()["msg"], "Chat successfully");
            // And that was all.
            anna.send_json(&with_ref(chat(&room, "more"), "r"));
        }
        anna.recv_failure("rate_limited");
    }
}

#[test]
fn reply_bytes() {
    // A queue of its own may hold more than all of them together.
    let hub = Hub::start(&format!("{NO_LINGER}{NO_RATES}reply_bytes = 262144\nroom_log_bytes = 1048576\n"));
    let mut anna = hub.join("anna");
    let blocked = |id: &str| {
        let mut client = Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", ""));
        client.join(ROOM, id);
        client
    };
    let (mut little, mut much) = (blocked("little"), blocked("much"));
    for id in ["little", "much"] {
        assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], id);
    }
    assert_eq!(data(&little.recv_json())["newJoinMember"]["id"], "much");
    // Each is answered with a reply that nobody reads: one is owed some, and the other more and more.
    let ask = Raw::text(&with_ref(leave("elsewhere"), &"r".repeat(64)).to_string()).bytes();
    let reply_bytes = {
        let mut reader = hub.connect();
        reader.send_bytes(&ask);
        reader.recv_failure("not_joined").to_string().len()
    };
    let asked = 150_000 / reply_bytes;
    little.send_bytes(&ask.repeat(asked));
    let mut watcher = hub.connect();
    let until = Instant::now() + PATIENCE;
    loop {
        much.send_bytes(&ask.repeat(50));
        watcher.send_json(&join(ROOM, "much"));
        if watcher.recv_json()["status"] == 1 {
            break;
        }
        assert!(Instant::now() < until, "it may be owed as much as it likes");
    }
    let left = anna.recv_json();
    assert_eq!(data(&left)["newLeaveMember"]["id"], "much");
    assert_eq!(left["resultBody"]["extendFields"]["reason"], "slow");
    for reply in much.recv_to_close(1013) {
        assert_eq!(reply.json()["code"], "not_joined");
    }
    // The one who is owed little gets all of it; its own replies were made before all that.
    for n in 0..asked {
        assert_eq!(little.recv_json()["code"], "not_joined", "{n}");
    }
}

#[test]
fn refusals_end_patience() {
    let hub = Hub::start("[limits]\nmessages_per_second = 1\nburst = 1\n");
    let mut anna = hub.join("anna");
    let mut bert = hub.connect();
    bert.join("E00002", "bert");
    // Now and then one passes; the hundredth that does not is the last.
    let mut refused = 0;
    let message = chat("E00002", "flood");
    while refused < usize::from(limits::REFUSALS) {
        bert.send_json(&message);
        let reply = bert.recv_json();
        refused += usize::from(reply["code"] == "rate_limited");
    }
    bert.expect_close(1008);
    assert_eq!(refused, 100);
    // It is the flood's own affair.
    let _carl = hub.join("carl");
    assert_eq!(data(&anna.recv_json())["newJoinMember"]["id"], "carl");
}

#[test]
fn bad_messages_end_patience() {
    let hub = Hub::start(NO_RATES);
    let mut anna = hub.join("anna");
    let mut bert = hub.join("bert");
    anna.recv_json();
    let bad = [
        ("bad_json", "nonsense".to_owned()),
        ("unknown_type", json!({"msgType": 99}).to_string()),
        ("too_long", join(&"x".repeat(65), "bert").to_string()),
    ];
    let mut bad = bad.iter().cycle();
    // Fifteen are forgiven by anything that is right, a heartbeat or a chat; a refusal of another kind is no bad message either.
    let good = [json!({"msgType": 1}), chat(ROOM, "sorry"), leave("elsewhere")];
    for good in good {
        for (code, text) in bad.by_ref().take(15) {
            bert.send_text(text);
            bert.recv_failure(code);
        }
        bert.send_json(&good);
        match good["textData"]["dataType"].as_u64() {
            Some(3) => {
                bert.hear("sorry");
                anna.hear("sorry");
            }
            Some(_) => drop(bert.recv_failure("not_joined")),
            None => {}
        }
    }
    for (code, text) in bad.by_ref().take(16) {
        bert.send_text(text);
        bert.recv_failure(code);
    }
    bert.expect_close(1008);
    let left = anna.recv_json();
    assert_eq!(data(&left)["newLeaveMember"]["id"], "bert");
    assert_eq!(left["resultBody"]["extendFields"]["reason"], "closed");
    anna.say("undisturbed");
}

// ---- Periods, on the real clock -----------------------------------------------------------------

#[test]
fn a_silent_client_is_closed_and_a_beating_one_stays() {
    let hub = Hub::start("[heartbeat]\ninterval_s = 1\ngrace_s = 1\n[limits]\nmessages_per_second = 0\n");
    let mut beats = hub.join("beats");
    let mut silent = hub.join("silent");
    assert_eq!(data(&beats.recv_json())["newJoinMember"]["id"], "silent");
    let watcher = thread::spawn(move || {
        silent.expect_close(4000);
    });
    let until = Instant::now() + PATIENCE;
    while !watcher.is_finished() {
        beats.send_json(&json!({"msgType": 1}));
        assert!(Instant::now() < until, "the silent one stays");
        thread::sleep(Duration::from_millis(100));
    }
    watcher.join().expect("closed with 4000");
    let left = beats.recv_json();
    assert_eq!(data(&left)["newLeaveMember"]["id"], "silent");
    assert_eq!(left["resultBody"]["extendFields"]["reason"], "heartbeat");
    beats.say("still here");
}

// ---- Periods, in virtual time -------------------------------------------------------------------

mod virtual_time {
    //! The same exchange that the server drives, with a network of memory and a clock that is told what time it is.

    use super::*;
    use classhub::base::{Key, Now, TICK_MS};
    use classhub::hub::Settings;
    use classhub::net::Stream;
    use classhub::net::exchange::{Exchange, Options};
    use common::Frame;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::io::{self, ErrorKind, Read};
    use std::rc::Rc;

    #[derive(Default)]
    struct Line {
        to_hub: VecDeque<u8>,
        from_hub: Vec<u8>,
        /// The client has ended its side.
        hung_up: bool,
        /// The hub has ended its side.
        shut: bool,
    }

    #[derive(Clone, Default)]
    struct End(Rc<RefCell<Line>>);

    impl Read for End {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut line = self.0.borrow_mut();
            if line.to_hub.is_empty() && !line.hung_up {
                return Err(ErrorKind::WouldBlock.into());
            }
            line.to_hub.read(buffer)
        }
    }

    impl Write for End {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().from_hub.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for End {
        fn shutdown_write(&mut self) -> io::Result<()> {
            self.0.borrow_mut().shut = true;
            Ok(())
        }
    }

    struct Network {
        exchange: Exchange<End>,
        now: Now,
    }

    struct Peer {
        key: Key,
        line: End,
    }

    impl Network {
        fn new() -> Network {
            // A clock does not start at a round number.
            let now = Now { monotonic_ms: 12_345, wall_ms: 1_600_000_000_000 };
            Network { exchange: Exchange::new(Options::default(), Settings::default(), [7; 32], now), now }
        }

        /// Lets time pass in one leap, as a hub that slept until its next deadline would see it, deadline by deadline.
        fn pass(&mut self, ms: u64) {
            let until = self.now.after_ms(ms);
            while let Some(due_ms) = self.exchange.next_deadline_ms().filter(|due| *due < until.monotonic_ms) {
                let step = due_ms.saturating_sub(self.now.monotonic_ms).max(1);
                self.now = self.now.after_ms(step);
                self.turn();
            }
            self.now = until;
            self.turn();
        }

        fn turn(&mut self) {
            self.exchange.read_ready(self.now);
            self.exchange.expire(self.now);
            self.exchange.finish(self.now);
        }

        fn tcp(&mut self) -> Peer {
            let line = End::default();
            let (key, fits) = self.exchange.accept(self.now, line.clone(), IpAddr::V4(Ipv4Addr::LOCALHOST));
            assert_eq!(fits, Ok(()));
            Peer { key, line }
        }

        fn connect(&mut self) -> Peer {
            let peer = self.tcp();
            self.send_bytes(&peer, upgrade_head("/ws", "").as_bytes());
            let answer = std::mem::take(&mut peer.line.0.borrow_mut().from_hub);
            assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
            peer
        }

        fn join(&mut self, id: &str) -> Peer {
            let peer = self.connect();
            self.send_json(&peer, &join(ROOM, id));
            assert_eq!(peer.frames().pop().expect("a reply").json()["msg"], "Join successfully");
            peer
        }

        fn send_bytes(&mut self, peer: &Peer, bytes: &[u8]) {
            peer.line.0.borrow_mut().to_hub.extend(bytes);
            self.exchange.set_readable(peer.key, false);
            self.turn();
        }

        fn send_json(&mut self, peer: &Peer, value: &Value) {
            self.send_bytes(peer, &Raw::text(&value.to_string()).bytes());
        }
    }

    impl Peer {
        fn frames(&self) -> Vec<Frame> {
            let bytes = std::mem::take(&mut self.line.0.borrow_mut().from_hub);
            let (mut frames, mut at) = (Vec::new(), 0);
            while let Some((frame, length)) = Frame::parse(&bytes[at..]) {
                frames.push(frame);
                at += length;
            }
            assert_eq!(at, bytes.len(), "half a frame");
            frames
        }

        /// The code it was closed with; nothing may have come behind it.
        fn closed(&self) -> Option<u16> {
            let frames = self.frames();
            let code = frames.last().filter(|frame| frame.opcode == common::CLOSE).and_then(Frame::close_code);
            assert_eq!(
                code.is_some(),
                self.line.0.borrow().shut,
                "the last word is a close frame, and then comes the end"
            );
            code
        }

        fn is_open(&self) -> bool {
            !self.line.0.borrow().shut
        }
    }

    /// Deadlines are rounded up to this,
    const LATE_MS: u64 = TICK_MS;
    /// and those that a class has in common to the next moment that is looked at for all of them: never early, and this late at most.
    const TOGETHER_MS: u64 = SILENCE_MS / limits::TIMERS_TOGETHER + TICK_MS;

    const SILENCE_MS: u64 = (limits::HEARTBEAT_INTERVAL_S.default + limits::HEARTBEAT_GRACE_S.default) as u64 * 1000;

    /// Nothing has happened to `peer` up to a millisecond before `ms` from now, and soon after it, it is closed with `code`.
    #[track_caller]
    fn closed_after(network: &mut Network, peer: &Peer, ms: u64, code: u16) {
        network.pass(ms - 1);
        assert!(peer.is_open(), "closed too early");
        network.pass(1 + TOGETHER_MS);
        assert_eq!(peer.closed(), Some(code));
    }

    #[test]
    fn never_joined() {
        let mut network = Network::new();
        let idle = network.connect();
        closed_after(&mut network, &idle, limits::JOIN_MS, 1008);

        // Heartbeats, pings and nonsense do not put it off. Neither does a chat.
        let beats = network.connect();
        network.pass(20_000);
        for text in [r#"{"msgType":1}"#.to_owned(), "nonsense".to_owned(), chat(ROOM, "hi").to_string()] {
            network.send_bytes(&beats, &Raw::text(&text).bytes());
        }
        network.send_bytes(&beats, &Raw::new(PING, "").bytes());
        closed_after(&mut network, &beats, limits::JOIN_MS - 20_000, 1008);

        // A try does, once for each.
        let holder = network.join("anna");
        let tries = network.connect();
        for _ in 0..3 {
            network.pass(29_000);
            network.send_json(&tries, &join(ROOM, "anna"));
            // It was asked whether it lives.
            network.send_json(&holder, &json!({"msgType": 1}));
            let refused = tries.frames().pop().expect("a refusal").json();
            assert_eq!(refused["status"], 0);
        }
        closed_after(&mut network, &tries, limits::JOIN_MS, 1008);
    }

    #[test]
    fn whoever_left_its_rooms_stays_as_long_as_it_beats() {
        let mut network = Network::new();
        let anna = network.join("anna");
        network.send_json(&anna, &leave(ROOM));
        for _ in 0..10 {
            network.pass(120_000);
            network.send_json(&anna, &json!({"msgType": 1}));
        }
        assert!(anna.is_open());
        closed_after(&mut network, &anna, 125_000, 4000);
    }

    #[test]
    fn heartbeat() {
        assert_eq!(SILENCE_MS, 125_000);
        // A second late at most, of the two minutes.
        const { assert!(TOGETHER_MS <= 1_000 + LATE_MS) };
        let mut network = Network::new();
        let anna = network.join("anna");
        closed_after(&mut network, &anna, SILENCE_MS, 4000);

        // Any whole frame is a sign of life: text right or wrong, ping, pong, a fragment.
        let bert = network.join("bert");
        for frame in [
            Raw::text(r#"{"msgType":1}"#),
            Raw::text("nonsense"),
            Raw::new(PING, "x"),
            Raw::new(common::PONG, ""),
            Raw::text("{").unfinished(),
            Raw::new(CONTINUATION, "").unfinished(),
        ] {
            network.pass(SILENCE_MS - 1);
            assert!(bert.is_open());
            network.send_bytes(&bert, &frame.bytes());
        }
        // The bytes of half a frame are none.
        network.pass(60_000);
        network.send_bytes(&bert, &Raw::new(CONTINUATION, "and so on").bytes()[..8]);
        closed_after(&mut network, &bert, SILENCE_MS - 60_000, 4000);
    }

    #[test]
    fn heartbeat_is_not_fooled_by_a_jumping_wall_clock() {
        let mut network = Network::new();
        let anna = network.join("anna");
        for wall_ms in [0, 4_000_000_000_000, 1] {
            network.now.wall_ms = wall_ms;
            network.pass(100_000);
            assert!(anna.is_open());
            network.send_json(&anna, &json!({"msgType": 1}));
        }
        closed_after(&mut network, &anna, 125_000, 4000);
    }

    #[test]
    fn head_that_never_ends() {
        let mut network = Network::new();
        let (silent, slow) = (network.tcp(), network.tcp());
        // A byte now and then does not put it off.
        for byte in b"GET / HTT" {
            network.pass(1_000);
            network.send_bytes(&slow, &[*byte]);
        }
        network.pass(limits::HEAD_MS - 9_000 - 1);
        assert!(silent.is_open() && slow.is_open());
        network.pass(1 + LATE_MS);
        for peer in [&silent, &slow] {
            let answer = std::mem::take(&mut peer.line.0.borrow_mut().from_hub);
            assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
            assert!(!peer.is_open());
        }
        // What they still say is thrown away, and 5 s later their places are free.
        network.send_bytes(&slow, b"P/1.1\r\n\r\n");
        assert_eq!(network.exchange.len(), 2);
        network.pass(limits::CLOSE_MS + LATE_MS);
        assert_eq!(network.exchange.len(), 0);
    }

    #[test]
    fn close_that_is_not_answered() {
        let mut network = Network::new();
        let rude = network.connect();
        network.send_bytes(&rude, &Raw::new(common::BINARY, "").bytes());
        assert_eq!(rude.closed(), Some(1003));
        network.pass(limits::CLOSE_MS - 1);
        assert_eq!(network.exchange.len(), 1);
        network.pass(1 + LATE_MS);
        assert_eq!(network.exchange.len(), 0);
        // Whoever hangs up is gone at once.
        let polite = network.connect();
        network.send_bytes(&polite, &Raw::close(1000).bytes());
        assert_eq!(polite.closed(), Some(1000));
        polite.line.0.borrow_mut().hung_up = true;
        network.exchange.set_readable(polite.key, true);
        network.turn();
        assert_eq!(network.exchange.len(), 0);
    }

    #[test]
    fn refusals_are_counted_for_ten_seconds() {
        let mut network = Network::new();
        let anna = network.join("anna");
        let flood = |network: &mut Network, refused: usize| {
            let mut seen = 0;
            while seen < refused {
                network.send_json(&anna, &chat(ROOM, "flood"));
                let frames = anna.frames();
                seen += frames.iter().filter(|f| f.opcode == 1 && f.json()["code"] == "rate_limited").count();
            }
            seen
        };
        assert_eq!(flood(&mut network, 99), 99);
        // With ten seconds over they are forgotten.
        network.pass(limits::REFUSALS_MS);
        assert_eq!(flood(&mut network, 99), 99);
        assert!(anna.is_open());
        network.pass(limits::REFUSALS_MS - 1);
        let within_rate = limits::BURST.default as usize;
        for _ in 0..=within_rate {
            network.send_json(&anna, &chat(ROOM, "one too many"));
        }
        let frames = anna.frames();
        assert_eq!(frames.last().and_then(Frame::close_code), Some(1008));
        assert_eq!(frames.iter().filter(|f| f.opcode == 1 && f.json()["code"] == "rate_limited").count(), 1);
    }

    #[test]
    fn made_rooms_end_when_they_have_stood_empty() {
        let empty_ms = u64::from(limits::EMPTY_FOR_S.default) * 1000;
        assert_eq!(empty_ms, 600_000);
        let mut network = Network::new();
        let visit = |network: &mut Network| {
            let peer = network.connect();
            network.send_json(&peer, &join(ROOM, "anna"));
            let seq = seq(&peer.frames().pop().expect("a reply").json());
            network.send_json(&peer, &leave(ROOM));
            network.send_bytes(&peer, &Raw::close(1000).bytes());
            seq
        };
        assert_eq!(visit(&mut network), 1);
        network.pass(empty_ms - 1);
        assert_eq!(network.exchange.hub().rooms(), 1);
        assert_eq!(visit(&mut network), 3);
        network.pass(empty_ms + LATE_MS);
        assert_eq!(network.exchange.hub().rooms(), 0);
        assert_eq!(visit(&mut network), 1);
    }
}
