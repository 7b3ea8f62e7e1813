//! The keys that frames are sealed with.
//!
//! Owns: which keys there are, that no nonce is used twice, and how much each key was used (NIST SP 800-38D, section 8.3: at most 2^32 frames under
//! one key where nonces are random). Refuses to know: what a sealed frame looks like (`wire::seal`), and who wants one.
//!
//! Nonces are the first 96 bits of a MAC over a count, under the secret that is drawn at the hub's start: to everyone else as random as drawn ones,
//! and the hub needs no source of randomness to go on.

use std::cell::Cell;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::settings::SealKeySettings;
use super::token::Secret;
use crate::limits;
use crate::wire::frame;
use crate::wire::seal::{self, NONCE_BYTES, SealKey, Side};

/// A key's place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyIndex(u8);

/// How a connection speaks, from its first data frame on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// In text frames.
    Plain,
    /// In binary frames, sealed with this key.
    Sealed(KeyIndex),
}

impl Voice {
    /// The key, where it is sealed.
    pub fn key(self) -> Option<KeyIndex> {
        if let Voice::Sealed(key) = self { Some(key) } else { None }
    }
}

/// Why a sealed frame is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotOpened {
    /// It names a key that the hub does not have.
    UnknownKey,
    /// It was not sealed by a client with that key, or was changed since.
    NotAuthentic,
}

struct Held {
    key: SealKey,
    /// Frames sealed and opened with it since the hub's start.
    uses: Cell<u64>,
    /// It has been said that these are many.
    told: Cell<bool>,
}

pub struct Seals {
    keys: Vec<Held>,
    nonces: Hmac<Sha256>,
    nonces_drawn: Cell<u64>,
}

impl Seals {
    /// The keys with the ids by which frames name them, each once.
    pub fn new(keys: &[SealKeySettings], secret: &Secret) -> Self {
        let keyed = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        Seals {
            keys: keys
                .iter()
                .map(|SealKeySettings { id, key }| Held {
                    key: SealKey::new(*id, key),
                    uses: Cell::new(0),
                    told: Cell::new(false),
                })
                .collect(),
            // Tokens are made with the same secret, and from nothing that begins so.
            nonces: keyed.chain_update(b"nonces of sealed frames\0"),
            nonces_drawn: Cell::new(0),
        }
    }

    /// The first of the keys, for tests of what is built on them.
    #[cfg(test)]
    pub fn first(&self) -> KeyIndex {
        assert!(!self.is_empty());
        KeyIndex(0)
    }

    /// Whether there is no key, so that nobody can speak sealed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Appends one whole frame for one connection to `own`, sealed where it speaks so.
    pub fn append(&self, voice: Option<Voice>, own: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        match voice.and_then(Voice::key) {
            None => frame::append(own, frame::TEXT, write),
            Some(key) => frame::append(own, frame::BINARY, |out| self.seal(key, out, write)),
        }
    }

    /// Appends a sealed text, which `write` appends.
    pub fn seal(&self, key: KeyIndex, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let drawn = self.nonces_drawn.get();
        self.nonces_drawn.set(drawn + 1);
        let mac = self.nonces.clone().chain_update(drawn.to_le_bytes()).finalize().into_bytes();
        let nonce: [u8; NONCE_BYTES] = *mac.first_chunk().expect("a MAC is longer than a nonce");
        let held = self.used(key);
        held.key.seal(out, Side::Hub, &nonce, write);
    }

    /// The text of a client's frame, and the key that it was sealed with.
    pub fn open(&self, sealed: &[u8]) -> Result<(KeyIndex, Vec<u8>), NotOpened> {
        let id = seal::key_id(sealed).ok_or(NotOpened::NotAuthentic)?;
        let place = self.keys.iter().position(|held| held.key.id() == id).ok_or(NotOpened::UnknownKey)?;
        let key = KeyIndex(place as u8); // at most `limits::SEAL_KEYS`
        let text = self.keys[place].key.open(Side::Client, sealed).ok_or(NotOpened::NotAuthentic)?;
        self.used(key);
        Ok((key, text))
    }

    fn used(&self, key: KeyIndex) -> &Held {
        let held = &self.keys[usize::from(key.0)];
        held.uses.set(held.uses.get() + 1);
        held
    }

    /// How many keys have been used so often that they should be changed soon.
    pub fn worn_out(&self) -> usize {
        self.keys.iter().filter(|held| held.uses.get() >= limits::SEALS_BEFORE_WARNING).count()
    }

    /// A key that has been used so often that it should be changed soon; each is told of once.
    pub fn worn(&self) -> Option<u8> {
        let is_news = |held: &&Held| held.uses.get() >= limits::SEALS_BEFORE_WARNING && !held.told.replace(true);
        self.keys.iter().find(is_news).map(|held| held.key.id())
    }
}

const _: () = assert!(limits::SEAL_KEYS <= 256);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::seal::KEY_BYTES;
    use std::collections::HashSet;

    fn keys(ids: [u8; 2]) -> Vec<SealKeySettings> {
        [7, 8].into_iter().zip(ids).map(|(byte, id)| SealKeySettings { id, key: [byte; KEY_BYTES] }).collect()
    }

    #[test]
    fn no_nonce_comes_twice_and_none_from_another_start() {
        let mut seen = HashSet::new();
        for secret in [[1; 32], [2; 32]] {
            let seals = Seals::new(&keys([1, 2]), &secret);
            for n in 0..4000 {
                let mut out = Vec::new();
                seals.seal(KeyIndex((n % 2) as u8), &mut out, |_| {});
                assert!(seen.insert(out[2..2 + NONCE_BYTES].to_vec()));
            }
        }
    }

    #[test]
    fn a_key_is_found_by_its_id_and_wears_with_every_frame() {
        let seals = Seals::new(&keys([9, 0]), &[1; 32]);
        let mut frame = Vec::new();
        SealKey::new(0, &[8; KEY_BYTES]).seal(&mut frame, Side::Client, &[0; NONCE_BYTES], |out| out.push(b'x'));
        assert_eq!(seals.open(&frame), Ok((KeyIndex(1), b"x".to_vec())));
        frame[1] = 9;
        assert_eq!(seals.open(&frame), Err(NotOpened::NotAuthentic));
        frame[1] = 1;
        assert_eq!(seals.open(&frame), Err(NotOpened::UnknownKey));
        assert_eq!(seals.open(&[]), Err(NotOpened::NotAuthentic));
        assert_eq!(seals.keys[1].uses.get(), 1);
        seals.keys[1].uses.set(limits::SEALS_BEFORE_WARNING - 1);
        assert_eq!((seals.worn(), seals.worn_out()), (None, 0));
        seals.seal(KeyIndex(1), &mut Vec::new(), |_| {});
        assert_eq!(([seals.worn(), seals.worn()], seals.worn_out()), ([Some(0), None], 1));
    }
}
