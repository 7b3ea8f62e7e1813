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
            if let Some(sealed) = &mut self.sealed {
                // Who comes back says nothing that others hear, and nobody looks after the buffers of a room where nothing is said.
                sealed.log.shrink();
            }
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

    /// Bytes of the frames that are held, and of the buffers that they are in.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let of_logs = [Some(&self.plain), self.sealed.as_ref().map(|sealed| &sealed.log)];
        of_logs
            .into_iter()
            .flatten()
            .fold((0, 0), |(held, buffers), log| (held + log.held_bytes(), buffers + log.buffer_bytes() as u64))
    }

    /// Gives back what the buffers have to spare.
    pub fn shrink(&mut self) {
        self.plain.shrink();
        if let Some(sealed) = &mut self.sealed {
            sealed.log.shrink();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::settings::SealKeySettings;
    use crate::wire::seal::{SealKey, Side};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        LetGo(u64),
        Seal,
        Unseal,
        Shrink,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1usize..700).prop_map(Step::Append),
            2 => (0u64..12).prop_map(Step::LetGo),
            1 => Just(Step::Seal),
            1 => Just(Step::Unseal),
            1 => Just(Step::Shrink),
        ]
    }

    #[test]
    fn what_is_sealed_for_one_who_comes_into_a_quiet_room_has_no_more_than_its_place() {
        let seals = Seals::new(&[SealKeySettings { id: 1, key: [7; 32] }], &[1; 32]);
        let mut logs = Logs::default();
        for _ in 0..3 {
            logs.append(100, |out| out.resize(out.len() + 100, b'x'));
        }
        logs.seal_with(seals.first(), &seals);
        let sealed = logs.of(true);
        assert_eq!(sealed.buffer_bytes() as u64, sealed.held_bytes());
    }

    proptest! {
        /// Whenever it is begun and whatever goes, the sealed log has exactly the frames of the plain one, under the same numbers.
        #[test]
        fn both_logs_have_the_same_frames(steps in prop::collection::vec(step(), 1..60)) {
            let key = [7; 32];
            let seals = Seals::new(&[SealKeySettings { id: 1, key }], &[1; 32]);
            let opener = SealKey::new(1, &key);
            let mut logs = Logs::default();
            // What a room does: it seals what is new with every frame.
            for step in steps {
                match step {
                    Step::Append(bytes) => {
                        let fill = bytes as u8;
                        logs.append(bytes, |out| out.resize(out.len() + bytes, fill));
                        logs.seal_new(&seals);
                    }
                    Step::LetGo(kept) => logs.let_go(logs.plain.seq().saturating_sub(kept)),
                    Step::Seal => logs.seal_with(seals.first(), &seals),
                    Step::Unseal => logs.unseal(),
                    Step::Shrink => logs.shrink(),
                }
                if logs.key().is_none() {
                    prop_assert_eq!(logs.of(true).end(), logs.plain.end());
                    continue;
                }
                let (plain, sealed) = (&logs.plain, logs.of(true));
                prop_assert_eq!((plain.seq(), plain.frames()), (sealed.seq(), sealed.frames()));
                for seq in 0..=plain.seq() + 1 {
                    prop_assert_eq!(plain.after(seq).is_some(), sealed.after(seq).is_some(), "{}", seq);
                    let text = plain.frame(seq).map(|frame| frame::payload(frame).to_vec());
                    let opened = sealed.frame(seq).map(|frame| opener.open(Side::Hub, frame::payload(frame)));
                    prop_assert_eq!(opened.map(|opened| opened.expect("it is ours")), text);
                }
            }
        }
    }
}
