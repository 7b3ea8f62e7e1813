//! SIGHUP: a running hub reads its configuration again (README, Configuration).
//!
//! Owns: that a right file is taken over and told, that a wrong one changes nothing and says why, and that neither disconnects anybody, over real sockets.
//! Refuses to know: what each change means to a room (the exchange's own tests), and certificates (the tests of TLS).

mod common;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use common::{Client, Hub, NO_RATES, PATIENCE, ROOM, Raw, Response, chat, classhub, join, tcp};
use rustix::process::{Pid, Signal, kill_process};

/// A file beside the configuration.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("reload-{}-{name}", std::process::id()));
    fs::write(&path, bytes).expect("the folder for tests can be written");
    path
}

/// What `classhub check` says of the file that the hub reads.
fn check(hub: &Hub) -> String {
    let output = classhub().arg("check").arg("--config").arg(hub.config()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).expect("an error is text").trim().replace("classhub: ", "")
}

/// Files that are wrong, each in a way of its own.
fn broken(nth: usize) -> Vec<u8> {
    const UNLIKE: &[&str] = &[
        "[limits]\nrooms = 0\n",
        "[limits\nrooms = 9\n",
        "[limits]\nroms = 9\n",
        "log = \"loud\"\n",
        "listen = []\n",
        "[limits]\nmessage_bytes = 1048576\n",
        "[auth]\nsecret_file = \"/nowhere/at/all\"\n",
        concat!("[[encryption.key]]\nid = 1\nfile = \"", env!("CARGO_MANIFEST_DIR"), "/Cargo.toml\"\n"),
        "[encryption]\nrequired = true\n",
        "[[room]]\nnumber = \"E1\"\n[[room]]\nnumber = \"E1\"\n",
        "[heartbeat]\ninterval_s = \"two minutes\"\n",
        // With TLS there is no such certificate, and without it no such table.
        "[tls]\nlisten = [\"127.0.0.1:0\"]\ncert = \"/nowhere/cert.pem\"\nkey = \"/nowhere/key.pem\"\n",
    ];
    match UNLIKE.get(nth % (UNLIKE.len() + 1)) {
        Some(text) => (*text).into(),
        None => b"log = \"\xff\"\n".to_vec(),
    }
}

#[test]
fn two_hundred_members_stay_through_a_hundred_reloads_of_which_every_other_is_broken() {
    const ROOMS: usize = 4;
    let right = |nth: usize| {
        let name = format!("lesson {nth}");
        format!(
            "{NO_RATES}rooms = {}\nmembers_per_room = {}\nconnections = {}\nroom_log_bytes = {}\n[rooms]\nhistory = {}\n\
             [[room]]\nnumber = \"R0\"\nname = \"{name}\"\n[[room]]\nnumber = \"extra {}\"\n",
            8 + nth,
            50 + nth % 10,
            220 + nth,
            (64 << 10) + 1024 * (nth % 7),
            100 + nth % 9,
            nth % 5,
        )
    };
    let hub = Hub::start(&right(0));
    let mut class: Vec<Client> = (0..200).map(|_| hub.connect()).collect();
    for (n, client) in class.iter_mut().enumerate() {
        client.join(&format!("R{}", n % ROOMS), &n.to_string());
    }
    for nth in 1..=100 {
        let is_broken = nth % 2 == 0;
        let line = if is_broken { hub.reload_with(broken(nth / 2)) } else { hub.reload_with(right(nth)) };
        assert_eq!(line.contains("not reloaded, the hub goes on as before: "), is_broken, "{line}");
        // In each room somebody speaks, and everyone hears it.
        let text = format!("after reload {nth}");
        for room in 0..ROOMS {
            let speaker = room + ROOMS * (nth % (200 / ROOMS));
            class[speaker].send_json(&chat(&format!("R{room}"), &text));
        }
        for client in &mut class {
            loop {
                // Before it: who came at first, and what the room is called now.
                let frame = client.recv_json();
                if frame["msg"] == "Chat successfully" {
                    assert_eq!(frame["resultBody"]["textData"]["data"]["content"], text);
                    break;
                }
                assert!(frame["msg"] == "Join successfully" || frame["msg"] == "Rule successfully", "{frame}");
            }
        }
    }
    let said = hub.lines();
    let told = said.iter().filter(|line| line.contains("reloaded: limits.rooms = ")).count();
    assert_eq!((told, said.iter().filter(|line| line.contains("not reloaded")).count()), (50, 50));
    // The last right one holds: 59 seats in a room of 50.
    for n in 0..9 {
        hub.connect().join("R1", &format!("new {n}"));
    }
    let mut one_more = hub.connect();
    one_more.send_json(&join("R1", "one more"));
    one_more.recv_failure("room_full");
    let called = hub.connect().join("R0", "new")["resultBody"]["textData"]["data"]["name"].clone();
    assert_eq!(called, "lesson 99");
}

