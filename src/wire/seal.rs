//! Frames that only those who have the key can read.
//!
//! Owns: the shape of a sealed frame (PROTOCOL.md, Encryption): `version | key id | nonce (12) | ciphertext | tag (16)`, AES-256-GCM (NIST SP
//! 800-38D), and what is authenticated beside the text. Refuses to know: where keys and nonces come from, and who speaks sealed.

use aes_gcm::aead::{AeadInOut, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce, Tag};

use crate::limits;

/// The one version there is.
const VERSION: u8 = 1;
/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce, which no two frames under one key may share.
pub const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const PREFIX_BYTES: usize = 2 + NONCE_BYTES;
/// What sealing adds to a text.
pub const OVERHEAD_BYTES: usize = PREFIX_BYTES + TAG_BYTES;

const _: () = assert!(OVERHEAD_BYTES as u64 == limits::SEAL_OVERHEAD_BYTES);

/// Who seals: a frame of one side is none of the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client.
    Client,
    /// The hub.
    Hub,
}

/// A key that both sides have beforehand.
pub struct SealKey {
    id: u8,
    cipher: Aes256Gcm,
}

impl SealKey {
    /// The key known as `id`.
    #[must_use]
    pub fn new(id: u8, key: &[u8; KEY_BYTES]) -> Self {
        SealKey { id, cipher: Aes256Gcm::new(key.into()) }
    }

    /// By which frames name it.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Appends a sealed text to `out`, where `write` appends the text.
    pub fn seal(&self, out: &mut Vec<u8>, side: Side, nonce: &[u8; NONCE_BYTES], write: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&[VERSION, self.id]);
        out.extend_from_slice(nonce);
        let start = out.len();
        write(out);
        let aad = self.beside(side);
        // It refuses only texts of 64 GiB and more.
        let sealed = self.cipher.encrypt_inout_detached(&Nonce::from(*nonce), &aad, (&mut out[start..]).into());
        out.extend_from_slice(&sealed.expect("a frame is far shorter than what the cipher takes"));
    }

    /// The text that `side` sealed in this frame; `None` where it did not, or not with this key, or somebody changed a bit of it since.
    #[must_use]
    pub fn open(&self, side: Side, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        self.open_into(&mut text, side, sealed)?;
        Some(text)
    }

    /// The same, in place of what `text` held; where it is `None`, what it holds then means nothing.
    #[must_use]
    pub fn open_into(&self, text: &mut Vec<u8>, side: Side, sealed: &[u8]) -> Option<()> {
        if key_id(sealed)? != self.id {
            return None;
        }
        let (prefix, rest) = sealed.split_at_checked(PREFIX_BYTES)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let nonce: [u8; NONCE_BYTES] = prefix[2..].try_into().ok()?;
        text.clear();
        text.extend_from_slice(ciphertext);
        let aad = self.beside(side);
        let (nonce, tag) = (Nonce::from(nonce), Tag::from(*tag));
        self.cipher.decrypt_inout_detached(&nonce, &aad, text.as_mut_slice().into(), &tag).ok()
    }

    fn beside(&self, side: Side) -> [u8; 3] {
        let side = match side {
            Side::Client => b'c',
            Side::Hub => b'h',
        };
        [VERSION, self.id, side]
    }
}

/// The id of the key that a frame says it is sealed with; `None` where it is no sealed frame of this version.
#[must_use]
pub fn key_id(sealed: &[u8]) -> Option<u8> {
    match sealed {
        [VERSION, id, ..] if sealed.len() >= OVERHEAD_BYTES => Some(*id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn sealed(key: &SealKey, side: Side, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        key.seal(&mut out, side, &NONCE, |out| out.extend_from_slice(text));
        out
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_from_its_side_and_whole() {
        let key = SealKey::new(7, &[3; KEY_BYTES]);
        for text in ["", "x", "老师好", &"long ".repeat(4000)] {
            let frame = sealed(&key, Side::Hub, text.as_bytes());
            assert_eq!(frame.len(), text.len() + OVERHEAD_BYTES);
            assert_eq!(key_id(&frame), Some(7));
            assert_eq!(key.open(Side::Hub, &frame).as_deref(), Some(text.as_bytes()));
            assert_eq!(key.open(Side::Client, &frame), None, "the other side's");
            assert_eq!(SealKey::new(7, &[4; KEY_BYTES]).open(Side::Hub, &frame), None, "another key");
            assert_eq!(SealKey::new(8, &[3; KEY_BYTES]).open(Side::Hub, &frame), None, "another id");
        }
    }

    #[test]
    fn no_bit_of_a_frame_can_be_changed_and_no_byte_left_out() {
        let key = SealKey::new(7, &[3; KEY_BYTES]);
        let frame = sealed(&key, Side::Client, b"text");
        for bit in 0..frame.len() * 8 {
            let mut changed = frame.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(Side::Client, &changed), None, "bit {bit}");
        }
        for length in 0..frame.len() {
            assert_eq!(key.open(Side::Client, &frame[..length]), None);
        }
        assert_eq!(key.open(Side::Client, &[&frame[..], b"x"].concat()), None);
    }
}
