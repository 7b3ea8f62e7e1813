//! Members who speak sealed: AES-256-GCM in binary frames (PROTOCOL.md, Encryption).
//!
//! Owns: what is sealed and what is not, under which key, and what becomes of frames that are not as they should be, over real sockets; vectors and
//! a client in Python, which shares nothing with the hub but the specification. Refuses to know: what is said.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use common::{
    BINARY, Client, Frame, Hub, NO_LINGER, NO_RATES, ROOM, Raw, TEXT, chat, data, duplicate, hang_up, ids, join, leave,
    narrow_tcp, pull, receipt, resume, resume_token, seq, upgrade_head, with_ref,
};
use serde_json::{Value, json};

/// A key as a school would have it, and its file for as long as the test runs.
struct Key {
    id: u8,
    bytes: [u8; 32],
    file: PathBuf,
}

impl Key {
    fn new(id: u8) -> Key {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("key-{}-{number}", std::process::id()));
        let bytes = [id.wrapping_add(1); 32];
        fs::write(&file, bytes).expect("the folder for tests can be written");
        Key { id, bytes, file }
    }

    fn toml(&self) -> String {
        format!("[[encryption.key]]\nid = {}\nfile = {:?}\n", self.id, self.file)
    }

    fn seal(&self, side: u8, text: &[u8]) -> Vec<u8> {
        static SEALED: AtomicU32 = AtomicU32::new(0);
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&SEALED.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let sealed = Aes256Gcm::new(&self.bytes.into())
            .encrypt(&Nonce::from(nonce), Payload { msg: text, aad: &[1, self.id, side] })
            .expect("it is short");
        [&[1, self.id], &nonce[..], &sealed].concat()
    }

    #[track_caller]
    fn open(&self, frame: &Frame) -> Value {
        assert_eq!(frame.opcode, BINARY, "{}", String::from_utf8_lossy(&frame.payload));
        let sealed = &frame.payload;
        assert_eq!(sealed[..2], [1, self.id]);
        let nonce: [u8; 12] = sealed[2..14].try_into().expect("twelve bytes");
        let text = Aes256Gcm::new(&self.bytes.into())
            .decrypt(&Nonce::from(nonce), Payload { msg: &sealed[14..], aad: &[1, self.id, b'h'] })
            .expect("the hub sealed it with this key");
        serde_json::from_slice(&text).expect("it is JSON")
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

/// A client that speaks sealed.
struct Sealed<'k> {
    client: Client,
    key: &'k Key,
}

