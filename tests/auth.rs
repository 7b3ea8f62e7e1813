//! Who is let in: tokens, passcodes, and what becomes of those who guess.
//!
//! Owns: PROTOCOL.md, Authentication, sentence by sentence over real sockets, the command that prints tokens, and the README's way to make one.
//! Refuses to know: what a token is made of to the last bit (`hub::jwt` tests itself), and how long a minute is (`exchange/guessing.rs`).

mod common;

use std::{
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use common::{
    Client, Hub, NO_RATES, ROOM, classhub, data, hang_up, ids, join, leave, resume, resume_token, tcp_from,
    upgrade_head, with_ref,
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &[u8] = b"the secret of a school, or of a test";
/// Seats that linger do so while a test runs.
const PATIENT: &str = "[heartbeat]\nprobe_s = 60\nlinger_s = 60\n";
const PASSCODE: &str = "[[room]]\nnumber = \"E00001\"\npasscode = \"西瓜 7\"\n";

// ---- A school -----------------------------------------------------------------------------------

/// A folder with a secret in it, gone when dropped.
struct School(PathBuf);

impl School {
    fn new() -> School {
        static SCHOOLS: AtomicU32 = AtomicU32::new(0);
        let number = SCHOOLS.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("school-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).expect("the folder for tests can be written");
        fs::write(folder.join("secret"), [SECRET, b"\n"].concat()).expect("it can be written");
        School(folder)
    }

    fn auth(&self) -> String {
        format!("[auth]\nsecret_file = {:?}\n", self.0.join("secret"))
    }

    /// A hub that asks for its tokens.
    #[track_caller]
    fn hub(&self, more: &str) -> Hub {
        Hub::start(&format!("{NO_RATES}{PATIENT}{}{more}", self.auth()))
    }

    /// What `classhub token` says with these arguments, of a configuration with this text.
    fn token(&self, toml: &str, args: &[&str]) -> Output {
        let config = self.0.join("classhub.toml");
        fs::write(&config, toml).expect("it can be written");
        classhub().arg("token").arg("--config").arg(config).args(args).output().expect("it runs")
    }
}

impl Drop for School {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// As RFC 4648 has it, a bit at a time.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let six = |six: &[u8]| (0..6).fold(0, |sum, n| sum << 1 | usize::from(six.get(n).copied().unwrap_or(0)));
    bits.chunks(6).map(|bits| ALPHABET[six(bits)] as char).collect()
}

fn signed_by(secret: &[u8], header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any key will do").chain_update(&signed).finalize();
    format!("{signed}.{}", base64url(&mac.into_bytes()))
}

/// A token that says so.
fn token(claims: &Value) -> String {
    signed_by(SECRET, r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("this clock is set").as_secs()
}

/// A join that shows something.
fn showing(id: &str, shown: &Value) -> Value {
    let mut request = join(ROOM, id);
    request["extendFields"] = shown.clone();
    request
}

fn with_token(id: &str, token: &str) -> Value {
    showing(id, &json!({ "token": token }))
}

fn good(id: &str) -> Value {
    with_token(id, &token(&json!({ "sub": id })))
}

fn rule(change: &Value) -> Value {
    let mut data = change.clone();
    data["roomNumber"] = json!(ROOM);
    json!({"msgType": 3, "textData": {"dataType": 4, "data": data}})
}

/// Whether the room takes this client's word for its owner's: it says what holds, and nothing changes.
#[track_caller]
fn is_owner(client: &mut Client) -> bool {
    // What an owner says all members hear.
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let reference = format!("am I? {}", ASKED.fetch_add(1, Ordering::Relaxed));
    client.send_json(&with_ref(rule(&json!({})), &reference));
    loop {
        let answer = client.recv_json();
        if *answer.get("ref").unwrap_or(&answer["resultBody"]["extendFields"]["ref"]) == reference {
            assert!(answer["status"] == 1 || answer["code"] == "not_owner", "{answer}");
            return answer["status"] == 1;
        }
    }
}

/// A client at another address of this machine.
#[track_caller]
fn from(hub: &Hub, last: u8) -> Client {
    let stream = tcp_from(IpAddr::from(Ipv4Addr::new(127, 0, 0, last)), hub.addr);
    (&stream).write_all(upgrade_head("/ws", "").as_bytes()).expect("the hub reads");
    Client::upgraded(stream).expect("an upgrade")
}

/// Sends this join, which must be refused with this code, and words that have this part.
#[track_caller]
fn refused(client: &mut Client, request: &Value, code: &str, part: &str) {
    client.send_json(request);
    let reply = client.recv_failure(code);
    assert!(reply["msg"].as_str().is_some_and(|msg| msg.contains(part)), "{reply} has no {part:?}");
}

// ---- Tokens -------------------------------------------------------------------------------------

#[test]
fn a_token_is_needed_by_everyone_who_joins() {
    let school = School::new();
    let hub = school.hub("");
    for (shown, part) in [
        (json!({}), "a token is needed"),
        (json!({"token": null}), "a token is needed"),
        (json!({"token": ""}), "three parts"),
        (json!({"token": "a.b.c"}), "its header is not base64url"),
        (json!({"token": signed_by(SECRET, r#"{"alg":"none"}"#, r#"{"sub":"anna"}"#)}), "its alg is not HS256"),
        (json!({"token": signed_by(SECRET, r#"{"alg":"RS256"}"#, r#"{"sub":"anna"}"#)}), "its alg is not HS256"),
        (json!({"token": signed_by(SECRET, r#"{"alg":"HS256","crit":[]}"#, r#"{"sub":"anna"}"#)}), "crit"),
        (json!({"token": signed_by(b"another", r#"{"alg":"HS256"}"#, r#"{"sub":"anna"}"#)}), "its signature is wrong"),
        // The newline that ends the file is none of it.
        (
            json!({"token": signed_by(&[SECRET, b"\n"].concat(), r#"{"alg":"HS256"}"#, r#"{"sub":"anna"}"#)}),
            "its signature is wrong",
        ),
        (json!({"token": token(&json!({"sub": 7}))}), "its sub is not a string"),
        (json!({"token": token(&json!({"sub": "anna", "rooms": ROOM}))}), "its rooms are not an array of strings"),
        (json!({"token": token(&json!({"sub": "anna", "rooms": ["E00002"]}))}), "not for this room"),
        (json!({"token": token(&json!({"sub": "anna", "owner": "yes"}))}), "its owner is neither true nor false"),
        (json!({"token": token(&json!({"sub": "anna", "exp": "tomorrow"}))}), "its exp is not a number"),
        (json!({"token": token(&json!({"sub": "anna", "exp": now_s() - 1}))}), "has expired"),
        (json!({"token": token(&json!({"sub": "anna", "nbf": now_s() + 600}))}), "is not good yet"),
    ] {
        // Each of its own: five are too many.
        refused(&mut hub.connect(), &showing("anna", &shown), "token", part);
    }
    let mut anna = hub.connect();
    anna.join_with(&good("anna"));
    assert!(is_owner(&mut anna), "the first into a room that it made");
    let claims = json!({"sub": "bert", "rooms": ["E00002", ROOM], "exp": now_s() as f64 + 60.5, "nbf": 0, "iss": {}});
    let mut bert = hub.connect();
    bert.join_with(&with_token("bert", &token(&claims)));
    // It is for what it says: there a second room, and here not.
    let mut second = join("E00002", "bert");
    second["extendFields"] = json!({ "token": token(&claims) });
    bert.join_with(&second);
    second["textData"]["data"]["roomNumber"] = json!("E00003");
    refused(&mut bert, &second, "token", "not for this room");
}

#[test]
fn where_nobody_asks_for_a_token_none_is_looked_at() {
    let hub = Hub::start("");
    for (n, token) in ["", "x", &token(&json!({"sub": "somebody else", "owner": true}))].iter().enumerate() {
        let mut client = hub.connect();
        client.join_with(&with_token(&format!("{n}"), token));
        assert_eq!(is_owner(&mut client), n == 0);
    }
    // But it has to be a text of its length, as every field has.
    let mut client = hub.connect();
    client.send_json(&showing("a", &json!({"token": 7})));
    client.recv_failure("bad_json");
    client.send_json(&with_token("a", &"x".repeat(2049)));
    client.recv_failure("too_long");
}

#[test]
fn a_token_is_for_one_id() {
    let school = School::new();
    let hub = school.hub("");
    let mut anna = hub.connect();
    for sub in ["bert", "Anna", "anna "] {
        anna.send_json(&with_token("anna", &token(&json!({ "sub": sub }))));
        anna.recv_failure("identity");
    }
    anna.join_with(&good("anna"));
    // As ever, whatever token it has.
    let mut second = join("E00002", "bert");
    second["extendFields"] = json!({"token": token(&json!({"sub": "bert"}))});
    anna.send_json(&second);
    anna.recv_failure("identity");
}

#[test]
fn a_token_of_2048_bytes_is_read_and_one_more_is_not() {
    let school = School::new();
    let hub = school.hub("");
    let of_bytes = |bytes: usize| {
        // Some lengths no base64url has, but a header and claims together have any from here on.
        let pads = (0..3).flat_map(|header| (0..bytes).map(move |claims| (header, claims)));
        let mut tokens = pads.map(|(header, claims)| {
            let claims = json!({"sub": "anna", "pad": "x".repeat(claims)}).to_string();
            signed_by(SECRET, &format!(r#"{{"alg":"HS256"}}{}"#, " ".repeat(header)), &claims)
        });
        tokens.find(|token| token.len() == bytes).expect("one of them fits")
    };
    let mut anna = hub.connect();
    refused(&mut anna, &with_token("anna", &of_bytes(2049)), "too_long", "extendFields.token: 2049 bytes");
    anna.join_with(&with_token("anna", &of_bytes(2048)));
}

#[test]
fn an_owner_claim_makes_the_owner() {
    let school = School::new();
    let hub = school.hub("[[room]]\nnumber = \"E00001\"\nowner_passcode = \"open\"\n[room.owner]\nid = \"named\"\n");
    let owner = |id: &str| with_token(id, &token(&json!({"sub": id, "owner": true})));
    let mut anna = hub.connect();
    anna.join_with(&good("anna"));
    assert!(!is_owner(&mut anna), "it is whom the operator named, who is not here");
    let mut teacher = hub.connect();
    let reply = teacher.join_with(&owner("teacher"));
    assert_eq!(data(&reply)["owner"]["id"], "teacher");
    assert!(is_owner(&mut teacher));
    teacher.send_json(&rule(&json!({"locked": true})));
    teacher.recv_json();
    // Whose the room is gets into it, locked or not, and the latest counts. The named one needs no other word beside its token.
    let mut named = hub.connect();
    named.join_with(&owner("named"));
    assert!(is_owner(&mut named) && !is_owner(&mut teacher));
    // The lingering seat of an owner is for such a token too, and for no other.
    hang_up(named.stream);
    let mut named = hub.connect();
    refused(&mut named, &with_token("named", &token(&json!({"sub": "named"}))), "passcode", "ownerPasscode");
    named.join_with(&owner("named"));
    assert!(is_owner(&mut named));
    // To be an owner elsewhere is nothing here, nor is what is no claim.
    let mut mallory = hub.connect();
    for claims in [json!({"sub": "m", "owner": true, "rooms": ["E00002"]}), json!({"sub": "m", "owner": 1})] {
        mallory.send_json(&with_token("m", &token(&claims)));
        mallory.recv_failure("token");
    }
    mallory.send_json(&with_token("m", &token(&json!({"sub": "m", "owner": false}))));
    mallory.recv_failure("locked");
}

// ---- Passcodes ----------------------------------------------------------------------------------

#[test]
fn a_passcode_is_asked_of_everyone_who_joins_its_room() {
    let hub = Hub::start(&format!("{NO_RATES}{PASSCODE}"));
    let mut anna = hub.connect();
    for shown in
        [json!({}), json!({"passcode": ""}), json!({"passcode": "西瓜 7 "}), json!({"ownerPasscode": "西瓜 7"})]
    {
        refused(&mut anna, &showing("anna", &shown), "passcode", "extendFields.passcode");
    }
    anna.join_with(&showing("anna", &json!({"passcode": "西瓜 7"})));
    // Other rooms have none, and ignore one.
    let mut other = join("E00002", "anna");
    other["extendFields"] = json!({"passcode": "nothing"});
    anna.join_with(&other);
    let mut bert = hub.connect();
    bert.send_json(&showing("bert", &json!({"passcode": "x".repeat(65)})));
    bert.recv_failure("too_long");
    bert.send_json(&showing("bert", &json!({"passcode": 7})));
    bert.recv_failure("bad_json");
}

#[test]
fn the_owners_word_stands_for_the_passcode_where_it_makes_an_owner() {
    let words = "owner_passcode = \"open sesame\"\n";
    let hub = Hub::start(&format!("{NO_RATES}{PASSCODE}{words}"));
    let mut teacher = hub.connect();
    refused(&mut teacher, &showing("t", &json!({"ownerPasscode": "open"})), "passcode", "ownerPasscode");
    // Who shows a wrong one is not let in by the other.
    let both = json!({"ownerPasscode": "open", "passcode": "西瓜 7"});
    refused(&mut teacher, &showing("t", &both), "passcode", "ownerPasscode");
    teacher.join_with(&showing("t", &json!({"ownerPasscode": "open sesame"})));
    assert!(is_owner(&mut teacher));

    let hub = Hub::start(&format!("{NO_RATES}{PASSCODE}{words}[room.owner]\nid = \"teacher\"\n"));
    let mut anna = hub.connect();
    // Where somebody is named, it is that one's word, and nobody else's.
    let shown = json!({"ownerPasscode": "open sesame"});
    refused(&mut anna, &showing("anna", &shown), "passcode", "extendFields.passcode");
    refused(&mut anna, &showing("teacher", &json!({"passcode": "西瓜 7"})), "passcode", "ownerPasscode");
    anna.join_with(&showing("teacher", &shown));
    assert!(is_owner(&mut anna));

    // An owner who is known by the id alone has shown nothing.
    let hub = Hub::start(&format!("{NO_RATES}{PASSCODE}[room.owner]\nid = \"teacher\"\n"));
    let mut teacher = hub.connect();
    refused(&mut teacher, &join(ROOM, "teacher"), "passcode", "extendFields.passcode");
    teacher.join_with(&showing("teacher", &json!({"passcode": "西瓜 7"})));
    assert!(is_owner(&mut teacher));
}

#[test]
fn a_token_does_not_stand_for_the_passcode() {
    let school = School::new();
    let hub = school.hub(PASSCODE);
    let mut teacher = hub.connect();
    let mine = token(&json!({"sub": "t", "owner": true}));
    refused(&mut teacher, &with_token("t", &mine), "passcode", "extendFields.passcode");
    refused(&mut teacher, &showing("t", &json!({"passcode": "西瓜 7"})), "token", "needed");
    teacher.join_with(&showing("t", &json!({"passcode": "西瓜 7", "token": mine})));
    assert!(is_owner(&mut teacher));
}

// ---- Resumes ------------------------------------------------------------------------------------

#[test]
fn a_resume_token_stands_for_token_and_passcode() {
    let school = School::new();
    let hub = school.hub(PASSCODE);
    let all =
        json!({"passcode": "西瓜 7", "token": token(&json!({"sub": "anna", "owner": true, "exp": now_s() + 60}))});
    let mut anna = hub.connect();
    let seat = resume_token(&anna.join_with(&showing("anna", &all)));
    // Taken over, whatever else is shown, right or wrong.
    for beside in [json!({}), json!({"token": "wrong", "passcode": "wrong"})] {
        let mut again = hub.connect();
        let mut request = resume(ROOM, "anna", &seat, Value::Null);
        request["extendFields"]
            .as_object_mut()
            .expect("it is one")
            .extend(beside.as_object().expect("so is it").clone());
        again.join_with(&request);
        anna.expect_close(4001);
        assert!(is_owner(&mut again), "by the seat");
        anna = again;
    }
    // Lingering, and when the seat has ended.
    hang_up(anna.stream);
    let mut anna = hub.connect();
    anna.join_with(&resume(ROOM, "anna", &seat, Value::Null));
    anna.send_json(&leave(ROOM));
    anna.recv_json();
    anna.join_with(&resume(ROOM, "anna", &seat, Value::Null));
    // It opens that seat and no other.
    let mut bert = hub.connect();
    refused(&mut bert, &resume(ROOM, "bert", &seat, Value::Null), "token", "needed");
    refused(&mut bert, &resume("E00002", "anna", &seat, Value::Null), "token", "needed");
    refused(&mut bert, &resume(ROOM, "anna", "1.0123456789abcdef0123456789abcdef", Value::Null), "token", "needed");
}

#[test]
fn a_token_beside_a_resume_says_who_owns_if_it_is_good() {
    let school = School::new();
    let hub = school.hub("");
    let owner = |id: &str| token(&json!({"sub": id, "owner": true}));
    let mut first = hub.connect();
    let seat = resume_token(&first.join_with(&with_token("first", &owner("first"))));
    let mut second = hub.connect();
    second.join_with(&with_token("second", &owner("second")));
    assert!(!is_owner(&mut first) && is_owner(&mut second));
    let mut request = resume(ROOM, "first", &seat, Value::Null);
    for (token, owns) in [("", false), (&*owner("second"), false), (&*owner("first"), true)] {
        request["extendFields"]["token"] = json!(token);
        let mut again = hub.connect();
        again.join_with(&request);
        assert_eq!((is_owner(&mut again), is_owner(&mut second)), (owns, !owns));
        first = again;
    }
    drop(first);
}

// ---- The order ----------------------------------------------------------------------------------

#[test]
fn a_join_is_judged_in_the_order_of_the_protocol() {
    let school = School::new();
    let hub = school.hub(&format!("[rooms]\nauto_create = false\n{PASSCODE}"));
    let right = |id: &str| json!({"passcode": "西瓜 7", "token": token(&json!({ "sub": id }))});
    let mut teacher = hub.connect();
    teacher.join_with(&showing("teacher", &right("teacher")));
    let mut anna = hub.connect();
    anna.join_with(&showing("anna", &right("anna")));
    anna.fence();

    let without = |field: &str, id: &str| {
        let mut shown = right(id);
        shown.as_object_mut().expect("it is one").remove(field);
        shown
    };
    let mut client = from(&hub, 7);
    let mut nowhere = join("nowhere", "bert");
    // What it is comes first, and how long.
    nowhere["extendFields"] = json!({"token": "wrong", "passcode": 7});
    refused(&mut client, &nowhere, "bad_json", "extendFields.passcode");
    nowhere["extendFields"]["passcode"] = json!("x".repeat(65));
    refused(&mut client, &nowhere, "too_long", "extendFields.passcode");
    // Then the token; then whose it is; then where.
    nowhere["extendFields"] = json!({"token": token(&json!({"sub": "carl", "rooms": []}))});
    refused(&mut client, &nowhere, "token", "not for this room");
    nowhere["extendFields"]["token"] = json!(token(&json!({"sub": "carl"})));
    refused(&mut client, &nowhere, "identity", "textData.data.from.id");
    nowhere["extendFields"]["token"] = json!(token(&json!({"sub": "bert"})));
    refused(&mut client, &nowhere, "no_such_room", "no such room");
    // The connection's own id stands where the token's does.
    refused(&mut anna, &with_token("bert", "wrong"), "token", "three parts");
    refused(&mut anna, &showing("bert", &right("bert")), "identity", "textData.data.from.id");
    // The passcode before the seat that is taken, and before the lock.
    refused(&mut client, &showing("anna", &without("passcode", "anna")), "passcode", "extendFields.passcode");
    client.send_json(&showing("anna", &right("anna")));
    client.recv_duplicate();
    teacher.send_json(&rule(&json!({"locked": true})));
    refused(&mut client, &showing("bert", &without("passcode", "bert")), "passcode", "extendFields.passcode");
    refused(&mut client, &showing("bert", &right("bert")), "locked", "locked");
    // Who was removed is told so before, but not before the token.
    let remove = json!({"roomNumber": ROOM, "id": "anna", "forS": 60});
    teacher.send_json(&with_ref(json!({"msgType": 3, "textData": {"dataType": 5, "data": remove}}), "out"));
    while teacher.recv_json()["resultBody"]["extendFields"]["ref"] != "out" {}
    let mut other = from(&hub, 8);
    refused(&mut other, &showing("anna", &without("token", "anna")), "token", "needed");
    refused(&mut other, &showing("anna", &without("passcode", "anna")), "removed", "removed");
}

// ---- Guessing -----------------------------------------------------------------------------------

#[test]
fn five_refusals_for_a_token_end_a_connection_and_four_do_not() {
    let school = School::new();
    let hub = school.hub("");
    let expired = token(&json!({"sub": "m", "exp": now_s() - 1}));
    let mut mallory = hub.connect();
    for shown in [json!({}), json!({"token": "wrong"}), json!({"token": expired}), json!({"token": "a.b.c"})] {
        mallory.send_json(&showing("m", &shown));
        mallory.recv_failure("token");
        // A good message between makes no difference.
        mallory.send_json(&json!({"msgType": 1}));
    }
    mallory.join_with(&good("m"));
    let mut other = join("E00002", "m");
    other["extendFields"] = json!({ "token": expired });
    mallory.send_json(&with_ref(other, "last"));
    mallory.recv_failure("token");
    mallory.expect_close(1008);
}

#[test]
fn tokens_and_passcodes_are_counted_together() {
    let school = School::new();
    let hub = school.hub(PASSCODE);
    let mut mallory = hub.connect();
    for _ in 0..2 {
        refused(&mut mallory, &with_token("m", "wrong"), "token", "");
        refused(&mut mallory, &good("m"), "passcode", "");
    }
    refused(&mut mallory, &good("m"), "passcode", "");
    mallory.expect_close(1008);
}

/// The minute itself is looked at in `exchange/guessing.rs`, where it takes no time.
#[test]
fn an_address_has_twenty_guesses_and_then_waits() {
    let school = School::new();
    let hub = school.hub(PASSCODE);
    let right = |id: &str| json!({"passcode": "西瓜 7", "token": token(&json!({ "sub": id }))});
    let mut anna = hub.connect();
    let seat = resume_token(&anna.join_with(&showing("anna", &right("anna"))));
    // Nothing shown is no guess.
    for _ in 0..6 {
        let mut client = hub.connect();
        (0..4).for_each(|_| refused(&mut client, &join(ROOM, "x"), "token", "needed"));
    }
    let (mut guesses, mut last) = (0, Instant::now());
    loop {
        let shown = match guesses % 2 {
            0 => json!({"token": "wrong"}),
            _ => json!({"passcode": format!("{guesses}"), "token": token(&json!({"sub": "x"}))}),
        };
        let mut client = hub.connect();
        let before = Instant::now();
        client.send_json(&showing("x", &shown));
        match client.recv_json()["code"].as_str() {
            Some("token" | "passcode") => (guesses, last) = (guesses + 1, before),
            code => break assert_eq!(code, Some("rate_limited")),
        }
    }
    assert!(guesses >= 20, "{guesses}");
    // Right or wrong, it is not looked at; what is not a join for which one is asked for anything is as ever.
    let mut bert = hub.connect();
    for shown in [json!({}), json!({"token": "wrong"}), right("bert")] {
        let mut request = showing("bert", &shown);
        request["extendFields"]["ref"] = json!("b");
        bert.send_json(&request);
        let reply = bert.recv_json();
        // Unless this machine has taken the time that it takes.
        assert!(reply["code"] == "rate_limited" && reply["ref"] == "b" || last.elapsed().as_secs() >= 3, "{reply}");
    }
    bert.send_json(&showing("bert", &json!({"token": 7})));
    bert.recv_failure("bad_json");
    // A class elsewhere does not notice, and who has a seat comes back to it.
    from(&hub, 9).join_with(&showing("carl", &right("carl")));
    let mut again = hub.connect();
    again.join_with(&resume(ROOM, "anna", &seat, Value::Null));
    anna.recv_to_close(4001);
    again.fence();
}

// ---- The command --------------------------------------------------------------------------------

#[test]
fn the_command_prints_a_token_that_a_hub_takes() {
    let school = School::new();
    let toml = "[auth]\nsecret_file = \"secret\"\n";
    let hub = school.hub("");
    let print = |args: &[&str]| {
        let output = school.token(toml, args);
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).expect("a token is text");
        assert_eq!((printed.lines().count(), printed.ends_with('\n')), (1, true), "{printed}");
        printed.trim_end().to_owned()
    };
    let mut anna = hub.connect();
    anna.join_with(&with_token("安娜", &print(&["--sub", "安娜"])));
    let mut teacher = hub.connect();
    let owner = print(&["--sub", "t", "--owner", "--room", "E00002", "--room", ROOM, "--ttl", "none"]);
    let reply = teacher.join_with(&with_token("t", &owner));
    assert_eq!(ids(&data(&reply)["members"]), ["安娜", "t"]);
    assert!(is_owner(&mut teacher));
    let mut other = join("E00003", "t");
    other["extendFields"] = json!({ "token": owner });
    refused(&mut teacher, &other, "token", "not for this room");
    // A school day, where nobody says; else what is said.
    for (args, seconds) in [(&["--sub", "a"][..], 28_800), (&["--sub", "a", "--ttl", "2d"], 172_800)] {
        let before = now_s();
        let token = print(args);
        // Its own signature is over them, so that a claim can be looked for in what we would have signed.
        let claims = |exp: u64| base64url(format!(r#"{{"sub":"a","exp":{exp}}}"#).as_bytes());
        let mut exps = before + seconds..=now_s() + seconds;
        let said = token.split('.').nth(1).expect("claims");
        assert!(exps.any(|exp| claims(exp) == said), "{said}");
    }
}

#[test]
fn what_the_command_cannot_do_it_says_in_a_line() {
    let school = School::new();
    for (toml, args, code, says) in [
        ("", &["--sub", "a"][..], 1, "there is no [auth]"),
        ("[auth]\nsecret_file = \"nothing\"\n", &["--sub", "a"], 1, "auth.secret_file (line 2): \"nothing\" cannot be"),
        ("", &[], 2, "a token needs --sub ID"),
        ("", &["--sub", "a", "--ttl", "soon"], 2, "--ttl: \"soon\" is no time"),
        ("", &["--sub", "a", "b"], 2, "\"b\" is one argument too many"),
    ] {
        let output = school.token(toml, args);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), error.lines().count(), output.stdout.len()), (Some(code), 1, 0), "{error}");
        assert!(error.starts_with("classhub: ") && error.contains(says), "{error}");
    }
}

#[test]
fn a_weak_secret_is_taken_and_told_of() {
    let school = School::new();
    fs::write(school.0.join("secret"), "short\n").expect("it can be written");
    let hub = school.hub("");
    let line = hub.wait_for_line("auth.secret_file");
    assert!(line.contains("WARN") && line.contains("has 5 bytes"), "{line}");
    let token = signed_by(b"short", r#"{"alg":"HS256"}"#, r#"{"sub":"a"}"#);
    hub.connect().join_with(&with_token("a", &token));
}

/// Three lines of Python, as the README has them.
#[test]
fn a_schools_own_server_makes_a_token_as_the_readme_says() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there");
    let block = readme.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block");
    let lines = block.lines().filter(|line| !line.starts_with("import"));
    assert_eq!(lines.count(), 3, "{block}");
    let secret = std::str::from_utf8(SECRET).expect("text");
    let script = format!("secret = b{secret:?}\n{block}\nprint(token)\n");
    let Ok(output) = Command::new("python3").args(["-c", &script]).output() else {
        eprintln!("NOT TESTED: this machine has no python3");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let token = String::from_utf8(output.stdout).expect("a token is text");
    let school = School::new();
    let hub = school.hub("");
    let mut client = hub.connect();
    client.join_with(&with_token("S01", token.trim_end()));
}
