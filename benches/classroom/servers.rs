//! The servers that are measured, each a process of its own on a core of its own.
//!
//! Owns: how each is started, where it listens, and its end. Refuses to know: what is asked of it.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, fs, thread};

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::load::Failed;

/// The argument by which this very program is the floor.
pub const FLOOR: &str = "--floor";

/// The hub's settings: nothing that a workload does may meet a limit, and nothing else differs from the defaults.
const CONFIG: &str = "log = \"warn\"\n\
    [limits]\nconnections = 8192\nmessages_per_second = 0\nbytes_per_second = 0\n";

/// What can be measured.
#[derive(Clone, Debug)]
pub enum Server {
    /// The hub, as it is released: its binary.
    Hub(PathBuf),
    /// The least that its socket work costs.
    Floor,
    /// The same protocol by other means, started so.
    Peer(Peer),
}

/// A server of the same protocol by other means.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What it is called in tables.
    pub name: &'static str,
    /// Name and version of what it is made with.
    pub version: String,
    /// The program and its arguments.
    pub words: Vec<PathBuf>,
    /// What is set in its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
}

impl Server {
    /// What it is called in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Server::Hub(_) => "hub",
            Server::Floor => "floor",
            Server::Peer(peer) => peer.name,
        }
    }

    /// Starts it on this core, and waits until it listens.
    pub fn start(&self, core: usize, load_core: usize) -> Result<Running, Failed> {
        let mut command = match self {
            Server::Hub(binary) => {
                let config = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("classroom.toml");
                fs::write(&config, CONFIG)?;
                let mut command = Command::new(binary);
                command.arg("--config").arg(config).args(["--listen", "127.0.0.1:0"]);
                command
            }
            Server::Floor => {
                let mut command = Command::new(env::current_exe()?);
                command.arg(FLOOR);
                command
            }
            Server::Peer(Peer { words, environment, .. }) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).envs(environment.iter().map(|(key, value)| (key, value)));
                command
            }
        };
        // A process is born where its parent is, and so are its threads.
        pin(core)?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        pin(load_core)?;
        Running::wait(child.map_err(|error| format!("cannot start {}: {error}", self.name()))?)
    }
}

/// Has this process run on one core alone.
pub fn pin(core: usize) -> Result<(), Failed> {
    let mut cores = CpuSet::new();
    cores.set(core);
    let pinned = sched_setaffinity(None, &cores);
    pinned.map_err(|error| format!("cannot run on core {core} ({error}): see --hub-core and --load-core").into())
}

/// A server that listens; it ends when this is dropped.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
}

impl Running {
    fn wait(mut child: Child) -> Result<Running, Failed> {
        let (tell, told) = mpsc::channel();
        let out = child.stdout.take().map(|it| Box::new(it) as Box<dyn io::Read + Send>);
        let err = child.stderr.take().map(|it| Box::new(it) as Box<dyn io::Read + Send>);
        for stream in [out, err].into_iter().flatten() {
            let tell = tell.clone();
            // To the end, so that the server never waits for a reader.
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    // Nobody listens any more once the address is known.
                    drop(tell.send(line));
                }
            });
        }
        drop(tell);
        // Dropped on the way out, so that a server that says nothing ends too.
        let mut running = Running { addr: ([127, 0, 0, 1], 0).into(), child };
        let mut said = Vec::new();
        while let Ok(line) = told.recv_timeout(Duration::from_secs(20)) {
            let address = line.split_once("127.0.0.1:").map(|(_, rest)| rest);
            let port = address.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default());
            if let Some(port) = port.and_then(|port| port.parse().ok()) {
                running.addr.set_port(port);
                return Ok(running);
            }
            said.push(line);
        }
        Err(format!("it does not say where it listens: {:?}", said.join("\n")).into())
    }

    /// How it has ended, where it has, which it should not.
    pub fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| format!("the server has ended ({status})"))
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, and the run has failed then.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
