//! What the operator decides anew while everybody is here.
//!
//! Owns: how the hub passes from one set of settings to another, so that nobody is disconnected by it: what is asked of those who come, and what holds
//! for what they do from now on, is the new; what they have, they keep. Refuses to know: where settings come from, and which are legal.

use super::hub::Hub;
use super::outlet::Outlet;
use super::room::Room;
use super::settings::{RoomSettings, Settings};
use crate::base::{Key, Now};
use crate::limits;

impl Hub {
    /// From now on `settings` hold, and there are so many `connections`. Legal settings cannot fail, whatever is going on.
    ///
    /// - **Rooms.** One that is configured now and was not before keeps those who are in it. One that is no longer configured ends like one that was made.
    ///   Where name, desc or owner of one are others now, those who are in it are told, by a Rule frame. The configured ones are there even where more rooms
    ///   are in use than there may be: made ones are fewer then, as they end.
    /// - **Tables.** Where there are more seats or rooms than there may be, nobody new gets in until there is room.
    /// - **Passcodes, tokens, keys.** They are asked of those who join from now on. Who speaks under a key that is no longer there may go on with it.
    /// - **Rates.** Of what was spent before, no more than a burst of the new is held against anybody.
    /// - **Periods.** Each counts from when it did before, but a shorter one makes nobody late who was not late before: see `Peer::hasten`. A seat that
    ///   lingers does so for as long as it was to.
    /// - **Room logs.** Where they may hold less, whoever lags by more than that is not too slow for as long as it has not caught up: until then its
    ///   room may hold what it might before.
    pub fn apply(&mut self, now: Now, settings: Settings, connections: u32, outlet: &mut impl Outlet) {
        let (silence_ms, probe_ms) = (self.silence_ms(), self.probe_ms());
        let before = std::mem::replace(&mut self.settings, settings);
        let (silence_ms, probe_ms) = ((silence_ms, self.silence_ms()), (probe_ms, self.probe_ms()));
        for peer in self.peers.iter_mut().flatten() {
            peer.hasten(now.monotonic_ms, silence_ms, probe_ms);
        }
        self.seals.replace(&self.settings.seal_keys);
        self.forget_keys();
        self.apply_tables(connections);
        self.apply_log_bounds(before.room_log_bytes, before.history);
        self.apply_rooms(&before.configured, now, outlet);
        self.watch_all(now);
    }

    fn apply_tables(&mut self, connections: u32) {
        self.seats_max = self.settings.seats_max(connections);
        let places = connections + limits::SPARE_CONNECTIONS;
        self.peers.reserve((places as usize).saturating_sub(self.peers.len()));
        self.connection_timers.reserve(places);
        self.room_timers.reserve(self.settings.rooms);
    }

    /// Where a room may hold less, its next flush lets go of the rest: that is due with this turn.
    fn apply_log_bounds(&mut self, log_bytes_before: u32, history_before: u32) {
        if self.settings.room_log_bytes >= log_bytes_before && self.settings.history >= history_before {
            return;
        }
        for room in self.room_keys() {
            if let Some(room) = self.rooms.get_mut(room) {
                room.narrow(log_bytes_before.into());
            }
            self.flush_later(room);
        }
    }

    fn apply_rooms(&mut self, earlier: &[RoomSettings], now: Now, outlet: &mut impl Outlet) {
        let configured = std::mem::take(&mut self.settings.configured);
        for (_, room) in self.rooms.iter_mut() {
            if !configured.iter().any(|settings| settings.number == room.number()) {
                room.release();
            }
        }
        for settings in &configured {
            let earlier = earlier.iter().find(|earlier| earlier.number == settings.number);
            match self.room_key(&settings.number) {
                Some(_) if earlier == Some(settings) => {}
                Some(room) => self.configure_room(room, settings, earlier, now, outlet),
                None => self.make_configured_room(settings, now),
            }
        }
        self.settings.configured = configured;
        self.rooms.set_capacity(self.settings.rooms);
        self.make_way(0);
    }

    fn configure_room(
        &mut self,
        key: Key,
        settings: &RoomSettings,
        earlier: Option<&RoomSettings>,
        now: Now,
        outlet: &mut impl Outlet,
    ) {
        let Some(room) = self.rooms.get_mut(key) else { return };
        if room.configure(settings, earlier) && !room.is_empty() {
            self.broadcast(key, outlet, |room| room.announce_rule(now, None));
        }
    }

    /// Makes a room that the operator wants, beyond the table's size where all others are in use.
    fn make_configured_room(&mut self, settings: &RoomSettings, now: Now) {
        self.make_way(1);
        self.rooms.set_capacity(self.settings.rooms.max(self.rooms.len() + 1));
        let made = self.rooms.insert(Room::configured(settings, self.rooms_made, now));
        debug_assert!(made.is_ok(), "there is a place more than there are rooms");
        self.rooms_made += 1;
    }
}
