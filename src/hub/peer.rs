//! What the hub knows of one connection.
//!
//! Owns: who it says it is, where it sits, and how it behaves: rates, patience, signs of life. Refuses to know: what its socket does.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::seals::Voice;
use super::tally::Tally;
use crate::base::{Address, Key, Rate, Spent};
use crate::limits;

/// A seat, from its connection's side: which room, and by which join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeatRef {
    pub room: Key,
    /// The seq of the join frame, which no other seat of the room can have.
    pub joined_seq: u64,
}

/// A connection's seats. Nearly everybody has one and no more: a table for as many as one may have is made for who takes a second.
#[derive(Default)]
pub(super) enum Seats {
    #[default]
    None,
    One(SeatRef),
    Many(Box<heapless::Vec<SeatRef, { limits::ROOMS_PER_CONNECTION.max as usize }, u8>>),
}

impl Deref for Seats {
    type Target = [SeatRef];

    fn deref(&self) -> &[SeatRef] {
        match self {
            Seats::None => &[],
            Seats::One(seat) => std::slice::from_ref(seat),
            Seats::Many(seats) => seats,
        }
    }
}

impl Seats {
    /// Adds one. It comes back where there are as many as may be.
    pub fn push(&mut self, seat: SeatRef) -> Result<(), SeatRef> {
        match self {
            Seats::None => *self = Seats::One(seat),
            Seats::One(first) => *self = Seats::Many(Box::new([*first, seat].into_iter().collect())),
            Seats::Many(seats) => return seats.push(seat),
        }
        Ok(())
    }

    fn remove(&mut self, seat: SeatRef) {
        match self {
            Seats::One(first) if *first == seat => *self = Seats::None,
            Seats::None | Seats::One(_) => {}
            Seats::Many(seats) => seats.retain(|other| *other != seat),
        }
    }
}

/// What a frame is to the message it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// No part of any message: a ping, a pong, a close.
    Control,
    /// More of the message follows.
    Fragment,
    /// The message is complete.
    Last,
}

/// A ping that was sent because somebody else asked for a seat of this connection's.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Probe {
    pub sent_ms: u64,
    /// What had been sent before it, where something was held back: the ping waits behind that.
    pub sent_bytes: Option<u64>,
    /// Something came since, or was taken.
    pub is_answered: bool,
}

pub(super) struct Peer {
    pub key: Key,
    pub address: Address,
    /// How it speaks; `None` before its first data frame.
    pub voice: Option<Voice>,
    /// Settled by the first join that succeeds; empty before.
    pub id: heapless::String<{ limits::ID_BYTES }, u8>,
    pub seats: Seats,
    /// Which of `seats` is given to first when the socket can be written again.
    pub next_seat: u8,
    /// When it was last heard of, monotonic. A message only writes this; the timer looks at it when it pops.
    pub last_seen_ms: u64,
    /// The latest probe. Nearly nobody had one.
    pub probe: Option<Box<Probe>>,
    /// It must have a seat by then; `None` once it had one.
    pub join_by_ms: Option<u64>,
    pub habits: Habits,
}

/// How a connection behaves.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Habits {
    frames: Spent,
    bytes: Spent,
    /// A fragment of the message in progress was over the rate.
    over_rate: bool,
    bad_in_a_row: u8,
    wrong_credentials: u8,
    /// When messages were refused for their rate, the oldest first. Nearly nobody has any.
    refused_ms: Option<Box<heapless::Deque<u64, { limits::REFUSALS as usize }>>>,
}

impl Peer {
    pub fn new(key: Key, address: Address, now_ms: u64) -> Self {
        Peer {
            key,
            address,
            voice: None,
            id: heapless::String::new(),
            seats: Seats::default(),
            next_seat: 0,
            last_seen_ms: now_ms,
            probe: None,
            join_by_ms: Some(now_ms + limits::JOIN_MS),
            habits: Habits::default(),
        }
    }

    /// The periods have become shorter, from the first of each pair to the second, in milliseconds: what is to be heard of it is due when it was
    /// before, or after a whole period from now, whichever is earlier. So nobody is late at once who was not late before.
    pub fn hasten(&mut self, now_ms: u64, silence_ms: (u64, u64), probe_ms: (u64, u64)) {
        let counted_from = |since_ms: u64, (before_ms, after_ms): (u64, u64)| {
            now_ms.min(since_ms + before_ms.saturating_sub(after_ms)).max(since_ms)
        };
        self.last_seen_ms = counted_from(self.last_seen_ms, silence_ms);
        if let Some(probe) = &mut self.probe {
            probe.sent_ms = counted_from(probe.sent_ms, probe_ms);
        }
    }

    /// Gives up a seat, or loses it.
    pub fn remove_seat(&mut self, seat: SeatRef) {
        self.seats.remove(seat);
        self.next_seat = 0;
    }

