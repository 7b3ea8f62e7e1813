//! The hub, left by one process for the next.
//!
//! Owns: what of the hub and of its peers has to outlive the process. Refuses to know: sockets, files, and how one program follows another
//! (`net::upgrade`); what a room has to say of itself (`room::state`).
//!
//! Times are those of the monotonic clock, which goes on in the next process. What the operator has decided is written down too: the next hub is the
//! same hub, and whatever he wants to be different by then is a change as any other ([`Hub::apply`]).

use serde::{Deserialize, Serialize};

use super::guesses::Guesses;
use super::hub::Hub;
use super::peer::{Habits, Peer, Probe, SeatRef};
use super::room::{ReaderState, Room, RoomState};
use super::seals::{Seals, SealsState, Voice};
use super::settings::Settings;
use super::token::Secret;
use crate::base::state::{StateError, StateReader, StateWriter};
use crate::base::{Address, Key, Now};
use crate::limits;

/// A hub as it is written down.
#[derive(Serialize, Deserialize)]
pub struct HubState {
    settings: Settings,
    /// What resume tokens are made with.
    secret: Secret,
    rooms_made: u64,
    rooms: Vec<RoomState>,
    seals: SealsState,
    guesses: Guesses,
}

/// What the hub knows of one connection, as it is written down.
#[derive(Serialize, Deserialize)]
pub struct PeerState {
    address: Address,
    voice: Option<Voice>,
    id: String,
    seats: Vec<ReaderState>,
    last_seen_ms: u64,
    probe: Option<Probe>,
    join_by_ms: Option<u64>,
    habits: Habits,
}

impl Hub {
    /// Writes the hub down, its peers apart ([`Hub::save_peer`]). Nobody is in the middle of a frame ([`Hub::keep_rests`]), nobody is about to
    /// depart, and nothing is left to flush.
    ///
    /// # Panics
    /// Where something is left to flush.
    #[must_use]
    pub fn save(&self, to: &mut StateWriter) -> HubState {
        assert!(!self.has_changes(), "what was said in this turn is flushed first");
        HubState {
            settings: self.settings.clone(),
            secret: self.secret,
            rooms_made: self.rooms_made,
            rooms: self.rooms.iter().map(|(_, room)| room.save(to)).collect(),
            seals: self.seals.save(),
            guesses: self.guesses.clone(),
        }
    }

    /// Writes down what the hub knows of a connection; `None` where that is nothing.
    #[must_use]
    pub fn save_peer(&self, who: Key) -> Option<PeerState> {
        let peer = self.peer(who)?;
        let seats = peer.seats.iter().filter_map(|seat| self.rooms.get(seat.room)?.save_reader(seat.joined_seq));
        Some(PeerState {
            address: peer.address,
            voice: peer.voice,
            id: peer.id.to_string(),
            seats: seats.collect(),
            last_seen_ms: peer.last_seen_ms,
            probe: peer.probe.as_deref().copied(),
            join_by_ms: peer.join_by_ms,
            habits: peer.habits.clone(),
        })
    }

    /// The hub that was written down, with places for so many connections. They come back one by one ([`Hub::restore_peer`]), and then [`Hub::apply`]
    /// sets its timers.
    ///
    /// # Errors
    /// Where the state says what cannot be.
    pub fn restore(state: HubState, connections: u32, now: Now, from: &mut StateReader) -> Result<Hub, StateError> {
        let HubState { settings, secret, rooms_made, rooms, seals, guesses } = state;
        if !settings.are_within_limits() {
            return Err(StateError::wrong("more than an operator may want"));
        }
        if rooms_made > limits::COUNTED {
            return Err(StateError::wrong("more rooms than were ever made"));
        }
        // Those that the operator wants are among those that were written down.
        let without_rooms = Settings { configured: Vec::new(), ..settings.clone() };
        let mut hub = Hub::new(without_rooms, connections, &secret, now);
        hub.rooms.set_capacity(settings.rooms.max(rooms.len() as u32)); // as many as there were before
        hub.seals = Seals::restore(seals, &secret);
        (hub.rooms_made, hub.guesses) = (rooms_made, guesses);
        for room in rooms {
            let room = Room::restore(room, &settings, &hub.seals, now, from)?;
            let is_twice = hub.rooms.iter().any(|(_, other)| other.instance == room.instance);
            if is_twice || room.instance >= rooms_made || hub.room_key(room.number()).is_some() {
                return Err(StateError::wrong("a room that is there twice"));
            }
            hub.seats += room.len() as u64;
            hub.rooms.insert(room).map_err(|_| StateError::wrong("more rooms than places"))?;
        }
        hub.settings = settings;
        Ok(hub)
    }

    /// Gives a connection its seats back.
    ///
    /// # Errors
    /// Where the state says what cannot be.
    pub fn restore_peer(&mut self, who: Key, state: PeerState, now: Now) -> Result<(), StateError> {
        let wrong = StateError::wrong;
        if state.last_seen_ms > now.monotonic_ms {
            return Err(wrong("a connection that was heard from after all this"));
        }
        let mut peer = Peer::new(who, state.address, state.last_seen_ms);
        peer.id = (&*state.id).try_into().map_err(|_| wrong("an id"))?;
        peer.voice = state.voice;
        if peer.voice.and_then(Voice::key).is_some_and(|key| !self.seals.has(key)) {
            return Err(wrong("a connection under a key that is none"));
        }
        (peer.probe, peer.join_by_ms, peer.habits) = (state.probe.map(Box::new), state.join_by_ms, state.habits);
        for seat in state.seats {
            let found = self.rooms.iter().find(|(_, room)| room.instance == seat.instance);
            let (room, _) = found.ok_or_else(|| wrong("a seat in a room that is not there"))?;
            let voice = peer.voice.unwrap_or(Voice::Plain);
            if let Some(room) = self.rooms.get_mut(room) {
                room.restore_reader(seat, who, voice, &self.seals)?;
            }
            let seat = SeatRef { room, joined_seq: seat.joined_seq };
            peer.seats.push(seat).map_err(|_| wrong("more seats than one may have"))?;
        }
        let index = who.index as usize;
        if self.peers.len() <= index {
            self.peers.resize_with(index + 1, || None);
        }
        self.peers[index] = Some(peer);
        Ok(())
    }
}
