//! The hub for small boards, as `packaging/small.toml` configures it, and the worst that can be made of it.
//!
//! Owns: that the file is right, that its sum is what it says, and that a hub which is made to hold all it can stays under it. Refuses to know: how
//! the sum is made (`limits.rs`).

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use classhub::host::config::Config;
use serde_json::{Value, json};

use super::common::{CONTINUATION, Client, Hub, Raw, TEXT, chat, join, narrow_tcp, pull, tcp, upgrade_head};
use super::crowd::{AtEnd, Crowd, Villain};
use super::{alone, open};

const SMALL: &str = include_str!("../../packaging/small.toml");

const MIB: u64 = 1 << 20;

/// `table.key`, its value, and what is said of it behind it.
fn keys(toml: &str) -> BTreeMap<String, (String, String)> {
    let (mut table, mut keys) = (String::new(), BTreeMap::new());
    for line in toml.lines() {
        let (line, comment) = line.split_once('#').unwrap_or((line, ""));
        if let Some(name) = line.trim().strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, value)) = line.split_once('=') {
            let said = (value.trim().to_owned(), comment.trim().to_owned());
            keys.insert(format!("{table}{}", key.trim()), said);
        }
    }
    keys
}

#[test]
fn the_file_says_what_differs_and_why() {
    let small = Config::from_toml(SMALL).unwrap_or_else(|error| panic!("packaging/small.toml: {error}"));
    let (effective, defaults) = (keys(&small.report().to_string()), keys(&Config::default().report().to_string()));
    let there = keys(SMALL);
    assert!(there.len() > 5, "{there:?}");
    for (key, (value, why)) in &there {
        assert_eq!(&effective[key].0, value, "{key}");
        assert!(why.len() > 20, "{key} has no reason");
        assert!(*value != defaults[key].0 || why.contains("the default"), "{key} is the default, and does not say why");
    }
}

#[test]
fn its_sum_is_at_most_twelve_mebibytes() {
    let memory = Config::from_toml(SMALL).expect("it is legal").memory();
    assert!(memory.total() <= 12 * MIB, "{memory:?}");
    // And what is printed is no less than that.
    let hub = Hub::start(SMALL);
    assert!((memory.total() / 1024..=12 * 1024).contains(&hub.allowed_kib()), "{} KiB", hub.allowed_kib());
}

/// What the sum counts for the hub itself is enough for one that has done a little of everything. A build for debugging is larger.
#[test]
#[cfg(not(debug_assertions))]
fn the_hub_itself_takes_what_the_sum_says() {
    let hub = Hub::start(SMALL);
    for target in ["/", "/app.js", "/qr.svg", "/addresses.json", "/nothing"] {
        hub.http(format!("GET {target} HTTP/1.1\r\nHost: hub.local\r\n\r\n"));
    }
    let mut anna = hub.join("anna");
    anna.say("hello");
    anna.send_text("nonsense");
    anna.recv_failure("bad_json");
    anna.send_json(&pull(super::common::ROOM));
    anna.recv_json();
    anna.close();
    let (resident_kib, base) = (hub.resident_kib(), Config::from_toml(SMALL).expect("it is legal").memory().base);
    println!("the hub itself: {resident_kib} KiB");
    assert!(resident_kib <= base / 1024, "{resident_kib} KiB of {} KiB", base / 1024);
}

/// The rooms that a connection sits in: in all, every room has every seat taken.
fn rooms(number: usize) -> [String; 2] {
    [0, 1].map(|n| format!("room {}", number / 64 * 2 + n))
}

/// A join under as long a Member as fits into a message.
fn join_at_length(room: &str, number: usize) -> Raw {
    let mut request = join(room, &format!("villain {number}"));
    let name = "\u{1}".repeat(90);
    let url = "\u{1}".repeat(110);
    let from = json!({"id": format!("villain {number}"), "personName": name, "nickName": name, "headImgUrl": url});
    request["textData"]["data"]["from"] = from;
    message(&request)
}

fn message(request: &Value) -> Raw {
    let text = request.to_string();
    assert!(text.len() <= 2048, "{} bytes", text.len());
    Raw::text(&text)
}

/// Joins its two rooms.
fn joins(number: usize) -> Vec<Raw> {
    rooms(number).iter().map(|room| join_at_length(room, number)).collect()
}

/// So much said in each of its rooms.
fn chats(number: usize, of_each: usize) -> Vec<Raw> {
    let rooms = rooms(number);
    rooms.iter().cycle().take(2 * of_each).map(|room| message(&chat(room, &"x".repeat(1_900)))).collect()
}

