//! What an upgrade leaves behind in its process, and what it needs of the system.
//!
//! Owns: descriptors, memory, and the variables by which a service manager speaks. Refuses to know: who is connected.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::Command;

use super::common::{Client, Hub, NO_RATES, PATIENCE, ROOM, Raw, chat, join, leave, tcp};
use super::program::Program;

fn folder(hub: &Hub) -> String {
    format!("/proc/{}/fd", hub.pid().as_raw_nonzero())
}

/// What the hub has open, by what it is: sockets by their numbers, and all else by name.
fn open(hub: &Hub) -> Vec<String> {
    let links = fs::read_dir(folder(hub)).expect("it runs");
    let mut open: Vec<String> = links
        .filter_map(|link| fs::read_link(link.expect("it can be read").path()).ok())
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    open.sort();
    open
}

#[test]
fn fifty_upgrades_leave_nothing_behind() {
    let hub = Hub::start(NO_RATES);
    let mut class: Vec<Client> = (0..10).map(|n| hub.join(&n.to_string())).collect();
    for (n, client) in class.iter_mut().enumerate() {
        (n + 1..10).for_each(|_| drop(client.recv_json()));
    }
    // Signals have sockets of their own, new ones in each program.
    let kinds = |open: Vec<String>| -> Vec<String> {
        let mut kinds: Vec<String> =
            open.into_iter().map(|it| it.split(":[").next().unwrap_or_default().to_owned()).collect();
        kinds.sort();
        kinds
    };
    let before = kinds(open(&hub));
    let mut kib = [0; 2];
    for n in 1..=50 {
        hub.upgrade(n);
        class[n % 10].send_json(&chat(ROOM, &n.to_string()));
        class.iter_mut().for_each(|client| drop(client.hear(&n.to_string())));
        if n == 10 {
            kib[0] = hub.resident_kib();
        }
    }
    kib[1] = hub.resident_kib();
    let after = kinds(open(&hub));
    assert_eq!(after, before);
    assert!(!after.iter().any(|it| it.contains("memfd")), "{after:?}");
    println!("{} and {} KiB after 10 and 50 upgrades", kib[0], kib[1]);
    // Each program begins with nothing; what differs is where the system has put what.
    assert!(kib[1] < kib[0] + kib[0] / 4, "{kib:?}");
}

#[test]
fn where_the_system_has_no_descriptor_for_the_state_nobody_has_to_go() {
    const FILES: u32 = 64;
    let hub = Hub::start_with_files(FILES, &format!("{NO_RATES}connections = 200\n"));
    let (mut member, mut half) = (hub.join("member"), hub.connect());
    // It could not be handed over.
    half.send_bytes(&[0x81]);
    let mut crowd = Vec::new();
    // One that was inherited may lie beyond.
    let free = || (0..FILES).filter(|number| fs::read_link(format!("{}/{number}", folder(&hub))).is_err()).count();
    while free() > 0 {
        crowd.push(tcp(hub.addr));
        member.fence();
    }
    hub.signal_upgrade();
    let line = hub.wait_for_line("not upgraded, and going on as before");
    assert!(line.contains("Too many open files"), "{line}");
    member.say("still here");
    half.send_bytes(&Raw::text("{\"msgType\":9}").bytes()[1..]);
    half.recv_failure("unknown_type");
    let fewer = crowd.split_off(crowd.len() / 2);
    drop(fewer);
    while free() < 8 {
        member.fence();
    }
    hub.upgrade(1);
    member.say("and still");
}

#[test]
fn a_program_that_cannot_be_run_is_known_before_anybody_has_to_go() {
    let program = Program::new();
    let hub = Hub::start_as(program.command(), NO_RATES);
    let (mut member, mut half) = (hub.join("member"), hub.connect());
    half.send_bytes(&[0x81]);
    program.replace_by(b"#!/nowhere/sh\n", "644");
    hub.signal_upgrade();
    assert!(hub.wait_for_lines("not upgraded", 1)[0].contains("Permission denied"));
    program.remove();
    hub.signal_upgrade();
    assert!(hub.wait_for_lines("not upgraded", 2)[1].contains("No such file"));
    half.send_bytes(&Raw::text("{\"msgType\":9}").bytes()[1..]);
    half.recv_failure("unknown_type");
    member.say("still here");
}

