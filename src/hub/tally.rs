//! What an operator may want to know of the hub.
//!
//! Owns: what was counted since the start, and what is found out by going through the rooms when somebody asks. Refuses to know: who asks, and how
//! it is told. Counting is an addition where a thing happens; nobody is named.

use crate::wire::Code;

/// What has happened since the hub was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Whole messages that came, whatever became of them.
    pub messages: u64,
    /// Frames of rooms that were handed to members, whole: each once for each member. Only those of rooms that have ended; [`Hub::tally`](super::Hub::tally) adds
    /// the others'.
    pub deliveries: u64,
    /// Failures that were answered, by the place of their code in [`Code::ALL`].
    pub refusals: [u64; Code::ALL.len()],
    /// Joins refused because the seat is taken, which have no code.
    pub duplicates: u64,
    /// Frames over `messages_per_second`.
    pub over_messages_rate: u64,
    /// Frames over `bytes_per_second`.
    pub over_bytes_rate: u64,
}

impl Tally {
    /// Counts a failure that is answered.
    pub(super) fn refused(&mut self, code: Code) {
        self.refusals[code as usize] += 1;
    }
}

/// What there is, by a look at every room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Rooms.
    pub rooms: u64,
    /// Seats that somebody holds.
    pub present: u64,
    /// Seats that wait for whoever comes back.
    pub lingering: u64,
    /// Bytes of frames that rooms hold for their readers.
    pub log_bytes: u64,
    /// Bytes of the buffers that they are in.
    pub log_buffer_bytes: u64,
    /// Bytes that the slowest member was offered, and its socket has not taken. At `room_log_bytes` it is closed.
    pub lag_bytes: u64,
    /// Members of whom that is not 0.
    pub lagging: u64,
}
