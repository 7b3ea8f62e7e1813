//! The keys that frames are sealed with.
//!
//! Owns: which keys there are, and which of them are only for those who began with them, that no nonce is used twice, and how much each key was used (NIST SP 800-38D, section 8.3: at most 2^32 frames under
//! one key where nonces are random). Refuses to know: what a sealed frame looks like (`wire::seal`), and who wants one.
//!
//! Nonces are the first 96 bits of a MAC over a count, under the secret that is drawn at the hub's start: to everyone else as random as drawn ones,
//! and the hub needs no source of randomness to go on.

use std::cell::Cell;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::settings::SealKeySettings;
use super::token::Secret;
use crate::limits;
use crate::wire::frame;
use crate::wire::seal::{self, NONCE_BYTES, SealKey, Side};

/// A key's place in the list: the same for as long as somebody uses it, whatever becomes of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyIndex(u32);

/// How a connection speaks, from its first data frame on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    settings: SealKeySettings,
    /// Whoever comes may speak under it. Else it is only for those who began with it before the operator took it away.
    is_current: bool,
    /// Frames sealed and opened with it for as long as it was held.
    uses: Cell<u64>,
    /// It has been said that these are many.
    told: Cell<bool>,
}

impl Held {
    fn new(settings: &SealKeySettings) -> Self {
        let SealKeySettings { id, key } = settings;
        let key = SealKey::new(*id, key);
        Held { key, settings: settings.clone(), is_current: true, uses: Cell::new(0), told: Cell::new(false) }
    }
}

pub struct Seals {
    /// `None` where a key was forgotten.
    keys: Vec<Option<Held>>,
    nonces: Hmac<Sha256>,
    nonces_drawn: Cell<u64>,
}

impl Seals {
    /// The keys with the ids by which frames name them, each once.
    pub fn new(keys: &[SealKeySettings], secret: &Secret) -> Self {
        let keyed = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
        Seals {
            keys: keys.iter().map(|settings| Some(Held::new(settings))).collect(),
            // Tokens are made with the same secret, and from nothing that begins so.
            nonces: keyed.chain_update(b"nonces of sealed frames\0"),
            nonces_drawn: Cell::new(0),
        }
    }

    /// The first of the keys, for tests of what is built on them.
    #[cfg(test)]
    pub fn first(&self) -> KeyIndex {
        assert!(!self.is_empty() && self.keys[0].is_some());
        KeyIndex(0)
    }

