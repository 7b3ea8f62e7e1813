//! All rooms, and who sits where.
//!
//! Owns: the tables of rooms and peers, how seats and rooms end, and which rooms have something to flush. Refuses to know: sockets, clocks, the
//! bytes of WebSocket beyond whole frames, how anything is logged; what messages mean (`requests`), who gets a seat (`join`), and what time brings
//! (`deadlines`), and what an owner may (`moderation`).

use super::guesses::Guesses;
use super::outlet::Outlet;
use super::peer::{Part, Peer, SeatRef};
use super::room::{Bounds, Offered, Room};
use super::seals::{KeyIndex, Seals, Voice};
use super::settings::Settings;
use super::tally::{Census, Tally};
use super::token::{Secret, Tokens};
use crate::base::{Address, Key, Now, Rate, Slots, Wheel};
use crate::limits;
use crate::wire::{CloseReason, Code, Failure, LeaveReason};

/// The hub: what everybody's messages mean to everybody else.
pub struct Hub {
    pub(super) settings: Settings,
    pub(super) rooms: Slots<Room>,
    /// Rooms that there ever were.
    pub(super) rooms_made: u64,
    /// What tokens are made with.
    pub(super) secret: Secret,
    pub(super) tokens: Tokens,
    pub(super) seals: Seals,
    pub(super) guesses: Guesses,
    pub(super) tally: Tally,
    /// Seats in all rooms, lingering ones too, and how many there may be: as many as all connections together may have.
    pub(super) seats: u64,
    pub(super) seats_max: u64,
    /// By the index of the connection's key; the key itself is given by whoever holds the connections.
    pub(super) peers: Vec<Option<Peer>>,
    /// By a room's index.
    pub(super) room_timers: Wheel,
    /// By the index of a connection's key.
    pub(super) connection_timers: Wheel,
    /// Rooms with something to flush; each is here once.
    changed: Vec<Key>,
    /// Every sealed frame is opened into it; it is lent to the message.
    pub(super) opened: Vec<u8>,
}

impl Hub {
    /// A hub for `connections`, with the configured rooms in place. Keys may count those to spare as well, which never sit down.
    ///
    /// # Panics
    /// Where `settings` name more rooms than it allows, or a field over its limit: `host::config` lets no such settings through.
    #[must_use]
    pub fn new(settings: Settings, connections: u32, secret: &Secret, now: Now) -> Self {
        let mut rooms = Slots::new(settings.rooms);
        for (instance, room) in (0..).zip(&settings.configured) {
            let made = rooms.insert(Room::configured(room, instance, now));
            assert!(made.is_ok(), "more rooms are configured than limits.rooms allows");
        }
        Hub {
            room_timers: Wheel::new(settings.rooms, now.monotonic_ms),
            connection_timers: Wheel::new(connections + limits::SPARE_CONNECTIONS, now.monotonic_ms),
            changed: Vec::with_capacity(settings.rooms as usize),
            peers: Vec::with_capacity((connections + limits::SPARE_CONNECTIONS) as usize),
            rooms_made: rooms.len().into(),
            secret: *secret,
            tokens: Tokens::new(secret),
            seals: Seals::new(&settings.seal_keys, secret),
            guesses: Guesses::default(),
            tally: Tally::default(),
            opened: Vec::new(),
            seats: 0,
            seats_max: settings.seats_max(connections),
            rooms,
            settings,
        }
    }

    /// What the operator decided.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Rooms that there are.
    #[must_use]
    pub fn rooms(&self) -> u32 {
        self.rooms.len()
    }

    /// Seats in all of them, lingering ones too.
    #[must_use]
    pub fn members(&self) -> u64 {
        self.seats
    }

    /// The roster of a room in join order, as JSON text of each Member; `None` where there is no such room.
    #[must_use]
    pub fn roster(&self, room_number: &str) -> Option<Vec<&str>> {
        let room = self.rooms.get(self.room_key(room_number)?)?;
        Some(room.roster().collect())
    }

    /// Which of a room's seats linger, in the order of [`Hub::roster`]; `None` where there is no such room.
    #[must_use]
    pub fn lingering(&self, room_number: &str) -> Option<Vec<bool>> {
        let room = self.rooms.get(self.room_key(room_number)?)?;
        Some(room.lingering().collect())
    }

