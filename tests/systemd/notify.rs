//! What the hub tells the service manager, over a real socket.

use std::{
    fs,
    os::linux::net::SocketAddrExt,
    os::unix::net::{SocketAddr, UnixDatagram},
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Signal, kill_process};

use crate::common::{Hub, PATIENCE, ROOM, classhub, leave, tcp};
use crate::{handing_over, listener};

/// A service manager that has nothing but ears.
struct Manager {
    hears: UnixDatagram,
    address: String,
}

impl Manager {
    fn new() -> Manager {
        let name = format!("classhub-test-{}", number());
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        Manager::of(UnixDatagram::bind_addr(&address), format!("@{name}"))
    }

    fn of(hears: std::io::Result<UnixDatagram>, address: String) -> Manager {
        let hears = hears.expect("the address is free");
        hears.set_read_timeout(Some(PATIENCE)).expect("a period above 0 is taken");
        Manager { hears, address }
    }

    /// Starts a hub that tells it how it goes, with more variables in its environment.
    #[track_caller]
    fn start(&self, variables: &[(&str, &str)]) -> Hub {
        let (socket, _) = listener();
        let mut command = handing_over(socket, "http");
        command.env("NOTIFY_SOCKET", &self.address).envs(variables.iter().copied());
        Hub::start_as(command, "")
    }

    /// The next thing that it is told; waits for it.
    #[track_caller]
    fn hear(&self) -> String {
        let mut buffer = [0; 512];
        let count = self.hears.recv(&mut buffer).expect("it is told something");
        String::from_utf8(buffer[..count].to_vec()).expect("text")
    }

    #[track_caller]
    fn hear_until(&self, last: &str) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|one| one != last) {
            heard.push(self.hear());
        }
        heard
    }
}

fn number() -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn it_is_ready_once_it_listens() {
    let manager = Manager::new();
    // An address of its own, at which nobody else listens, and at which only the hub can.
    let (socket, mut address) = listener();
    drop(socket);
    address.set_ip([127, 77, 1, 1].into());
    let config = format!("listen = [\"{address}\"]\n");
    let mut command = classhub();
    command.env("NOTIFY_SOCKET", &manager.address);
    assert!(std::net::TcpStream::connect(address).is_err());
    // Nobody has been told where it listens when this is heard: that it listens is all there is to go by.
    let _hub = std::thread::scope(|scope| {
        let hub = scope.spawn(|| Hub::start_as(command, &config));
        assert_eq!(manager.hear(), "READY=1\nSTATUS=0 rooms, 0 members");
        drop(tcp(address));
        hub.join().expect("it starts")
    });
}

#[test]
fn a_path_is_an_address_too() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("n{}", number()));
    let manager = Manager::of(UnixDatagram::bind(&path), path.to_string_lossy().into_owned());
    let _hub = manager.start(&[]);
    assert_eq!(manager.hear(), "READY=1\nSTATUS=0 rooms, 0 members");
    fs::remove_file(path).expect("it was there");
}

#[test]
fn it_tells_who_is_here_and_that_it_goes() {
    let manager = Manager::new();
    let mut hub = manager.start(&[]);
    manager.hear_until("READY=1\nSTATUS=0 rooms, 0 members");
    let mut first = hub.join("a");
    let _second = hub.join("b");
    // The first of them alone, or both where they came in one turn.
    manager.hear_until("STATUS=1 room, 2 members");
    first.send_json(&leave(ROOM));
    manager.hear_until("STATUS=1 room, 1 member");
    assert!(hub.stop().success());
    assert_eq!(manager.hear(), "STOPPING=1\nSTATUS=saying goodbye");
}

#[test]
fn a_reload_has_a_beginning_and_an_end_whatever_comes_of_it() {
    let manager = Manager::new();
    let hub = manager.start(&[]);
    manager.hear_until("READY=1\nSTATUS=0 rooms, 0 members");
    let mut before_us = 0;
    // The configuration is the same, and then it is wrong.
    for _ in 0..2 {
        hub.reload();
        let begins = manager.hear();
        let says = begins.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{begins}"));
        let begun_us: u64 = says.parse().expect("a number");
        assert!(begun_us > before_us);
        before_us = begun_us;
        assert_eq!(manager.hear(), "READY=1\nSTATUS=0 rooms, 0 members");
        hub.configure("nonsense = 1\n");
    }
}

#[test]
fn a_hub_that_is_fed_no_processor_feeds_no_watchdog() {
    let manager = Manager::new();
    let period = Duration::from_millis(500);
    let hub = manager.start(&[("WATCHDOG_USEC", "500000")]);
    manager.hear_until("WATCHDOG=1");
    // With nobody there, it goes on.
    manager.hear_until("WATCHDOG=1");

    kill_process(hub.pid(), Signal::STOP).expect("it runs");
    let until = Instant::now() + PATIENCE;
    while !has_stopped(&hub) {
        assert!(Instant::now() < until, "it does not stop");
        std::thread::yield_now();
    }
    manager.hears.set_nonblocking(true).expect("any socket can");
    while manager.hears.recv(&mut [0; 512]).is_ok() {}
    manager.hears.set_nonblocking(false).expect("any socket can");
    manager.hears.set_read_timeout(Some(3 * period)).expect("a period above 0 is taken");
    assert!(manager.hears.recv(&mut [0; 512]).is_err(), "somebody else feeds it");

    manager.hears.set_read_timeout(Some(PATIENCE)).expect("a period above 0 is taken");
    kill_process(hub.pid(), Signal::CONT).expect("it is still there");
    assert_eq!(manager.hear(), "WATCHDOG=1");
}

/// Also where it is traced, which has a letter of its own (proc(5)).
fn has_stopped(hub: &Hub) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", hub.pid().as_raw_nonzero())).expect("it is still there");
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 't']))
}

#[test]
fn a_manager_that_cannot_be_told_is_a_line_in_the_log() {
    for (address, says) in [("nowhere", "NOTIFY_SOCKET"), ("/nowhere/at/all", "could not be told")] {
        let (socket, _) = listener();
        let mut command = handing_over(socket, "http");
        command.env("NOTIFY_SOCKET", address);
        let hub = Hub::start_as(command, "");
        hub.wait_for_line(says);
        drop(hub.join("a"));
    }
}
