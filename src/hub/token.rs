//! Resume tokens: what shows that a seat is one's own.
//!
//! Owns: how a token is made, and what makes one good (PROTOCOL.md, Recovery). Refuses to know: who sits where.
//!
//! Nothing is kept: a token is the seq of the join that it was given for, and a MAC over that, the room and the id, under a key drawn at the
//! hub's start. It is as good as the room is old: a room that has ended and was made again is another instance.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::limits;

/// What the hub keeps to itself: drawn at its start from the system's randomness, and never shown.
pub type Secret = [u8; 32];

/// A token as text: the join's seq and the MAC in hexadecimal, a full stop between.
pub(super) type Token = heapless::String<{ limits::RESUME_TOKEN_BYTES }>;

/// Half of SHA-256: nobody guesses 128 bits.
const MAC_BYTES: usize = 16;

pub(super) struct Tokens {
    keyed: Hmac<Sha256>,
}

impl Tokens {
    pub fn new(secret: &Secret) -> Self {
        Tokens { keyed: Hmac::new_from_slice(secret).expect("HMAC takes a key of any length") }
    }

    /// The token of a seat: that of whoever joined this instance of a room under `id` with the frame `joined_seq`.
    pub fn of(&self, room_instance: u64, joined_seq: u64, id: &str) -> Token {
        let mac = self.mac(room_instance, joined_seq, id).finalize().into_bytes();
        let mut token = Token::new();
        // 16 digits, a full stop and 32 digits fit, and nothing else can fail.
        write!(token, "{joined_seq:x}.").expect("the seq of a token fits");
        for byte in &mac[..MAC_BYTES] {
            for digit in [byte >> 4, byte & 15] {
                token.push(DIGITS[usize::from(digit)].into()).expect("the MAC of a token fits");
            }
        }
        token
    }

    /// The seq of the join that `token` was given for, if it was given for that room and id. Takes as long for one wrong MAC as for another.
    pub fn joined_seq(&self, token: &str, room_instance: u64, id: &str) -> Option<u64> {
        let (seq, mac) = token.split_once('.').filter(|(seq, _)| !seq.starts_with('0'))?;
        let joined_seq = seq.bytes().try_fold(0u64, |sum, byte| sum.checked_mul(16)?.checked_add(digit(byte)?))?;
        let mut shown = [0; MAC_BYTES];
        if mac.len() != 2 * MAC_BYTES {
            return None;
        }
        for (byte, two) in shown.iter_mut().zip(mac.as_bytes().chunks_exact(2)) {
            *byte = (digit(two[0])? * 16 + digit(two[1])?) as u8; // two digits, below 256
        }
        self.mac(room_instance, joined_seq, id).verify_truncated_left(&shown).ok()?;
        Some(joined_seq)
    }

    /// Whether two words are the same, in a time that tells nothing of either but the length of the one `shown`.
    pub fn are_same(&self, shown: &str, kept: &str) -> bool {
        let mac = |word: &str| self.keyed.clone().chain_update(word);
        mac(shown).verify(&mac(kept).finalize().into_bytes()).is_ok()
    }

    fn mac(&self, room_instance: u64, joined_seq: u64, id: &str) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        // Two numbers of fixed length, then the id: no two seats read the same.
        mac.update(&room_instance.to_le_bytes());
        mac.update(&joined_seq.to_le_bytes());
        mac.update(id.as_bytes());
        mac
    }
}

/// Hexadecimal digits as tokens have them, in lower case.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// What one of [`DIGITS`] stands for.
fn digit(byte: u8) -> Option<u64> {
    match byte {
        b'0'..=b'9' => Some(u64::from(byte - b'0')),
        b'a'..=b'f' => Some(u64::from(byte - b'a') + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_the_seat_it_was_given_for_and_no_other() {
        let tokens = Tokens::new(&[7; 32]);
        for joined_seq in [1, 0xabc, u64::MAX] {
            let token = tokens.of(3, joined_seq, "学号七");
            assert_eq!(tokens.joined_seq(&token, 3, "学号七"), Some(joined_seq));
            assert_eq!(tokens.joined_seq(&token, 4, "学号七"), None, "another room");
            assert_eq!(tokens.joined_seq(&token, 3, "学号八"), None, "another id");
            assert_eq!(Tokens::new(&[8; 32]).joined_seq(&token, 3, "学号七"), None, "another key");
        }
    }

    #[test]
    fn no_word_is_the_same_as_another() {
        let tokens = Tokens::new(&[7; 32]);
        assert!(tokens.are_same("芝麻开门", "芝麻开门"));
        for shown in ["", "芝麻开", "芝麻开门 ", "芝麻关门"] {
            assert!(!tokens.are_same(shown, "芝麻开门"), "{shown:?}");
        }
    }

    #[test]
    fn no_token_but_the_very_one_is_good() {
        let tokens = Tokens::new(&[7; 32]);
        let token = tokens.of(1, 0x1f, "a").to_string();
        for place in 0..token.len() {
            for byte in (0..128).map(char::from).filter(|byte| !token[place..].starts_with(*byte)) {
                let mut wrong = token.clone();
                wrong.replace_range(place..=place, &byte.to_string());
                assert_eq!(tokens.joined_seq(&wrong, 1, "a"), None, "{wrong}");
            }
            assert_eq!(tokens.joined_seq(&token[..place], 1, "a"), None);
        }
        for wrong in [
            token.to_uppercase(),
            format!("{token}0"),
            format!("+{token}"),
            format!("0{token}"),
            format!("{}{token}", "f".repeat(17)),
            "老.师".into(),
        ] {
            assert_eq!(tokens.joined_seq(&wrong, 1, "a"), None, "{wrong}");
        }
    }
}