#[test]
fn a_wrong_file_is_told_once_as_check_tells_it_and_changes_nothing() {
    let hub = Hub::start("[limits]\nrooms = 9\n[[room]]\nnumber = \"A\"\npasscode = \"pass\"\n");
    let mut member = hub.join("member");
    hub.wait_for_line("/join");
    for nth in 0..13 {
        let before = hub.lines().len();
        let line = hub.reload_with(broken(nth));
        assert_eq!(
            line,
            format!("WARN  [classhub::net::reload] not reloaded, the hub goes on as before: {}", check(&hub))
        );
        member.say("still here");
        let mut stranger = hub.connect();
        stranger.send_json(&join("A", "stranger"));
        stranger.recv_failure("passcode");
        assert_eq!(hub.lines().len(), before + 1, "{:?}", hub.lines());
    }
    fs::remove_file(hub.config()).expect("it is there");
    let line = hub.reload_and_tell();
    assert!(line.ends_with(&check(&hub)) && line.contains("it cannot be read: No such file"), "{line}");
    // The right one again: nothing of all that has been taken over.
    let line = hub.reload_with("[limits]\nrooms = 9\n[[room]]\nnumber = \"A\"\npasscode = \"pass\"\n");
    assert_eq!(line, "INFO  [classhub::net::reload] reloaded: nothing has changed");
    member.close();
}

#[test]
fn what_is_no_file_to_be_read_again_keeps_nobody_waiting() {
    let hub = Hub::start("");
    fs::remove_file(hub.config()).expect("it is there");
    let pipe = Command::new("mkfifo").arg(hub.config()).status().expect("coreutils are installed");
    assert!(pipe.success());
    let line = hub.reload_and_tell();
    assert!(line.ends_with("it is no regular file, and only such can be read again while the hub runs"), "{line}");
    fs::remove_file(hub.config()).expect("it is there");
    fs::create_dir(hub.config()).expect("nothing is there");
    assert!(hub.reload_and_tell().contains("it is no regular file"));
    fs::remove_dir(hub.config()).expect("it is there");
    let secret = file("fifo", b"");
    fs::remove_file(&secret).expect("it is there");
    assert!(Command::new("mkfifo").arg(&secret).status().expect("coreutils are installed").success());
    let line = hub.reload_with(format!("[auth]\nsecret_file = {secret:?}\n"));
    assert!(line.contains("auth.secret_file (line 2): ") && line.contains("it is no regular file"), "{line}");
    fs::remove_file(&secret).expect("it is there");
    hub.join("member").say("here");
}

