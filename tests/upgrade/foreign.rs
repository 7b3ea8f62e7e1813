//! A state whose numbers are not what it says: of something else, of somebody else, or twice the same.
//!
//! Owns: that everybody is told to come back, and what is somebody else's stays open. Refuses to know: what else a state says (the tests of the exchange).

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd as _};

use classhub::base::state::StateWriter;
use rustix::io::{FdFlags, fcntl_setfd};
use serde_json::value::RawValue;

use super::common::{Hub, NO_RATES};
use super::program::{Behind, Program};

const TRAILER_BYTES: usize = 64;
const SOCKET: &str = "{\"socket\":";
const AGE: &str = "\"monotonic_ms\":";

/// The state of a hub with two members, as it leaves it.
fn left() -> Vec<u8> {
    let program = Program::new();
    let hub = Hub::start_as(program.command(), NO_RATES);
    let _members = ["a", "b"].map(|id| hub.join(id));
    let copy = program.beside(b"");
    program.replace_by_one_that_first(&format!("cat /proc/$$/fd/${{CLASSHUB_STATE%% *}} > {copy:?}"));
    hub.upgrade(1);
    let state = fs::read(&copy).expect("it was copied");
    let _gone = fs::remove_file(copy);
    state
}

/// The same, where its sockets have these numbers: the listener, and two connections.
fn with_numbers(document: &str, numbers: [i32; 3]) -> String {
    let mut parts = document.split(SOCKET);
    let mut changed = parts.next().expect("there is a first").to_owned();
    for (part, number) in parts.by_ref().zip(numbers) {
        let rest = part.trim_start_matches(|digit: char| digit.is_ascii_digit());
        changed.push_str(&format!("{SOCKET}{number}{rest}"));
    }
    assert!(parts.next().is_none(), "{document}");
    changed
}

/// The same, written down by a hub that has run for so long.
fn after_ms(document: &str, monotonic_ms: u64) -> String {
    let (before, rest) = document.split_once(AGE).expect("it is there");
    format!("{before}{AGE}{monotonic_ms}{}", rest.trim_start_matches(|digit: char| digit.is_ascii_digit()))
}

fn changed(state: &[u8], change: impl FnOnce(&str) -> String) -> Vec<u8> {
    let (body, trailer) = state.split_at(state.len() - TRAILER_BYTES);
    let at = u64::from_le_bytes(trailer[..8].try_into().expect("eight bytes")) as usize;
    let changed = change(str::from_utf8(&body[at..]).expect("it is text"));
    let changed: Box<RawValue> = serde_json::from_str(&changed).expect("it is JSON");
    let mut file = Vec::new();
    let mut writer = StateWriter::new(&mut file);
    writer.put(&body[..at]);
    writer.finish(&changed).expect("memory takes everything");
    file
}

fn inherited(it: impl AsFd) {
    fcntl_setfd(it, FdFlags::empty()).expect("it is open");
}

#[test]
fn numbers_of_something_else_send_everyone_back_and_close_nothing_of_anybodys() {
    let state = left();
    let program = Program::new();
    let other = File::open("/etc/hostname").or_else(|_| File::open("/etc/passwd")).expect("there is one of them");
    let other_path = fs::read_link(format!("/proc/self/fd/{}", other.as_raw_fd())).expect("it is open");
    for (case, says) in [
        ("file", "connection"),
        ("listener", "connection"),
        ("twice", "connection"),
        ("swapped", "listens on descriptor"),
        ("nothing", "connection"),
        ("old", "longer than can be"),
        ("right", ""),
    ] {
        let mut behind = Behind::new(b"", 2);
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let [a, b] = [0, 1].map(|n| behind.hubs[n].as_raw_fd());
        let listens = listener.as_raw_fd();
        let numbers = match case {
            "file" => [listens, a, other.as_raw_fd()],
            "listener" => [listens, a, listens],
            "twice" => [listens, a, a],
            "swapped" => [a, listens, b],
            "nothing" => [listens, a, 60_000],
            _ => [listens, a, b],
        };
        behind.write(&changed(&state, |document| match case {
            "old" => after_ms(&with_numbers(document, numbers), u64::MAX),
            _ => with_numbers(document, numbers),
        }));
        inherited(&other);
        inherited(&listener);
        let listening = listener.local_addr().expect("it listens");
        let mut command = behind.command(&program);
        if case == "right" {
            // It goes on where that listens, and says nothing of where.
            let told = format!("echo listening on http://{listening} >&2; ");
            command = behind.command_that_first(&told, &program);
        }
        let hub = Hub::start_as(command, NO_RATES);
        for kept in [other.as_fd(), listener.as_fd()] {
            fcntl_setfd(kept, FdFlags::CLOEXEC).expect("it is open");
        }
        let in_hub = format!("/proc/{}/fd/{}", hub.pid().as_raw_nonzero(), other.as_raw_fd());
        assert_eq!(fs::read_link(in_hub).ok(), Some(other_path.clone()), "{case}");
        if case == "right" {
            hub.wait_for_line("upgraded from");
            continue;
        }
        let line = hub.wait_for_line("the hub begins anew");
        assert!(line.contains(says), "{case}: {line}");
        for mut client in behind.into_clients() {
            client.expect_close(1001);
        }
        hub.join("anybody").say("a hub as any other");
    }
}