impl<'k> Sealed<'k> {
    #[track_caller]
    fn connect(hub: &Hub, key: &'k Key) -> Sealed<'k> {
        Sealed { client: hub.connect(), key }
    }

    #[track_caller]
    fn send(&mut self, request: &Value) {
        self.client.send(&Raw::new(BINARY, self.key.seal(b'c', request.to_string().as_bytes())));
    }

    #[track_caller]
    fn recv(&mut self) -> Value {
        let frame = self.client.recv();
        self.key.open(&frame)
    }

    #[track_caller]
    fn join(&mut self, request: &Value) -> Value {
        self.send(request);
        let reply = self.recv();
        assert_eq!((&reply["status"], &reply["msg"]), (&json!(1), &json!("Join successfully")), "{reply}");
        reply
    }

    #[track_caller]
    fn fails(&mut self, request: &Value, code: &str) {
        self.send(&with_ref(request.clone(), "r"));
        let reply = self.recv();
        assert_eq!((&reply["code"], &reply["ref"]), (&json!(code), &json!("r")), "{reply}");
    }
}

#[track_caller]
fn start(keys: &[&Key], more: &str) -> Hub {
    let keys: String = keys.iter().map(|key| key.toml()).collect();
    Hub::start(&format!("{NO_RATES}{keys}{more}"))
}

#[test]
fn plain_and_sealed_members_hear_the_same_under_the_same_numbers() {
    let key = Key::new(7);
    let hub = start(&[&key], NO_LINGER);
    let mut plain = hub.join("plain");
    plain.say("before anybody speaks sealed");
    let [mut anna, mut bert] = ["anna", "bert"].map(|id| {
        let mut sealed = Sealed::connect(&hub, &key);
        let reply = sealed.join(&join(ROOM, id));
        let seen = plain.recv_json();
        assert_eq!(seq(&reply), seq(&seen));
        sealed
    });
    assert_eq!(data(&anna.recv())["newJoinMember"]["id"], "bert");
    anna.send(&with_ref(chat(ROOM, "老师好"), "r"));
    let heard = plain.recv_json();
    assert_eq!(heard["resultBody"]["extendFields"]["ref"], "r");
    // Sealed once for all who read it so, and not once for each.
    let frames = [anna.client.recv(), bert.client.recv()];
    assert_eq!(frames[0], frames[1]);
    assert_eq!(key.open(&frames[0]), heard);
    // No nonce twice.
    plain.say("again");
    let again = anna.client.recv();
    assert_eq!(data(&key.open(&again))["content"], "again");
    assert_ne!(again.payload[2..14], frames[0].payload[2..14]);
    bert.recv();
    // What is for one alone is sealed as well: answers, failures, receipts.
    bert.send(&pull(ROOM));
    assert_eq!(ids(&data(&bert.recv())["members"]), ["plain", "anna", "bert"]);
    bert.fails(&chat("nowhere", "hi"), "not_joined");
    bert.send(&json!({"msgType": 1}));
    bert.send(&receipt(ROOM, seq(&heard)));
    let receipt = anna.recv();
    assert_eq!((&receipt["msg"], &data(&receipt)["from"]["id"]), (&json!("Receive successfully"), &json!("bert")));
    let mut second = Sealed::connect(&hub, &key);
    second.send(&join(ROOM, "anna"));
    assert_eq!(second.recv(), duplicate());
    bert.send(&leave(ROOM));
    let left = bert.recv();
    assert_eq!(left["msg"], "Leave successfully");
    assert_eq!(plain.recv_json(), left);
    assert_eq!(anna.recv(), left);
}

#[test]
fn who_comes_back_sealed_is_replayed_what_was_said_in_the_clear() {
    let key = Key::new(0);
    let hub = start(&[&key], "[heartbeat]\nlinger_s = 60\n[rooms]\nhistory = 8\n");
    let mut plain = hub.join("plain");
    let mut anna = Sealed::connect(&hub, &key);
    let reply = anna.join(&join(ROOM, "anna"));
    let token = resume_token(&reply);
    plain.recv_json();
    hang_up(anna.client.stream);
    let said: Vec<Value> = (0..5).map(|n| plain.say(&n.to_string())).collect();
    let mut anna = Sealed::connect(&hub, &key);
    let back = anna.join(&resume(ROOM, "anna", &token, seq(&reply)));
    assert_eq!(data(&back).get("members"), None);
    for frame in &said {
        assert_eq!(anna.recv(), *frame);
    }
    // The seat is one, however it is spoken from: the same token brings it back in the clear, with the same frames.
    let mut client = hub.connect();
    client.join_with(&resume(ROOM, "anna", &token, seq(&reply)));
    assert_eq!(anna.client.recv().close_code(), Some(4001));
    for frame in &said {
        assert_eq!(client.recv_json(), *frame);
    }
    // Nobody speaks sealed any more, and who begins to finds what is held: of a room that has said more, the rest.
    for n in 0..8 {
        plain.say(&format!("more {n}"));
    }
    client.recv_json();
    let mut again = Sealed::connect(&hub, &key);
    let gap = again.join(&resume(ROOM, "anna", &token, seq(&reply)));
    assert_eq!(gap["resultBody"]["extendFields"]["gap"], true);
    plain.say("from here on");
    assert_eq!(data(&again.recv())["content"], "from here on");
}

#[test]
fn an_upgrade_leaves_everyone_the_voice_and_the_key_that_they_had() {
    let (first, second) = (Key::new(1), Key::new(2));
    let hub = start(&[&first, &second], "");
    let mut plain = hub.join("plain");
    let mut anna = Sealed::connect(&hub, &first);
    anna.join(&join(ROOM, "anna"));
    plain.recv_json();
    let mut nonces = Vec::new();
    for upgrade in 1..=3 {
        plain.send_json(&chat(ROOM, &upgrade.to_string()));
        let frame = anna.client.recv();
        nonces.push(frame.payload[2..14].to_vec());
        assert_eq!(first.open(&frame), plain.recv_json());
        // The key is taken away meanwhile, and is for those who have it.
        hub.configure(&format!("{NO_RATES}{}", second.toml()));
        hub.upgrade(upgrade);
        anna.send(&chat(ROOM, "under the first"));
        let said = anna.recv();
        assert_eq!(data(&said)["content"], "under the first");
        assert_eq!(plain.recv_json(), said);
        let mut late = Sealed::connect(&hub, &first);
        late.send(&join("another", "late"));
        assert_eq!(late.client.recv_json()["code"], "key");
        let mut bert = Sealed::connect(&hub, &second);
        bert.join(&join("another", &format!("bert {upgrade}")));
    }
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 3, "no nonce comes twice");
}

