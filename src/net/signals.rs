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
    /// Read again what may have changed (SIGHUP).
    #[cfg(feature = "tls")]
    Reload,
    /// Let the program that lies where this one lay take over (SIGUSR2).
    Upgrade,
}

/// Each signal that is listened for, and what it asks for.
const ASKED: &[(i32, Asked)] = &[
    (2, Asked::Stop),
    (15, Asked::Stop),
    #[cfg(feature = "tls")]
    (1, Asked::Reload),
    (Signal::SIGUSR2 as i32, Asked::Upgrade),
];

/// The signals of this process.
pub(super) struct Signals(signal_hook_mio::v1_0::Signals);

impl Signals {
    /// Listens for those that ask to stop; the poll tells of them by `token`.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Signals> {
        let mut signals = signal_hook_mio::v1_0::Signals::new::<_, i32>([])?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        let mut signals = Signals(signals);
        signals.listen_for(Asked::Stop)?;
        Ok(signals)
    }

    /// Listens for whatever asks for that too. Until then the system does with it what it does with any process.
    pub fn listen_for(&mut self, asked: Asked) -> io::Result<()> {
        ASKED.iter().filter(|(_, one)| *one == asked).try_for_each(|(signal, _)| self.0.add_signal(*signal))
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
