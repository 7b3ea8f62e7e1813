//! How clients speak: in the clear, or sealed.
//!
//! Owns: the keys, those of the hub and one that it does not have, and that no nonce comes with two texts. Refuses to know: what is said.

use std::collections::HashMap;

use classhub::hub::SealKeySettings;
use classhub::wire::seal::{KEY_BYTES, NONCE_BYTES, SealKey, Side};

/// How a connection speaks, from its first data frame on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    Plain,
    /// Under the key in this place of the list.
    Sealed(usize),
}

/// The keys' ids. The hub has all but the last.
const IDS: [u8; 3] = [7, 0, 200];
/// The place of the one that the hub does not have.
pub const UNKNOWN: usize = IDS.len() - 1;

pub struct Keys {
    keys: [SealKey; IDS.len()],
    /// Frames that clients sealed.
    sealed: u64,
    /// Frames of the hub, by their nonces.
    heard: HashMap<[u8; NONCE_BYTES], Vec<u8>>,
}

impl Keys {
    pub fn new() -> Keys {
        let keys = IDS.map(|id| SealKey::new(id, &bytes(id)));
        Keys { keys, sealed: 0, heard: HashMap::new() }
    }

    /// What the hub is told of them.
    pub fn settings() -> Vec<SealKeySettings> {
        IDS[..UNKNOWN].iter().map(|id| SealKeySettings { id: *id, key: bytes(*id) }).collect()
    }

    /// A text, sealed by `side`.
    pub fn seal(&mut self, place: usize, side: Side, text: &[u8]) -> Vec<u8> {
        self.sealed += 1;
        let mut nonce = [0; NONCE_BYTES];
        nonce[..8].copy_from_slice(&self.sealed.to_be_bytes());
        let mut frame = Vec::new();
        self.keys[place].seal(&mut frame, side, &nonce, |out| out.extend_from_slice(text));
        frame
    }

    /// The text that the hub sealed with this key.
    ///
    /// # Panics
    /// Where it did not, or where another text came under the same nonce.
    pub fn open(&mut self, place: usize, frame: &[u8]) -> Vec<u8> {
        let text = self.keys[place].open(Side::Hub, frame).expect("the hub sealed it with this key");
        let nonce = frame[2..][..NONCE_BYTES].try_into().expect("what opens has a nonce");
        let before = self.heard.entry(nonce).or_insert_with(|| frame.into());
        assert_eq!(before, frame, "a nonce twice");
        text
    }
}

fn bytes(id: u8) -> [u8; KEY_BYTES] {
    [id ^ 0x55; KEY_BYTES]
}