/// A largest message in many fragments, and in the middle of the next, which is one too many but not known to be.
fn half_a_message() -> Vec<u8> {
    let mut frames = vec![Raw::new(TEXT, " ").unfinished()];
    frames.extend((0..20).map(|_| Raw::new(CONTINUATION, [b' '; 100]).unfinished()));
    let last = Raw::new(CONTINUATION, [b' '; 2_048]).bytes();
    [frames.iter().flat_map(Raw::bytes).collect(), last[..last.len() - 1].to_vec()].concat()
}

/// Asks who is in its rooms, again and again.
fn pulls(number: usize) -> Vec<Raw> {
    rooms(number).iter().cycle().take(10).map(|room| message(&pull(room))).collect()
}

/// A quarter of each room does not read.
fn is_deaf(number: usize) -> bool {
    number % 4 == 3
}

/// Everybody comes in one by one, every seat of every room is taken, the logs are filled, everybody is in the middle of a message, and those who do not
/// read ask for lists.
fn fill(hub: &Hub) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for number in 0..256 {
        let stream = if is_deaf(number) { narrow_tcp(hub.addr) } else { tcp(hub.addr) };
        let mut client = Client::upgrade(stream, &upgrade_head("/ws", ""));
        for join in joins(number) {
            client.send(&join);
            let reply = client.recv_json();
            assert_eq!(reply["msg"], "Join successfully", "{reply}");
        }
        clients.push(client.into_parts().0);
        read_all(&mut clients);
    }
    for number in 0..256 {
        let frames = if is_deaf(number) { pulls(number) } else { chats(number, 2) };
        let mut bytes: Vec<u8> = frames.iter().flat_map(Raw::bytes).collect();
        bytes.extend(half_a_message());
        // It may be sent away for not reading.
        let sent = clients[number].write_all(&bytes);
        if !is_deaf(number) {
            sent.expect("it is connected");
            // Nobody is too slow: it goes on when everybody has had time to hear this.
            let mut heard_bytes = 0;
            while heard_bytes < bytes.len() - half_a_message().len() {
                heard_bytes += read_all(&mut clients)[number];
            }
        }
    }
    clients
}

/// Reads whatever there is for those who read, throws it away, and says how much it was. None of them is sent away.
fn read_all(clients: &mut [TcpStream]) -> Vec<usize> {
    let mut buffer = [0; 64 * 1024];
    let read = |(number, client): (usize, &mut TcpStream)| {
        let mut bytes = 0;
        client.set_nonblocking(true).expect("a socket has it");
        while !is_deaf(number) {
            match client.read(&mut buffer) {
                Ok(0) => panic!("villain {number} was sent away"),
                Ok(count) => bytes += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("villain {number}: {error}"),
            }
        }
        client.set_nonblocking(false).expect("a socket has it");
        bytes
    };
    clients.iter_mut().enumerate().map(read).collect()
}

/// Does all of it at once, and comes back when it is sent away.
fn villain(number: usize) -> Villain {
    let frames = [joins(number), if is_deaf(number) { pulls(number) } else { chats(number, 8) }].concat();
    Villain {
        opening: [open(&frames), half_a_message()].concat(),
        reads: !is_deaf(number),
        narrow: is_deaf(number),
        stays_for: is_deaf(number).then_some(Duration::from_secs(1)),
        at_end: AtEnd::Again,
        ..Villain::default()
    }
}

#[test]
fn the_worst_of_everything_stays_under_the_sum() {
    let _alone = alone();
    let hub = Hub::start(SMALL);
    let empty_kib = hub.resident_kib();
    let clients = fill(&hub);
    let knock = hub.http("GET /healthz HTTP/1.1\r\nHost: hub.local\r\n\r\n");
    assert_eq!(knock.status, 503, "every place is taken");
    let full_kib = hub.resident_peak_kib();
    drop(clients);
    let crowd = Crowd::start(hub.addr, (0..256).map(villain).collect());
    thread::sleep(Duration::from_secs(4));
    let tally = crowd.stop();
    let (peak_kib, allowed_kib) = (hub.resident_peak_kib(), hub.allowed_kib());
    println!(
        "the worst of everything: {empty_kib} KiB with nobody, {full_kib} KiB when it is full, {peak_kib} KiB in the storm; it may be {allowed_kib} KiB; {tally:?}"
    );
    assert!(tally.connected > 256 && tally.read_bytes > 1 << 20, "{tally:?}");
    // A build for debugging is itself larger.
    let debug_kib = if cfg!(debug_assertions) { empty_kib.saturating_sub(3 << 10) } else { 0 };
    assert!(peak_kib <= allowed_kib + debug_kib, "{peak_kib} KiB, where the hub's own sum is {allowed_kib} KiB");
}
