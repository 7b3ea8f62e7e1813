//! Any bytes as a sealed frame, and sealed frames that somebody changed.
//!
//! Owns: that nothing opens but what was sealed with this key by this side, whole and unchanged. Refuses to know: what is said in it.
//!
//! An input is what to do (a byte), where (two), and the text to seal, or the frame as it comes.
#![no_main]

use classhub::wire::seal::{KEY_BYTES, NONCE_BYTES, OVERHEAD_BYTES, SealKey, Side, key_id};
use libfuzzer_sys::fuzz_target;

const ID: u8 = 7;

fuzz_target!(|input: &[u8]| {
    let [what, high, low, rest @ ..] = input else { return };
    let key = SealKey::new(ID, &[3; KEY_BYTES]);
    if what & 0x80 == 0 {
        return any(&key, rest);
    }
    let side = if what & 1 == 0 { Side::Client } else { Side::Hub };
    let sealed = seal(&key, side, &[*low; NONCE_BYTES], rest);
    assert_eq!(sealed.len(), rest.len() + OVERHEAD_BYTES);
    assert_eq!(key_id(&sealed), Some(ID));
    assert_eq!(key.open(side, &sealed).as_deref(), Some(rest));
    let place = usize::from(u16::from_be_bytes([*high, *low])) % sealed.len();
    let mut changed = sealed.clone();
    match what >> 1 & 7 {
        0 => changed[place] ^= 1 << (low % 8),
        1 => changed.truncate(place),
        2 => changed.insert(place, sealed[place]),
        3 => drop(changed.remove(place)),
        4 => changed.swap(place, sealed.len() / 2),
        5 => changed.extend_from_slice(rest),
        6 => changed[place..].reverse(),
        _ => {
            let other = if side == Side::Hub { Side::Client } else { Side::Hub };
            assert_eq!(key.open(other, &sealed), None, "opened as the other side's");
            assert_eq!(SealKey::new(*low, &[4; KEY_BYTES]).open(side, &sealed), None, "opened with another key");
        }
    }
    assert_eq!(key.open(side, &changed).is_some(), changed == sealed, "{changed:?} for {sealed:?}");
});

fn seal(key: &SealKey, side: Side, nonce: &[u8; NONCE_BYTES], text: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::new();
    key.seal(&mut sealed, side, nonce, |out| out.extend_from_slice(text));
    sealed
}

/// Nobody guesses a tag; should one come all the same, the frame is the very one that sealing makes.
fn any(key: &SealKey, frame: &[u8]) {
    let id = key_id(frame);
    assert_eq!(id.is_some(), frame.len() >= OVERHEAD_BYTES && frame[0] == 1);
    for side in [Side::Client, Side::Hub] {
        if let Some(text) = key.open(side, frame) {
            let nonce = frame[2..2 + NONCE_BYTES].try_into().unwrap();
            assert!(id == Some(ID) && seal(key, side, nonce, &text) == frame);
        }
    }
}