#[test]
fn a_program_for_another_machine_is_not_run() {
    let program = Program::new();
    let hub = Hub::start_as(program.command(), NO_RATES);
    let mut member = hub.join("member");
    // The head of a program for a processor that there is not.
    let mut head = fs::read(env!("CARGO_BIN_EXE_classhub")).expect("it is there");
    head.truncate(4096);
    head[18..20].copy_from_slice(&0xFFFF_u16.to_le_bytes());
    for (n, bytes) in [&head[..], b"\x7fELF", b"", b"echo of a shell\n"].into_iter().enumerate() {
        program.replace_by(bytes, "755");
        hub.signal_upgrade();
        let line = hub.wait_for_lines("not upgraded", n + 1).pop().expect("it was waited for");
        assert!(line.contains("Exec format error"), "{line}");
        member.say("still here");
    }
    program.restore();
    hub.upgrade(1);
    member.say("and still");
}

/// A service manager that hands a socket over, and has ears.
#[test]
fn the_service_manager_hears_of_the_next_what_it_heard_of_the_first() {
    let name = format!("classhub-upgrade-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a short name");
    let hears = UnixDatagram::bind_addr(&address).expect("the address is free");
    hears.set_read_timeout(Some(PATIENCE)).expect("a period above 0 is taken");
    let hear = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let count = hears.recv(&mut buffer).expect("it is told something");
            if String::from_utf8_lossy(&buffer[..count]).contains(wanted) {
                return;
            }
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    let mut shell = Command::new("sh");
    // Through standard output, so that no other program that a test begins meanwhile has it too.
    let begin = "exec 3>&1 4>&1 >&2 && export LISTEN_PID=$$ WATCHDOG_PID=$$ && exec \"$0\" \"$@\"";
    shell.stdout(OwnedFd::from(listener.try_clone().expect("it is open")));
    shell.args(["-c", begin, env!("CARGO_BIN_EXE_classhub")]);
    // The second is closed, and its number is somebody else's from then on.
    shell.envs([("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http:web"), ("WATCHDOG_USEC", "400000")]);
    shell.env("NOTIFY_SOCKET", format!("@{name}"));
    let hub = Hub::start_as(shell, NO_RATES);
    assert_eq!(Some(hub.addr), listener.local_addr().ok());
    hear("READY=1");
    let mut member = hub.join("member");
    for n in 1..=3 {
        hub.upgrade(n);
        hear("READY=1\nSTATUS=1 room, 1 member");
        hear("WATCHDOG=1");
        hear("WATCHDOG=1");
        member.say("still here");
        hub.connect().fence();
    }
    // That is told once.
    let warnings = hub.lines().iter().filter(|line| line.starts_with("WARN")).count();
    assert_eq!(warnings, 1, "{:?}", hub.lines());
}

#[test]
fn words_and_folders_that_are_told_from_where_one_stands_are_so_for_the_next() {
    const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");
    let program = Program::new();
    let config = program.beside(b"[limits]\nmembers_per_room = 1\n");
    let name = |path: &Path| path.file_name().expect("it has one").to_string_lossy().into_owned();
    let mut shell = Command::new("sh");
    // It does not heed the words that every test's hub is given.
    let (program_name, config_name) = (name(program.path()), name(&config));
    let begin = format!("cd {FOLDER:?} && exec ./{program_name} --config {config_name} --listen 127.0.0.1:0");
    shell.args(["-c", &begin]);
    let hub = Hub::start_as(shell, "");
    for n in 1..=2 {
        hub.upgrade(n);
        let mut first = hub.join("first");
        let mut second = hub.connect();
        second.send_json(&join(ROOM, "second"));
        second.recv_failure("room_full");
        first.send_json(&leave(ROOM));
        first.recv_json();
    }
    fs::write(&config, "[limits]\nroms = 1\n").expect("the folder for tests can be written");
    hub.signal_upgrade();
    let line = hub.wait_for_line("not upgraded");
    assert!(line.contains(&name(&config)), "{line}");
    let _gone = fs::remove_file(config);
}