#[test]
fn each_change_is_a_line_and_no_secret_is_in_any() {
    let secret = file("secret", b"a secret of more than thirty-two bytes");
    let hub = Hub::start(&format!("{NO_RATES}[[room]]\nnumber = \"E1\"\npasscode = \"melon\"\n"));
    hub.wait_for_line("/join");
    let before = hub.lines().len();
    let toml = format!(
        "listen = [\"127.0.0.1:1\"]\n{NO_RATES}burst = 50\n[auth]\nsecret_file = {secret:?}\n[http]\nnames = [\"a.example\"]\n\
         [[room]]\nnumber = \"E1\"\npasscode = \"grape\"\n[[room]]\nnumber = \"E2\"\n"
    );
    let expected = [
        "limits.burst = 50 (was 40)".to_owned(),
        format!("auth.secret_file = {secret:?} (was not set)"),
        "http.names = [\"a.example\"] (was [])".to_owned(),
        "room \"E2\": added".to_owned(),
        "room \"E1\": passcode has changed".to_owned(),
    ]
    .map(|change| format!("INFO  [classhub::net::reload] reloaded: {change}"));
    hub.reload_with(&toml);
    // What it listens on was a flag's, and stays that.
    hub.wait_for_line_after(before, "\"E2\": added");
    let said = hub.lines()[before..].to_vec();
    let (warned, told): (Vec<&String>, Vec<&String>) = said.iter().partition(|line| line.starts_with("WARN"));
    let mut told: Vec<&String> = told;
    told.sort();
    let mut expected: Vec<&String> = expected.iter().collect();
    expected.sort();
    assert_eq!(told, expected);
    // The secret's file is anybody's to read here, and that is told once.
    assert!(warned.iter().all(|line| line.contains("can be read by everybody")), "{warned:?}");
    fs::write(&secret, b"another secret of more than thirty-two bytes").expect("it is ours");
    assert!(hub.reload_and_tell().ends_with("reloaded: auth.secret_file: what is in the file has changed"));
    let before = hub.lines().len();
    assert!(hub.reload_and_tell().ends_with("reloaded: nothing has changed"));
    assert_eq!(hub.lines().len(), before + 1, "no warning a second time");
    for word in ["melon", "grape", "thirty-two"] {
        assert!(!hub.lines().iter().any(|line| line.contains(word)), "{word}");
    }
    fs::remove_file(&secret).expect("it is there");
}

#[test]
fn where_to_listen_waits_for_the_next_start() {
    let hub = Hub::start("listen = [\"127.0.0.1:0\"]\n");
    for _ in 0..2 {
        let line = hub.reload_with("listen = [\"127.0.0.1:1\"]\n");
        assert!(
            line.ends_with(
                "reloaded: listen = [\"127.0.0.1:1\"] (was [\"127.0.0.1:0\"]); it takes effect with the next start"
            ),
            "{line}"
        );
    }
    assert!(hub.reload_with("listen = [\"127.0.0.1:0\"]\n").ends_with("reloaded: nothing has changed"));
    hub.join("member").close();
}

#[test]
fn the_log_is_as_loud_as_the_file_says_from_the_next_line_on() {
    let hub = Hub::start("");
    let mut member = hub.join("member");
    let line = hub.reload_with("log = \"debug\"\n");
    assert!(line.ends_with("reloaded: log = \"debug\" (was \"info\")"), "{line}");
    let before = hub.lines().len();
    hub.join("other").close();
    assert_eq!(member.recv_json()["msg"], "Join successfully");
    assert_eq!(member.recv_json()["msg"], "Leave successfully");
    hub.wait_for_line_after(before, "DEBUG [classhub::net::exchange] connection");
    // The line that says so is the last.
    assert!(hub.reload_with("log = \"warn\"\n").ends_with("reloaded: log = \"warn\" (was \"debug\")"));
    let before = hub.lines().len();
    fs::write(hub.config(), "log = \"warn\"\n[limits]\nrooms_per_connection = 1\n").expect("it is ours");
    hub.reload();
    // It says nothing of that, and so what it does has to tell when: where it is traced or emulated, a signal comes late.
    let until = Instant::now() + PATIENCE;
    while may_be_in_two_rooms(&hub) {
        assert!(Instant::now() < until, "it is not obeyed");
    }
    assert!(hub.reload_with("log = \"loud\"\n").contains("not reloaded"));
    assert_eq!(hub.lines().len(), before + 1, "{:?}", hub.lines());
    assert!(hub.reload_with("log = \"info\"\n").contains("reloaded: log = \"info\" (was \"warn\")"));
    hub.wait_for_line_after(before + 2, "reloaded: limits.rooms_per_connection = 4 (was 1)");
}