#[test]
fn a_room_speaks_under_one_key_at_a_time() {
    let (first, second) = (Key::new(1), Key::new(2));
    let hub = start(&[&first, &second], "[heartbeat]\nlinger_s = 60\n");
    let mut plain = hub.join("plain");
    let mut anna = Sealed::connect(&hub, &first);
    let reply = anna.join(&join(ROOM, "anna"));
    plain.recv_json();
    let mut bert = Sealed::connect(&hub, &second);
    bert.fails(&join(ROOM, "bert"), "key");
    // A token does not open another's key, and the refusal comes before anything else is looked at.
    bert.fails(&resume(ROOM, "anna", &resume_token(&reply), 0), "key");
    bert.join(&join("E00002", "bert"));
    bert.fails(&join(ROOM, "another id"), "key");
    // A seat that lingers holds it.
    hang_up(anna.client.stream);
    plain.fence();
    bert.fails(&join(ROOM, "bert"), "key");
    let mut anna = Sealed::connect(&hub, &first);
    anna.join(&join(ROOM, "anna"));
    anna.send(&leave(ROOM));
    anna.recv();
    plain.recv_json();
    // It was the last one's.
    bert.join(&join(ROOM, "bert"));
    assert_eq!(data(&plain.recv_json())["newJoinMember"]["id"], "bert");
    plain.say("under the second");
    assert_eq!(data(&bert.recv())["content"], "under the second");
    anna.fails(&join(ROOM, "anna"), "key");
}

#[test]
fn a_connection_speaks_as_it_began() {
    let (key, other) = (Key::new(1), Key::new(9));
    let hub = start(&[&key, &other], NO_LINGER);
    let mut observer = hub.join("observer");
    let text = join(ROOM, "anna").to_string();
    // Plain, then sealed.
    let mut anna = hub.connect();
    anna.join(ROOM, "anna");
    anna.send(&Raw::new(BINARY, key.seal(b'c', b"{\"msgType\":1}")));
    anna.expect_close(1003);
    // Sealed, then plain, if only a heartbeat.
    let mut anna = Sealed::connect(&hub, &key);
    anna.join(&join(ROOM, "anna"));
    anna.client.send_text("{\"msgType\":1}");
    anna.client.expect_close(1003);
    // Sealed, then with another key.
    let mut anna = Sealed::connect(&hub, &key);
    anna.join(&join(ROOM, "anna"));
    anna.client.send(&Raw::new(BINARY, other.seal(b'c', b"{\"msgType\":1}")));
    anna.client.recv_failure("key");
    anna.client.expect_close(1008);
    // A key that the hub does not have is told so in the clear.
    let unknown = Key::new(3);
    let mut anna = hub.connect();
    anna.send(&Raw::new(BINARY, unknown.seal(b'c', text.as_bytes())));
    anna.recv_failure("key");
    anna.expect_close(1008);
    // What does not authenticate is not answered.
    let good = key.seal(b'c', text.as_bytes());
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    let wrong = [flipped, key.seal(b'h', text.as_bytes()), good[..29].to_vec(), vec![1, 1], vec![2; 60], Vec::new()];
    for wrong in wrong {
        let mut anna = hub.connect();
        anna.send(&Raw::new(BINARY, wrong));
        anna.expect_close(1008);
    }
    // Within the seal, what was wrong in the clear is wrong.
    let mut anna = Sealed::connect(&hub, &key);
    anna.send(&json!([]));
    assert_eq!(anna.recv()["code"], "bad_json");
    let mut anna = hub.connect();
    anna.send(&Raw::new(BINARY, key.seal(b'c', &[0xFF])));
    anna.expect_close(1007);
    // In pieces it is the same message.
    let mut anna = Sealed::connect(&hub, &key);
    let (head, tail) = good.split_at(40);
    anna.client.send(&Raw::new(BINARY, head).unfinished());
    anna.client.send(&Raw::new(common::CONTINUATION, tail));
    assert_eq!(anna.recv()["msg"], "Join successfully");
    // All the while the class saw people come and go, and nothing else.
    let mut seen = Vec::new();
    while seen.last().is_none_or(|id| id != "last") {
        if seen.len() == 7 {
            hub.join("last");
        }
        let frame = observer.recv_json();
        let member = data(&frame)["newJoinMember"]["id"].as_str().or(data(&frame)["newLeaveMember"]["id"].as_str());
        seen.push(member.expect("a join or a leave").to_owned());
    }
    assert_eq!(seen, ["anna", "anna", "anna", "anna", "anna", "anna", "anna", "last"]);
}

