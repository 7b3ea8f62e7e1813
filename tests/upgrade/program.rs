//! Programs that follow one another: one whose file the hub runs from, in whose place another can be put; and one that follows another that never was.
//!
//! Owns: that file, and what is left by the other. Refuses to know: what either does.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};

use super::common::{Client, Raw, tcp};

/// A file that is the hub's program at first. It is gone when dropped.
pub struct Program(PathBuf);

impl Program {
    pub fn new() -> Program {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("classhub-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let program = Program(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        program.restore();
        program
    }

    pub fn command(&self) -> Command {
        Command::new(&self.0)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file with these bytes, beside it.
    pub fn beside(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.with_extension("beside");
        fs::write(&path, bytes).expect("the folder for tests can be written");
        path
    }

    /// As a package does it: not written over, but put in its place.
    pub fn replace_by(&self, bytes: &[u8], mode: &str) {
        let new = self.0.with_extension("new");
        fs::write(new.with_extension("text"), bytes).expect("the folder for tests can be written");
        // By another process, since one that another test starts just now may hold open for writing what we write: nothing runs what is.
        let write = "cp \"$1\" \"$2\" && chmod \"$3\" \"$2\" && mv \"$2\" \"$4\" && rm \"$1\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", write, "sh"]).args([&new.with_extension("text"), &new]).arg(mode).arg(&self.0);
        assert!(shell.status().expect("there is a shell").success());
    }

    /// A program that does this first, in the words of a shell, and is the hub then.
    pub fn replace_by_one_that_first(&self, does: &str) {
        let script = format!("#!/bin/sh\n{does}\nexec {:?} \"$@\"\n", env!("CARGO_BIN_EXE_classhub"));
        self.replace_by(script.as_bytes(), "755");
    }

    /// No program at all.
    pub fn remove(&self) {
        fs::remove_file(&self.0).expect("it is there");
    }

    /// The hub's program again.
    pub fn restore(&self) {
        let new = self.0.with_extension("new");
        fs::hard_link(env!("CARGO_BIN_EXE_classhub"), &new).expect("it is in the same file system");
        fs::rename(&new, &self.0).expect("the same folder");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

/// What a program leaves that was the hub of some clients, as far as one can tell who comes after it.
pub struct Behind {
    pub state: File,
    /// The hub's ends of their connections.
    pub hubs: Vec<TcpStream>,
    clients: Vec<TcpStream>,
}

impl Behind {
    pub fn new(state: &[u8], clients: usize) -> Behind {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
        let pair = |_| {
            let client = tcp(listener.local_addr().expect("it listens"));
            (client, listener.accept().expect("it has knocked").0)
        };
        let (clients, hubs) = (0..clients).map(pair).unzip();
        let mut behind = Behind { state: memory(), hubs, clients };
        behind.write(state);
        behind
    }

    /// Leaves this state.
    pub fn write(&mut self, state: &[u8]) {
        self.state = memory();
        self.state.write_all(state).and_then(|()| self.state.seek(SeekFrom::Start(0))).expect("it is memory");
    }

    /// What starts `program` in its place.
    pub fn command(&self, program: &Program) -> Command {
        self.command_that_first("", program)
    }

    /// The same by a shell that does this first.
    pub fn command_that_first(&self, does: &str, program: &Program) -> Command {
        let mut shell = Command::new("sh");
        let begin = format!("{does}export CLASSHUB_STATE=\"{} of $$\"; exec \"$0\" \"$@\"", self.state.as_raw_fd());
        shell.args(["-c", &begin]).arg(&program.0);
        self.hubs.iter().for_each(|hub| fcntl_setfd(hub, FdFlags::empty()).expect("it is open"));
        fcntl_setfd(&self.state, FdFlags::empty()).expect("it is open");
        shell
    }

    /// Those whose hub it was. What they say meanwhile does not make the next hang up on them before they have read its goodbye.
    pub fn into_clients(self) -> Vec<Client> {
        let said = |mut client: TcpStream| {
            client.write_all(&Raw::text("{\"msgType\":1}").bytes()).expect("somebody reads");
            Client::before(client)
        };
        self.clients.into_iter().map(said).collect()
    }
}

fn memory() -> File {
    File::from(memfd_create("state", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("the system has memory"))
}