    /// From now on there are these keys. One that is no longer among them stays for those who began with it, until [`Seals::forget`].
    pub fn replace(&mut self, keys: &[SealKeySettings]) {
        for held in self.keys.iter_mut().flatten() {
            held.is_current = keys.contains(&held.settings);
        }
        for settings in keys {
            if self.held().any(|held| held.settings == *settings) {
                continue;
            }
            match self.keys.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some(Held::new(settings)),
                None => self.keys.push(Some(Held::new(settings))),
            }
        }
    }

    /// Forgets the keys that nobody may begin with any more and nobody uses.
    pub fn forget(&mut self, is_used: impl Fn(KeyIndex) -> bool) {
        for (place, index) in self.keys.iter_mut().zip((0..).map(KeyIndex)) {
            place.take_if(|held| !held.is_current && !is_used(index));
        }
    }

    /// Whether a key is only for those who began with it.
    pub fn is_retired(&self, key: KeyIndex) -> bool {
        self.at(key).is_none_or(|held| !held.is_current)
    }

    /// Whether there is no key, so that nobody can begin to speak sealed.
    pub fn is_empty(&self) -> bool {
        !self.held().any(|held| held.is_current)
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        self.keys.iter().flatten()
    }

    fn at(&self, key: KeyIndex) -> Option<&Held> {
        self.keys.get(key.0 as usize)?.as_ref()
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

    /// Puts the text of a client's frame in place of what `text` held, and says which key it was sealed with: the client's `own`, from its first
    /// frame on, or else one that whoever comes may speak under.
    pub fn open(&self, text: &mut Vec<u8>, sealed: &[u8], own: Option<KeyIndex>) -> Result<KeyIndex, NotOpened> {
        let id = seal::key_id(sealed).ok_or(NotOpened::NotAuthentic)?;
        let is_named = |key: KeyIndex| self.at(key).filter(|held| held.key.id() == id);
        // The operator may have given the id of its own to another key since.
        let current = || {
            let mut keys = (0..).zip(&self.keys).map(|(index, _)| KeyIndex(index));
            keys.find(|key| is_named(*key).is_some_and(|held| held.is_current))
        };
        let own = own.filter(|key| is_named(*key).is_some());
        let key = own.or_else(current).ok_or(NotOpened::UnknownKey)?;
        let opened = self.at(key).and_then(|held| held.key.open_into(text, Side::Client, sealed));
        opened.ok_or(NotOpened::NotAuthentic)?;
        self.used(key);
        Ok(key)
    }

    /// Writes down the keys, and how much was sealed and opened.
    pub fn save(&self) -> SealsState {
        let held = |held: &Held| HeldState {
            settings: held.settings.clone(),
            is_current: held.is_current,
            uses: held.uses.get(),
            told: held.told.get(),
        };
        SealsState {
            keys: self.keys.iter().map(|place| place.as_ref().map(held)).collect(),
            nonces_drawn: self.nonces_drawn.get(),
        }
    }

    /// The keys that were written down, in their places, under the secret of then: no nonce comes twice.
    pub fn restore(state: SealsState, secret: &Secret) -> Self {
        let held = |state: HeldState| Held {
            is_current: state.is_current,
            uses: Cell::new(state.uses),
            told: Cell::new(state.told),
            ..Held::new(&state.settings)
        };
        Seals {
            keys: state.keys.into_iter().map(|place| place.map(held)).collect(),
            nonces_drawn: Cell::new(state.nonces_drawn),
            ..Seals::new(&[], secret)
        }
    }

    /// Whether there is such a key.
    pub fn has(&self, key: KeyIndex) -> bool {
        self.at(key).is_some()
    }

    fn used(&self, key: KeyIndex) -> &Held {
        let held = self.at(key).expect("a key is not forgotten while it is used");
        held.uses.set(held.uses.get() + 1);
        held
    }

    /// How many keys have been used so often that they should be changed soon.
    pub fn worn_out(&self) -> usize {
        self.held().filter(|held| held.uses.get() >= limits::SEALS_BEFORE_WARNING).count()
    }

    /// A key that has been used so often that it should be changed soon; each is told of once.
    pub fn worn(&self) -> Option<u8> {
        let is_news = |held: &&Held| held.uses.get() >= limits::SEALS_BEFORE_WARNING && !held.told.replace(true);
        self.held().find(is_news).map(|held| held.key.id())
    }
}

/// The keys and what was done with them, as it is written down for the next process.
#[derive(Serialize, Deserialize)]
pub struct SealsState {
    /// In their places.
    keys: Vec<Option<HeldState>>,
    nonces_drawn: u64,
}

#[derive(Serialize, Deserialize)]
struct HeldState {
    settings: SealKeySettings,
    is_current: bool,
    uses: u64,
    told: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::seal::KEY_BYTES;
    use std::collections::HashSet;

    fn keys(ids: [u8; 2]) -> Vec<SealKeySettings> {
        [7, 8].into_iter().zip(ids).map(|(byte, id)| SealKeySettings { id, key: [byte; KEY_BYTES] }).collect()
    }

    fn open(seals: &Seals, sealed: &[u8], own: Option<KeyIndex>) -> Result<(KeyIndex, Vec<u8>), NotOpened> {
        let mut text = b"what another said".to_vec();
        seals.open(&mut text, sealed, own).map(|key| (key, text))
    }

