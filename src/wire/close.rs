//! Why a connection ends.
//!
//! Owns: the one list of reasons, with the close code (RFC 6455, section 7.4), the `reason` of the leave that the rooms
//! see, the words for peer and log of each, and the word by which it is counted. Refuses to know: who closes when.

use serde::{Deserialize, Serialize};

/// Why a connection ends. One value feeds the close frame, the leave frames, the log line and the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client sent a close frame: its code, where it gave one.
    Client(Option<u16>),
    /// The connection broke without a word: reset, end of stream, or bytes unacknowledged for too long.
    Broken,
    /// The hub stops.
    Stopping,
    /// A new program takes the hub over, and this connection is not one that can be handed to it; its client comes back at once.
    Upgrading,
    /// The client broke RFC 6455.
    Protocol,
    /// A binary frame where it speaks in text frames, or the other way round.
    Unsupported,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A message or frame over the limit.
    TooBig,
    /// Too many bad messages in a row.
    BadMessages,
    /// Too many messages refused for their rate.
    Flood,
    /// It never took a seat.
    NeverJoined,
    /// Too many joins refused for a token or a passcode.
    Guessing,
    /// A sealed frame that no key of the hub's opens.
    NotOpened,
    /// The hub owes more replies than it may hold, and this connection is owed most.
    Overload,
    /// No sign of life for longer than a heartbeat may take.
    Heartbeat,
    /// Somebody else asked for its seat, and it did not answer the probe.
    ProbeUnanswered,
    /// Its seat was taken over by a connection that showed the seat's token.
    TakenOver,
    /// The room let go of a frame not yet sent to this client, or too much waits in its own queue.
    TooSlow,
}

/// What a leave frame says of it, in `extendFields.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaveReason {
    /// An explicit leave.
    Left,
    /// A close by the client, or by the hub for a fault.
    Closed,
    /// The connection broke, or its browser went away (1001), or it did not answer a probe.
    Lost,
    /// Closed for silence.
    Heartbeat,
    /// Closed for reading too slowly.
    Slow,
    /// The owner removed the member.
    Removed,
}

impl LeaveReason {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LeaveReason::Left => "left",
            LeaveReason::Closed => "closed",
            LeaveReason::Lost => "lost",
            LeaveReason::Heartbeat => "heartbeat",
            LeaveReason::Slow => "slow",
            LeaveReason::Removed => "removed",
        }
    }
}

impl CloseReason {
    /// All of them; one that carries a code stands for itself with any.
    pub const ALL: [CloseReason; 18] = [
        CloseReason::Client(None),
        CloseReason::Broken,
        CloseReason::Stopping,
        CloseReason::Upgrading,
        CloseReason::Protocol,
        CloseReason::Unsupported,
        CloseReason::NotUtf8,
        CloseReason::TooBig,
        CloseReason::BadMessages,
        CloseReason::Flood,
        CloseReason::NeverJoined,
        CloseReason::Guessing,
        CloseReason::NotOpened,
        CloseReason::Overload,
        CloseReason::Heartbeat,
        CloseReason::ProbeUnanswered,
        CloseReason::TakenOver,
        CloseReason::TooSlow,
    ];

    /// Where in [`CloseReason::ALL`] it stands.
    #[must_use]
    pub fn place(self) -> usize {
        let is_it = |other: &CloseReason| std::mem::discriminant(other) == std::mem::discriminant(&self);
        CloseReason::ALL.iter().position(is_it).expect("all are there: a test goes through them")
    }

