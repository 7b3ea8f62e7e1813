//! The hub under a service manager: what it tells, what it takes over, what it needs of the machine, and the units that run it.
//!
//! Owns: the service manager's side, as the real systemd plays it. Refuses to know: what is said in a room.
#![cfg(target_os = "linux")]

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod notify;
mod sockets;
mod units;

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Command, Stdio},
};

/// A command that runs the hub and hands `socket` over to it, as a service manager would: open at 3 and under this name.
fn handing_over(socket: impl Into<OwnedFd>, name: &str) -> Command {
    let mut shell = Command::new("sh");
    // Through standard output, so that no other program that a test begins meanwhile has it too.
    let shuffle = "exec 3>&1 >&2 && export LISTEN_PID=$$ && exec \"$0\" \"$@\"";
    shell.args(["-c", shuffle]).args(common::classhub_words()).stdout(Stdio::from(socket.into()));
    shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
    shell
}

/// A listening socket that belongs to the test, and where it is.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Whether a program that a test needs is there; says so where it is not, since then nothing was tested.
fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("NOT TESTED: there is no {program}");
    }
    found
}
