//! A room's frames, as they are and, while somebody in the room wants it, sealed as well.
//!
//! Owns: that both logs have the same frames under the same numbers, each sealed once and not once per member, and under which key (PROTOCOL.md,
//! Encryption). Refuses to know: who reads them.

use super::log::Log;
use super::seals::{KeyIndex, Seals};
use crate::wire::{frame, seal};

/// The frames of one room. The plain log's size alone decides what is let go of.
#[derive(Default)]
pub struct Logs {
    pub plain: Log,
    sealed: Option<Sealed>,
}

struct Sealed {
    key: KeyIndex,
    log: Log,
}

impl Logs {
    /// The log that a reader reads who wants its frames sealed, or does not. Without a sealed log there is no such reader.
    #[must_use]
    pub fn of(&self, is_sealed: bool) -> &Log {
        match &self.sealed {
            Some(sealed) if is_sealed => &sealed.log,
            _ => &self.plain,
        }
    }

    /// The key that the room's frames are sealed with, if they are.
    #[must_use]
    pub fn key(&self) -> Option<KeyIndex> {
        self.sealed.as_ref().map(|sealed| sealed.key)
    }

    /// Appends the next frame.
    pub fn append(&mut self, payload_max: usize, write: impl FnOnce(&mut Vec<u8>)) {
        self.plain.append(frame::TEXT, payload_max, write);
    }

    /// Seals under `key` what is held from now on, and what comes. Nothing changes where that is so already.
    pub fn seal_with(&mut self, key: KeyIndex, seals: &Seals) {
        if self.sealed.is_none() {
            let log = Log::behind(self.plain.seq() - self.plain.frames() as u64);
            self.sealed = Some(Sealed { key, log });
            self.seal_new(seals);
        }
    }

    /// Seals what was appended since.
    pub fn seal_new(&mut self, seals: &Seals) {
        let Some(Sealed { key, log }) = &mut self.sealed else { return };
        while let Some(plain) = self.plain.frame(log.seq() + 1) {
            let payload = frame::payload(plain);
            log.append(frame::BINARY, payload.len() + seal::OVERHEAD_BYTES, |out| {
                seals.seal(*key, out, |out| out.extend_from_slice(payload));
            });
        }
    }

    /// Nobody wants anything sealed any more.
    pub fn unseal(&mut self) {
        self.sealed = None;
    }

    /// Lets go of every frame up to number `seq`.
    pub fn let_go(&mut self, seq: u64) {
        self.plain.let_go(seq);
        if let Some(sealed) = &mut self.sealed {
            sealed.log.let_go(seq);
        }
    }

    /// Gives back what the buffers have to spare.
    pub fn shrink(&mut self) {
        self.plain.shrink();
        if let Some(sealed) = &mut self.sealed {
            sealed.log.shrink();
        }
    }
}
