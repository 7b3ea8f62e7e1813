//! What time brings.
//!
//! Owns: the deadlines that are the protocol's (heartbeat, probe, the first join, the end of lingering) and those of rooms (tidying, the end of an
//! empty one), and the timers for them. Refuses to know: how a seat is had, and what is said from it.

use super::hub::Hub;
use super::outlet::Outlet;
use super::peer::{Peer, SeatRef};
use crate::base::{Key, Now, TICK_MS};
use crate::limits;
use crate::wire::CloseReason;

impl Hub {
    /// When to call [`Hub::expire`] next, in monotonic milliseconds; `None` where nothing is due, ever.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        [self.room_timers.next_ms(), self.connection_timers.next_ms()].into_iter().flatten().min()
    }

    /// Does what is due: closes the silent and those who never joined, ends seats that have lingered and rooms that were empty for long, tidies
    /// quiet ones.
    pub fn expire(&mut self, now: Now, outlet: &mut impl Outlet) {
        while let Some(index) = self.room_timers.pop(now.monotonic_ms) {
            self.look_after_room(index, now, outlet);
        }
        while let Some(index) = self.connection_timers.pop(now.monotonic_ms) {
            self.look_after_connection(index, now, outlet);
        }
    }

    /// Sets every timer anew, from what is known of rooms and connections: where periods have changed.
    pub(super) fn watch_all(&mut self, now: Now) {
        for room in self.room_keys() {
            self.watch_room(room);
        }
        for index in 0..self.peers.len() {
            if let Some(who) = self.peers[index].as_ref().map(|peer| peer.key) {
                self.watch(who, now.monotonic_ms);
            }
        }
    }

    fn look_after_connection(&mut self, index: u32, now: Now, outlet: &mut impl Outlet) {
        let Some(Some(peer)) = self.peers.get(index as usize) else { return };
        let (who, now_ms) = (peer.key, now.monotonic_ms);
        if self.probe_due_ms(peer).is_some_and(|due_ms| now_ms >= due_ms) {
            let before = peer.probe.as_ref().and_then(|probe| probe.sent_bytes);
            let is_alive = match before {
                Some(before) => outlet.sent_bytes(who).is_none_or(|sent| sent > before),
                None => self.is_moving(who, outlet),
            };
            if !is_alive {
                return outlet.close(who, CloseReason::ProbeUnanswered);
            }
            self.heard(who);
        }
        let Some(peer) = self.peer(who) else { return };
        if now_ms >= peer.last_seen_ms + self.silence_ms() {
            outlet.close(peer.key, CloseReason::Heartbeat);
        } else if peer.join_by_ms.is_some_and(|join_by_ms| now_ms >= join_by_ms) {
            outlet.close(peer.key, CloseReason::NeverJoined);
        } else {
            self.watch(who, now_ms);
        }
    }

    /// Whether a blocked connection takes something after all, where the system does not tell what it has sent. Poll tells of room only when there
    /// is much of it.
    pub(super) fn is_moving(&mut self, who: Key, outlet: &mut impl Outlet) -> bool {
        let cursors = |hub: &Hub| {
            let seats = hub.peer(who).map_or(&[][..], |peer| &peer.seats[..]);
            let cursor = |seat: &SeatRef| hub.rooms.get(seat.room)?.cursor(seat.joined_seq);
            seats.iter().filter_map(cursor).sum::<u64>()
        };
        let before = cursors(self);
        // What one that was not blocked takes says nothing: nobody need have read it.
        let Some(queue_moves) = outlet.retry(who) else { return false };
        self.catch_up(who, outlet);
        queue_moves || cursors(self) > before
    }

    /// Sets a connection's timer to the nearest thing that could be held against it. But for a probe's it may pop later by a small part of a
    /// heartbeat, together with others: a class of any size wakes the hub once a second at most.
    pub(super) fn watch(&mut self, who: Key, now_ms: u64) {
        let Some(peer) = self.peer(who) else { return };
        let silent_at_ms = peer.last_seen_ms + self.silence_ms();
        let due_ms = peer.join_by_ms.map_or(silent_at_ms, |join_by_ms| join_by_ms.min(silent_at_ms));
        let together_ms = (self.silence_ms() / limits::TIMERS_TOGETHER).max(1);
        let due_ms = due_ms.max(now_ms + TICK_MS).next_multiple_of(together_ms);
        let due_ms = self.probe_due_ms(peer).map_or(due_ms, |probe_due_ms| probe_due_ms.min(due_ms));
        self.connection_timers.set(who.index, due_ms);
    }

    /// When a probe that nothing has come to as yet is lost.
    fn probe_due_ms(&self, peer: &Peer) -> Option<u64> {
        peer.probe.as_ref().filter(|probe| !probe.is_answered).map(|probe| probe.sent_ms + self.probe_ms())
    }

    /// Ends seats that have lingered, then a room that was empty for long, and tidies one that is quiet.
    fn look_after_room(&mut self, index: u32, now: Now, outlet: &mut impl Outlet) {
        let Some(key) = self.rooms.key_at(index) else { return };
        while let Some(room) = self.rooms.get_mut(key)
            && room.lingers_until_ms().is_some_and(|until_ms| until_ms <= now.monotonic_ms)
            && let Some((joined_seq, reason)) = room.lingered_out(now.monotonic_ms)
        {
            self.end_seat(now, SeatRef { room: key, joined_seq }, Some(reason), None, outlet);
        }
        let Some(room) = self.rooms.get_mut(key) else { return };
        if room.is_empty() && now.monotonic_ms >= room.empty_since_ms + u64::from(self.settings.empty_for_s) * 1000 {
            if !room.is_configured() {
                return self.end_room(key);
            }
            // Its series goes on: only the frames go.
            room.logs.let_go(room.logs.plain.seq());
            room.tidy_up();
        } else if !room.tidy && now.monotonic_ms >= room.last_append_ms + limits::QUIET_MS {
            room.tidy_up();
        }
        self.watch_room(key);
    }

    /// Sets a room's timer to the nearest thing that is to be done for it, if any.
    pub(super) fn watch_room(&mut self, key: Key) {
        let Some(room) = self.rooms.get(key) else { return };
        let quiet_at_ms = (!room.tidy).then_some(room.last_append_ms + limits::QUIET_MS);
        // An empty configured room without frames has nothing left to lose.
        let ends = room.is_empty() && (!room.is_configured() || room.logs.plain.frames() > 0);
        let ends_at_ms = ends.then_some(room.empty_since_ms + u64::from(self.settings.empty_for_s) * 1000);
        match [quiet_at_ms, ends_at_ms, room.lingers_until_ms()].into_iter().flatten().min() {
            Some(due_ms) => self.room_timers.set(key.index, due_ms),
            None => self.room_timers.cancel(key.index),
        }
    }

    pub(super) fn silence_ms(&self) -> u64 {
        u64::from(self.settings.heartbeat_interval_s + self.settings.heartbeat_grace_s) * 1000
    }

    pub(super) fn probe_ms(&self) -> u64 {
        u64::from(self.settings.probe_s) * 1000
    }
}