    /// The bytes of a room's frames: held, and taken by their buffer. `None` where there is no such room.
    #[must_use]
    pub fn log_bytes(&self, room_number: &str) -> Option<(u64, usize)> {
        let room = self.rooms.get(self.room_key(room_number)?)?;
        Some((room.logs.plain.held_bytes(), room.logs.plain.buffer_bytes()))
    }

    /// What has happened since the hub was made.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let of_rooms: u64 = self.rooms.iter().map(|(_, room)| room.delivered).sum();
        Tally { deliveries: self.tally.deliveries + of_rooms, ..self.tally }
    }

    /// What there is now. It takes a look at every seat.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (_, room) in self.rooms.iter() {
            room.count_into(&mut census);
        }
        census
    }

    /// Keys for sealed frames that have been used so often that they should be changed.
    #[must_use]
    pub fn worn_keys(&self) -> usize {
        self.seals.worn_out()
    }

    // ---- Connections ----------------------------------------------------------------------------

    /// A connection from `address` has been upgraded and may speak.
    pub fn connect(&mut self, now: Now, who: Key, address: Address) {
        let index = who.index as usize;
        if self.peers.len() <= index {
            self.peers.resize_with(index + 1, || None);
        }
        self.peers[index] = Some(Peer::new(who, address, now.monotonic_ms));
        self.watch(who, now.monotonic_ms);
    }

    /// A whole frame of `bytes` came. Says whether it, or the message that ends with it, is within the rates.
    pub fn frame(&mut self, now: Now, who: Key, bytes: u32, part: Part) -> bool {
        let settings = &self.settings;
        let frames = Rate { per_second: settings.messages_per_second, burst: settings.burst };
        let per_bytes = Rate { per_second: settings.bytes_per_second, burst: settings.bytes_burst };
        match peer_mut(&mut self.peers, who) {
            Some(peer) => peer.frame(frames, per_bytes, bytes, part, now.monotonic_ms, &mut self.tally),
            None => true,
        }
    }

    /// Something came from a connection, or a blocked one has taken something: it is alive.
    pub fn heard(&mut self, who: Key) {
        if let Some(Peer { probe: Some(probe), .. }) = peer_mut(&mut self.peers, who) {
            probe.is_answered = true;
        }
    }

    /// A connection has ended, or is about to. Its seats linger or end, as the reason says, and their rooms hear of those that end. Nothing
    /// happens for one that the hub does not know.
    pub fn depart(&mut self, now: Now, who: Key, reason: CloseReason, outlet: &mut impl Outlet) {
        let Some(peer) = self.peers.get_mut(who.index as usize).and_then(|place| place.take_if(|peer| peer.key == who))
        else {
            return;
        };
        self.connection_timers.cancel(who.index);
        // All its readers first: only one can be inside a frame, and that frame's rest stands before all else.
        for seat in peer.seats.iter() {
            if let Some(room) = self.rooms.get_mut(seat.room) {
                room.end_reader(seat.joined_seq, outlet);
            }
        }
        let linger_ms = if reason.lingers() { u64::from(self.settings.linger_s) * 1000 } else { 0 };
        for seat in peer.seats.iter() {
            match reason.leave() {
                Some(leave) if linger_ms > 0 => self.let_linger(*seat, now.monotonic_ms + linger_ms, leave),
                leave => self.end_seat(now, *seat, leave, None, outlet),
            }
        }
        self.forget_key(peer.voice.and_then(Voice::key));
    }

    // ---- Rooms ----------------------------------------------------------------------------------

    /// The keys of all rooms, for whoever goes through them and changes the table on the way.
    pub(super) fn room_keys(&self) -> Vec<Key> {
        self.rooms.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn room_key(&self, room_number: &str) -> Option<Key> {
        self.rooms.iter().find(|(_, room)| room.number() == room_number).map(|(key, _)| key)
    }

    /// Makes a room. Where the table is full, the made room that has been empty longest ends for it; `None` where there is none.
    pub(super) fn make_room(&mut self, room_number: &str, now: Now) -> Option<Key> {
        self.make_way(1);
        let room = self.rooms.insert(Room::made(room_number, self.rooms_made, now)).ok()?;
        self.rooms_made += 1;
        Some(room)
    }

    /// While so many more rooms have no place in the table, ends the made room that has been empty longest, if there is one.
    pub(super) fn make_way(&mut self, rooms: u32) {
        while self.rooms.len() + rooms > self.settings.rooms {
            let made = self.rooms.iter().filter(|(_, room)| room.is_empty() && !room.is_configured());
            let Some((longest_empty, _)) = made.min_by_key(|(_, room)| room.empty_since_ms) else { return };
            self.end_room(longest_empty);
        }
    }

    pub(super) fn end_room(&mut self, key: Key) {
        self.room_timers.cancel(key.index);
        self.changed.retain(|changed| *changed != key);
        if let Some(room) = self.rooms.remove(key) {
            self.tally.deliveries += room.delivered;
        }
    }

    /// Lets `append` add a frame to a room's log, and sees to it that it is flushed: with this turn, or at once where half a log has not been
    /// offered to anybody yet (a seat must never fall behind for lack of an offer).
    pub(super) fn broadcast(&mut self, key: Key, outlet: &mut impl Outlet, append: impl FnOnce(&mut Room)) {
        let bounds = self.bounds();
        let Some(room) = self.rooms.get_mut(key) else { return };
        append(room);
        room.logs.seal_new(&self.seals);
        let was_tidy = std::mem::take(&mut room.tidy);
        let is_listed = room.changed;
        if room.logs.plain.unoffered_bytes() > bounds.log_bytes / 2 {
            room.flush(bounds, outlet);
            // It stays on the list: its flush at the end of the turn has only the rest to offer.
            room.changed = is_listed;
        }
        self.flush_later(key);
        if was_tidy {
            self.watch_room(key);
        }
    }

    /// Puts a room on the list of those to be flushed with this turn.
    pub(super) fn flush_later(&mut self, key: Key) {
        if let Some(room) = self.rooms.get_mut(key)
            && !std::mem::replace(&mut room.changed, true)
        {
            self.changed.push(key);
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds { log_bytes: u64::from(self.settings.room_log_bytes), history: self.settings.history as usize }
    }

    /// Ends a seat. On an explicit leave, and when it is removed, its reader is first given all up to its leave frame; else its reader has ended
    /// before. What held in the room for as long as its owner sat there ends behind the leave frame.
    pub(super) fn end_seat(
        &mut self,
        now: Now,
        seat: SeatRef,
        reason: Option<LeaveReason>,
        reference: Option<&str>,
        outlet: &mut impl Outlet,
    ) {
        if let Some(reason) = reason {
            self.broadcast(seat.room, outlet, |room| room.announce_leave(now, seat.joined_seq, reason, reference));
        }
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        room.settle(seat.joined_seq, outlet);
        let key = room.key();
        let rule_ends = room.stand_up(seat.joined_seq, now);
        self.seats -= 1;
        if room.is_empty() {
            self.watch_room(seat.room);
        }
        self.forget_key(key);
        if rule_ends && reason.is_some() {
            self.broadcast(seat.room, outlet, |room| room.announce_rule(now, None));
        }
    }

    /// Keeps a seat, whose reader has ended, for whoever comes back to it.
    fn let_linger(&mut self, seat: SeatRef, until_ms: u64, reason: LeaveReason) {
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        room.linger(seat.joined_seq, until_ms, reason);
        // Of many who go at once the first has set the timer.
        if room.lingers_until_ms() == Some(until_ms) {
            self.watch_room(seat.room);
        }
    }

    // ---- What is owed ---------------------------------------------------------------------------

    /// Flushes every room in which something was said; whoever is found too slow is closed, and departs before the next flush.
    pub fn flush(&mut self, outlet: &mut impl Outlet) {
        let bounds = self.bounds();
        while let Some(key) = self.changed.pop() {
            if let Some(room) = self.rooms.get_mut(key) {
                room.flush(bounds, outlet);
            }
        }
    }

    /// Whether [`Hub::flush`] has something to do.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The connection can be written again, and its own queue is empty: gives it what its rooms owe it, beginning with the frame that it
    /// is in the middle of, then room by room in turn.
    pub fn catch_up(&mut self, who: Key, outlet: &mut impl Outlet) {
        let Some(peer) = peer_mut(&mut self.peers, who) else { return };
        let seats = peer.seats.len();
        let inside = peer
            .seats
            .iter()
            .position(|seat| self.rooms.get(seat.room).is_some_and(|room| room.is_inside_frame(seat.joined_seq)));
        let first = inside.unwrap_or(usize::from(peer.next_seat));
        let slice_bytes = if seats == 1 { usize::MAX >> 1 } else { limits::SLICE_BYTES };
        let mut idle = 0;
        let mut turn = first;
        while idle < seats {
            let seat = peer.seats[turn % seats];
            turn += 1;
            // A seat's room outlives it.
            let Some(room) = self.rooms.get_mut(seat.room) else { break };
            match room.offer(seat.joined_seq, slice_bytes, outlet) {
                Offered::Nothing => idle += 1,
                Offered::Taken => idle = 0,
                Offered::Blocked => break,
            }
        }
        if seats > 0 {
            peer.next_seat = (turn % seats) as u8; // below the number of seats
        }
    }

    /// Gives the connection all that its rooms owe it by now; what its socket does not take moves to its own queue. After it, whatever is
    /// kept for this connection stands behind every frame made before.
    pub fn settle(&mut self, who: Key, outlet: &mut impl Outlet) {
        self.keep_rests(who, outlet);
        let Some(peer) = peer_mut(&mut self.peers, who) else { return };
        for seat in peer.seats.iter() {
            if let Some(room) = self.rooms.get_mut(seat.room) {
                room.settle(seat.joined_seq, outlet);
            }
        }
    }

    /// Moves the rest of a frame that the connection is in the middle of to its own queue, so that a pong or ping can stand behind it.
    pub fn keep_rests(&mut self, who: Key, outlet: &mut impl Outlet) {
        let Some(peer) = peer_mut(&mut self.peers, who) else { return };
        for seat in peer.seats.iter() {
            if let Some(room) = self.rooms.get_mut(seat.room) {
                room.keep_rest(seat.joined_seq, outlet);
            }
        }
    }

    pub(super) fn reply(&mut self, who: Key, outlet: &mut impl Outlet, write: impl FnOnce(&mut Vec<u8>)) {
        self.settle(who, outlet);
        self.keep(who, outlet, write);
    }

    /// Puts a frame into a connection's own queue, in the voice that it speaks; all that stands before it is there already.
    pub(super) fn keep(&self, who: Key, outlet: &mut impl Outlet, write: impl FnOnce(&mut Vec<u8>)) {
        let voice = self.peer(who).and_then(|peer| peer.voice);
        outlet.keep(who, |own| self.seals.append(voice, own, write));
    }

    /// A key for sealed frames that has been used so often that it should be changed soon; each is told of once.
    #[must_use]
    pub fn worn_key(&self) -> Option<u8> {
        self.seals.worn()
    }

    /// Somebody who may have used this key is gone: where it was taken away, and was for those alone who began with it, it is forgotten with the last
    /// of them.
    pub(super) fn forget_key(&mut self, key: Option<KeyIndex>) {
        if key.is_some_and(|key| self.seals.is_retired(key)) {
            self.forget_keys();
        }
    }

    /// Forgets the keys that were taken away and that nobody uses any more.
    pub(super) fn forget_keys(&mut self) {
        let (peers, rooms) = (&self.peers, &self.rooms);
        self.seals.forget(|key| {
            let speaks_it = |peer: &Peer| peer.voice == Some(Voice::Sealed(key));
            peers.iter().flatten().any(speaks_it) || rooms.iter().any(|(_, room)| room.key() == Some(key))
        });
    }

    // ---- Finding --------------------------------------------------------------------------------

    pub(super) fn peer(&self, who: Key) -> Option<&Peer> {
        self.peers.get(who.index as usize)?.as_ref().filter(|peer| peer.key == who)
    }
}

/// A peer to change, with the other tables left free.
pub(super) fn peer_mut(peers: &mut [Option<Peer>], who: Key) -> Option<&mut Peer> {
    peers.get_mut(who.index as usize)?.as_mut().filter(|peer| peer.key == who)
}

pub(super) fn identity() -> Failure {
    Failure::new(Code::Identity, "textData.data.from.id: another id than the one this connection joined with")
}