fn may_be_in_two_rooms(hub: &Hub) -> bool {
    let mut client = hub.connect();
    client.join("E00002", "tries");
    client.send_json(&join("E00003", "tries"));
    let reply = client.recv_json();
    client.close();
    assert!(reply["status"] == 1 || reply["code"] == "too_many_rooms", "{reply}");
    reply["status"] == 1
}

#[test]
fn new_limits_hold_for_those_who_come_and_for_what_is_said() {
    let hub = Hub::start("[limits]\nconnections = 3\n");
    let mut class = ["a", "b", "c"].map(|id| hub.join(id));
    for (n, client) in class.iter_mut().enumerate() {
        (n + 1..3).for_each(|_| drop(client.recv_json()));
    }
    let is_refused = || {
        let mut stream = tcp(hub.addr);
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").expect("the hub reads");
        Response::read(&mut stream).status == 503
    };
    assert!(is_refused());
    hub.reload_with("[limits]\nconnections = 4\nmessage_bytes = 1024\n");
    hub.wait_for_line("reloaded: limits.message_bytes = 1024 (was 16384)");
    assert!(!is_refused());
    hub.reload_with("[limits]\nconnections = 1\nmessage_bytes = 1024\n");
    assert!(is_refused());
    let [a, b, c] = &mut class;
    a.say("short");
    b.hear("short");
    b.send_json(&chat(ROOM, &"x".repeat(2000)));
    b.expect_close(1009);
    c.hear("short");
    assert_eq!(c.recv_json()["msg"], "Leave successfully");
}

#[test]
fn more_connections_than_the_system_has_files_for_are_told_of() {
    let hub = Hub::start_with_files(400, "[limits]\nconnections = 100\n");
    assert!(!hub.lines().iter().any(|line| line.contains("open files")));
    hub.reload_with("[limits]\nconnections = 1000\n");
    let line = hub.wait_for_line("open files");
    assert!(line.starts_with("WARN ") && line.contains("the system allows 400 open files"), "{line}");
    hub.join("member").close();
}

#[test]
fn without_a_file_there_is_nothing_to_read_again_and_the_hub_stays() {
    let mut command = classhub();
    command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut hub = command.spawn().expect("it starts");
    let mut lines =
        BufReader::new(hub.stderr.take().expect("it is piped")).lines().map(|line| line.expect("it is text"));
    let line = lines.find(|line| line.contains("listening on http://")).expect("it says where");
    let addr: SocketAddr = line.rsplit("http://").next().and_then(|addr| addr.parse().ok()).expect("an address");
    let mut member = Client::connect(addr);
    member.join(ROOM, "member");
    let pid = Pid::from_raw(hub.id().try_into().expect("a process id")).expect("it is not 0");
    kill_process(pid, Signal::HUP).expect("it runs");
    let line = lines.find(|line| line.contains("again")).expect("it says something");
    assert!(
        line.ends_with("the hub was started without a configuration file: there is nothing to read again"),
        "{line}"
    );
    member.say("still here");
    kill_process(pid, Signal::TERM).expect("it runs");
    member.expect_close(1001);
    drop(member);
    assert!(hub.wait().expect("it is our child").success());
}

#[test]
fn a_hub_that_stops_reads_nothing_again() {
    let mut hub = Hub::start("");
    let mut member = hub.join("member");
    hub.terminate();
    member.expect_close(1001);
    // It waits for the member to hang up.
    fs::write(hub.config(), "[limits]\nrooms = 7\n").expect("it is ours");
    hub.reload();
    hub.reload();
    let (mut stream, _) = member.into_parts();
    stream.write_all(&Raw::close(1001).bytes()).expect("the hub reads");
    drop(stream.shutdown(std::net::Shutdown::Write));
    let _end = stream.read_to_end(&mut Vec::new());
    assert!(hub.wait().success());
    assert!(!hub.lines().iter().any(|line| line.contains("reloaded")), "{:?}", hub.lines());
}