    /// A whole frame of `bytes` came. Says whether it is within the rates; a fragmented message is judged at its last fragment, by all
    /// of them.
    pub fn frame(
        &mut self,
        frames: Rate,
        per_bytes: Rate,
        bytes: u32,
        part: Part,
        now_ms: u64,
        tally: &mut Tally,
    ) -> bool {
        self.last_seen_ms = now_ms;
        // A largest message must be able to pass, whatever its frame headers add to it.
        let bytes = bytes.min(per_bytes.burst);
        let within_frames = self.habits.frames.spend(frames, 1, now_ms);
        let within = within_frames && self.habits.bytes.spend(per_bytes, bytes, now_ms);
        if !within {
            *(if within_frames { &mut tally.over_bytes_rate } else { &mut tally.over_messages_rate }) += 1;
        }
        match part {
            Part::Control => within,
            Part::Fragment => {
                self.habits.over_rate |= !within;
                !self.habits.over_rate
            }
            Part::Last => !std::mem::take(&mut self.habits.over_rate) && within,
        }
    }

    /// Notes a bad message, or a good one. Says whether patience is at its end.
    pub fn was_bad(&mut self, bad: bool) -> bool {
        self.habits.bad_in_a_row = if bad { self.habits.bad_in_a_row.saturating_add(1) } else { 0 };
        self.habits.bad_in_a_row >= limits::BAD_IN_A_ROW
    }

    /// Notes a join refused for a token or a passcode. Says whether patience is at its end.
    pub fn was_wrong(&mut self) -> bool {
        self.habits.wrong_credentials = self.habits.wrong_credentials.saturating_add(1);
        self.habits.wrong_credentials >= limits::WRONG_CREDENTIALS
    }

    /// Notes a message refused for its rate. Says whether patience is at its end: [`limits::REFUSALS`] within any [`limits::REFUSALS_MS`].
    pub fn was_refused(&mut self, now_ms: u64) -> bool {
        let refused_ms = self.habits.refused_ms.get_or_insert_default();
        while refused_ms.front().is_some_and(|at_ms| now_ms - at_ms >= limits::REFUSALS_MS) {
            refused_ms.pop_front();
        }
        // Full, it has ended patience before; the connection is closed by then.
        let _full = refused_ms.push_back(now_ms);
        refused_ms.is_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Rate = Rate { per_second: 0, burst: 1 };

    fn peer() -> Peer {
        Peer::new(Key::first_at(0), Address::nth(0), 0)
    }

    #[test]
    fn a_fragmented_message_is_judged_by_all_its_fragments() {
        let two = Rate { per_second: 1, burst: 2 };
        let (mut peer, mut tally) = (peer(), Tally::default());
        let mut frame = |part, now_ms| peer.frame(two, NONE, 10, part, now_ms, &mut tally);
        assert!(frame(Part::Fragment, 0));
        assert!(frame(Part::Fragment, 0));
        assert!(!frame(Part::Fragment, 0));
        // Time passes and there is one to spend again, also for a ping, but a fragment of this message was too much.
        assert!(frame(Part::Control, 1_000));
        assert!(!frame(Part::Last, 2_000));
        assert!(frame(Part::Last, 3_000));
        assert_eq!((tally.over_messages_rate, tally.over_bytes_rate), (1, 0));
    }

    #[test]
    fn a_shorter_period_makes_nobody_late_at_once_and_puts_nothing_off() {
        for (seen_ms, silence_ms, due_ms) in [
            (0, (125_000, 10_000), 100_000 + 10_000),
            (90_000, (125_000, 10_000), 100_000 + 10_000),
            (0, (105_000, 10_000), 105_000),
            (0, (105_000, 200_000), 200_000),
            (60_000, (50_000, 50_000), 110_000),
        ] {
            let mut peer = Peer::new(Key::first_at(0), Address::nth(0), seen_ms);
            peer.probe = Some(Box::new(Probe { sent_ms: seen_ms, sent_bytes: None, is_answered: false }));
            peer.hasten(100_000, silence_ms, silence_ms);
            let (_, after_ms) = silence_ms;
            assert_eq!(peer.last_seen_ms + after_ms, due_ms, "{seen_ms} {silence_ms:?}");
            assert_eq!(peer.probe.as_ref().map(|probe| probe.sent_ms), Some(peer.last_seen_ms));
        }
    }

    #[test]
    fn patience_ends_at_the_sixteenth_bad_message_in_a_row() {
        let mut peer = peer();
        assert!((1..16).all(|_| !peer.was_bad(true)));
        assert!(!peer.was_bad(false));
        assert!((1..16).all(|_| !peer.was_bad(true)));
        assert!(peer.was_bad(true));
    }

    #[test]
    fn patience_ends_at_the_hundredth_refusal_in_ten_seconds() {
        let mut peer = peer();
        assert!((0..99).all(|n| !peer.was_refused(n)));
        // The first is ten seconds old, and then the second.
        assert!(!peer.was_refused(10_000));
        assert!(!peer.was_refused(10_001));
        assert!(peer.was_refused(10_001));
    }
}