    /// The word by which it is counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CloseReason::Client(_) => "client",
            CloseReason::Broken => "broken",
            CloseReason::Stopping => "stopping",
            CloseReason::Upgrading => "upgrading",
            CloseReason::Protocol => "protocol",
            CloseReason::Unsupported => "unsupported",
            CloseReason::NotUtf8 => "not_utf8",
            CloseReason::TooBig => "too_big",
            CloseReason::BadMessages => "bad_messages",
            CloseReason::Flood => "flood",
            CloseReason::NeverJoined => "never_joined",
            CloseReason::Guessing => "guessing",
            CloseReason::NotOpened => "not_opened",
            CloseReason::Overload => "overload",
            CloseReason::Heartbeat => "heartbeat",
            CloseReason::ProbeUnanswered => "probe_unanswered",
            CloseReason::TakenOver => "taken_over",
            CloseReason::TooSlow => "too_slow",
        }
    }

    /// The code of the hub's close frame; `None` where the hub sends none of its own, because the connection is broken, or
    /// answers the client's.
    #[must_use]
    pub fn code(self) -> Option<u16> {
        match self {
            CloseReason::Client(_) | CloseReason::Broken => None,
            CloseReason::Stopping | CloseReason::Upgrading => Some(1001),
            CloseReason::Protocol => Some(1002),
            CloseReason::Unsupported => Some(1003),
            CloseReason::NotUtf8 => Some(1007),
            CloseReason::TooBig => Some(1009),
            CloseReason::BadMessages
            | CloseReason::Flood
            | CloseReason::NeverJoined
            | CloseReason::Guessing
            | CloseReason::NotOpened => Some(1008),
            CloseReason::Overload => Some(1013),
            CloseReason::Heartbeat | CloseReason::ProbeUnanswered => Some(4000),
            CloseReason::TakenOver => Some(4001),
            CloseReason::TooSlow => Some(4002),
        }
    }

    /// The reason that goes with the code, for whoever debugs the client; at most 123 bytes (RFC 6455, section 5.5).
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            CloseReason::Client(_) => "closed by the client",
            CloseReason::Broken => "connection lost",
            CloseReason::Stopping => "the hub is stopping",
            CloseReason::Upgrading => "the hub is being upgraded; come back at once",
            CloseReason::Protocol => "not the WebSocket protocol (RFC 6455)",
            CloseReason::Unsupported => "a kind of frame that is not spoken here",
            CloseReason::NotUtf8 => "text that is not UTF-8",
            CloseReason::TooBig => "message too big",
            CloseReason::BadMessages => "too many bad messages in a row",
            CloseReason::Flood => "too many messages over the rate",
            CloseReason::NeverJoined => "no room joined in time",
            CloseReason::Guessing => "too many wrong tokens or passcodes",
            CloseReason::NotOpened => "a sealed frame that no key here opens",
            CloseReason::Overload => "the hub owes too many replies; try again later",
            CloseReason::Heartbeat => "no heartbeat",
            CloseReason::ProbeUnanswered => "somebody else asked for the seat, and nothing was heard from here",
            CloseReason::TakenOver => "the seat was taken over by another connection",
            CloseReason::TooSlow => "reading too slowly",
        }
    }

    /// What the rooms are told (PROTOCOL.md, Leave), at once or when the seat has lingered; `None` where they are told nothing.
    #[must_use]
    pub fn leave(self) -> Option<LeaveReason> {
        match self {
            // 1001 is what a browser sends when a page is reloaded: it will be back.
            CloseReason::Client(Some(1001))
            | CloseReason::Broken
            | CloseReason::Upgrading
            | CloseReason::ProbeUnanswered
            | CloseReason::TakenOver => Some(LeaveReason::Lost),
            CloseReason::Client(_)
            | CloseReason::Protocol
            | CloseReason::Unsupported
            | CloseReason::NotUtf8
            | CloseReason::TooBig
            | CloseReason::BadMessages
            | CloseReason::Flood
            | CloseReason::NeverJoined
            | CloseReason::Guessing
            | CloseReason::NotOpened => Some(LeaveReason::Closed),
            CloseReason::Heartbeat => Some(LeaveReason::Heartbeat),
            CloseReason::TooSlow | CloseReason::Overload => Some(LeaveReason::Slow),
            CloseReason::Stopping => None,
        }
    }

    /// Whether the connection's seats linger, since whoever sat there is likely to come back. One that failed a probe has somebody waiting
    /// for its seat, and everybody else has gone on purpose or was sent away.
    #[must_use]
    pub fn lingers(self) -> bool {
        matches!(
            self,
            CloseReason::Client(Some(1001))
                | CloseReason::Broken
                | CloseReason::Upgrading
                | CloseReason::TakenOver
                | CloseReason::TooSlow
                | CloseReason::Overload
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_a_close_frame_and_each_has_its_place() {
        // The list goes on until a reason is its own successor; one that is new has to be given a place in it.
        let mut reason = CloseReason::Client(None);
        for place in 0.. {
            assert!(reason.words().len() <= 123, "{reason:?}");
            assert_eq!((reason.place(), CloseReason::ALL.get(place)), (place, Some(&reason)));
            assert!(CloseReason::ALL[..place].iter().all(|other| other.as_str() != reason.as_str()), "{reason:?}");
            reason = match reason {
                CloseReason::Client(_) => CloseReason::Broken,
                CloseReason::Broken => CloseReason::Stopping,
                CloseReason::Stopping => CloseReason::Upgrading,
                CloseReason::Upgrading => CloseReason::Protocol,
                CloseReason::Protocol => CloseReason::Unsupported,
                CloseReason::Unsupported => CloseReason::NotUtf8,
                CloseReason::NotUtf8 => CloseReason::TooBig,
                CloseReason::TooBig => CloseReason::BadMessages,
                CloseReason::BadMessages => CloseReason::Flood,
                CloseReason::Flood => CloseReason::NeverJoined,
                CloseReason::NeverJoined => CloseReason::Guessing,
                CloseReason::Guessing => CloseReason::NotOpened,
                CloseReason::NotOpened => CloseReason::Overload,
                CloseReason::Overload => CloseReason::Heartbeat,
                CloseReason::Heartbeat => CloseReason::ProbeUnanswered,
                CloseReason::ProbeUnanswered => CloseReason::TakenOver,
                CloseReason::TakenOver => CloseReason::TooSlow,
                CloseReason::TooSlow => break,
            };
        }
    }
}
