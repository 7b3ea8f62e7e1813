//! What an operator decides about rooms and members.
//!
//! Owns: the values. Refuses to know: where they come from, and which are legal (`host::config`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::jwt::TokenKey;
use crate::limits;
use crate::wire::Member;
use crate::wire::seal::KEY_BYTES;

/// Everything the hub is told at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// A client must send something this often, in seconds.
    pub heartbeat_interval_s: u32,
    /// What a heartbeat may be late, in seconds.
    pub heartbeat_grace_s: u32,
    /// How long the holder of a seat has to show itself alive when somebody else asks for the seat, in seconds.
    pub probe_s: u32,
    /// How long a broken connection keeps its seats, in seconds.
    pub linger_s: u32,
    /// Rooms at once, those of `configured` included.
    pub rooms: u32,
    /// Seats in one room.
    pub members_per_room: u32,
    /// Rooms that one connection may sit in.
    pub rooms_per_connection: u32,
    /// Frames per second and connection; 0 is no limit.
    pub messages_per_second: u32,
    /// Frames that may come at once.
    pub burst: u32,
    /// Bytes per second and connection; 0 is no limit.
    pub bytes_per_second: u32,
    /// Bytes that may come at once.
    pub bytes_burst: u32,
    /// Frames that a room holds for its readers, in bytes.
    pub room_log_bytes: u32,
    /// Frames that a room keeps for those who come back.
    pub history: u32,
    /// Whether a room that is not configured is made when somebody joins it.
    pub auto_create: bool,
    /// How long an empty room is kept, in seconds.
    pub empty_for_s: u32,
    /// What signs the token that everyone has to show who joins; `None` asks for none.
    pub token_key: Option<TokenKey>,
    /// The rooms that are always there.
    pub configured: Vec<RoomSettings>,
    /// Keys for sealed frames with the ids by which frames name them, each id once, at most [`limits::SEAL_KEYS`].
    pub seal_keys: Vec<SealKeySettings>,
    /// Whether every member has to speak sealed.
    pub encryption_required: bool,
}

impl Settings {
    /// Whether no table would be larger and no period longer than there may be. What is smaller than an operator may want does no harm.
    pub(super) fn are_within_limits(&self) -> bool {
        [
            (self.heartbeat_interval_s, limits::HEARTBEAT_INTERVAL_S),
            (self.heartbeat_grace_s, limits::HEARTBEAT_GRACE_S),
            (self.probe_s, limits::HEARTBEAT_PROBE_S),
            (self.linger_s, limits::HEARTBEAT_LINGER_S),
            (self.rooms, limits::ROOMS),
            (self.members_per_room, limits::MEMBERS_PER_ROOM),
            (self.rooms_per_connection, limits::ROOMS_PER_CONNECTION),
            (self.room_log_bytes, limits::ROOM_LOG_BYTES),
            (self.history, limits::HISTORY),
            (self.empty_for_s, limits::EMPTY_FOR_S),
        ]
        .iter()
        .all(|(value, limit)| *value <= limit.max)
    }

    /// Seats in all rooms together: as many as all of these connections may have.
    pub(super) fn seats_max(&self, connections: u32) -> u64 {
        u64::from(connections) * u64::from(self.rooms_per_connection)
    }
}

/// A key for sealed frames. It is not shown, whatever is printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealKeySettings {
    /// By which frames name it.
    pub id: u8,
    /// The key itself.
    pub key: [u8; KEY_BYTES],
}

impl fmt::Debug for SealKeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeySettings({})", self.id)
    }
}

/// A room that is always there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoomSettings {
    /// What members join it by; not empty.
    pub number: String,
    /// What it is called; the number where nobody said.
    pub name: String,
    /// What it is for.
    pub desc: String,
    /// Whose it is; where nobody is named, the first to join.
    pub owner: Option<Member<'static>>,
    /// What everyone has to know who joins it.
    pub passcode: Option<Passcode>,
    /// What shows that it is one's own; where nobody is named, whoever shows it owns the room.
    pub owner_passcode: Option<Passcode>,
}

/// A word that is known to those who may do something; at most [`limits::PASSCODE_BYTES`], and not empty. It is not shown, whatever is printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passcode(pub String);

impl fmt::Debug for Passcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passcode(…)")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            heartbeat_interval_s: limits::HEARTBEAT_INTERVAL_S.default,
            heartbeat_grace_s: limits::HEARTBEAT_GRACE_S.default,
            probe_s: limits::HEARTBEAT_PROBE_S.default,
            linger_s: limits::HEARTBEAT_LINGER_S.default,
            rooms: limits::ROOMS.default,
            members_per_room: limits::MEMBERS_PER_ROOM.default,
            rooms_per_connection: limits::ROOMS_PER_CONNECTION.default,
            messages_per_second: limits::MESSAGES_PER_SECOND.default,
            burst: limits::BURST.default,
            bytes_per_second: limits::BYTES_PER_SECOND.default,
            bytes_burst: limits::BYTES_BURST.default,
            room_log_bytes: limits::ROOM_LOG_BYTES.default,
            history: limits::HISTORY.default,
            auto_create: true,
            empty_for_s: limits::EMPTY_FOR_S.default,
            token_key: None,
            configured: Vec::new(),
            seal_keys: Vec::new(),
            encryption_required: false,
        }
    }
}