#[test]
fn where_it_is_required_nobody_joins_in_the_clear() {
    let key = Key::new(1);
    let hub = start(&[&key], "[encryption]\nrequired = true\n");
    let mut plain = hub.connect();
    plain.send_json(&with_ref(join(ROOM, "plain"), "r"));
    assert_eq!(plain.recv_failure("encryption")["ref"], "r");
    let mut anna = Sealed::connect(&hub, &key);
    let token = resume_token(&anna.join(&join(ROOM, "anna")));
    plain.send_json(&resume(ROOM, "anna", &token, 0));
    plain.recv_failure("encryption");
    anna.send(&chat(ROOM, "hi"));
    assert_eq!(data(&anna.recv())["content"], "hi");
}

#[test]
fn a_sealed_reader_that_does_not_read_is_too_slow_and_nobody_else_is() {
    let key = Key::new(1);
    let hub = Hub::start(&format!("{NO_RATES}room_log_bytes = 65536\n{NO_LINGER}{}", key.toml()));
    let mut plain = hub.join("plain");
    let mut reader = Sealed::connect(&hub, &key);
    reader.join(&join(ROOM, "reader"));
    plain.recv_json();
    let mut slow = Sealed { client: Client::upgrade(narrow_tcp(hub.addr), &upgrade_head("/ws", "")), key: &key };
    slow.join(&join(ROOM, "slow"));
    plain.recv_json();
    reader.recv();
    let long = "x".repeat(8000);
    let mut left = false;
    for n in 0..400 {
        plain.send_json(&chat(ROOM, &format!("{n} {long}")));
        let frame = plain.recv_json();
        assert_eq!(reader.recv(), frame);
        if frame["msg"] == "Leave successfully" {
            assert_eq!(frame["resultBody"]["extendFields"]["reason"], "slow");
            left = true;
            break;
        }
    }
    assert!(left, "whoever reads nothing is let go");
    // What it was sent is whole frames, to the last.
    let mut frames = slow.client.recv_to_close(4002);
    frames.retain(|frame| frame.opcode != TEXT);
    let numbers: Vec<u64> = frames.iter().map(|frame| seq(&key.open(frame))).collect();
    assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
}

// ---- Another's hand -----------------------------------------------------------------------------

/// Made by Python's `cryptography`, which has nothing of ours: see `tests/sealed/client.py`.
#[test]
fn vectors_made_elsewhere_open_and_are_made_again() {
    use classhub::wire::seal::{SealKey, Side};
    let vectors: Value = serde_json::from_str(include_str!("sealed/vectors.json")).expect("it is JSON");
    let vectors = vectors.as_array().expect("a list");
    assert!(vectors.len() >= 6);
    let bytes = |value: &Value| -> Vec<u8> {
        let hex = value.as_str().expect("hexadecimal digits");
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits")).collect()
    };
    for vector in vectors {
        let key = bytes(&vector["key"]).try_into().expect("32 bytes");
        let nonce = bytes(&vector["nonce"]).try_into().expect("12 bytes");
        let (text, frame) = (bytes(&vector["text"]), bytes(&vector["frame"]));
        let key = SealKey::new(vector["id"].as_u64().expect("a number") as u8, &key);
        let side = if vector["side"] == "c" { Side::Client } else { Side::Hub };
        assert_eq!(key.open(side, &frame), Some(text.clone()));
        let mut made = Vec::new();
        key.seal(&mut made, side, &nonce, |out| out.extend_from_slice(&text));
        assert_eq!(made, frame);
    }
}

/// A client in Python joins sealed, and talks with a plain one. Without Python or its `cryptography` the test says so and passes; where `CI` is
/// `true` it fails instead.
#[test]
fn a_client_in_python_speaks_the_same() {
    let key = Key::new(5);
    let hub = start(&[&key], NO_LINGER);
    let mut plain = hub.join("plain");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sealed/client.py");
    let has = Command::new("python3").args(["-c", "import cryptography"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        let missing =
            "no python3 with cryptography: Debian's package python3-cryptography, or pip install cryptography";
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{missing}");
        println!("skipped: {missing}");
        return;
    }
    let child = Command::new("python3")
        .arg(script)
        .args([&hub.addr.to_string(), ROOM, &key.id.to_string()])
        .arg(&key.file)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("Python starts");
    assert_eq!(data(&plain.recv_json())["newJoinMember"]["id"], "python");
    plain.hear("你好 from Python");
    plain.say("hello from Rust");
    assert_eq!(plain.recv_json()["resultBody"]["extendFields"]["reason"], "left");
    let output = child.wait_with_output().expect("Python ends");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from Rust\n");
}
