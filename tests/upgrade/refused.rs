//! An upgrade that cannot be, or whose new program does not take what it finds.
//!
//! Owns: that nobody is disconnected by what the operator can still put right, and that no new program ends for it. Refuses to know: what is wrong with a
//! configuration (the tests of reloading).

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;

use super::common::{Hub, NO_RATES, ROOM, Raw, chat, join};
use super::program::{Behind, Program};

#[test]
fn a_configuration_that_is_wrong_is_said_before_anybody_has_to_go() {
    let hub = Hub::start(NO_RATES);
    let (mut member, mut half) = (hub.join("member"), hub.connect());
    // It could not be handed over, and does not have to be.
    half.send_bytes(&[0x81]);
    for (nth, (wrong, says)) in [
        ("[limits]\nroms = 9\n", "limits.roms (line 2)"),
        ("[auth]\nsecret_file = \"/nowhere/at/all\"\n", "auth.secret_file (line 2)"),
        ("listen = [\n", "line 1, column 11"),
    ]
    .into_iter()
    .enumerate()
    {
        hub.configure(wrong);
        hub.signal_upgrade();
        let line = hub.wait_for_lines("not upgraded", nth + 1).pop().expect("it was waited for");
        assert!(line.starts_with("WARN ") && line.contains("going on as before: ") && line.contains(says), "{line}");
        member.say("still here");
    }
    fs::remove_file(hub.config()).expect("it is there");
    hub.signal_upgrade();
    assert!(hub.wait_for_lines("not upgraded", 4)[3].contains("it cannot be read: No such file"));
    member.say("and still");
    assert!(!hub.lines().iter().any(|line| line.contains("upgrading")), "{:?}", hub.lines());
    // Once it is right, the same signal brings what it says.
    hub.configure("[limits]\nmembers_per_room = 1\n");
    hub.upgrade(1);
    member.say("the same as before");
    let mut second = hub.connect();
    second.send_json(&join(ROOM, "second"));
    second.recv_failure("room_full");
    half.recv_to_close(1001);
}

/// A hub whose new program finds another configuration than the one that it was left: what a version finds that knows a key no more.
fn refuses_its_configuration(toml: &str) -> (Hub, Program) {
    let program = Program::new();
    let hub = Hub::start_as(program.command(), toml);
    let spoil = format!("printf '[limits]\\nroms = 9\\n' > {:?}", hub.config());
    program.replace_by_one_that_first(&spoil);
    (hub, program)
}

#[test]
fn a_new_program_that_refuses_the_configuration_goes_on_with_what_was_decided() {
    let decided = format!(
        "log = \"debug\"\n{NO_RATES}members_per_room = 2\nmessage_bytes = 2048\n[http]\nnames = [\"hub.example\"]\nmetrics = \"off\"\n\
         [[room]]\nnumber = \"C\"\npasscode = \"open\"\n"
    );
    let (hub, _program) = refuses_its_configuration(&decided);
    let (mut first, mut second) = (hub.join("first"), hub.join("second"));
    first.recv_json();
    hub.upgrade(1);
    let line = hub.wait_for_line("goes on with the configuration that it had");
    assert!(line.starts_with("ERROR") && line.contains("limits.roms (line 2)"), "{line}");
    first.say("still here");
    second.hear("still here");
    let mut third = hub.connect();
    third.send_json(&join(ROOM, "third"));
    third.recv_failure("room_full");
    third.send_json(&join("C", "third"));
    third.recv_failure("passcode");
    third.send(&Raw::text(&chat("C", &"x".repeat(3000)).to_string()));
    third.expect_close(1009);
    let asked_by = |name: &str, path: &str| hub.http(format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n\r\n")).status;
    assert_eq!([asked_by("hub.example", "/healthz"), asked_by("else.example", "/healthz")], [200, 403]);
    assert_eq!(asked_by("hub.example", "/metrics"), 404);
    hub.wait_for_line("DEBUG");
    // It is as wrong for the next, and right in time: what is different then is told as ever.
    hub.signal_upgrade();
    hub.wait_for_line("not upgraded, and going on as before");
    assert!(hub.reload_and_tell().contains("not reloaded"));
    let before = hub.lines().len();
    hub.configure(&decided.replace("members_per_room = 2", "members_per_room = 3"));
    hub.reload();
    hub.wait_for_line_after(before, "reloaded: limits.members_per_room = 3 (was 2)");
    assert_eq!(hub.lines()[before..].iter().filter(|line| line.contains("reloaded")).count(), 1, "{:?}", hub.lines());
    hub.upgrade(2);
    second.send_json(&chat(ROOM, "and still"));
    first.hear("and still");
}

#[test]
fn where_neither_the_state_nor_the_configuration_is_of_use_everyone_is_told_before_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let taken = listener.local_addr().expect("it listens");
    for (listen, config, says) in [
        ("127.0.0.1:0".to_owned(), "[limits]\nroms = 9\n", "limits.roms (line 2)"),
        (taken.to_string(), "", "another program does already"),
    ] {
        let behind = Behind::new(b"nothing that we know of", 5);
        let program = Program::new();
        let file = program.beside(config.as_bytes());
        let mut command = behind.command(&program);
        command.arg("--config").arg(&file).args(["--listen", &listen]).stderr(Stdio::piped());
        let mut hub = command.spawn().expect("it starts");
        for mut client in behind.into_clients() {
            client.recv_to_close(1001);
        }
        let mut said = String::new();
        hub.stderr.take().expect("it is piped").read_to_string(&mut said).expect("it is text");
        assert_eq!(hub.wait().expect("it is our child").code(), Some(1));
        assert!(said.contains("the hub begins anew") && said.contains(says), "{said}");
        let _gone = fs::remove_file(file);
    }
}
