//! Why something that was asked for is not done.
//!
//! Owns: the word for programs, of which there is a fixed list (PROTOCOL.md, Failures), and the words for people that go with it. Refuses to know: what was asked,
//! and how an answer is written.

use std::borrow::Cow;

/// A failure's `code`, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Not a JSON object of this shape.
    BadJson,
    /// A msgType or dataType that is not spoken there.
    UnknownType,
    /// A field over its limit.
    TooLong,
    /// For a room that this connection is not in.
    NotJoined,
    /// Another id than the connection's own.
    Identity,
    /// The number is not configured, and rooms are not made on demand.
    NoSuchRoom,
    /// The room's table is full.
    RoomFull,
    /// The hub's table is full.
    HubFull,
    /// The connection's table is full.
    TooManyRooms,
    /// A token that is missing or wrong.
    Token,
    /// A passcode that is missing or wrong.
    Passcode,
    /// A key for sealed frames that the hub does not have, or another than the room's.
    Key,
    /// Plain, where everything has to be sealed.
    Encryption,
    /// For the room's owner alone.
    NotOwner,
    /// The room is quiet, and the speaker not its owner.
    Quiet,
    /// The room is locked, and the joiner new.
    Locked,
    /// The owner removed the joiner, and the time is not over.
    Removed,
    /// Nobody, or nobody but the owner, sits under this id.
    NoSuchMember,
    /// A receipt for a message that the room no longer holds.
    NoSuchMessage,
    /// Too many messages or bytes.
    RateLimited,
}

impl Code {
    /// All of them, in the order of PROTOCOL.md; each stands at its own number (`as usize`).
    pub const ALL: [Code; 20] = [
        Code::BadJson,
        Code::UnknownType,
        Code::TooLong,
        Code::NotJoined,
        Code::Identity,
        Code::NoSuchRoom,
        Code::RoomFull,
        Code::HubFull,
        Code::TooManyRooms,
        Code::Token,
        Code::Passcode,
        Code::Key,
        Code::Encryption,
        Code::NotOwner,
        Code::Quiet,
        Code::Locked,
        Code::Removed,
        Code::NoSuchMember,
        Code::NoSuchMessage,
        Code::RateLimited,
    ];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Code::BadJson => "bad_json",
            Code::UnknownType => "unknown_type",
            Code::TooLong => "too_long",
            Code::NotJoined => "not_joined",
            Code::Identity => "identity",
            Code::NoSuchRoom => "no_such_room",
            Code::RoomFull => "room_full",
            Code::HubFull => "hub_full",
            Code::TooManyRooms => "too_many_rooms",
            Code::Token => "token",
            Code::Passcode => "passcode",
            Code::Key => "key",
            Code::Encryption => "encryption",
            Code::NotOwner => "not_owner",
            Code::Quiet => "quiet",
            Code::Locked => "locked",
            Code::Removed => "removed",
            Code::NoSuchMember => "no_such_member",
            Code::NoSuchMessage => "no_such_message",
            Code::RateLimited => "rate_limited",
        }
    }
}

// The last of the enumeration is the last of the list: none is missing, and the order is compared by a test.
const _: () = assert!(Code::ALL.len() == Code::RateLimited as usize + 1);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For programs.
    pub code: Code,
    /// For people: what was wrong, and where.
    pub msg: Cow<'static, str>,
}

impl Failure {
    /// A failure with `code` and the words for it.
    #[must_use]
    pub fn new(code: Code, msg: impl Into<Cow<'static, str>>) -> Self {
        Failure { code, msg: msg.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_at_its_own_number() {
        assert!(Code::ALL.iter().enumerate().all(|(place, code)| *code as usize == place));
    }
}
