//! The units in packaging/, read as systemd reads them.
//!
//! Owns: that they say what src/limits.rs says, and as much about rights as was promised. What systemd thinks of them is for `.ci/run systemd`.

use std::{collections::BTreeSet, fs};

use classhub::{host::descriptors, limits};

/// Each `name=value` of a unit, in order.
fn unit(file: &str) -> Vec<(String, String)> {
    let path = format!("{}/packaging/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty());
    let setting = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    lines.map(|line| setting(line).unwrap_or_else(|| panic!("{path}: {line}"))).collect()
}

fn values(file: &str, name: &str) -> Vec<String> {
    unit(file).into_iter().filter(|(one, _)| one == name).map(|(_, value)| value).collect()
}

#[track_caller]
fn value(file: &str, name: &str) -> String {
    let [value] = &values(file, name)[..] else { panic!("{file} has no {name}, or several") };
    value.clone()
}

#[track_caller]
fn seconds(name: &str) -> u64 {
    value("classhub.service", name).parse().expect("whole seconds")
}

const SOCKETS: [&str; 2] = ["classhub.socket", "classhub-tls.socket"];

#[test]
fn it_may_have_as_many_files_as_its_connections_take() {
    let [usual, most] = [limits::CONNECTIONS.default, limits::CONNECTIONS.max].map(|n| descriptors::needed(n.into()));
    assert_eq!(value("classhub.service", "LimitNOFILE"), format!("{usual}:{most}"));
}

#[test]
fn it_is_given_the_time_that_a_goodbye_takes() {
    let goodbye_ms = limits::CLOSE_MS;
    assert!(seconds("TimeoutStopSec") * 1000 >= goodbye_ms + 1000);
    assert!(seconds("TimeoutStopSec") * 1000 <= 2 * goodbye_ms);
}

#[test]
fn it_is_started_again_whatever_it_ended_of() {
    assert_eq!(value("classhub.service", "Type"), "notify");
    assert_eq!(value("classhub.service", "Restart"), "always");
    assert_eq!(value("classhub.service", "StartLimitIntervalSec"), "0");
    assert!(seconds("WatchdogSec") > 0);
    for socket in SOCKETS {
        assert_eq!(value(socket, "TriggerLimitIntervalSec"), "0");
    }
}

#[test]
fn its_ports_are_those_that_nobody_types_and_those_that_are_told() {
    assert_eq!(values("classhub.socket", "ListenStream"), ["80", "9000"]);
    assert_eq!(values("classhub-tls.socket", "ListenStream"), ["443", "9443"]);
    for (socket, name) in SOCKETS.into_iter().zip(["http", "tls"]) {
        assert_eq!(value(socket, "FileDescriptorName"), name);
        assert_eq!(value(socket, "Backlog"), limits::BACKLOG.to_string());
        assert_eq!(value(socket, "BindIPv6Only"), "both");
    }
}

#[test]
fn a_school_is_in_reach_by_each_of_them_or_by_none() {
    let of_service = value("classhub.service", "IPAddressAllow");
    for socket in SOCKETS {
        assert_eq!(value(socket, "IPAddressAllow"), of_service);
        assert_eq!(value(socket, "IPAddressDeny"), "any");
    }
}

#[test]
fn it_may_call_no_more_than_sixty_things_and_each_by_name() {
    let lists = values("classhub.service", "SystemCallFilter");
    let calls: Vec<&str> = lists.iter().flat_map(|list| list.split_whitespace()).collect();
    let each: BTreeSet<&str> = calls.iter().copied().collect();
    assert_eq!(each.len(), calls.len(), "some are there twice");
    assert!(calls.len() <= 60, "{}", calls.len());
    let is_name = |call: &&str| call.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    assert!(calls.iter().all(is_name), "a group or worse: {calls:?}");
}

#[test]
fn a_network_of_its_own_takes_away_and_gives_nothing() {
    let file = "classhub.service.d/private-network.conf";
    assert_eq!(value(file, "PrivateNetwork"), "yes");
    // An empty value is where systemd begins anew.
    assert_eq!(values(file, "RestrictAddressFamilies"), ["", "AF_UNIX"]);
    assert_eq!(values(file, "IPAddressDeny"), ["", "any"]);
    assert_eq!(values(file, "IPAddressAllow"), [""]);
    assert_eq!(value(file, "Requires"), "classhub.socket");
}
