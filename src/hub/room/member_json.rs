//! A Member, as everyone in a room is told of it.
//!
//! Owns: its JSON text, which is a piece of the roster and the `from` of all that is said, and how one is found by its id. Refuses to know: who it is, and where
//! it sits.

use crate::wire::{Member, reply};

/// A Member as JSON text.
pub(in crate::hub) struct MemberJson {
    pub(super) text: Box<str>,
    /// Where in `text` the id ends.
    pub(super) id_end: u16,
    /// Of [`MemberJson::id`], so that a room's seats are looked through without a look at each text.
    pub(super) id_hash: u32,
}

impl MemberJson {
    pub fn new(member: &Member) -> Self {
        // Copied, to be no longer than it is: shrunk where it was written, it would keep what is too little for anything else.
        let text: Box<str> = reply::json(member).as_str().into();
        let id_end = reply::id_end(text.as_bytes()).expect("a Member's text begins with its id");
        let id_hash = hash(&text.as_bytes()[..id_end]);
        // An id takes six bytes for each of its own at most: far below what a u16 counts.
        MemberJson { text, id_end: id_end as u16, id_hash }
    }

    /// The text up to the end of the id: all Members are written the same way, so that these are equal where ids are.
    pub(super) fn id(&self) -> &[u8] {
        &self.text.as_bytes()[..usize::from(self.id_end)]
    }
}

/// How the JSON text of a Member with this id begins.
pub(in crate::hub) struct IdJson(String);

impl IdJson {
    pub fn new(id: &str) -> Self {
        IdJson(reply::member_beginning(id))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// FNV-1a: only a hint. Whoever finds two ids of one hash has both compared, and gains nothing.
pub(super) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
