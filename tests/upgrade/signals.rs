//! Signals that come while one program makes way for another.
//!
//! Owns: that none is lost and none is obeyed twice, whenever it comes, and that the hub is left with the signals it had where nobody follows it. Refuses
//! to know: what each asks for.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::common::{Client, Hub, NO_RATES, ROOM, chat};
use super::program::Program;

/// Has all of these come in one turn.
fn at_once(hub: &Hub, signals: &[Signal]) {
    for signal in [Signal::STOP].iter().chain(signals).chain(&[Signal::CONT]) {
        kill_process(hub.pid(), *signal).expect("it runs");
    }
}

fn count(hub: &Hub, part: &str) -> usize {
    hub.lines().iter().filter(|line| line.contains(part)).count()
}

#[test]
fn to_stop_and_to_be_upgraded_at_once_is_to_stop() {
    for signals in [[Signal::USR2, Signal::TERM], [Signal::INT, Signal::USR2]] {
        let mut hub = Hub::start(NO_RATES);
        let mut member = hub.join("member");
        at_once(&hub, &signals);
        member.expect_close(1001);
        drop(member);
        assert!(hub.wait().success());
        assert_eq!(count(&hub, "upgrad"), 0, "{:?}", hub.lines());
    }
}

#[test]
fn to_reload_and_to_be_upgraded_at_once_is_both() {
    let hub = Hub::start(NO_RATES);
    let mut member = hub.join("member");
    at_once(&hub, &[Signal::USR2, Signal::HUP, Signal::USR2]);
    hub.wait_for_line("upgraded from");
    member.say("still here");
    let said: Vec<String> = hub.lines().into_iter().skip(2).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    for (line, part) in said.iter().zip(["reloaded: nothing has changed", "upgrading to", "upgraded from"]) {
        assert!(line.contains(part), "{said:?}");
    }
}

#[test]
fn what_comes_while_nobody_hears_is_obeyed_once_by_the_next() {
    let program = Program::new();
    let hub = Hub::start_as(program.command(), NO_RATES);
    let mut member = hub.join("member");
    program.replace_by_one_that_first("for s in HUP USR2 CHLD WINCH PIPE HUP USR2; do kill -$s $$; done");
    hub.signal_upgrade();
    hub.wait_for_lines("upgraded from", 2);
    member.say("still here");
    assert_eq!(["reloaded", "upgraded from"].map(|part| count(&hub, part)), [1, 2], "{:?}", hub.lines());
    program.restore();
    let mut hub = Hub::start_as(program.command(), NO_RATES);
    let mut member = hub.join("member");
    program.replace_by_one_that_first("kill -TERM $$");
    hub.signal_upgrade();
    member.expect_close(1001);
    drop(member);
    assert!(hub.wait().success());
    assert_eq!(["upgraded from", "stopping"].map(|part| count(&hub, part)), [1, 1], "{:?}", hub.lines());
}

#[test]
fn to_stop_is_not_lost_whenever_it_comes() {
    for nth in 0..10 {
        let mut hub = Hub::start(NO_RATES);
        let mut member = hub.join("member");
        // It takes a moment to write that down.
        for _ in 0..12 {
            member.say(&"x".repeat(15_000));
        }
        hub.signal_upgrade();
        if nth > 0 {
            hub.wait_for_line("upgrading");
        }
        hub.terminate();
        member.expect_close(1001);
        drop(member);
        assert!(hub.wait().success(), "{:?}", hub.lines());
    }
}

/// A child that does not outlive its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _over = self.0.kill();
        let _over = self.0.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_ends_no_hub_that_nobody_followed() {
    let program = Program::new();
    let mut command = program.command();
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut hub = Ended(command.spawn().expect("it starts"));
    let mut said =
        BufReader::new(hub.0.stderr.take().expect("it is piped")).lines().map(|line| line.expect("it is text"));
    let line = said.find(|line| line.contains("listening on http://")).expect("it says where");
    let addr = line.rsplit("http://").next().and_then(|addr| addr.parse().ok()).expect("an address");
    let pid = Pid::from_child(&hub.0);
    let mut member = Client::connect(addr);
    member.join(ROOM, "member");
    program.replace_by(b"not a program", "755");
    kill_process(pid, Signal::USR2).expect("it runs");
    said.find(|line| line.contains("not upgraded")).expect("it says so");
    drop(said);
    for _ in 0..3 {
        kill_process(pid, Signal::HUP).expect("it runs");
        member.send_json(&chat(ROOM, "still here"));
        member.hear("still here");
    }
    kill_process(pid, Signal::TERM).expect("it runs");
    member.expect_close(1001);
    drop(member);
    assert!(hub.0.wait().expect("it is our child").success());
}
