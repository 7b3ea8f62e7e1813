//! What the operator asks of a running hub: signals, heard by the poll like anything else.
//!
//! Owns: which signal asks for what. Refuses to know: how it is done.

use std::io;

use mio::{Interest, Registry, Token};
use nix::sys::signal::Signal;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Say goodbye to everyone, and end (SIGINT, SIGTERM).
    Stop,
    /// Read the configuration again (SIGHUP).
    Reload,
    /// Let the program that lies where this one lay take over (SIGUSR2).
    Upgrade,
}

/// Each signal that is listened for, and what it asks for.
const ASKED: &[(i32, Asked)] =
    &[(2, Asked::Stop), (15, Asked::Stop), (1, Asked::Reload), (Signal::SIGUSR2 as i32, Asked::Upgrade)];

/// The signals of this process.
pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Listens for all of them; the poll tells of them by `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        let mut signals = signal_hook_mio::v1_0::Signals::new(ASKED.iter().map(|(signal, _)| *signal))?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Signals(signals))
    }

    /// What was asked for since the last call, each once.
    pub fn take(&mut self) -> Vec<Asked> {
        let mut all = Vec::new();
        for signal in self.0.pending() {
            let asked = ASKED.iter().find(|(one, _)| *one == signal).map(|(_, asked)| *asked);
            all.extend(asked.filter(|asked| !all.contains(asked)));
        }
        all
    }
}
