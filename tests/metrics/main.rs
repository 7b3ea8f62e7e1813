//! `/metrics`: that each figure moves by exactly what was done, and that whoever reads the format can read it.
//!
//! Owns: a scrape over a real socket, and what is done between two of them. Refuses to know: how anything is counted.

#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod status;
mod text;

use std::{
    cell::Cell,
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use classhub::host::addresses;
use common::{
    BINARY, Client, Hub, NO_LINGER, NO_RATES, PATIENCE, ROOM, Raw, Response, TEXT, chat, classhub, hang_up, join,
    leave, receipt, resume, resume_token, said, tcp, upgrade_head, with_ref,
};
use serde_json::{Value, json};
use text::Figures;

const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[track_caller]
fn scrape(hub: &Hub) -> Figures {
    let response = hub.http(SCRAPE);
    assert_eq!(response.status, 200, "{response:?}");
    text::read(response.text()).unwrap_or_else(|says| panic!("{says}\n{}", response.text()))
}

/// Scrapes until this holds: for what happens when a socket's end is read, of which nobody is told.
#[track_caller]
fn scrape_until(hub: &Hub, holds: impl Fn(&Figures) -> bool) -> Figures {
    let until = Instant::now() + PATIENCE;
    loop {
        let figures = scrape(hub);
        if holds(&figures) {
            return figures;
        }
        assert!(Instant::now() < until, "it never does: {figures:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn map<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

// ---- The text -----------------------------------------------------------------------------------

#[test]
fn the_text_is_what_it_says_it_is() {
    let hub = Hub::start("");
    let mut anna = hub.join("anna");
    anna.say("hello");
    let response = hub.http(SCRAPE);
    assert_eq!(response.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let figures = text::read(response.text()).expect("the format");
    assert_eq!(
        figures.count(&format!(
            "classhub_build_info{{version=\"{}\",tls=\"{}\"}}",
            env!("CARGO_PKG_VERSION"),
            cfg!(feature = "tls")
        )),
        1
    );
    // What can be told apart, and no more.
    let labels: Vec<_> =
        figures.0.values().flat_map(|family| family.samples.keys()).flat_map(|(_, labels)| labels.keys()).collect();
    let known = ["version", "tls", "transport", "state", "status", "reason", "code", "limit", "le"];
    assert!(labels.iter().all(|label| known.contains(&label.as_str())), "{labels:?}");
    assert!(!response.text().contains("anna") && !response.text().contains(ROOM));

    let wall_s = std::time::UNIX_EPOCH.elapsed().expect("a clock that was set").as_secs_f64();
    let uptime_s = figures.get("classhub_uptime_seconds");
    let started_s = figures.get("classhub_start_time_seconds");
    assert!(started_s <= wall_s && started_s + uptime_s + PATIENCE.as_secs_f64() > wall_s, "{started_s} {uptime_s}");

    let head = hub.http(SCRAPE.replace("GET", "HEAD"));
    assert_eq!((head.status, head.body.len()), (200, 0));
}

/// The reader that most scrapers in Python are built on.
#[test]
fn another_reader_of_the_format_can_read_it() {
    let has = Command::new("python3").args(["-c", "import prometheus_client"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        eprintln!("NOT TESTED: no python3 with prometheus_client: Debian's package python3-prometheus-client");
        return;
    }
    let hub = Hub::start("");
    let response = hub.http(SCRAPE);
    let program = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as read\n\
                   for family in read(sys.stdin.read()):\n    for sample in family.samples: print(sample.name, sample.value)";
    let mut python = Command::new("python3");
    let mut child =
        python.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is there");
    child.stdin.take().expect("it is piped").write_all(&response.body).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let read = String::from_utf8(output.stdout).expect("text");
    let ours = text::read(response.text()).expect("the format");
    let samples: usize = ours.0.values().map(|family| family.samples.len()).sum();
    assert_eq!(read.lines().count(), samples, "{read}");
    assert!(read.contains("classhub_turn_duration_seconds_bucket"), "{read}");
}

// ---- Who may see it -----------------------------------------------------------------------------

#[test]
fn it_is_shown_to_whom_the_configuration_says() {
    let of_machine = addresses::of_machine();
    let other = of_machine.iter().copied().find(|address| address.is_ipv4() && !address.is_loopback());
    if other.is_none() {
        eprintln!("NOT TESTED: this machine has no network, and so nobody is elsewhere");
    }
    let ask = |hub: &Hub, address: IpAddr| {
        let mut stream = tcp(SocketAddr::new(address, hub.addr.port()));
        stream
            .write_all(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())
            .expect("the hub reads");
        Response::read(&mut stream)
    };
    let own = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for (config, for_own, for_other, line) in [
        ("", 200, 403, "http.metrics = \"any\""),
        ("[http]\nmetrics = \"loopback\"\n", 200, 403, "http.metrics = \"any\""),
        ("[http]\nmetrics = \"any\"\n", 200, 200, "# TYPE classhub_rooms gauge"),
        ("[http]\nmetrics = \"off\"\n", 404, 404, "http.metrics = \"loopback\""),
    ] {
        // A socket for both families sees IPv4 addresses inside IPv6 ones.
        for listen in ["0.0.0.0:0", "[::]:0"] {
            let hub = Hub::start(&format!("listen = [\"{listen}\"]\n{config}"));
            let answer = ask(&hub, own);
            assert_eq!(answer.status, for_own, "{config} {listen} {answer:?}");
            let Some(address) = other else { continue };
            let answer = ask(&hub, address);
            assert_eq!(answer.status, for_other, "{config} {listen} {answer:?}");
            assert!(answer.text().contains(line), "{config} {answer:?}");
        }
    }
}

#[test]
fn check_prints_who_may_see_it() {
    let check = |config: &str| {
        let path =
            std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("metrics-{}.toml", std::process::id()));
        std::fs::write(&path, config).expect("the folder for tests can be written");
        let output = classhub().arg("check").arg("--config").arg(&path).output().expect("it starts");
        std::fs::remove_file(&path).expect("it was written");
        String::from_utf8(output.stdout).expect("text") + &String::from_utf8(output.stderr).expect("text")
    };
    assert!(check("").contains("\nmetrics = \"loopback\" "));
    assert!(check("http.metrics = \"any\"").contains("\nmetrics = \"any\" "));
    assert!(check("http.metrics = \"LAN\"").contains("http.metrics (line 1): \"LAN\" is none of loopback, any, off"));
}

// ---- What is counted ----------------------------------------------------------------------------

/// A socket that counts what passes.
struct Counted {
    stream: TcpStream,
    passed: Rc<Cell<[u64; 2]>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let [received, sent] = self.passed.get();
        self.passed.set([received + count as u64, sent]);
        Ok(count)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(bytes)?;
        let [received, sent] = self.passed.get();
        self.passed.set([received, sent + count as u64]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A scrape, for which nobody need be told apart.
#[track_caller]
fn scrape_counted(hub: &Hub, passed: &Rc<Cell<[u64; 2]>>) -> Figures {
    let mut stream = Counted { stream: tcp(hub.addr), passed: Rc::clone(passed) };
    stream.write_all(SCRAPE.as_bytes()).expect("the hub reads");
    text::read(Response::read(&mut stream).text()).expect("the format")
}

#[test]
fn joins_chats_and_bytes_are_counted_exactly() {
    const MEMBERS: u64 = 5;
    const CHATS: u64 = 7;
    let hub = Hub::start(&(NO_RATES.to_owned() + NO_LINGER));
    let passed = Rc::<Cell<[u64; 2]>>::default();
    let connect =
        || Client::upgrade(Counted { stream: tcp(hub.addr), passed: Rc::clone(&passed) }, &upgrade_head("/ws", ""));
    let mut members = Vec::new();
    for n in 0..MEMBERS {
        let mut member = connect();
        member.join(ROOM, &format!("member {n}"));
        members.push(member);
    }
    for (n, member) in members.iter_mut().enumerate() {
        for _ in n as u64 + 1..MEMBERS {
            assert_eq!(member.recv_json()["msg"], "Join successfully");
        }
    }
    // Everyone who came was told of to all who were here: 0 + 1 + 2 + 3 + 4.
    let joined = scrape_counted(&hub, &passed);
    assert_eq!(joined.count("classhub_deliveries_total"), 10);
    for n in 0..CHATS {
        members[n as usize % 2].send_json(&chat(ROOM, &n.to_string()));
        members.iter_mut().for_each(|member| drop(member.hear(&n.to_string())));
    }

    let [received, sent] = passed.get();
    let figures = scrape_counted(&hub, &passed);
    assert_eq!(figures.count("classhub_messages_received_total"), MEMBERS + CHATS);
    assert_eq!(figures.count("classhub_deliveries_total"), 10 + MEMBERS * CHATS);
    // Of this scrape itself, the request has come, and the answer has not gone.
    assert_eq!(figures.count("classhub_received_bytes_total"), sent + SCRAPE.len() as u64);
    assert_eq!(figures.count("classhub_sent_bytes_total"), received);
    assert_eq!(figures.by_label("classhub_members"), map([("present", MEMBERS)]));
    assert_eq!((figures.count("classhub_rooms"), figures.count("classhub_rooms_max")), (1, 128));
    assert_eq!(figures.count("classhub_connections{transport=\"plain\",state=\"open\"}"), MEMBERS);
    assert_eq!(figures.count("classhub_connections{transport=\"plain\",state=\"request\"}"), 1);
    assert_eq!(figures.count("classhub_connections{transport=\"tls\",state=\"open\"}"), 0);
    assert_eq!(figures.by_label("classhub_connections_accepted_total"), map([("plain", MEMBERS + 2)]));
    assert_eq!(figures.by_label("classhub_http_responses_total"), map([("101", MEMBERS), ("200", 1)]));
    let (held, buffers) = (figures.count("classhub_room_log_bytes"), figures.count("classhub_room_log_buffer_bytes"));
    assert!(held > 0 && buffers >= held, "{held} bytes in {buffers}");
    assert_eq!(
        [("classhub_flush_lag_bytes"), ("classhub_lagging_members"), ("classhub_reply_queue_bytes")]
            .map(|name| figures.count(name)),
        [0; 3]
    );
    // Each of these was at least one turn of its own, since each waited for the one before.
    let turns = figures.count("classhub_turn_duration_seconds_count");
    assert!(turns >= 2 * MEMBERS + CHATS, "{turns} turns");

    // One leaves, and one more after it: whoever leaves is told too, and is in no room.
    members[0].send_json(&leave(ROOM));
    members.iter_mut().for_each(|member| assert_eq!(member.recv_json()["msg"], "Leave successfully"));
    let left = scrape(&hub);
    assert_eq!(left.count("classhub_deliveries_total"), 10 + MEMBERS * CHATS + MEMBERS);
    assert_eq!(left.by_label("classhub_members"), map([("present", MEMBERS - 1)]));
    assert_eq!(left.count("classhub_connections{transport=\"plain\",state=\"open\"}"), MEMBERS);
    assert_eq!(left.0["classhub_refusals_total"].samples.values().sum::<f64>(), 0.0);
}

#[test]
fn a_member_whose_connection_broke_lingers() {
    let hub = Hub::start("[heartbeat]\nlinger_s = 3600\n");
    let (mut anna, bert) = (hub.join("anna"), hub.join("bert"));
    assert_eq!(anna.recv_json()["msg"], "Join successfully");
    hang_up(bert.stream);
    let figures = scrape_until(&hub, |figures| figures.count("classhub_closes_total{reason=\"broken\"}") == 1);
    assert_eq!(figures.by_label("classhub_members"), map([("lingering", 1), ("present", 1)]));
    hub.join("bert");
    assert_eq!(scrape(&hub).count("classhub_deliveries_total"), 1, "nobody was told anything but the first join");
}

/// Sends each request so many times as its place in the list says, each answered with its code.
#[track_caller]
fn refuse(client: &mut Client, requests: &[(&str, Value)], counts: &mut BTreeMap<String, u64>) {
    for (code, request) in requests {
        let times = counts.len() as u64 + 1;
        for _ in 0..times {
            match request {
                Value::String(text) => client.send_text(text),
                request => client.send_json(request),
            }
            match *code {
                "duplicate" => client.recv_duplicate(),
                code => drop(client.recv_failure(code)),
            }
            // A good message in between: patience for bad ones is another matter.
            client.send_json(&json!({"msgType": 1}));
        }
        assert_eq!(counts.insert((*code).to_owned(), times), None);
    }
}

fn owner_says(data_type: u32, data: Value) -> Value {
    json!({"msgType": 3, "textData": {"dataType": data_type, "data": data}})
}

#[test]
fn refusals_are_counted_by_code() {
    let hub = Hub::start(
        "[limits]\nmessages_per_second = 0\nbytes_per_second = 0\nmembers_per_room = 2\nrooms_per_connection = 1\n\
         [heartbeat]\nprobe_s = 60\n[rooms]\nauto_create = false\n[[room]]\nnumber = \"E00001\"\n[[room]]\nnumber = \"E00002\"\n\
         [[room]]\nnumber = \"secret\"\npasscode = \"melon\"\n",
    );
    let mut counts = BTreeMap::new();
    let (mut anna, mut bert) = (hub.join("anna"), hub.join("bert"));
    assert_eq!(anna.recv_json()["msg"], "Join successfully");
    let mut other = hub.connect();
    refuse(
        &mut other,
        &[
            ("bad_json", json!("{")),
            ("unknown_type", json!({"msgType": 9, "textData": {"dataType": 9, "data": {}}})),
            ("too_long", join(ROOM, &"x".repeat(65))),
            ("not_joined", chat(ROOM, "hello?")),
            ("no_such_room", join("nowhere", "other")),
            ("room_full", join(ROOM, "other")),
            ("duplicate", join(ROOM, "anna")),
        ],
        &mut counts,
    );
    refuse(
        &mut bert,
        &[
            ("identity", join(ROOM, "carl")),
            ("too_many_rooms", join("E00002", "bert")),
            ("not_owner", owner_says(4, json!({"roomNumber": ROOM, "quiet": true}))),
            ("no_such_message", receipt(ROOM, 99)),
        ],
        &mut counts,
    );
    anna.send_json(&owner_says(4, json!({"roomNumber": ROOM, "quiet": true, "locked": true})));
    for member in [&mut anna, &mut bert] {
        assert_eq!(member.recv_json()["msg"], "Rule successfully");
    }
    refuse(&mut bert, &[("quiet", chat(ROOM, "psst"))], &mut counts);
    refuse(&mut other, &[("locked", join(ROOM, "other"))], &mut counts);
    anna.send_json(&owner_says(5, json!({"roomNumber": ROOM, "id": "bert", "forS": 60})));
    for member in [&mut anna, &mut bert] {
        assert_eq!(member.recv_json()["msg"], "Leave successfully");
    }
    refuse(&mut bert, &[("removed", join(ROOM, "bert"))], &mut counts);
    let nobody = owner_says(5, json!({"roomNumber": ROOM, "id": "nobody", "forS": 60}));
    refuse(&mut anna, &[("no_such_member", nobody)], &mut counts);
    // Five of these would be the end of a connection.
    for _ in 0..3 {
        other.send_json(&join("secret", "other"));
        other.recv_failure("passcode");
    }
    counts.insert("passcode".to_owned(), 3);

    let figures = scrape(&hub);
    assert_eq!(figures.by_label("classhub_refusals_total"), counts);
    let rejected = map([("members_per_room", counts["room_full"]), ("rooms_per_connection", counts["too_many_rooms"])]);
    assert_eq!(figures.by_label("classhub_rejected_total"), rejected);
    assert_eq!(figures.by_label("classhub_closes_total"), map([]));
}

#[test]
fn what_a_rate_or_a_table_refuses_is_counted_by_code_and_by_limit() {
    let hub = Hub::start("[limits]\nmessages_per_second = 1\nburst = 3\nbytes_per_second = 0\nrooms = 1\n");
    let (mut anna, mut bert) = (hub.join("anna"), hub.connect());
    bert.send_json(&join("another", "bert"));
    bert.recv_failure("hub_full");
    let frames: Vec<Raw> = (0..20).map(|n| Raw::text(&with_ref(chat(ROOM, "x"), &n.to_string()).to_string())).collect();
    anna.send_all(&frames);
    let answers: Vec<Value> = (0..20).map(|_| anna.recv_json()).collect();
    let refused = answers.iter().filter(|answer| answer["code"] == "rate_limited").count() as u64;
    assert!(refused >= 10, "{refused} of 20 with a burst of 3");
    let figures = scrape(&hub);
    assert_eq!(figures.by_label("classhub_refusals_total"), map([("hub_full", 1), ("rate_limited", refused)]));
    assert_eq!(figures.by_label("classhub_rejected_total"), map([("rooms", 1), ("messages_per_second", refused)]));
    // Those who talk in time are delivered, to the one who talks.
    assert_eq!(figures.count("classhub_deliveries_total"), 20 - refused);

    let hub = Hub::start("[limits]\nmessages_per_second = 0\nbytes_per_second = 1\nbytes_burst = 16384\n");
    let mut anna = hub.join("anna");
    for _ in 0..3 {
        anna.send_json(&said(100, ROOM, json!("x".repeat(9000))));
    }
    let codes: Vec<Value> = (0..3).map(|_| anna.recv_json()["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!("rate_limited"), json!("rate_limited")]);
    assert_eq!(scrape(&hub).by_label("classhub_rejected_total"), map([("bytes_per_second", 2)]));
}

#[test]
fn tokens_and_keys_are_counted_too() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let [secret, key] = ["secret", "key"].map(|name| folder.join(format!("metrics-{}-{name}", std::process::id())));
    std::fs::write(&secret, [7; 32]).and(std::fs::write(&key, [8; 32])).expect("the folder for tests can be written");
    let of_key = format!("[[encryption.key]]\nid = 1\nfile = {key:?}\n");
    let with_token = Hub::start(&format!("[auth]\nsecret_file = {secret:?}\n"));
    let with_key = Hub::start(&format!("encryption.required = true\n{of_key}"));
    let mut anna = with_token.connect();
    for _ in 0..2 {
        anna.send_json(&join(ROOM, "anna"));
        anna.recv_failure("token");
    }
    assert_eq!(scrape(&with_token).by_label("classhub_refusals_total"), map([("token", 2)]));
    let mut bert = with_key.connect();
    bert.send_json(&join(ROOM, "bert"));
    bert.recv_failure("encryption");
    let mut carl = with_key.connect();
    carl.send(&Raw::new(BINARY, [1, 9].into_iter().chain([0; 40]).collect::<Vec<u8>>()));
    carl.recv_failure("key");
    carl.expect_close(1008);
    let figures = scrape(&with_key);
    assert_eq!(figures.by_label("classhub_refusals_total"), map([("encryption", 1), ("key", 1)]));
    assert_eq!(figures.by_label("classhub_closes_total"), map([("not_opened", 1)]));
    assert_eq!(figures.count("classhub_worn_keys"), 0);
    for path in [secret, key] {
        std::fs::remove_file(path).expect("it was written");
    }
}

#[test]
fn closes_are_counted_by_reason() {
    let hub = Hub::start(&format!("{NO_RATES}{NO_LINGER}[[room]]\nnumber = \"secret\"\npasscode = \"melon\"\n"));
    let mut counts = BTreeMap::new();
    let mut add = |reason: &str, times: u64| assert_eq!(counts.insert(reason.to_owned(), times), None);
    for _ in 0..3 {
        hub.connect().close();
    }
    add("client", 3);
    hang_up(hub.connect().stream);
    hang_up(hub.connect().stream);
    add("broken", 2);
    let ends_with = |code: u16, frame: Raw| {
        let mut client = hub.connect();
        client.send(&frame);
        client.expect_close(code);
    };
    ends_with(1002, Raw { masked: false, ..Raw::text("{}") });
    add("protocol", 1);
    ends_with(1003, Raw::new(BINARY, *b"x"));
    add("unsupported", 1);
    ends_with(1007, Raw::new(TEXT, *b"\xff"));
    add("not_utf8", 1);
    ends_with(1009, Raw::new(TEXT, vec![b'x'; 16_385]));
    ends_with(1009, Raw::new(TEXT, vec![b'x'; 20_000]));
    add("too_big", 2);
    let mut bad = hub.connect();
    bad.send_all(&vec![Raw::text("{"); 16]);
    assert_eq!(bad.recv_to_close(1008).len(), 16);
    add("bad_messages", 1);
    let mut guesses = hub.connect();
    let mut guess = join("secret", "guesses");
    guess["extendFields"] = json!({"passcode": "apple"});
    guesses.send_all(&vec![Raw::text(&guess.to_string()); 5]);
    assert_eq!(guesses.recv_to_close(1008).len(), 5);
    add("guessing", 1);
    let mut anna = hub.connect();
    let token = resume_token(&anna.join(ROOM, "anna"));
    let mut again = hub.connect();
    again.join_with(&resume(ROOM, "anna", &token, 1));
    anna.expect_close(4001);
    add("taken_over", 1);

    let figures = scrape_until(&hub, |figures| figures.count("classhub_closes_total{reason=\"broken\"}") == 2);
    assert_eq!(figures.by_label("classhub_closes_total"), counts);
    assert_eq!(figures.by_label("classhub_rejected_total"), map([("message_bytes", 2)]));
    assert_eq!(figures.count("classhub_connections{transport=\"plain\",state=\"open\"}"), 1);
}

#[test]
fn silence_is_counted_too() {
    let hub = Hub::start("[heartbeat]\ninterval_s = 1\ngrace_s = 0\n");
    hub.join("silent").expect_close(4000);
    assert_eq!(scrape(&hub).by_label("classhub_closes_total"), map([("heartbeat", 1)]));
}

#[test]
fn answers_are_counted_by_status() {
    let hub = Hub::start("");
    let ask = |line: &str, host: &str| hub.http(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status;
    for (line, host, status) in [
        ("GET /", "a", 200),
        ("GET /nothing", "a", 404),
        ("HEAD /nothing", "a", 404),
        ("POST /", "a", 405),
        ("GET /", "evil.example", 403),
        ("GET /ws", "a", 426),
        ("GET /qr.svg?room=", "a", 400),
    ] {
        assert_eq!(ask(line, host), status);
    }
    let expected = map([("200", 1), ("404", 2), ("405", 1), ("403", 1), ("426", 1), ("400", 1)]);
    assert_eq!(scrape(&hub).by_label("classhub_http_responses_total"), expected);
}

#[test]
fn who_is_turned_away_is_counted_by_what_was_full() {
    let mut hub = Hub::start("[limits]\nconnections = 3\n");
    let held: Vec<Client> = (0..2).map(|_| hub.connect()).collect();
    let third = hub.connect();
    for _ in 0..4 {
        assert_eq!(hub.http(SCRAPE).status, 503);
    }
    third.close();
    let figures = loop {
        let response = hub.http(SCRAPE);
        if response.status == 200 {
            break text::read(response.text()).expect("the format");
        }
        thread::sleep(Duration::from_millis(10));
    };
    let turned_away = figures.count("classhub_rejected_total{limit=\"connections\"}");
    assert!(turned_away >= 4, "{turned_away}");
    assert_eq!(figures.count("classhub_http_responses_total{status=\"503\"}"), turned_away);
    assert_eq!(figures.count("classhub_connections_max"), 3);
    // In the log the first is a line, and all others are another.
    drop(held);
    hub.stop();
    hub.wait_for_line("stopped");
    let lines: Vec<String> = hub.lines().into_iter().filter(|line| line.contains("limits.connections")).collect();
    let says = "every seat is taken (limits.connections): newcomers are told 503";
    let more = format!("{says} ({} times more within 60 s)", turned_away - 1);
    assert_eq!(lines, [says, &more].map(|says| format!("WARN  [classhub::net::faults] {says}")));

    let hub = Hub::start("[limits]\nconnections_per_ip = 1\n");
    let _held = hub.connect();
    assert_eq!(hub.http(SCRAPE).status, 503);
    let mut from_elsewhere = common::tcp_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), hub.addr);
    from_elsewhere.write_all(SCRAPE.as_bytes()).expect("the hub reads");
    let figures = text::read(Response::read(&mut from_elsewhere).text()).expect("the format");
    assert_eq!(figures.by_label("classhub_rejected_total"), map([("connections_per_ip", 1)]));
}