    #[test]
    fn no_nonce_comes_twice_and_none_from_another_start() {
        let mut seen = HashSet::new();
        for secret in [[1; 32], [2; 32]] {
            let seals = Seals::new(&keys([1, 2]), &secret);
            for n in 0..4000 {
                let mut out = Vec::new();
                seals.seal(KeyIndex(n % 2), &mut out, |_| {});
                assert!(seen.insert(out[2..2 + NONCE_BYTES].to_vec()));
            }
        }
    }

    #[test]
    fn a_key_is_found_by_its_id_and_wears_with_every_frame() {
        let seals = Seals::new(&keys([9, 0]), &[1; 32]);
        let mut frame = Vec::new();
        SealKey::new(0, &[8; KEY_BYTES]).seal(&mut frame, Side::Client, &[0; NONCE_BYTES], |out| out.push(b'x'));
        assert_eq!(open(&seals, &frame, None), Ok((KeyIndex(1), b"x".to_vec())));
        frame[1] = 9;
        assert_eq!(open(&seals, &frame, None), Err(NotOpened::NotAuthentic));
        frame[1] = 1;
        assert_eq!(open(&seals, &frame, None), Err(NotOpened::UnknownKey));
        assert_eq!(open(&seals, &[], None), Err(NotOpened::NotAuthentic));
        let second = seals.at(KeyIndex(1)).unwrap();
        assert_eq!(second.uses.get(), 1);
        second.uses.set(limits::SEALS_BEFORE_WARNING - 1);
        assert_eq!((seals.worn(), seals.worn_out()), (None, 0));
        seals.seal(KeyIndex(1), &mut Vec::new(), |_| {});
        assert_eq!(([seals.worn(), seals.worn()], seals.worn_out()), ([Some(0), None], 1));
    }

    #[test]
    fn a_key_that_was_taken_away_is_for_those_who_began_with_it_and_forgotten_with_the_last_of_them() {
        let mut seals = Seals::new(&keys([1, 2]), &[1; 32]);
        let sealed = |id, byte| {
            let mut frame = Vec::new();
            SealKey::new(id, &[byte; KEY_BYTES])
                .seal(&mut frame, Side::Client, &[0; NONCE_BYTES], |out| out.push(byte));
            frame
        };
        let [old, kept] = [KeyIndex(0), KeyIndex(1)];
        // Its id is another key's from now on.
        let new = SealKeySettings { id: 1, key: [9; KEY_BYTES] };
        seals.replace(&[new.clone(), keys([1, 2])[1].clone()]);
        let index = KeyIndex(2);
        assert_eq!([old, kept, index].map(|key| seals.is_retired(key)), [true, false, false]);
        assert_eq!(open(&seals, &sealed(1, 7), Some(old)), Ok((old, vec![7])));
        assert_eq!(open(&seals, &sealed(1, 7), None), Err(NotOpened::NotAuthentic));
        assert_eq!(open(&seals, &sealed(1, 9), None), Ok((index, vec![9])));
        assert_eq!(open(&seals, &sealed(2, 8), None), Ok((kept, vec![8])));
        seals.forget(|key| key == old);
        assert_eq!(open(&seals, &sealed(1, 7), Some(old)), Ok((old, vec![7])), "somebody uses it");
        seals.forget(|_| false);
        assert!(seals.at(old).is_none() && seals.at(kept).is_some() && seals.at(index).is_some());
        // Its place is the next one's, and a key that comes back while it is used is the same one.
        seals.replace(&[keys([3, 2])[0].clone()]);
        assert_eq!(open(&seals, &sealed(3, 7), None), Ok((old, vec![7])));
        assert!(seals.is_retired(index) && seals.at(kept).is_some_and(|held| held.uses.get() == 1));
        seals.replace(&[new]);
        assert_eq!((seals.is_retired(index), seals.keys.len()), (false, 3));
        seals.replace(&[]);
        assert!(seals.is_empty());
        assert_eq!(open(&seals, &sealed(1, 9), Some(index)), Ok((index, vec![9])));
    }
}
